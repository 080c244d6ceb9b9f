"""Tars: looking at the headers in a tar while it goes by. Pure.

A tar may speak of files that are mostly holes. Podman writes those out, so that four kilobytes of a layer fill a disk,
whatever is said about the longest layer. No builder of images makes such, hence they are refused. Everything
else that may be wrong is Podman's to say, so where it would not read on, nothing is looked at any more.

Numbers and the ends of entries are those of the reader that Podman has, Go's `archive/tar`: what two readers
take for different things, one of them has not looked at.
"""

from enum import Enum, auto

BLOCK_BYTES = 512
MAX_EXTENDED_BYTES = 1024 * 1024
"""Of an extended header; it is looked at as a whole. Source: Go `archive/tar`, `maxSpecialFileSize`."""
SPARSE, EXTENDED, GLOBAL, LONG = b"S", b"x", b"g", (b"K", b"L")
EMPTY = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, directories and FIFOs: nothing is behind their header, whatever size it says."""
SPARSE_KEY = "GNU.sparse."


class Unfit(Exception):
    """The tar is none for a layer; the text says why, and goes on after its name."""


class _Unreadable(Exception):
    """Go would not read on."""


class _State(Enum):
    HEADER = auto()
    EXTENDED = auto()
    DATA = auto()
    END = auto()


class Headers:
    """The headers of one tar, as its bytes go by."""

    def __init__(self) -> None:
        self._state = _State.HEADER
        self._kept = bytearray()
        self._left = BLOCK_BYTES
        self._padding = 0
        self._size: int | None = None
        """What an extended header says of the next entry."""

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            Unfit: an entry is mostly a hole.
        """
        view = memoryview(data)
        while view and self._state is not _State.END:
            taken, view = view[: self._left], view[self._left :]
            self._left -= len(taken)
            if self._state is not _State.DATA:
                self._kept += taken
            if self._left == 0:
                try:
                    self._next()
                except _Unreadable:
                    self._state = _State.END

    def _next(self) -> None:
        kept, self._kept = bytes(self._kept), bytearray()
        match self._state:
            case _State.HEADER:
                self._read_header(kept)
            case _State.EXTENDED:
                self._read_records(kept[: len(kept) - self._padding])
                self._expect(_State.HEADER, BLOCK_BYTES)
            case _:
                self._expect(_State.HEADER, BLOCK_BYTES)

    def _expect(self, state: _State, size: int) -> None:
        self._state, self._left = state, size

    def _read_header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            raise _Unreadable  # its end
        kind, size = block[156:157], number(block[124:136])
        if kind == SPARSE:
            raise Unfit("has a sparse file in it, which layers cannot have")
        told, self._size = self._size, None  # the entry behind an extended header is the one it speaks of
        if kind in LONG:
            self._size = told
        elif kind in EMPTY:
            size = 0
        elif kind in (EXTENDED, GLOBAL):
            if size > MAX_EXTENDED_BYTES:
                raise _Unreadable
        elif told is not None:
            size = told
        self._padding = -size % BLOCK_BYTES
        if size == 0:
            self._expect(_State.HEADER, BLOCK_BYTES)
        else:
            self._expect(_State.EXTENDED if kind == EXTENDED else _State.DATA, size + self._padding)

    def _read_records(self, data: bytes) -> None:
        for key, value in records(data):
            if key.startswith(SPARSE_KEY):
                raise Unfit("has a sparse file in it, which layers cannot have")
            if key == "size" and value:
                self._size = _whole(value, 10)


def number(field: bytes) -> int:
    """Return the number in a field of a header: octal digits, or binary with the highest bit set."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise _Unreadable  # below 0
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    text = field.strip(b" \0").partition(b"\0")[0]
    return _whole(text.decode("latin-1"), 8) if text else 0


def records(data: bytes) -> list[tuple[str, str]]:
    """Return the records of an extended header: ``LENGTH KEY=VALUE`` and a newline, one after the other."""
    found = []
    while data:
        digits, space, _ = data.partition(b" ")
        length = _whole(digits.decode("latin-1"), 10) if space and len(digits) < 10 else 0
        record, data = data[len(digits) + 1 : length], data[length:]
        if not record.endswith(b"\n") or b"=" not in record:
            raise _Unreadable
        key, _, value = record[:-1].decode("latin-1").partition("=")
        found.append((key, value))
    return found


def _whole(text: str, base: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 25) or (base == 8 and set(text) & set("89")):
        raise _Unreadable
    return int(text, base)
