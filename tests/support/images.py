"""A tiny image for tests against a real Podman, made of this machine's own static busybox.

No registry is asked. The image's name carries a hash of what is in it, so it is made once and found again.
"""

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = "localhost/flynn-aio-test/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nflynn:x:5000:5000:flynn:/app:/bin/sh\n"
GROUP = "root:x:0:\nflynn:x:5000:\n"
DIRECTORIES = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "app": 0o755, "var": 0o755, "sbin": 0o755}


def ensure_test_image() -> str:
    """Return the name of an image with a shell and busybox's tools, making it when it is missing. Blocks."""
    busybox = shutil.which("busybox")
    if busybox is None or "statically linked" not in _kind(busybox):
        raise RuntimeError("tests marked podman need a static busybox: apt-get install busybox-static")
    program = Path(busybox).read_bytes()
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    digest = hashlib.sha256(program + repr((applets, PASSWD, GROUP, DIRECTORIES)).encode()).hexdigest()[:12]
    image = f"{REPOSITORY}:{digest}"
    if subprocess.run(["podman", "image", "exists", image], check=False).returncode != 0:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            write_rootfs(Path(file.name), program, applets)
            subprocess.run(["podman", "import", "--quiet", file.name, image], check=True, capture_output=True)
    return image


def write_rootfs(path: Path, program: bytes, applets: list[str]) -> None:
    """Write a root file system as a tar file; the same input gives the same bytes."""
    with tarfile.open(path, "w") as tar:
        for name, mode in DIRECTORIES.items():
            tar.addfile(_entry(name, mode, tarfile.DIRTYPE))
        _add(tar, "bin/busybox", program, 0o755)
        _add(tar, "etc/passwd", PASSWD.encode(), 0o644)
        _add(tar, "etc/group", GROUP.encode(), 0o644)
        for applet in applets:
            if applet != "busybox":
                link = _entry(f"bin/{applet}", 0o777, tarfile.SYMTYPE)
                link.linkname = "busybox"
                tar.addfile(link)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, mode, tarfile.REGTYPE)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _entry(name: str, mode: int, type: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type = mode, type
    return entry


def _kind(program: str) -> str:
    """Tell whether an ELF program names an interpreter (a dynamic linker), without `file`."""
    return "dynamically linked" if b"ld-linux" in Path(program).read_bytes()[:4096] else "statically linked"
