"""Layers on the disk: whole or not there, held while a push needs them, gone when nobody does."""

import errno
import gzip
import hashlib
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from flynn_aio.errors import ValidationError
from flynn_aio.images import Layers
from flynn_aio.images.layers import HELD_S, LayerError
from flynn_aio.model import LAYER_TYPE, ImageLayer
from flynn_aio.settings import ImageSettings

from ..support.layers import digest, layer_tar
from .test_tars import HOLES

TAR = layer_tar({"hello.txt": b"hello\n" * 1000})
ID = digest(TAR)
MAX = 100_000


class Now:
    def __init__(self):
        self.seconds = 1_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def layers(tmp_path, now):
    layers = Layers(ImageSettings(layer_dir=tmp_path, max_layer_bytes=MAX), now)
    layers.prepare()
    return layers


async def pieces(data, size=700):
    for at in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[at : at + size]


async def nobody():
    return ()


async def test_a_layer_is_described_and_found(layers, tmp_path):
    assert await layers.find(ID) is None
    received = await layers.receive(ID, pieces(TAR))
    assert received == ImageLayer(
        id=ID,
        type=LAYER_TYPE,
        length=len(TAR),
        hashes={"sha512_256": hashlib.new("sha512_256", TAR).hexdigest()},
        meta={"tar.layer_id": ID},
    )
    assert await layers.find(ID) == received
    assert os.listdir(tmp_path) == [ID]
    assert (tmp_path / ID / "layer.tar").read_bytes() == TAR


@pytest.mark.parametrize("size", [1, 3, 700, 10**9])
async def test_a_gzip_is_kept_as_the_tar_in_it(layers, tmp_path, size):
    received = await layers.receive(ID, pieces(gzip.compress(TAR), size))
    assert received.length == len(TAR)
    assert (tmp_path / ID / "layer.tar").read_bytes() == TAR


@pytest.mark.parametrize("size", [1, 700, 10**9])
async def test_a_gzip_of_several_members_is_kept_as_the_tar_in_all_of_them(layers, tmp_path, size):
    """RFC 1952 §2.2; so are eStargz layers, one member for each file."""
    sent = b"".join(gzip.compress(TAR[at : at + 512]) for at in range(0, len(TAR), 512))
    await layers.receive(ID, pieces(sent, size))
    assert (tmp_path / ID / "layer.tar").read_bytes() == TAR


@pytest.mark.parametrize(
    ("layer", "data", "why"),
    [
        ("0" * 64, TAR, f"SHA256 mismatch: the tar that was sent has {ID}"),
        (ID, TAR[:-1], "SHA256 mismatch"),
        (ID, b"", "is not a tar archive"),
        (ID, b"\x1f", "is not a tar archive"),
        (digest(b"x" * 600), b"x" * 600, "is not a tar archive"),
        (ID, gzip.compress(TAR)[:-9], "ends in the middle of its gzip"),
        (ID, b"\x1f\x8bnonsense", "is no proper gzip"),
        (digest(bytes(MAX + 1)), bytes(MAX + 1), f"is larger than the {MAX} bytes of images.max_layer_bytes"),
        (ID, gzip.compress(bytes(MAX * 100)), "is larger than"),
        (digest(HOLES), HOLES, "has a sparse file in it, which layers cannot have"),
        (ID, gzip.compress(TAR) + gzip.compress(b"more")[:-9], "ends in the middle of its gzip"),
        (ID, gzip.compress(TAR) + b"more", "is no proper gzip"),
        (ID, gzip.compress(bytes(MAX)) * 100, "is larger than"),
    ],
    ids=[
        "other",
        "cut",
        "nothing",
        "half-magic",
        "text",
        "cut-gzip",
        "bad-gzip",
        "big",
        "bomb",
        "holes",
        "cut-member",
        "bad-member",
        "bombs",
    ],
)
async def test_what_is_not_the_layer_it_should_be_leaves_nothing(layers, tmp_path, layer, data, why):
    with pytest.raises(ValidationError, match=why):
        await layers.receive(layer, pieces(data))
    assert os.listdir(tmp_path) == []


async def test_an_upload_that_is_given_up_leaves_nothing(layers, tmp_path):
    seen = []

    async def stalling():
        yield TAR[:600]
        seen.extend(os.listdir(tmp_path))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(layers.receive, ID, stalling())
        while not seen:
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel("the client has gone")
    assert len(seen) == 1
    assert os.listdir(tmp_path) == []


async def test_a_full_disk_is_told_and_leaves_nothing(layers, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LayerError, match=f"keeping layer {ID}: No space left on device; free some space"):
        await layers.receive(ID, pieces(TAR))
    assert os.listdir(tmp_path) == []


async def test_a_layer_that_a_power_cut_damaged_can_be_pushed_again(layers, tmp_path):
    await layers.receive(ID, pieces(TAR))
    (tmp_path / ID / "layer.json").write_bytes(b"")
    assert await layers.find(ID) is None
    received = await layers.receive(ID, pieces(TAR))
    assert received.length == len(TAR)
    assert await layers.find(ID) == received
    assert os.listdir(tmp_path) == [ID]


async def test_the_same_layer_twice_at_once_is_one(layers, tmp_path):
    results = []

    async def push():
        results.append(await layers.receive(ID, pieces(TAR, 100)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push)
        nursery.start_soon(push)
    assert results[0] == results[1]
    assert os.listdir(tmp_path) == [ID]


async def test_a_layer_that_is_pushed_again_while_it_is_swept_is_there_afterwards(layers, now):
    await layers.receive(ID, pieces(TAR))
    now.seconds += HELD_S + 1
    pushed = trio.Event()

    async def push():
        await layers.receive(ID, pieces(TAR))
        pushed.set()

    async with trio.open_nursery() as nursery:

        async def find_used():
            nursery.start_soon(push)
            while not (pushed.is_set() or layers.settling.statistics().tasks_waiting):
                await trio.lowlevel.checkpoint()
            return ()

        await layers.sweep(find_used)
    assert await layers.missing([ID]) == []


async def test_a_layer_is_held_until_its_artifact_is_there(layers, tmp_path, now):
    await layers.receive(ID, pieces(TAR))
    assert await layers.sweep(nobody) == []
    now.seconds += HELD_S - 1
    assert await layers.find(ID)  # another push has asked: that holds it anew
    now.seconds += HELD_S - 1
    assert await layers.sweep(nobody) == []
    await layers.let_go([ID])

    async def used():
        return {ID}

    assert await layers.sweep(used) == []
    assert await layers.sweep(nobody) == [ID]
    assert os.listdir(tmp_path) == []
    assert await layers.find(ID) is None
    await layers.receive(ID, pieces(TAR))  # what was deleted can be pushed again
    assert await layers.find(ID)


async def test_what_a_push_gave_up_goes_after_a_while(layers, now):
    await layers.receive(ID, pieces(TAR))
    now.seconds += HELD_S + 1
    assert await layers.sweep(nobody) == [ID]


async def test_what_a_crash_left_is_swept(layers, tmp_path):
    for name in (".new-0011", ".old-0011"):
        (tmp_path / name / "sub").mkdir(parents=True)
    assert sorted(await layers.sweep(nobody)) == [".new-0011", ".old-0011"]
    assert os.listdir(tmp_path) == []


async def test_missing_tells_what_is_not_here(layers):
    await layers.receive(ID, pieces(TAR))
    assert await layers.missing([ID, "f" * 64]) == ["f" * 64]


def test_layers_are_not_for_everybody(layers, tmp_path):
    async def push():
        await layers.receive(ID, pieces(TAR))

    trio.run(push)
    assert Path(tmp_path / ID).stat().st_mode & 0o077 == 0
