"""The stack makes each image once, through the engine, and leaves nothing half made."""

import dataclasses
import fcntl
import os

import pytest
import trio
import trio.testing

from flynn_aio.engine import open_fake_engine, run_forever
from flynn_aio.receive import stack as stack_module
from flynn_aio.receive import step as step_module
from flynn_aio.receive.stack import Stack, StackError
from flynn_aio.settings import BuildSettings

REGISTRY_IMAGE = "registry.example/debian:12"

MMDEBSTRAP = """\
#!/bin/sh
echo "I: downloading packages with apt..."
echo "I: removing tempdir $TMPDIR/x..."
echo "W: noise"
eval "$MMDEBSTRAP_TEST"
"""
"""Stands in for the real one on PATH: what it does is said by the test."""


@pytest.fixture
def settings(tmp_path):
    folders = {name: tmp_path / name for name in ("repo_dir", "slug_dir", "cache_dir", "work_dir", "run_dir")}
    return BuildSettings(**folders, gateway="100.100.0.1", stack_image=REGISTRY_IMAGE, ca_bundle=None)


@pytest.fixture
async def engine():
    async with open_fake_engine(images=()) as engine:
        engine.registry.add(REGISTRY_IMAGE)
        engine.script(ends(0))
        yield engine


@pytest.fixture
def mmdebstrap(tmp_path, monkeypatch):
    """Put the stand-in first on PATH; returns how to say what it does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mmdebstrap"
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda script: monkeypatch.setenv("MMDEBSTRAP_TEST", script)


def ends(code, *, after_s=0.0, prints=b""):
    """Return a recipe that prints and ends."""

    async def program(process):
        if prints:
            await process.write(prints)
        await trio.sleep(after_s)
        return code

    return program


class Sayings(list[str]):
    async def __call__(self, line):
        self.append(line)

    def titles(self):
        return [line.split("-----> ")[1] for line in self if line.startswith("----->")]


def names(images):
    return {image.name for image in images if image.present}


def making(*images):
    return [f"Making the stack image {image} (once on this machine)" for image in images]


async def test_the_plain_pair_is_made_from_a_registry_image(settings, engine):
    stack, say = Stack(settings, engine), Sayings()
    images = await stack.ensure(None, say)
    assert say.titles() == making("base", "runner", "builder")
    assert {image.image for image in await stack.list() if image.present} == engine.images - {REGISTRY_IMAGE}
    assert {images.runner, images.builder} < engine.images
    assert images.cf_stack == "cflinuxfs3"
    assert (images.buildpacks / "python" / "bin" / "compile").is_file()
    assert [spec.image for spec in engine.started] == [
        REGISTRY_IMAGE,
        *(image.image for image in await stack.list() if image.name in ("base", "runner")),
    ]


async def test_what_is_there_is_not_made_again_and_nothing_is_said(settings, engine):
    await Stack(settings, engine).ensure("python", Sayings())
    engine.started.clear()
    say = Sayings()
    await Stack(settings, engine).ensure("python", say)
    assert (engine.started, say) == ([], [])


async def test_a_language_comes_with_its_first_push(settings, engine):
    stack, say = Stack(settings, engine), Sayings()
    await stack.ensure(None, Sayings())
    images = await stack.ensure("python", say)
    assert say.titles() == making("runner-python", "builder-python")
    assert images.runner.startswith("localhost/flynn-aio/debian-12/runner-python:")
    assert names(await stack.list()) == {"base", "runner", "builder", "runner-python", "builder-python"}


async def test_a_language_the_stack_does_not_know_gets_the_plain_pair(settings, engine):
    stack = Stack(settings, engine)
    assert await stack.ensure("multi", Sayings()) == await stack.ensure(None, Sayings())


async def test_only_what_is_missing_is_made(settings, engine):
    stack, say = Stack(settings, engine), Sayings()
    images = await stack.ensure(None, Sayings())
    engine.images.remove(images.builder)
    engine.images -= {image.image for image in await stack.list() if image.name == "base"}
    await stack.ensure(None, say)
    assert say.titles() == making("builder")


async def test_two_pushes_make_one_image(settings, engine):
    engine.script(ends(0, after_s=0.05))
    stack, first, second = Stack(settings, engine), Sayings(), Sayings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stack.ensure, None, first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stack.ensure, None, second)
    assert len(engine.started) == 3
    assert second.titles() == ["Waiting for another push, which makes images of the stack"]


async def test_a_recipe_lies_under_mnt_and_the_host_s_variables_stay_out_of_the_image(settings, engine, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example")
    seen = []

    async def install(process):
        place = next(mount.source for mount in process.spec.mounts if mount.target == "/mnt")
        seen.append({str(path.relative_to(place)) for path in place.rglob("*")})
        assert "export HTTPS_PROXY=http://user:secret@proxy.example\n" in (place / "env").read_text()
        assert not {"HTTPS_PROXY"} & process.spec.env.keys()
        assert (process.spec.user, process.spec.args) == ("0:0", ("/bin/sh", "/mnt/install"))
        return 0

    engine.script(install)
    await Stack(settings, engine).ensure(None, Sayings())
    for names_seen in seen:
        assert {"install", "packages", "setup", "apt.conf", "sources.list", "env", "files"} <= names_seen
    assert {"files/runner/init", "files/runner/mapping.awk"} <= seen[1]


async def test_a_failed_recipe_says_why_and_leaves_nothing(settings, engine):
    engine.script(ends(100, prints=b"E: Unable to locate package git\n"))
    stack, say = Stack(settings, engine), Sayings()
    with pytest.raises(StackError, match=r"image base: its recipe ended with status 100.*\n.*locate package git"):
        await stack.ensure(None, say)
    assert engine.images == {REGISTRY_IMAGE}
    assert await engine.jobs() == []
    assert os.listdir(settings.work_dir) == []
    assert "       E: Unable to locate package git" in say


async def test_a_cancelled_push_leaves_nothing(settings, engine):
    engine.script(run_forever)
    with trio.move_on_after(0.2) as scope:
        await Stack(settings, engine).ensure(None, Sayings())
    assert scope.cancelled_caught
    assert engine.images == {REGISTRY_IMAGE}
    assert await engine.jobs() == []
    assert os.listdir(settings.work_dir) == []


async def test_without_a_registry_the_base_comes_from_a_mirror(settings, engine, mmdebstrap):
    mmdebstrap("exit 0")
    engine.registry.clear()
    say = Sayings()
    await Stack(settings, engine).ensure(None, say)
    assert say[:4] == [
        *(f"-----> {title}" for title in making("base")),
        f"       {REGISTRY_IMAGE} is not to be had from a registry, a Debian mirror is used instead",
        f"       (cannot pull image {REGISTRY_IMAGE}: the registry does not answer, or has no such image)",
        "       downloading packages with apt...",
    ]
    assert [line for line in say if "tempdir" in line or "noise" in line] == []
    assert say.titles() == making("base", "runner", "builder")


async def test_no_registry_is_asked_when_none_is_set(settings, engine, mmdebstrap):
    mmdebstrap("exit 0")
    say = Sayings()
    await Stack(dataclasses.replace(settings, stack_image=""), engine).ensure(None, say)
    assert REGISTRY_IMAGE not in engine.images
    assert not [line for line in say if "registry" in line]


async def test_a_failed_mmdebstrap_says_why(settings, engine, mmdebstrap):
    mmdebstrap("echo 'E: mirror is gone'; exit 25")
    engine.registry.clear()
    with pytest.raises(StackError, match=r"mmdebstrap ended with status 25.*\n(.*\n)*E: mirror is gone"):
        await Stack(settings, engine).ensure(None, Sayings())
    assert engine.images == set()
    assert os.listdir(settings.work_dir) == []


async def test_a_missing_mmdebstrap_says_what_to_type(settings, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    engine.registry.clear()
    with pytest.raises(StackError, match="apt install mmdebstrap"):
        await Stack(settings, engine).ensure(None, Sayings())


async def test_a_cancelled_mmdebstrap_is_ended_with_its_children(settings, engine, mmdebstrap, tmp_path):
    pids = tmp_path / "pids"
    mmdebstrap(f"sleep 1000 & echo $! $$ >{pids}.new; mv {pids}.new {pids}; wait")
    engine.registry.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Stack(settings, engine).ensure, None, Sayings())
        with trio.fail_after(10):
            await appears(pids)
        nursery.cancel_scope.cancel()
    for pid in pids.read_text().split():
        assert not is_alive(int(pid))
    assert os.listdir(settings.work_dir) == []


async def test_a_killed_mmdebstrap_leaves_no_mount_that_could_be_removed_into(
    settings, engine, mmdebstrap, tmp_path, monkeypatch
):
    monkeypatch.setattr(step_module, "CLEANUP_S", 0.1)
    ready, kept = tmp_path / "ready", tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    mmdebstrap(f"trap '' TERM; mkdir $PLACE/m; mount --bind {kept} $PLACE/m; touch {ready}; while :; do sleep 1; done")
    engine.registry.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Stack(settings, engine).ensure, None, Sayings())
        with trio.fail_after(10):
            await appears(ready)
        nursery.cancel_scope.cancel()
    assert os.listdir(kept) == ["file"]
    assert os.listdir(settings.work_dir) == []


async def test_what_a_crash_left_goes_and_what_another_makes_stays(settings, engine):
    for name in ("stack-base-dead", "stack-base-busy", "builds"):
        (settings.work_dir / name / "root").mkdir(parents=True)
    busy = os.open(settings.work_dir / "stack-base-busy", os.O_RDONLY)
    try:
        fcntl.flock(busy, fcntl.LOCK_EX)
        await Stack(settings, engine).ensure(None, Sayings())
    finally:
        os.close(busy)
    left = sorted(path.name.partition("-")[0] for path in settings.work_dir.iterdir())
    assert (left, (settings.work_dir / "stack-base-busy").exists()) == (["buildpacks", "builds", "stack"], True)


async def test_a_registry_that_never_answers_is_given_up(settings, engine, mmdebstrap, monkeypatch):
    mmdebstrap("exit 0")
    monkeypatch.setattr(stack_module, "PULL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(engine, "pull_image", never)
    say = Sayings()
    await Stack(settings, engine).ensure(None, say)
    assert say.titles() == making("base", "runner", "builder")
    assert "       (no answer within 0 s)" in say


async def appears(path):
    for _ in iter(path.exists, True):
        await trio.sleep(0.01)


async def never(_image):
    await trio.sleep_forever()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
