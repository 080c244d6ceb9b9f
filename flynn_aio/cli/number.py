"""Numbers as a person types them. Pure."""

_DIGITS = 18
"""More than any number here needs, and fewer than Python refuses to convert."""


def whole(text: str) -> int | None:
    """Return the whole number a text says, in digits alone; ``None`` when it says none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None
