"""What somebody may have meant. Pure."""

from collections.abc import Iterable

from .render import quoted


def closest(word: str, known: Iterable[str]) -> str:
    """Return which of the known words somebody may have meant; empty when none is near."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the question, ``Did you mean "shop"?``; empty when nothing is near."""
    found = closest(word, known)
    return f"Did you mean {quoted(found)}?" if found else ""
