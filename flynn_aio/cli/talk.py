"""Talking with the person: results on standard output, everything else on standard error.

A terminal gets colours; whatever else reads gets the bytes that scripts know, and `NO_COLOR` is honoured.

Source: `cli.md` §4; no-color.org.
"""

import os
import sys
from typing import TextIO

RED, GREEN, YELLOW, DIM = "31", "32", "33", "2"

_OF_STATE = {
    **dict.fromkeys(("up", "complete", "created"), GREEN),
    **dict.fromkeys(("pending", "starting", "stopping", "running", "blocked"), YELLOW),
    **dict.fromkeys(("failed", "crashed"), RED),
    **dict.fromkeys(("down", "destroyed", "cancelled"), DIM),
}


def show(text: str = "") -> None:
    """Print one result."""
    sys.stdout.write(f"{text}\n")


def show_raw(text: str) -> None:
    """Print text that has its newlines already."""
    sys.stdout.write(text)


def show_json(value: object) -> None:
    """Print a result for a program: the controller's own objects as one JSON document."""
    import json

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def tell(text: str) -> None:
    """Say what was done, or what is wrong."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def suggest(text: str) -> None:
    """Say what to do next, below what is wrong."""
    tell(f"hint: {text}")


def understands_escapes(stream: TextIO) -> bool:
    """Tell whether what reads the stream is a terminal that moves its cursor when told to."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def in_colour(text: str, colour: str, stream: TextIO) -> str:
    """Return the text as it should go to `stream`: in that colour on a terminal, else as it is."""
    if not text or os.environ.get("NO_COLOR") or not understands_escapes(stream):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def state(text: str) -> str:
    """Return the state of a job or a deployment for standard output, in its colour."""
    colour = _OF_STATE.get(text)
    return in_colour(text, colour, sys.stdout) if colour else text


def confirm(question: str) -> bool:
    """Ask until the answer is yes or no; the end of the input is a no."""
    sys.stdout.write(f"{question} (yes/no): ")
    while True:
        sys.stdout.flush()
        line = sys.stdin.readline() if sys.stdin else ""
        answer = line.strip()
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no") or not line:
            return False
        sys.stdout.write("Please type 'yes' or 'no': ")
