"""Slugs out of a cluster and into one: what goes round comes round, and what is refused leaves nothing."""

import gzip
import os
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from flynn_aio.errors import NotFound, ValidationError
from flynn_aio.model import Time
from flynn_aio.receive.receive import HELD, _used
from flynn_aio.receive.slugs import SlugError, Slugs
from flynn_aio.receive.stack import StackImages
from flynn_aio.receive.transfer import SlugTransfer
from flynn_aio.store import queries

from .conftest import build_settings
from .test_unpack import entry, packed, symlink

RUNNER = "image:localhost/flynn-aio/debian-12/runner"


@dataclass
class Images:
    """The stack, which has every image."""

    asked: list[str | None] = field(default_factory=list)

    async def ensure(self, language, say):
        await trio.lowlevel.checkpoint()
        self.asked.append(language)
        return StackImages(runner=f"runner-{language}", builder="", cf_stack="", buildpacks=Path())


@pytest.fixture
def settings(tmp_path):
    return build_settings(tmp_path)


@pytest.fixture
def images():
    return Images()


@pytest.fixture
def transfer(store, settings, clock, images):
    slugs = Slugs(settings)
    slugs.prepare()
    return SlugTransfer(store, slugs, images, clock, stack="debian-12")


async def sent(data, *, size=10_000):
    for start in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[start : start + size]


def leftovers(settings):
    return os.listdir(settings.slug_dir) + os.listdir(settings.work_dir / "builds")


async def test_a_slug_goes_out_and_comes_in_again(transfer, store, settings, images):
    slug = settings.slug_dir / "s1"
    (slug / "bin").mkdir(parents=True)
    (slug / "bin/run").write_bytes(os.urandom(700_000))
    (slug / "bin/run").chmod(0o755)
    (slug / "python").symlink_to("/usr/bin/python3")
    (slug / "Procfile").write_text("web: run\nworker: work\n")
    async with transfer.open_tar("s1") as pieces:
        tar = b"".join([piece async for piece in pieces])

    runner, made = await transfer.receive(sent(tar), runner=f"{RUNNER}-python:0123456789ab")
    assert images.asked == ["python"]
    assert (runner.uri, runner.meta) == ("image:runner-python", {"flynn.system-image": "true"})
    copy = settings.slug_dir / made.slug
    assert (copy / "bin/run").read_bytes() == (slug / "bin/run").read_bytes()
    assert (copy / "bin/run").stat().st_mode == (slug / "bin/run").stat().st_mode
    assert os.readlink(copy / "python") == "/usr/bin/python3"
    assert sorted(made.manifest["entrypoints"]) == ["_default", "web", "worker"]
    assert await store.read(partial(queries.artifact, artifact_id=made.id)) == made
    assert sorted(leftovers(settings)) == sorted(["s1", made.slug])


@pytest.mark.parametrize("slug", ["absent", "..", ".new-s1", "", "a/b"])
async def test_what_is_no_slug_does_not_go_out(transfer, settings, slug):
    (settings.slug_dir / ".new-s1").mkdir()
    assert not await transfer.is_there(slug)
    with pytest.raises(NotFound):
        async with transfer.open_tar(slug):
            pass


async def test_a_slug_that_cannot_be_read_ends_in_an_error(transfer, settings, tmp_path, monkeypatch):
    (settings.slug_dir / "s1").mkdir()
    tool = tmp_path / "tar"
    tool.write_text("#!/bin/sh\necho half of it\necho tar: x: Input/output error >&2\nexit 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    async with transfer.open_tar("s1") as pieces:
        with pytest.raises(SlugError, match="reading slug s1: tar ended with status 2: tar: x: Input/output error"):
            [piece async for piece in pieces]


async def test_nobody_need_read_a_slug_to_its_end(transfer, settings):
    (settings.slug_dir / "s1").mkdir()
    (settings.slug_dir / "s1" / "big").write_bytes(os.urandom(5_000_000))
    with trio.fail_after(10):
        async with transfer.open_tar("s1") as pieces:
            async for piece in pieces:
                assert piece
                break
            await pieces.aclose()


@pytest.mark.parametrize(
    ("runner", "language"),
    [
        ("", None),
        ("image:elsewhere/slugrunner:1", None),
        (f"{RUNNER}:0123456789ab", None),
        (f"{RUNNER}-nodejs:0123456789ab", "nodejs"),
    ],
)
async def test_the_runner_is_that_of_the_same_language(transfer, images, runner, language):
    await transfer.receive(sent(packed(entry("./Procfile", b"web: x"))), runner=runner)
    assert images.asked == [language]


@pytest.mark.parametrize(
    ("data", "runner", "why"),
    [
        (b"no archive", "", "cannot be unpacked"),
        (packed(entry("../x", b"x")), "", "leads out of the slug"),
        (packed(symlink("Procfile", "/etc/shadow")), "", "Procfile is not a plain file"),
        (packed(entry("x")), "image:localhost/flynn-aio/debian-99/runner:0123456789ab", "is the runner of debian-99"),
        (gzip.compress(bytes(2048))[:-4], "", "cannot be unpacked"),
    ],
)
async def test_what_is_refused_leaves_nothing(transfer, store, settings, data, runner, why):
    with pytest.raises((ValidationError, SlugError), match=why):
        await transfer.receive(sent(data), runner=runner)
    assert leftovers(settings) == []
    assert await store.read(queries.artifacts) == []


async def test_a_sender_that_goes_away_leaves_nothing(transfer, settings):
    async def broken():
        yield b"\x1f\x8b"
        await trio.lowlevel.checkpoint()
        raise ValidationError("gone")

    with pytest.raises(ValidationError, match="gone"):
        await transfer.receive(broken())
    with trio.CancelScope() as scope:

        async def cancelled():
            yield b"\x1f\x8b"
            scope.cancel()
            await trio.sleep_forever()

        await transfer.receive(cancelled())
    assert leftovers(settings) == []


async def test_a_full_disk_is_said_and_leaves_nothing(transfer, settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flynn_aio.receive.transfer.unpack", full)
    with pytest.raises(SlugError, match="keeping a slug: No space left on device; free some space"):
        await transfer.receive(sent(packed(entry("./Procfile", b"web: x"))))
    assert leftovers(settings) == []


async def test_a_slug_waits_an_hour_for_its_release(transfer, store, clock):
    _, made = await transfer.receive(sent(packed(entry("./Procfile", b"web: x"))))
    now = clock.now()
    for later, there in ((timedelta(minutes=59), {made.slug}), (timedelta(minutes=61), set())):
        used = await store.read(partial(_used, since=Time.of(now + later - HELD)))
        assert used.slugs == there
