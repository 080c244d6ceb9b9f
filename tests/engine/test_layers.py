"""What Podman is sent to make an image of layers, and what is made of its complaints."""

import io
import json
import tarfile

from flynn_aio.engine.layers import archive, why

from ..support.layers import digest, layer_tar

ONE, TWO = layer_tar({"a": b"a" * 5000}), layer_tar({"b": b"b"})
COMPLAINT = """payload does not match any of the supported image formats:
 * oci: open /tmp/x/index.json: not a directory
 * docker-archive: writing blob: unexpected EOF
 * dir: open /tmp/x/manifest.json: not a directory"""


async def test_the_archive_is_what_docker_save_writes(tmp_path):
    for tar in (ONE, TWO):
        (tmp_path / digest(tar)).mkdir()
        (tmp_path / digest(tar) / "layer.tar").write_bytes(tar)
    layers = [digest(ONE), digest(TWO), digest(ONE)]  # two equal layers are one file
    pieces = [piece async for piece in archive(tmp_path, layers, "localhost/x:1")]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}
    assert files[f"{digest(ONE)}.tar"] == ONE
    assert files[f"{digest(TWO)}.tar"] == TWO
    [manifest] = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/x:1"]
    assert manifest["Layers"] == [f"{layer}.tar" for layer in layers]
    config = json.loads(files[manifest["Config"]])
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]}
    assert config["config"] == {}


def test_of_all_podman_says_the_line_about_our_archive_counts():
    assert why(COMPLAINT) == "writing blob: unexpected EOF"
    assert why("no such thing\nmore") == "no such thing"
    assert why("") == "it does not say why"
