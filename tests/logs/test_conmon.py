"""The other end is conmon itself: what it writes, and how it begins new files."""

import hashlib
import os
import random
from ipaddress import IPv4Network

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import JobSpec, open_engine, shut_down
from flynn_aio.logs import LogQuery, open_logs
from flynn_aio.logs.files import OLD
from flynn_aio.model import AppID, JobID
from flynn_aio.settings import EngineSettings, LogSettings
from tests.support.images import ensure_test_image

pytestmark = pytest.mark.podman

APP = AppID("00000000-0000-4000-8000-00000000000a")
JOB = JobID("00000000-0000-4000-8000-000000000001")
BATCHES, BATCH = 10, 1000
SCRIPT = f"""
for batch in $(seq 0 {BATCHES - 1}); do
  printf 'half '; seq $((batch * {BATCH})) $((batch * {BATCH} + {BATCH - 1})); sleep 0.2
done
head -c 10050 /dev/zero | tr '\\0' x; echo; echo problem >&2; printf 'bye'
"""


@pytest.fixture
async def engine(tmp_path):
    """A real one, which begins a new log file every 150 KB."""
    settings = EngineSettings(
        appliance=hashlib.sha256(os.fsencode(tmp_path)).hexdigest()[:8],
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "logs",
        slug_dir=tmp_path / "slugs",
        layer_dir=tmp_path / "layers",
        volume_dir=tmp_path / "volumes",
        subnet=IPv4Network(f"10.{random.randrange(200, 250)}.{random.randrange(256)}.0/24"),
        log_file_bytes=150_000,
    )
    image = await trio.to_thread.run_sync(ensure_test_image)
    try:
        async with open_engine(settings) as opened:
            yield opened, image
    finally:
        with trio.CancelScope(shield=True):
            await shut_down(settings, kill_s=0)


def expected() -> list[str]:
    numbers = range(BATCHES * BATCH)
    lines = [f"half {number}" if number % BATCH == 0 else str(number) for number in numbers]
    return [*lines, "x" * 10_000, "x" * 50, "bye"]


async def test_a_follower_gets_every_line_through_new_files_and_to_the_end(engine, tmp_path):
    engine, image = engine
    settings = LogSettings(dir=tmp_path / "logs")
    spec = JobSpec(id=JOB, app=APP, app_name="hello", type="web", image=image, args=("/bin/sh", "-c", SCRIPT))
    async with open_logs(settings, engine, SystemClock()) as logs:
        found, errors = [], []
        async with logs.follow(APP, LogQuery()) as stream:
            await engine.start(spec)
            with trio.fail_after(30):
                while not found or found[-1] != "bye":
                    message = await stream.receive()
                    (found if message.stream == "stdout" else errors).append(message.msg)
        assert found == expected()
        assert errors == ["problem"]
        assert any(name.endswith(OLD) for name in os.listdir(settings.dir))
        assert [one.msg for one in await logs.read(APP, LogQuery(lines=3, streams=frozenset({"stdout"})))] == [
            "x" * 10_000,
            "x" * 50,
            "bye",
        ]
        assert (await logs.tail(JOB, 1)) == ["bye"]
        assert len(await logs.read(APP, LogQuery())) > BATCH
