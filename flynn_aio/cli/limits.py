"""Resource limits as a person writes and reads them: ``memory=512MB cpu=500``. Pure.

Memory and disk count in powers of 1024, everything else in powers of 1000.

Source: `jobs.md` §8; Flynn `host/resource/resource.go`, `github.com/docker/go-units`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .failure import Failure
from .render import byte_size, quoted
from .similar import did_you_mean

_SPEC = "it is like memory=512MB or cpu=500"
MOST = 2**63
"""The controller's integers are below."""
_BYTES = frozenset({"memory", "temp_disk"})
KINDS = ("cpu", "max_fd", "memory", "temp_disk")
_VALUE = re.compile(r"(\d+(?:\.\d+)*) ?([kmgtp]?)b?", re.IGNORECASE | re.ASCII)

Resources = dict[str, dict[str, int | None]]


def defaults() -> Resources:
    """Return what a process gets that asks for nothing: bytes, milliCPU, descriptors."""
    amounts = {"memory": 1024**3, "temp_disk": 100 * 1024**2, "cpu": 1000, "max_fd": 10000}
    return {kind: {"request": amount, "limit": amount} for kind, amount in amounts.items()}


def parse(specs: Iterable[str]) -> Resources:
    """Return the limits in specs like ``memory=512MB``, without requests.

    Raises:
        Failure: not a limit, not a kind of limit, not an amount.
    """
    resources: Resources = {}
    for spec in specs:
        kind, equals, value = spec.partition("=")
        if not equals:
            raise Failure(f"invalid resource limit: {quoted(spec)}", hint=_SPEC)
        if kind not in KINDS:
            guess = did_you_mean(kind, KINDS) or f"there is {', '.join(KINDS)}"
            raise Failure(f"invalid resource limit type: [{quoted(kind)} {quoted(value)}]", hint=guess)
        resources[kind] = {"request": None, "limit": amount(kind, value)}
    return resources


def amount(kind: str, text: str) -> int:
    """Return the amount `text` says, in the unit of its kind.

    Raises:
        Failure: it says none.
    """
    match = _VALUE.fullmatch(text)
    if not match or match[1].count(".") > 1:
        raise Failure(f"invalid resource limit value: {quoted(text)}", hint=_SPEC)
    base = 1024 if kind in _BYTES else 1000
    found = float(match[1]) * base ** " kmgtp".index(match[2].lower() or " ")
    if found >= MOST:
        raise Failure(f"invalid resource limit value: {quoted(text)}", hint="no machine has as much")
    return int(found)


def numbers(resources: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits among `resources` as they are, by kind."""
    return {kind: spec["limit"] for kind, spec in sorted(resources.items()) if spec.get("limit") is not None}


def shown(resources: Mapping[str, Any]) -> list[str]:
    """Return the limits among `resources` as ``kind=amount``, sorted."""
    limits = ((kind, spec.get("limit")) for kind, spec in resources.items())
    return sorted(
        f"{kind}={byte_size(limit) if kind in _BYTES else limit}" for kind, limit in limits if limit is not None
    )
