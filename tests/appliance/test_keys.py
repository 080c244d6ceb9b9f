"""Keys of a whole appliance: the operator's commands beside it and without it, and the doors they open."""

import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio

from flynn_aio import keys
from flynn_aio.bootstrap import claimed, cluster_key, key_file
from flynn_aio.cli import rc
from flynn_aio.status import credentials, look, status
from flynn_aio.up import _write_state, state_file
from flynn_aio.user import invoking_user

from ..support.http_client import HTTPClient
from .test_in_memory import DOMAIN, engine, running, settings

__all__ = ["engine", "settings"]

CONTROLLER, GIT = f"controller.{DOMAIN}", f"git.{DOMAIN}"
GIT_PATH = "/hello.git/info/refs?service=git-upload-pack"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A person's home that is nobody's."""
    (tmp_path / "home").mkdir()
    for name in [name for name in os.environ if name.startswith(("SUDO_", "FLYNN", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def type_(settings, capfd):
    """Type a command of the operator's in a thread, as another process would; its exit code and what it printed."""

    async def type_(command, *words, **options):
        code = await trio.to_thread.run_sync(partial(command, settings, *words, **options))
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return type_


@asynccontextmanager
async def up(settings, engine):
    """Have an appliance that is seen from outside as one in a process of its own."""
    (settings.data_dir / "keys").mkdir(exist_ok=True)
    with claimed(settings.data_dir):
        async with running(settings, engine) as world:
            await trio.to_thread.run_sync(_write_state, settings, world.ready)
            yield world


async def test_status_asks_where_the_appliance_listens(settings, engine):
    """It is told by the process, since the command may not see the same settings: here it does not."""
    elsewhere = replace(settings, router=replace(settings.router, listen="127.0.0.9"))
    async with up(elsewhere, engine):
        report = await trio.to_thread.run_sync(look, settings)
    assert (report.healthy, report.problems) == (True, [])


async def status_of(world, key, *, host=CONTROLLER, path="/apps", headers=None):
    client = HTTPClient(world.dial, key=key)
    try:
        return (await client.get(path, headers={"host": host} | (headers or {}))).status
    finally:
        client.close()


async def test_the_key_is_rotated_without_an_outage(settings, engine, home, type_):
    """Flynn's TestKeyRotation with our commands, on an appliance that goes on serving meanwhile."""
    old = None
    async with up(settings, engine) as world:
        old = cluster_key(settings)
        await world.api.post("/apps", {"name": "hello"})
        code, out, err = await type_(keys.rotate, "", user=invoking_user(os.environ), as_json=True)
        assert (code, err) == (0, "")
        rotated = json.loads(out)
        new = rotated["key"]
        assert (rotated["before"], cluster_key(settings)) == ("cluster", new)
        assert key_file(settings).stat().st_mode & 0o777 == 0o600
        for key in (old, new):
            assert await status_of(world, key) == 200
            assert await status_of(world, key, host=GIT, path=GIT_PATH) == 200

        await type_(credentials, as_json=False)
        code, out, _ = await type_(credentials, as_json=True)
        assert json.loads(out)["key"] == new
        config = rc.read(home / ".flynnrc")
        assert [(cluster.name, cluster.key) for cluster in config.clusters] == [("default", new)]

        code, _, err = await type_(keys.remove, rotated["name"])
        assert (code, "the operator's own" in err, "flynn-aio key rotate" in err) == (1, True, True)
        assert (await type_(keys.remove, "cluster"))[0] == 0
        assert await status_of(world, old) == 401
        assert await status_of(world, old, host=GIT, path=GIT_PATH) == 401
        assert await status_of(world, new) == 200
        assert await status_of(world, new, host=GIT, path=GIT_PATH) == 200
        assert (await type_(status, as_json=False))[0] == 0
    async with up(settings, engine) as world:
        assert await status_of(world, old) == 401
        assert await status_of(world, new) == 200
        assert [key["name"] for key in (await world.api.get("/keys")).json()] == [rotated["name"]]


async def test_a_second_rotation_keeps_the_persons_one_entry(settings, engine, home, type_):
    async with up(settings, engine):
        for _ in range(2):
            assert (await type_(keys.rotate, "", user=invoking_user(os.environ), as_json=False))[0] == 0
    [cluster] = rc.read(home / ".flynnrc").clusters
    assert (cluster.name, cluster.key) == ("default", cluster_key(settings))


async def test_keys_come_and_go_while_it_runs_and_while_it_is_down(settings, engine, type_):
    async with up(settings, engine) as world:
        code, out, _ = await type_(keys.add, "ci", as_json=False)
        ci, *_, line = out.split("\n")[:-1]
        assert code == 0
        assert line.startswith("flynn cluster add -p ")
        assert line.endswith(f" default {DOMAIN}:{world.ready.https_port} {ci}")
        assert await status_of(world, ci) == 200
        code, out, _ = await type_(keys.show, as_json=False)
        assert [row.split()[0] for row in out.splitlines()] == ["NAME", "cluster", "ci"]
        assert out.splitlines()[1].endswith("the operator's")
        for words, message in ((("ci",), 'key "ci" already exists'), (("No Name",), "name 'No Name' is invalid")):
            code, out, err = await type_(keys.add, *words, as_json=False)
            assert (code, out, err.startswith(f"error: {message}")) == (1, "", True)

    code, out, _ = await type_(keys.add, "", as_json=True)
    made_up = json.loads(out)
    assert (code, made_up["name"].startswith("key-")) == (0, True)
    assert (await type_(keys.remove, "ci"))[0] == 0
    code, _, err = await type_(keys.remove, "ci")
    assert (code, err) == (1, "error: there is no key 'ci'; `flynn-aio key list` has them all\n")
    code, _, err = await type_(keys.remove, "cluster")
    assert (code, "the operator's own" in err) == (1, True)
    code, out, _ = await type_(keys.rotate, "laptop", user=None, as_json=True)
    rotated = json.loads(out)
    assert (code, cluster_key(settings)) == (0, rotated["key"])
    code, out, _ = await type_(keys.show, as_json=True)
    assert {key["name"]: key["operator"] for key in json.loads(out)} == {
        "cluster": False,
        made_up["name"]: False,
        "laptop": True,
    }

    async with up(settings, engine) as world:
        assert await status_of(world, ci) == 401
        assert await status_of(world, made_up["key"]) == 200
        assert await status_of(world, rotated["key"]) == 200
        events = (await world.api.get("/events?object_types=key,key_deletion")).json()
        assert [(event["object_type"], event["object_id"]) for event in events] == [
            ("key", "laptop"),
            ("key_deletion", "ci"),
            ("key", made_up["name"]),
            ("key", "ci"),
            ("key", "cluster"),
        ]


async def test_what_cannot_be_done_now_says_what_to_do(settings, type_):
    for command in (keys.show, partial(keys.add, name="ci")):
        code, _, err = await type_(command, as_json=False)
        assert (code, err) == (
            1,
            f"error: there is no cluster in {settings.data_dir} yet; type: flynn-aio up\n",
        )
    assert not settings.data_dir.exists()


async def test_an_appliance_that_is_not_ready_yet_is_not_asked(settings, engine, type_):
    async with up(settings, engine):
        state_file(settings).unlink()
        code, _, err = await type_(keys.show, as_json=False)
    assert (code, "has not said ready yet; try again in a while" in err) == (1, True)


async def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(settings, engine, type_, monkeypatch):
    async with up(settings, engine):
        pass
    old = cluster_key(settings)

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys, "write_private", full)
    code, _, err = await type_(keys.rotate, "", user=None, as_json=False)
    assert (code, err) == (
        1,
        f"error: writing {key_file(settings)}: No space left on device; the old key stays the operator's\n",
    )
    assert cluster_key(settings) == old
    code, out, _ = await type_(keys.show, as_json=True)
    assert [key["name"] for key in json.loads(out)] == ["cluster"]


async def test_wrong_keys_are_counted_by_what_the_router_saw_and_the_operator_sees_it(settings, engine, type_):
    async with up(settings, engine) as world:
        for number in range(3):
            forged = {"x-forwarded-for": f"192.0.2.{number}", "connection": "x-forwarded-for"}
            assert await status_of(world, "wrong", headers=forged if number else {}) == 401
        assert await status_of(world, "wrong", headers={"x-forwarded-for": "192.0.2.9"}) == 401
        assert await status_of(world, "wrong", host=GIT, path=GIT_PATH) == 401
        report = await trio.to_thread.run_sync(look, settings)
        assert [(wrong.address, wrong.count) for wrong in report.wrong_keys] == [("127.0.0.1", 5)]
        assert report.healthy
        _, out, _ = await type_(status, as_json=False)
        assert "\nkeys      5 wrong ones lately, the last at 20" in out
