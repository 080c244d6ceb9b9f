"""A build's output on its way to the pusher: bytes in any pieces -> whole lines.

Pure. Git's client writes ``remote: `` in front of what we send; `side_band` takes it away again
by going back to the first column, so that a push reads as it does on Flynn.
"""

from collections.abc import Awaitable, Callable

Say = Callable[[str], Awaitable[None]]
"""Show one line to the pusher, without its newline. Waits while the pusher does not read."""

LINE_MAX = 8 * 1024
"""Bytes after which a line is shown in pieces: a build that never ends a line must not fill our memory."""
ERASE = "\x1b[1G\x1b[K"
"""To column 1, then erase to the end of the line. Source: Flynn `gitreceive/receiver.go`."""


def side_band(line: str) -> bytes:
    """Return a line as it goes to the git client."""
    return f"{ERASE}{line}\n".encode(errors="replace")


class Lines:
    """Cuts a stream into lines. A piece of a line waits for its end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LINE_MAX:
            whole.append(self._rest[:LINE_MAX])
            self._rest = self._rest[LINE_MAX:]
        return [_text(line) for line in whole]

    def end(self) -> list[str]:
        """Return what is left at the end of the stream: an unfinished line, or nothing."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")
