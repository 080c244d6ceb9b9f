"""Layers for tests: tars made in memory, and what they are called."""

import hashlib
import io
import tarfile
from collections.abc import Mapping


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of these files, the same bytes for the same files. A name that ends with a slash is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mode = 0o755
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
