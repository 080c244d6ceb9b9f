"""Sockets: where the processes of a container listen, as the kernel tells it of their network namespace.

Source: Linux `Documentation/networking/proc_net_tcp.rst`.
"""

import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from .processes import PROC

LISTEN = "0A"
READ_BYTES = 256 * 1024
"""Of each table, some 1,700 rows: the sockets that listen come before all connections."""

_IS_LITTLE = sys.byteorder == "little"


def listening(pid: int, *, proc: Path = PROC) -> tuple[str, ...] | None:
    """Return where a process's network namespace is listened in over TCP, ``ip:port``, sorted by port. Blocks.

    Returns:
        ``None`` when nobody can tell: the process has ended, or shares its namespace with us.
    """
    own = proc / str(pid) / "ns" / "net"
    try:
        if os.readlink(own) == os.readlink(proc / "self" / "ns" / "net"):
            return None
        tables = [_read(proc / str(pid) / "net" / name) for name in ("tcp", "tcp6")]
    except OSError:
        return None
    found = {socket for table in tables for socket in listeners(table)}
    return tuple(sorted(found, key=lambda socket: (int(socket.rpartition(":")[2]), socket)))


def listeners(table: str) -> Iterator[str]:
    """Yield the addresses listened on in the text of a `/proc/PID/net/tcp` or `tcp6`."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            yield f"{_host(bytes.fromhex(address))}:{int(port, 16)}"


def _host(raw: bytes) -> str:
    """Return an address the kernel printed as 32-bit numbers, each in the order of this machine's bytes."""
    words = (raw[start : start + 4][::-1] if _IS_LITTLE else raw[start : start + 4] for start in range(0, len(raw), 4))
    packed = b"".join(words)
    if len(packed) == 4:
        return str(IPv4Address(packed))
    address = IPv6Address(packed)
    return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address}]"


def _read(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(READ_BYTES)
