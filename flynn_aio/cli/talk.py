"""Talking with the person: results on standard output, everything else on standard error.

Source: `cli.md` §4.
"""

import sys


def show(text: str = "") -> None:
    """Print one result."""
    sys.stdout.write(f"{text}\n")


def show_raw(text: str) -> None:
    """Print text that has its newlines already."""
    sys.stdout.write(text)


def tell(text: str) -> None:
    """Say what was done, or what is wrong."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


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
