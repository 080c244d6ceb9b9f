"""Signals by the names people write: in a process type, or as `STOPSIGNAL` of an image. Pure."""

import re
from signal import SIGRTMAX, SIGRTMIN, Signals

_REAL_TIME = re.compile(r"RTMIN\+(\d{1,2})|RTMAX-(\d{1,2})")


def signal_number(name: str) -> int | None:
    """Return the number of a signal written as ``SIGINT``, ``int``, ``2`` or ``SIGRTMIN+3``; ``None`` if there is none.

    Source: the reference of Dockerfiles, `STOPSIGNAL`.
    """
    if name.isascii() and name.isdigit():
        return int(name) if len(name) < 3 and 1 <= int(name) <= SIGRTMAX else None
    bare = name.upper().removeprefix("SIG")
    if found := _REAL_TIME.fullmatch(bare):
        above, below = found.groups()
        number = SIGRTMIN + int(above) if above else SIGRTMAX - int(below)
        return int(number) if SIGRTMIN <= number <= SIGRTMAX else None
    return int(Signals[f"SIG{bare}"]) if f"SIG{bare}" in Signals.__members__ else None
