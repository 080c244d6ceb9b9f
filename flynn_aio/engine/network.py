"""Network: the bridge all jobs of this appliance share.

Podman's own DNS stays off, so that discoverd can answer at the gateway. A bridge left behind by a killed
service would block its subnet; deleting a link is one netlink message, which needs no `ip` command.

The bridge is there as long as some job is on it, and the gateway's address with it. A job in the host's own
network needs that address too: it gets it on the loopback interface, where it outlives the bridge.
"""

import errno
import os
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import trio

from ..errors import EngineError
from ..settings import EngineSettings
from .calls import Calls
from .client import Refused
from .containers import APPLIANCE_LABEL

ROUTES = Path("/proc/net/route")

LINKS = Path("/sys/class/net")
NET_ADDR_SET = "3"
"""What the kernel says of a hardware address that was given, not made up by itself."""

_RTM_DELLINK, _RTM_SETLINK, _RTM_NEWADDR, _RTM_DELADDR = 17, 19, 20, 21
_NLM_F_REQUEST_ACK = 1 | 4
_NLM_F_CREATE_EXCL = 0x400 | 0x200
_IFA_LOCAL = 2
_IFLA_ADDRESS = 1
LOOPBACK = "lo"
_NLMSG = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH4s")
_HARDWARE = struct.Struct("=HH6s")


async def ensure_network(calls: Calls, settings: EngineSettings) -> bool:
    """Have the jobs' network, with the subnet the settings want; return whether it is new.

    Raises:
        EngineError: the subnet is taken, or jobs still run in the network with another one.
    """
    subnet = await calls.network_subnet(settings.network)
    if subnet == str(settings.subnet):
        return False
    if subnet is not None:
        await _remove_for_change(calls, settings, subnet)
    await trio.to_thread.run_sync(delete_link, settings.network)  # no network owns it, so it is a leak of ours
    try:
        await calls.create_network(
            {
                "name": settings.network,
                "driver": "bridge",
                "network_interface": settings.network,
                "dns_enabled": False,
                "subnets": [{"subnet": str(settings.subnet), "gateway": settings.gateway}],
                "labels": {APPLIANCE_LABEL: settings.appliance},
            }
        )
    except Refused as exc:
        raise EngineError(
            f"cannot make the network {settings.network}: {exc.reason}; "
            f"choose another subnet than {settings.subnet} ([engine] subnet in flynn.toml)"
        ) from exc
    return True


async def _remove_for_change(calls: Calls, settings: EngineSettings, subnet: str) -> None:
    try:
        await calls.remove_network(settings.network)
    except Refused as exc:
        raise EngineError(
            f"cannot change the jobs' subnet from {subnet} to {settings.subnet}: jobs still run in it; "
            f"run `flynn-aio down` first, or set the subnet back ({exc.reason})"
        ) from exc


def delete_link(name: str) -> bool:
    """Delete a network interface; return whether there was one.

    Raises:
        EngineError: the kernel refuses.
    """
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return False
    problem = _ask_kernel(_RTM_DELLINK, _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0))
    if problem:
        raise EngineError(f"cannot delete the network interface {name}: {os.strerror(problem)}")
    return True


def keep_link_address(name: str) -> None:
    """Have a bridge keep the hardware address it has now. Idempotent; nothing happens when it is not there.

    By itself it has the lowest one among its ports. When that port leaves, everybody else on the bridge goes on
    sending to an address nobody has any more, and what is under way hangs until ARP asks again: half a minute.

    Raises:
        EngineError: the kernel refuses.
    """
    try:
        if (LINKS / name / "addr_assign_type").read_text().strip() == NET_ADDR_SET:
            return
        address = bytes.fromhex((LINKS / name / "address").read_text().strip().replace(":", ""))
        index = socket.if_nametoindex(name)
    except OSError:
        return
    about = _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    problem = _ask_kernel(_RTM_SETLINK, about + _HARDWARE.pack(_HARDWARE.size, _IFLA_ADDRESS, address) + bytes(2))
    if problem not in (0, errno.ENODEV):  # it goes with the last job on it
        raise EngineError(f"cannot fix the hardware address of the interface {name}: {os.strerror(problem)}")


def have_address(address: str) -> None:
    """Have an address of this machine's own, whatever becomes of other interfaces. Idempotent.

    Raises:
        EngineError: the kernel refuses.
    """
    problem = _ask_kernel(_RTM_NEWADDR, _on_loopback(address), _NLM_F_CREATE_EXCL)
    if problem not in (0, errno.EEXIST):
        raise EngineError(f"cannot have the address {address} on {LOOPBACK}: {os.strerror(problem)}")


def drop_address(address: str) -> None:
    """Take back what `have_address` did, if it did anything.

    Raises:
        EngineError: the kernel refuses.
    """
    problem = _ask_kernel(_RTM_DELADDR, _on_loopback(address))
    if problem not in (0, errno.EADDRNOTAVAIL):
        raise EngineError(f"cannot drop the address {address} from {LOOPBACK}: {os.strerror(problem)}")


def _on_loopback(address: str) -> bytes:
    """Return the message that names an address, alone, on the loopback interface."""
    about = _IFADDR.pack(socket.AF_INET, 32, 0, 0, socket.if_nametoindex(LOOPBACK))
    return about + _ATTRIBUTE.pack(_ATTRIBUTE.size, _IFA_LOCAL, socket.inet_aton(address))


def _ask_kernel(kind: int, message: bytes, flags: int = 0) -> int:
    """Send one message about links or addresses; return the error it came to, 0 when none."""
    head = _NLMSG.pack(_NLMSG.size + len(message), kind, _NLM_F_REQUEST_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendall(head + message)
        answer = netlink.recv(4096)
    (code,) = struct.unpack_from("=i", answer, _NLMSG.size)
    return -int(code)


def colliding_routes(subnet: IPv4Network, *, ours: str, routes: str) -> list[str]:
    """Return the interfaces that already route part of `subnet`, from the text of `/proc/net/route`.

    Args:
        ours: the interface that may.
    """
    found = []
    for line in routes.splitlines()[1:]:
        name, destination, _, _, _, _, _, mask, *_ = line.split()
        network = IPv4Network((_address(destination), str(_address(mask))))
        if name != ours and network.prefixlen > 0 and network.overlaps(subnet):
            found.append(name)
    return found


def _address(hexadecimal: str) -> IPv4Address:
    """Read an address as the kernel prints it, in the machine's byte order."""
    return IPv4Address(int(hexadecimal, 16).to_bytes(4, "little"))
