"""Ports: what is wrong with where a job listens. Pure.

The two mistakes behind most jobs that run and do not serve: a port of one's own choice, and
listening to nobody but oneself.
"""

from collections.abc import Sequence
from ipaddress import ip_address


def advice(told: int, opened: Sequence[str]) -> str:
    """Return what is wrong with where a job listens, and what to do; empty when nothing is.

    Args:
        told: the port it was told, as `PORT`.
        opened: where it listens, ``ip:port``.
    """
    if not opened:
        return f"told PORT={told}, opened no port: listen on 0.0.0.0:{told}, and take the port from the variable PORT"
    right = [each for each in opened if _port(each) == told]
    if not right:
        alone = all(_is_loopback(each) for each in opened)
        shown = _listed(opened if alone else dict.fromkeys(str(_port(each)) for each in opened))
        return f"told PORT={told}, opened {shown}: use the PORT variable{', and bind 0.0.0.0' if alone else ''}"
    if all(_is_loopback(each) for each in right):
        return f"listens on {_listed(right)} only: bind 0.0.0.0"
    return ""


def listens_over_ipv6_only(told: int, opened: Sequence[str]) -> bool:
    """Tell whether a port is open for IPv6 alone, provided that nobody answers on it over IPv4."""
    right = [each for each in opened if _port(each) == told]
    return bool(right) and all(each.startswith("[") for each in right)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _is_loopback(address: str) -> bool:
    return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback


def _listed(several: Sequence[str] | dict[str, None]) -> str:
    *most, last = several
    return f"{', '.join(most)} and {last}" if most else last
