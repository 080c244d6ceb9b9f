"""Bytes on the wire and in JSON columns <-> the nouns.

msgspec does the work; this module adds `Time`, whose text form it cannot know: Flynn trims
the zeros at the end of a fraction (`2026-11-23T04:11:15.01603Z`).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from ..errors import MalformedInput

T = TypeVar("T")


class Time(datetime):
    """A moment in UTC with microseconds, as Flynn writes it: RFC 3339 without trailing zeros."""

    @classmethod
    def utcnow(cls) -> "Time":  # naive in datetime, aware here
        return cls.now(UTC)

    @classmethod
    def parse(cls, text: str) -> "Time":
        """Read an RFC 3339 moment in any zone.

        Raises:
            ValueError: no such moment, or no zone. Fractions beyond microseconds are rounded.
        """
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no time zone")
        return cls.of(moment)

    @classmethod
    def of(cls, moment: datetime) -> "Time":
        """Return an aware datetime as a `Time`."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, UTC)

    @property
    def sortable(self) -> str:
        """The moment as text of one width, so that texts compare as moments do; `parse` reads it too."""
        return self.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def __str__(self) -> str:
        text = self.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + "Z"


def _encode_other(value: object) -> object:
    if isinstance(value, Time):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decode_other(wanted: type, value: Any) -> object:
    if wanted is Time:
        return Time.parse(value)
    raise TypeError(f"{wanted.__name__} has no JSON form")


encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_encode_other).encode
"""Return the compact JSON of a noun, or of lists and maps of them."""


def plain(value: object) -> Any:
    """Return a noun as the dicts, lists and strings its JSON would give."""
    return msgspec.to_builtins(value, enc_hook=_encode_other)


def decode(data: bytes | str, wanted: type[T]) -> T:
    """Read JSON into `wanted`; unknown keys are dropped.

    Raises:
        MalformedInput: not JSON, or a value of the wrong type.
    """
    try:
        return msgspec.json.decode(data, type=wanted, dec_hook=_decode_other)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedInput("The provided JSON input is invalid") from exc


def convert(value: object, wanted: type[T]) -> T:
    """Read plain dicts and lists into `wanted`, as `decode` does for bytes."""
    try:
        return msgspec.convert(value, wanted, dec_hook=_decode_other)
    except (msgspec.MsgspecError, RecursionError) as exc:
        # Flynn says no more than this; what is wrong stands beside it.
        raise MalformedInput("The provided JSON input is invalid", detail={"reason": str(exc)}) from exc
