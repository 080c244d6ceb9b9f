"""The router's own answers: small, plain, and the same for both versions. Pure.

Source: `router.md` §6.
"""

from http import HTTPStatus

from .framing import Field, Response, field

_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
MAX_CUSTOM_PAGE_BYTES = 1_000_000

TLS_EXPECTED = b"Client sent an HTTP request to an HTTPS server.\n"
"""What plain HTTP on the TLS port is told. Source: Go `net/http`, which upstream serves with."""


class Pages:
    """What is said when no backend says anything.

    Args:
        unavailable: a page for status 503, HTML; empty for the plain sentence.
    """

    def __init__(self, unavailable: bytes = b"") -> None:
        self._unavailable = unavailable[:MAX_CUSTOM_PAGE_BYTES]

    def page(self, status: int) -> tuple[Response, bytes]:
        """Return head and body of an answer with this status."""
        if status == HTTPStatus.SERVICE_UNAVAILABLE and self._unavailable:
            return _answer(status, _HTML, self._unavailable)
        return _answer(status, _TEXT, HTTPStatus(status).phrase.encode() + b"\n")


def _answer(status: int, content_type: bytes, body: bytes) -> tuple[Response, bytes]:
    fields: list[Field] = [
        field(b"Content-Type", content_type),
        field(b"X-Content-Type-Options", b"nosniff"),
        field(b"Content-Length", b"%d" % len(body)),
    ]
    head = Response(1, status, HTTPStatus(status).phrase.encode(), fields, len(body), (), True)
    return head, body
