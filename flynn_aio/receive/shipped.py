"""Shipped: where the files lie that the appliance brings beside its code.

`config/` is installed as package data of `flynn_aio`. In a checkout the package reaches it through
the link `flynn_aio/config_files`, which the build of a wheel follows: so there is one way to find
the files, whether the package runs from a checkout, an editable installation or a wheel.
"""

import contextlib
import hashlib
import tempfile
from importlib import resources
from pathlib import Path

from ..errors import NotFound


def shipped(name: str) -> Path:
    """Return the directory or file `name` of `config/`, e.g. ``stacks/debian-12``.

    Raises:
        NotFound: it is not there, so the installation is incomplete.
    """
    path = Path(str(resources.files("flynn_aio") / "config_files" / name))
    if not path.exists():
        raise NotFound(f"cannot find {name} in {path.parent}: the installation is incomplete, install flynn-aio again")
    return path


def publish(name: str, into: Path) -> Path:
    """Return a copy of the shipped directory `name` that anybody may read, and make it when it is not there.

    Builds run as uid 5000 and see it through a mount. What was installed under a strict umask,
    or is being edited in a checkout, would be unreadable or change under a running build.

    Args:
        into: the directory for copies; each is named after a hash of its files.
    """
    source = shipped(name)
    files = {path.relative_to(source): path for path in sorted(source.rglob("*")) if path.is_file()}
    digest = hashlib.sha256()
    for relative, path in files.items():
        executable = path.stat().st_mode & 0o100
        digest.update(f"{relative} {executable} {path.stat().st_size}\n".encode() + path.read_bytes())
    target = into / f"{source.name}-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=f"{source.name}-") as scratch:
        copy = Path(scratch) / "copy"
        copy.mkdir()
        for relative, path in files.items():
            (copy / relative).parent.mkdir(parents=True, exist_ok=True)
            (copy / relative).write_bytes(path.read_bytes())
            (copy / relative).chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        for folder in (copy, *(each for each in copy.rglob("*") if each.is_dir())):
            folder.chmod(0o755)
        with contextlib.suppress(FileExistsError, OSError):
            copy.rename(target)
    return target
