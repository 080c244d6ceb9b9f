"""A slug from elsewhere: what it may hold comes out as it was, and what it may not is named."""

import gzip
import io
import os
import stat
import tarfile

import pytest

from flynn_aio.errors import ValidationError
from flynn_aio.receive.unpack import unpack


def entry(name, content=b"", *, type=tarfile.REGTYPE, mode=0o644, link="", **more):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.linkname, info.mtime = len(content), type, mode, link, 1_000_000_000
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def folder(name, mode=0o755):
    return entry(name, type=tarfile.DIRTYPE, mode=mode)


def symlink(name, to):
    return entry(name, type=tarfile.SYMTYPE, link=to)


def hard_link(name, to):
    return entry(name, type=tarfile.LNKTYPE, link=to)


def packed(*entries):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue())


@pytest.fixture
def place(tmp_path):
    (tmp_path / "slug").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "secret").write_text("kept")
    return tmp_path


def unpacked(place, data, **limits):
    (place / "slug.tar.gz").write_bytes(data)
    return unpack(place / "slug.tar.gz", place / "slug", **limits)


def test_files_modes_times_and_links_stay_what_they_were(place):
    size = unpacked(
        place,
        packed(
            folder("./"),
            folder("./bin", 0o555),
            entry("./bin/run", b"#!/bin/sh\n", mode=0o4755, uid=0, gid=0),
            symlink("./bin/python", "/usr/bin/python3"),
            symlink("./up", "../../beside"),
            entry("./a/deep/file", b"x" * 100_000, mode=0o600),
            hard_link("./same", "./a/deep/file"),
        ),
    )
    slug = place / "slug"
    assert size == 100_010
    assert (slug / "bin/run").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((slug / "bin/run").stat().st_mode) == 0o755  # without its set-user-id bit
    assert (slug / "bin/run").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((slug / "bin").stat().st_mode) == 0o555
    assert os.readlink(slug / "bin/python") == "/usr/bin/python3"
    assert os.readlink(slug / "up") == "../../beside"
    assert (slug / "same").samefile(slug / "a/deep/file")
    assert stat.S_IMODE((slug / "a/deep/file").stat().st_mode) == 0o600
    owners = {path.lstat().st_uid for path in [*slug.rglob("*")]}
    assert owners == {5000 if os.geteuid() == 0 else os.geteuid()}


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("../beside/new", b"x")], "leads out of the slug"),
        ([entry("a/../../beside/new", b"x")], "leads out of the slug"),
        ([entry("/etc/new", b"x")], "leads out of the slug"),
        ([symlink("out", "../beside"), entry("out/new", b"x")], "leads through something that is no directory"),
        ([symlink("out", "../beside"), folder("out")], "leads through something that is no directory"),
        ([symlink("out", "../beside/secret"), entry("out", b"x")], "is there already"),
        ([entry("twice", b"1"), entry("twice", b"2")], "is there already"),
        ([hard_link("grab", "../beside/secret")], "leads out of the slug"),
        ([symlink("out", "../beside"), hard_link("grab", "out/secret")], "leads through something"),
        ([hard_link("grab", "absent")], "leads through something"),
        ([entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "is no file, directory or link"),
        ([entry("disk", type=tarfile.BLKTYPE)], "is no file, directory or link"),
        ([entry("pipe", type=tarfile.FIFOTYPE)], "is no file, directory or link"),
        ([entry("./", b"x")], "is not a directory"),
        ([entry("big", bytes(5000))], "files of more than 4000 bytes"),
        ([entry(f"n{i}") for i in range(11)], "more than 10 entries"),
        ([entry("x" * 2_000_000, b"")], "a header of 2000014 bytes"),
    ],
)
def test_what_no_slug_can_hold_is_named_and_nothing_is_written_beside(place, entries, why):
    with pytest.raises(ValidationError, match=why):
        unpacked(place, packed(*entries), max_bytes=4000, max_entries=10)
    assert os.listdir(place / "beside") == ["secret"]
    assert (place / "beside" / "secret").read_text() == "kept"
    assert (place / "beside" / "secret").stat().st_nlink == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip at all",
        gzip.compress(b"no tar at all"),
        packed(entry("file", os.urandom(50_000)))[:30_000],
        packed(entry("file", b"x"))[:-5],  # all of the tar, but not its checksum
    ],
)
def test_what_is_no_whole_archive_is_refused(place, data):
    with pytest.raises(ValidationError, match="cannot be unpacked"):
        unpacked(place, data)


def test_a_flipped_bit_is_found(place):
    data = bytearray(packed(entry("file", os.urandom(50_000))))
    data[25_000] ^= 1
    with pytest.raises(ValidationError, match="cannot be unpacked"):
        unpacked(place, bytes(data))
