"""What is checked alike whatever the noun: enums, ports, sizes and the paths of volumes."""

from collections.abc import Iterable
from posixpath import normpath

from ...errors import ValidationError
from ...model import VolumeReq

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MAX_PORT = 65535
_KERNELS = ("/dev", "/proc", "/sys")
"""What of a job's file system is the kernel's."""


def one_of(value: str, allowed: Iterable[str], *, field: str) -> str:
    """Return a value if it is allowed."""
    known = list(allowed)
    if value not in known:
        text = " ".join(known)
        raise ValidationError(f"Enum error. The data must be equal to one of these values [{text}].", field=field)
    return value


def check_volumes(volumes: Iterable[VolumeReq], *, field: str) -> None:
    """Check the paths of a process type's volumes: each hides what the image has there."""
    taken = set()
    for volume in volumes:
        path = "/" + normpath(volume.path).lstrip("/")
        if not volume.path.startswith("/") or f"/{path.split('/')[1]}" in _KERNELS:
            raise ValidationError(
                f"must have absolute paths outside of {', '.join(_KERNELS)}, not {volume.path!r}", field=field
            )
        if path == "/":
            raise ValidationError("must not have the path /: it would hide the image", field=field)
        if path in taken:
            raise ValidationError(f"must not have the path {volume.path!r} twice", field=field)
        if volume.keep and volume.delete_on_stop:
            raise ValidationError(f"must not both keep {volume.path!r} and delete it on stop", field=field)
        taken.add(path)
