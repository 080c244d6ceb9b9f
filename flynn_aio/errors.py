"""Failures a caller is expected to meet, with the codes Flynn puts on the wire.

Only `controller/api.py` knows the HTTP status that belongs to a code.

Source: Flynn `pkg/httphelper/httphelper.go`; `controller-api.md` §2.
"""

from typing import ClassVar


class FlynnError(Exception):
    """An expected failure: what was being done, to which id, why it failed, what to do next.

    Attributes:
        code: Flynn's wire code, e.g. ``validation_error``.
        message: one sentence for a human.
        detail: any JSON value that helps a program, or ``None``.
        retry: whether the same call may succeed a moment later. Flynn's client then
            repeats it every 100 ms for 10 s, so only transient faults say so.
    """

    code: ClassVar[str] = "unknown_error"
    retry: ClassVar[bool] = False

    def __init__(self, message: str, *, detail: object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class NotFound(FlynnError):
    """The thing with this id or name does not exist, or no longer does."""

    code = "object_not_found"


class ObjectExists(FlynnError):
    """Something with this id or name is already there."""

    code = "object_exists"


class Conflict(FlynnError):
    """The change contradicts what is stored; nothing was written."""

    code = "conflict"


class MalformedInput(FlynnError):
    """The bytes are not the JSON they should be."""

    code = "syntax_error"


class Unauthorized(FlynnError):
    """No key, or one we do not know."""

    code = "unauthorized"


class RateLimited(FlynnError):
    """Too much of this from one place; what is right still gets through."""

    code = "ratelimited"


class Unavailable(FlynnError):
    """We cannot do this now, and may a moment later."""

    code = "service_unavailable"
    retry = True


class ValidationError(FlynnError):
    """One field of the input, or the input as a whole, is not acceptable.

    Args:
        text: what is wrong; the message becomes ``<field> <text>``.
        field: dotted path of the field; ``None`` when the whole object is meant.
    """

    code = "validation_error"

    def __init__(self, text: str, *, field: str | None = None) -> None:
        super().__init__(f"{field} {text}" if field else text, detail={"field": field} if field else None)
        self.field = field


class EngineError(FlynnError):
    """The engine could not do what it was asked: it says no, is gone, or does not answer."""


class StartError(EngineError):
    """This job cannot start, and would not on a second try: a missing command, image or user."""
