"""The headers of a tar that goes by: files that are mostly holes are found, whatever stands before them."""

import io
import tarfile

import pytest

from flynn_aio.images.tars import Headers, Unfit

from ..support.layers import layer_tar

PLAIN = layer_tar({"bin/": b"", "bin/sh": b"#!" * 700, "empty": b"", "x": b"x" * 512})
END = bytes(1024)
HOLE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "big", "GNU.sparse.realsize": "9" * 12}


def entry(name, data=b"", *, form=tarfile.PAX_FORMAT, **fields):
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for field, value in fields.items():
        setattr(found, field, value)
    return found.tobuf(form) + data + bytes(-len(data) % 512)


def renumbered(header, field):
    """Put another size in a header, as another program would write it."""
    changed = bytearray(header)
    changed[124:136] = field
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def extended(records):
    data = b"".join(records)
    return entry("x", data, form=tarfile.USTAR_FORMAT, type=tarfile.XHDTYPE)


HOLES = entry("GNUSparseFile.0/big", b"y" * 1024, pax_headers=HOLE)
OLD_HOLES = entry("big", b"y" * 512, form=tarfile.GNU_FORMAT, type=tarfile.GNUTYPE_SPARSE)
FAKE = entry("data that looks like a header", form=tarfile.USTAR_FORMAT)
BEFORE = {
    "nothing": b"",
    "files": PLAIN.rstrip(b"\0") + bytes(-len(PLAIN.rstrip(b"\0")) % 512),
    "a long name": entry("n" * 300, b"data", form=tarfile.GNU_FORMAT),
    "a long name in PAX": entry("n" * 300, b"data" * 200),
    "a name that looks like records": entry("12 size=1024\n" * 20, b"data"),
    "a hard link with a size": entry("l", type=tarfile.LNKTYPE, linkname="x", size=4096)[:512],
    "a size that begins with NUL": renumbered(entry("f", b"", form=tarfile.USTAR_FORMAT), b"\0 0000001000") + FAKE,
    "a binary size": renumbered(entry("f", b"", form=tarfile.USTAR_FORMAT), b"\x80" + bytes(9) + b"\x02\0") + FAKE,
    "a size in PAX": extended([b"12 size=512\n"]) + entry("f", form=tarfile.USTAR_FORMAT) + FAKE,
    "a size in PAX, twice": extended([b"13 size=1024\n", b"12 size=512\n"]) + entry("f") + FAKE,
    "a global header": entry("g", b"13 size=1024\n", form=tarfile.USTAR_FORMAT, type=tarfile.XGLTYPE),
}


def look(data, size):
    headers = Headers()
    for at in range(0, len(data), size):
        headers.feed(data[at : at + size])


@pytest.mark.parametrize("size", [1, 511, 10**9])
@pytest.mark.parametrize("holes", [HOLES, OLD_HOLES], ids=["pax", "old"])
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_a_file_of_holes_is_found(before, holes, size):
    with pytest.raises(Unfit, match="has a sparse file in it"):
        look(before + holes + END, size)


@pytest.mark.parametrize("size", [1, 511, 10**9])
@pytest.mark.parametrize("tar", BEFORE.values(), ids=BEFORE)
def test_everything_else_passes(tar, size):
    look(tar + END, size)
    look(tar + entry("holes.tar", HOLES) + END + HOLES, size)


@pytest.mark.parametrize(
    "tar",
    [
        b"no tar at all" * 100,
        renumbered(entry("f", form=tarfile.USTAR_FORMAT), b"\xff" * 12),
        renumbered(entry("f", form=tarfile.USTAR_FORMAT), b"00000000089\0"),
        extended([b"3 size=512\n"]),
        extended([b"99999999999999 size=512\n"]),
        extended([b"12 size=5_2\n"]),
        extended([b"0 =\n"]),
        extended([b"x" * (1024 * 1024 + 1)]),
    ],
)
def test_what_podman_does_not_read_is_podmans_to_refuse(tar):
    look(tar + HOLES, 700)


def test_a_tar_of_the_standard_library_passes_in_each_of_its_formats():
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            tar.add("tests/images", arcname="images")
        look(out.getvalue() + HOLES, 4096)  # behind its end
