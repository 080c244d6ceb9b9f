"""An export as it is written and read: whole or refused, whatever is in it."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from flynn_aio.cli.app_archive import END, Writer, read
from flynn_aio.cli.failure import Failure

from ..support.layers import digest, layer_tar

LAYER = layer_tar({"one": b"1" * 3000})
APP = {"id": "a1", "name": "shop"}
IMAGE = {
    "id": "art1",
    "type": "flynn",
    "uri": "http://blobstore.discoverd/x",
    "meta": {"blobstore": "true"},
    "manifest": {"rootfs": [{"layers": [{"id": digest(LAYER)}]}]},
}
FILES = {
    "app.json": APP,
    "routes.json": [{"type": "http", "domain": "shop.example.com"}],
    "release.json": {"id": "r1", "artifacts": ["art1"], "processes": {"web": {}}},
    "artifacts.json": [IMAGE],
    f"{digest(LAYER)}.layer": LAYER,
    "formation.json": {"processes": {"web": 1}},
}


def written(files=FILES, *, folder="shop", end=True):
    """Return an archive as `flynn export` writes it."""
    raw = io.BytesIO()
    archive = Writer(raw, folder, lambda count: None)
    for name, value in files.items():
        if isinstance(value, bytes):
            archive.add(name, len(value), [value])
        else:
            archive.json(name, value)
    if end:
        archive.end()
    return raw.getvalue()


def packed(*entries):
    """Return an archive with anything in it, behind a proper `app.json`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, content in [entry("shop/app.json", json.dumps(APP).encode()), *entries]:
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def entry(name, content=b"", *, type=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), type, link
    return info, content


def refused(data, tmp_path):
    with pytest.raises(Failure) as failure:
        read(io.BytesIO(data), str(tmp_path))
    return str(failure.value)


def test_the_tar_is_the_one_flynn_writes():
    with tarfile.open(fileobj=io.BytesIO(written())) as tar:
        assert tar.getnames() == [f"shop/{name}" for name in FILES]
        assert {(entry.mode, entry.isreg()) for entry in tar} == {(0o644, True)}
        assert tar.extractfile("shop/app.json").read() == b'{\n  "id": "a1",\n  "name": "shop"\n}\n'


def test_what_was_written_is_read(tmp_path):
    found = read(io.BytesIO(written()), str(tmp_path))
    assert (found.app, found.release["id"], found.artifacts, found.formation["processes"]) == (
        APP,
        "r1",
        [IMAGE],
        {"web": 1},
    )
    [(layer, path)] = found.layers.items()
    assert (layer, Path(path).read_bytes()) == (digest(LAYER), LAYER)
    assert (found.slug, found.dumps, found.unknown) == ("", {}, ())


def test_a_long_name_fits(tmp_path):
    assert read(io.BytesIO(written(folder="a" * 100)), str(tmp_path)).layers.keys() == {digest(LAYER)}


def test_an_app_without_a_release_is_whole_and_the_order_does_not_matter(tmp_path):
    found = read(io.BytesIO(written({"routes.json": None, "app.json": APP})), str(tmp_path))
    assert (found.app, found.routes, found.release) == (APP, [], {})


def test_an_equal_layer_may_come_twice_as_flynn_writes_it(tmp_path):
    data = written(end=False) + written({f"{digest(LAYER)}.layer": LAYER})
    assert read(io.BytesIO(data), str(tmp_path)).layers.keys() == {digest(LAYER)}


@pytest.mark.parametrize("length", [0, 100, 512, 1024, 5000, len(written(end=False))])
def test_an_archive_that_breaks_off_is_refused(tmp_path, length):
    assert refused(written()[:length], tmp_path).startswith("error reading export tar: ")


def test_one_that_breaks_off_behind_a_layer_is_refused_although_that_ends_in_zeros(tmp_path):
    files = {name: FILES[name] for name in FILES if name != "formation.json"}
    assert LAYER.endswith(END)
    assert refused(written(files, end=False), tmp_path).endswith("it breaks off before its end")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    data = written().replace(b"formation.json", b"formatiom.json")
    assert refused(data, tmp_path) == "error reading export tar: it is damaged"


@pytest.mark.parametrize("where", range(3000, 6000, 500))
def test_a_flipped_bit_in_a_layer_is_found(tmp_path, where):
    data = bytearray(written())
    data[data.index(LAYER[:512]) + where] ^= 1
    assert refused(bytes(data), tmp_path).startswith(f"layer {digest(LAYER)} is damaged: ")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("../x", b"x")], "'../x' leads out of it"),
        ([entry("shop/../../x", b"x")], "leads out of it"),
        ([entry("/etc/passwd", b"x")], "leads out of it"),
        ([entry("shop/link", type=tarfile.SYMTYPE, link="/etc/passwd")], "'shop/link' is not a file"),
        ([entry("shop/link", type=tarfile.LNKTYPE, link="shop/app.json")], "is not a file"),
        ([entry("shop/null", type=tarfile.CHRTYPE)], "is not a file"),
        ([entry("shop/pipe", type=tarfile.FIFOTYPE)], "is not a file"),
        ([entry("shop/app.json", b"{}")], "'app.json' is in it twice"),
        ([entry("shop/routes.json", bytes(17 * 1024 * 1024))], "no app has so much to say"),
        ([entry("x" * 2_000_000)], "a name of"),
    ],
)
def test_what_no_export_has_is_named(tmp_path, entries, why):
    assert why in refused(packed(*entries), tmp_path)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"app.json": None}, "error decoding app: it is not what a Flynn export has there"),
        ({"app.json": {}}, "error decoding app: it has no name"),
        ({"app.json": b"{"}, "error decoding app: "),
        ({"app.json": b"[" * 100_000}, "error decoding app: "),
        ({"release.json": []}, "error decoding release: "),
        ({"release.json": {"env": [1]}}, "error decoding release: its env are no JSON object"),
        ({"release.json": {"processes": {"web": 1}}}, "error decoding release: a process type is no JSON object"),
        ({"routes.json": [1]}, "error decoding routes: "),
        ({"artifacts.json": [{**IMAGE, "manifest": {}}]}, "has no manifest with layers"),
        ({"artifacts.json": [{"uri": "slug:x"}]}, "missing slug.tar.gz in export"),
        ({"slug.tar.gz": b"none"}, "slug.tar.gz is damaged: "),
        ({"slug.tar.gz": gzip.compress(b"x" * 9000)[:-3]}, "slug.tar.gz is damaged: "),
        ({"docker-image.tar": b"x"}, "cannot import docker-image.tar: "),
        ({"ab.layer": b"hsqs" + bytes(100)}, "layer ab is a SquashFS image"),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path, changed, why):
    assert why in refused(written(FILES | changed), tmp_path)


def test_a_layer_that_is_missing_is_named(tmp_path):
    files = {name: value for name, value in FILES.items() if not name.endswith(".layer")}
    assert refused(written(files), tmp_path) == f"missing layer in export: {digest(LAYER)}"


@pytest.mark.parametrize("data", [written({"flynn.json": {}}), bytes(10240), END])
def test_another_tar_is_none(tmp_path, data):
    assert refused(data, tmp_path) == "missing app.json"


def test_what_is_no_tar_is_none(tmp_path):
    assert refused(gzip.compress(written()), tmp_path).startswith("error reading export tar: ")


def test_what_nobody_knows_is_told_of(tmp_path):
    assert read(io.BytesIO(written(FILES | {"more.dump": b"x"})), str(tmp_path)).unknown == ("more.dump",)


def test_a_file_that_is_not_as_long_as_it_was_said_to_be_ends_the_export():
    with pytest.raises(Failure, match=r"error writing x: it has 2 bytes, not the 3 that were announced"):
        Writer(io.BytesIO(), "shop", lambda count: None).add("x", 3, [b"ab"])
