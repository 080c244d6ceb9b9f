"""`flynn docker`: every layout of an archive is read, each layer goes once, and what a person set stays."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from flynn_aio.cli import docker_archive
from flynn_aio.cli.docker_archive import Image, Layer, read, unpacked
from flynn_aio.cli.failure import Failure

from ..support.layers import digest, layer_tar
from .fake_controller import NOT_FOUND, error

ONE, TWO = layer_tar({"one": b"1"}), layer_tar({"two": b"2"})
CONFIG = {
    "config": {
        "Env": ["PATH=/bin", "TAB=a\tb", "GREETING=image", "odd"],
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", "serve"],
        "WorkingDir": "/srv",
        "StopSignal": "SIGQUIT",
    },
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(ONE)}", f"sha256:{digest(TWO)}"]},
}
ENV = {"PATH": "/bin", "TAB": "a\tb", "GREETING": "image"}
APP = {"id": "a1", "name": "shop"}


def blob(data):
    return f"blobs/sha256/{digest(data)}"


def dump(value):
    return json.dumps(value).encode()


def legacy():
    """As Docker before 25 writes it; equal layers are links."""
    return {
        "c.json": dump(CONFIG),
        "x1/layer.tar": ONE,
        "x2/layer.tar": TWO,
        "manifest.json": dump([{"Config": "c.json", "RepoTags": None, "Layers": ["x1/layer.tar", "x2/layer.tar"]}]),
    }


def podman():
    names = [f"{digest(ONE)}.tar", f"{digest(TWO)}.tar"]
    return {
        names[0]: ONE,
        "x1/layer.tar": f"->../{names[0]}",
        names[1]: TWO,
        "c.json": dump(CONFIG),
        "manifest.json": dump([{"Config": "c.json", "RepoTags": ["x"], "Layers": ["x1/layer.tar", names[1]]}]),
    }


def oci(*, compressed=False):
    layers = [gzip.compress(tar) for tar in (ONE, TWO)] if compressed else [ONE, TWO]
    manifest = dump(
        {
            "config": {"digest": f"sha256:{digest(dump(CONFIG))}"},
            "layers": [{"digest": f"sha256:{digest(layer)}"} for layer in layers],
        }
    )
    inner = dump({"manifests": [{"digest": f"sha256:{digest(manifest)}"}, {"digest": "sha256:elsewhere"}]})
    index = {"manifests": [{"digest": f"sha256:{digest(inner)}"}]}
    blobs = {blob(data): data for data in (*layers, dump(CONFIG), manifest, inner)}
    return {**blobs, "oci-layout": b"{}", "index.json": dump(index)}


def both():
    """As Docker since 25 writes it."""
    manifest = [{"Config": blob(dump(CONFIG)), "RepoTags": ["x"], "Layers": [blob(ONE), blob(TWO)]}]
    return {**oci(), "manifest.json": dump(manifest)}


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content.removeprefix("->")
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


LAYOUTS = {"legacy": legacy(), "podman": podman(), "oci": oci(), "both": both(), "gzip": oci(compressed=True)}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_the_same_image(tmp_path, files):
    found = unpacked(io.BytesIO(archive(files)), str(tmp_path))
    image = read(found)
    assert image._replace(layers=()) == Image((), ["/bin/sh", "-c", "serve"], ENV, "/srv", "SIGQUIT")
    assert [layer.id for layer in image.layers] == [digest(ONE), digest(TWO)]
    contents = [Path(layer.path).read_bytes() for layer in image.layers]
    assert [gzip.decompress(each) if each[:2] == b"\x1f\x8b" else each for each in contents] == [ONE, TWO]
    assert [layer.size for layer in image.layers] == [len(each) for each in contents]


@pytest.mark.parametrize("name", ["../../evil", "/evil"])
def test_no_name_of_the_archive_is_a_path_of_ours(tmp_path, name):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    unpacked(io.BytesIO(archive({name: b"x"})), str(place))
    assert os.listdir(place) == ["0"]
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"manifest.json": dump([])}, "expected 1 docker manifest, got 0"),
        ({"manifest.json": dump([{}, {}])}, "expected 1 docker manifest, got 2"),
        ({"c.json": dump({"rootfs": {"diff_ids": ["sha256:1"]}})}, "it has 1 diff IDs for 2 layers"),
        ({"c.json": dump({"rootfs": {"diff_ids": ["md5:1", "md5:2"]}})}, "invalid diff ID: md5:1"),
    ],
)
def test_what_is_not_one_image_is_told(tmp_path, change, why):
    found = unpacked(io.BytesIO(archive({**legacy(), **change})), str(tmp_path))
    with pytest.raises(Failure, match=why):
        read(found)


@pytest.fixture
def tool(person, monkeypatch):
    """A `podman` that saves whatever archive the test gives it."""
    bin = person.home / "bin"
    bin.mkdir()
    monkeypatch.setenv("PATH", f"{bin}:/usr/bin:/bin")
    monkeypatch.setattr(docker_archive, "TOOLS", ("podman",))

    def install(files, *, inspect=0, save=0):
        (bin / "image.tar").write_bytes(archive(files) if files is not None else b"")
        script = (
            f'#!/bin/sh\nif [ "$1" = save ]; then cat {bin}/image.tar; exit {save}; fi\n'
            f'if [ {inspect} != 0 ]; then echo "no such image: $5" >&2; fi\nexit {inspect}\n'
        )
        (bin / "podman").write_text(script)
        (bin / "podman").chmod(0o755)

    install(podman())
    return install


@pytest.fixture
def cluster(controller, person):
    """The controller is the image service as well, as a cluster behind one address may have it."""
    text = person.rc.read_text().replace("https://images.example.com", f"http://127.0.0.1:{controller.port}")
    person.rc.write_text(text)
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/a1/release", NOT_FOUND)
    controller.on("GET /layer/" + digest(ONE), {"id": digest(ONE), "length": len(ONE)})
    controller.on("POST /layer/" + digest(TWO), {"id": digest(TWO), "length": len(TWO)})
    controller.on("POST /artifact", {"id": "art1"})
    controller.on("POST /releases", {"id": "r1"})
    controller.on("POST /apps/a1/deploy", {"id": "d1", "app": "a1", "finished_at": "2026-11-23T04:11:15Z"})
    return controller


def test_a_push_sends_what_is_missing_and_deploys(person, tool, cluster):
    done = person.flynn("docker", "push", "web:v1")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "deploying Docker image: web:v1",
        "exporting image with 'podman save web:v1'",
        f"uploading layer {digest(ONE)}",
        f"uploading layer {digest(TWO)}",
        "Docker image deployed, scale it with 'flynn scale app=N'",
    ]
    assert cluster.asked == [
        "GET /apps/shop",
        f"GET /layer/{digest(ONE)}",
        f"GET /layer/{digest(TWO)}",
        f"POST /layer/{digest(TWO)}",
        "POST /artifact",
        "GET /apps/a1/release",
        "POST /releases",
        "POST /apps/a1/deploy",
    ]
    assert cluster.bodies(f"POST /layer/{digest(TWO)}") == [TWO]
    [manifest] = cluster.bodies("POST /artifact")
    assert manifest == {
        "_type": "application/vnd.flynn.image.manifest.v1+json",
        "entrypoints": {
            "_default": {
                "env": {**ENV, "TAB": "a\\tb"},  # as Flynn's client writes it there
                "cwd": "/srv",
                "args": ["/bin/sh", "-c", "serve"],
                "stop_signal": "SIGQUIT",
            }
        },
        "rootfs": [
            {
                "platform": {"architecture": "amd64", "os": "linux"},
                "layers": [{"id": digest(ONE), "length": len(ONE)}, {"id": digest(TWO), "length": len(TWO)}],
            }
        ],
    }
    [release] = cluster.bodies("POST /releases")
    assert release == {
        "app_id": "a1",
        "artifacts": ["art1"],
        "env": ENV,  # with its tab
        "meta": {},
        "processes": {
            "app": {
                "args": ["/bin/sh", "-c", "serve"],
                "service": "shop-web",
                "ports": [{"port": 8080, "proto": "tcp", "service": {"name": "shop-web", "create": True}}],
            }
        },
    }


def test_a_second_push_keeps_what_a_person_has_set(person, tool, cluster):
    ports = [{"port": 9000, "proto": "tcp"}]
    before = {
        "id": "r0",
        "env": {"GREETING": "mine", "MORE": "1"},
        "meta": {"team": "x"},
        "processes": {
            "app": {"args": ["old"], "ports": ports, "resources": {"memory": {"limit": 1}}},
            "worker": {"args": ["w"]},
        },
    }
    cluster.on("GET /apps/a1/release", before)
    assert person.flynn("docker", "push", "web").code == 0
    [release] = cluster.bodies("POST /releases")
    assert release["env"] == {**ENV, "GREETING": "mine", "MORE": "1"}
    assert release["meta"] == {"team": "x"}
    assert release["processes"] == {
        "app": {"args": ["/bin/sh", "-c", "serve"], "ports": ports, "resources": {"memory": {"limit": 1}}},
        "worker": {"args": ["w"]},
    }


def test_a_refused_layer_ends_the_push(person, tool, cluster):
    cluster.on("POST /layer/" + digest(TWO), error("validation_error", "layer SHA256 mismatch", 400))
    done = person.flynn("docker", "push", "web")
    assert (done.code, done.err.splitlines()[-1]) == (1, "validation_error: layer SHA256 mismatch")
    assert "POST /artifact" not in cluster.asked


def test_an_image_nobody_has_is_told(person, tool, cluster):
    tool(podman(), inspect=125)
    done = person.flynn("docker", "push", "web")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "image web not found: podman: no such image: web"


@pytest.mark.parametrize(
    ("files", "status", "why"),
    [
        (None, 3, "'podman save web' ended with status 3"),
        (None, 0, "error extracting podman save output: "),
        (
            {"x": b""},
            0,
            "error loading docker manifest: 'podman save' wrote something unknown (KeyError('index.json'))",
        ),
    ],
)
def test_an_export_that_fails_is_told(person, tool, cluster, files, status, why):
    tool(files, save=status)
    done = person.flynn("docker", "push", "web")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(why)


def test_without_a_tool_the_next_step_is_told(person, cluster, monkeypatch):
    monkeypatch.setenv("PATH", str(person.home))
    done = person.flynn("docker", "push", "web")
    assert (done.code, done.err.splitlines()[-1]) == (1, "Neither 'docker' nor 'podman' was found.")
    assert done.hint == "install one of them, or push with git"


def test_a_cluster_without_an_image_url_is_told(person, tool, controller):
    person.rc.write_text(person.rc.read_text().replace("https://images.example.com", ""))
    done = person.flynn("docker", "push", "web")
    assert (done.code, done.err.splitlines()[-1]) == (1, 'cluster "one" has no image URL')


@pytest.mark.parametrize("words", [("login",), ("logout",), ("set-push-url",), ("set-push-url", "https://x")])
def test_what_was_given_up_says_so(person, controller, words):
    done = person.flynn("docker", *words)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("DEPRECATED: ")


def test_a_layer_is_a_file_and_its_digest(tmp_path):
    (tmp_path / "0").write_bytes(ONE)
    assert Layer("x", str(tmp_path / "0")).size == len(ONE)
