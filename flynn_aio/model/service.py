"""Instance: one address that answers for a service."""

import hashlib

from msgspec import Struct, field


class Instance(Struct, frozen=True, kw_only=True):
    """An instance as discoverd shows it.

    Attributes:
        id: hex MD5 of ``<proto>-<addr>``.
        addr: ``ip:port``.
        index: creation number; the oldest instance of a service leads it.
    """

    id: str
    addr: str
    proto: str = "tcp"
    meta: dict[str, str] = field(default_factory=dict)
    index: int = 0


JOB_META = "FLYNN_JOB_ID"
APP_META = "FLYNN_APP_ID"
APP_NAME_META = "FLYNN_APP_NAME"
RELEASE_META = "FLYNN_RELEASE_ID"
TYPE_META = "FLYNN_PROCESS_TYPE"


def instance_id(proto: str, addr: str) -> str:
    """Return the id of the instance at `addr`. Source: Flynn `discoverd/client`, `md5sum`."""
    return hashlib.md5(f"{proto}-{addr}".encode(), usedforsecurity=False).hexdigest()


def web_service(app_name: str, process_type: str) -> str:
    """Return the service a web process type is registered under: ``<app>-<type>``."""
    return f"{app_name}-{process_type}"


def is_web(process_type: str) -> bool:
    """Whether a type gets a service and a port without asking: `web` and any `*-web`."""
    return process_type == "web" or process_type.endswith("-web")
