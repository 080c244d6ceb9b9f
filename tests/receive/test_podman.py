"""A push through real containers: the slug they make, and what is left when the pusher hangs up.

The app brings its own buildpack in a tar, so that no language's image and no package is needed.
"""

import io
import os
import signal
import tarfile
import uuid
from ipaddress import IPv4Network

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import open_engine, shut_down
from flynn_aio.model import Release
from flynn_aio.settings import EngineSettings
from flynn_aio.store import changes, queries

from ..support.git import eventually
from .conftest import build_settings, open_place_on
from .test_push import DEPLOYED

pytestmark = pytest.mark.podman

SUBNET = IPv4Network("100.119.0.0/24")
PACK = {
    "detect": "echo Test",
    "compile": """
echo "-----> uid $(id -u), cached: $(cat "$2/count" 2>/dev/null || echo 0)"
echo "       commit $SOURCE_VERSION, FOO ${FOO-unset}, env dir $(cat "$3/FOO")"
echo made >"$1/made"
echo 1 >"$2/count"
if [ -f "$1/hang" ]; then echo 'hanging...'; sleep 600; fi
if [ -f "$1/fail" ]; then echo 'failing...' >&2; exit 4; fi
""",
    "release": "printf 'default_process_types:\\n  worker: sleep 1\\n'",
}


def pack():
    """Return a buildpack as a tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, script in PACK.items():
            data = f"#!/bin/bash\n{script}\n".encode()
            member = tarfile.TarInfo(f"bin/{name}")
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
async def place(tmp_path, store):
    settings = build_settings(tmp_path)
    engine_settings = EngineSettings(
        appliance=uuid.uuid4().hex[:8],
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "logs",
        slug_dir=settings.slug_dir,
        layer_dir=settings.slug_dir,
        volume_dir=tmp_path / "volumes",
        subnet=SUBNET,
    )
    clock = SystemClock()
    try:
        async with (
            open_engine(engine_settings) as engine,
            open_place_on(engine, tmp_path, store, clock, settings) as place,
        ):

            def set_env(tx):
                env = {"BUILDPACK_URL": "file:///app/pack.tgz", "FOO": "bar"}
                release = changes.create_release(tx, Release(app_id=place.app.id, env=env))
                changes.set_app_release(tx, place.app.id, release.id)

            await store.transact(set_env)
            yield place
    finally:
        with trio.move_on_after(60, shield=True):
            await shut_down(engine_settings, kill_s=1)


async def test_a_push_makes_a_slug_and_a_cancelled_one_leaves_nothing(place):
    commit = await place.client.commit(pack__tgz=pack(), sub_S_file="x")
    said = await place.client.push()
    assert said.code == 0, said.text
    assert "-----> Fetching custom buildpack" in said.lines
    assert "-----> Test app detected" in said.lines
    assert "-----> uid 5000, cached: 0" in said.lines
    assert f"       commit {commit}, FOO unset, env dir bar" in said.lines
    assert "       Default process types for Test -> worker" in said.lines
    assert said.lines[-1] == DEPLOYED
    [name] = await place.store.read(queries.live_slugs)
    slug = place.settings.slug_dir / name
    assert (slug / "made").read_text() == "made\n"
    assert (slug / "sub" / "file").stat().st_uid == 5000

    await place.client.commit(fail="1")
    said = await place.client.push()
    assert said.code == 1
    assert "-----> uid 5000, cached: 1" in said.lines
    assert "failing..." in said.lines
    assert "ERROR: Build failed: exit status 4" in said.lines

    (place.client.tree / "fail").unlink()
    await place.client.commit(hang="1")
    async with place.client.pushing() as push:
        await push.wait_for("hanging...", within_s=60)
        os.killpg(push.process.pid, signal.SIGINT)
        await push.wait()

        async def gone():
            return not await place.engine.jobs() and not place.leftovers

        await eventually(gone)
    assert (await place.client.remote_refs())["refs/heads/master"] == commit
    assert place.slugs == [name]
