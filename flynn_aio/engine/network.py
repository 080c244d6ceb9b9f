"""Network: the bridge all jobs of this appliance share.

Podman's own DNS stays off, so that discoverd can answer at the gateway. A bridge left behind by a killed
service would block its subnet; deleting a link is one netlink message, which needs no `ip` command.
"""

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

_RTM_DELLINK = 17
_NLM_F_REQUEST_ACK = 1 | 4
_NLMSG = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")


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
    message = _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    head = _NLMSG.pack(_NLMSG.size + len(message), _RTM_DELLINK, _NLM_F_REQUEST_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendall(head + message)
        answer = netlink.recv(4096)
    (code,) = struct.unpack_from("=i", answer, _NLMSG.size)
    if code:
        raise EngineError(f"cannot delete the network interface {name}: kernel error {-code}")
    return True


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
