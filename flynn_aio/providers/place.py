"""Place: a provider's URL, taken apart. Pure.

What can be wrong with a URL is said when it is registered, not when somebody first needs a database.
"""

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSENDABLE = re.compile(r"[^!-~]")
_HOST = re.compile(r"(?=.{1,253}$)[a-z\d_-]{1,63}(?:\.[a-z\d_-]{1,63})*\.?|[\da-f:.]+:[\da-f:.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a provider is asked.

    Attributes:
        host: name or address, without brackets.
        port: ``None`` when the URL names none.
        secure: over TLS.
        authority: host and port as the URL has them, for the `Host` header.
        path: with the query, if there is one.
        authorization: the `Authorization` header that user and password of the URL make; empty without them.
        shown: the URL without user and password, for messages.
    """

    host: str
    port: int | None
    secure: bool
    authority: str
    path: str
    authorization: str
    shown: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Take a URL apart.

        Raises:
            ValueError: it is not the URL of something that speaks HTTP; the text says what is wrong.
        """
        if _UNSENDABLE.search(url):
            raise ValueError("has characters that a URL cannot have; write them as %XX")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"cannot be taken apart: {error}") from error
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
            raise ValueError("is not like http://HOST/PATH or https://HOST/PATH")
        user, at, authority = parts.netloc.rpartition("@")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(
            host=parts.hostname,
            port=port,
            secure=parts.scheme == "https",
            authority=authority,
            path=path,
            authorization=_basic(user) if at else "",
            shown=f"{parts.scheme}://{authority}{path}",
        )

    @property
    def plain_port(self) -> int:
        """The port, or the usual one of the scheme."""
        return self.port or DEFAULT_PORTS["https" if self.secure else "http"]

    def path_of(self, external_id: str) -> str:
        """Return the path at which a resource is removed."""
        return f"{self.path}{'&' if '?' in self.path else '?'}id={quote(external_id, safe='')}"


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
