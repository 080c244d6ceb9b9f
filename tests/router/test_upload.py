"""A body on its way, and what of it can be sent again."""

import socket

import pytest
import trio
import trio.testing

from flynn_aio.router.framing import RemoteProtocolError, field
from flynn_aio.router.upload import REPLAY_BYTES, Upload
from flynn_aio.router.visitor import VisitorGone
from flynn_aio.router.wire import Watchman, Wire, WireBroken


class Body:
    """A visitor that only has a body."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = list(pieces)
        self.trailers = [field(b"X-Sum", b"1"), field(b"Host", b"evil")]

    async def receive_body(self) -> bytes:
        await trio.lowlevel.checkpoint()
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece


@pytest.fixture
def watchman():
    watchman = Watchman()
    yield watchman
    watchman.close()


def joined(watchman: Watchman) -> tuple[Wire, socket.socket]:
    one, other = socket.socketpair()
    one.setblocking(False)
    return Wire(one, watchman), other


async def sent(upload: Upload, watchman: Watchman) -> bytes:
    """Return what a backend would get of it now."""
    wire, other = joined(watchman)
    await upload.run(wire)
    wire.close()
    with other:
        return b"".join(iter(lambda: other.recv(65536), b""))


async def test_a_body_is_sent_and_sent_again(watchman):
    upload = Upload(Body(b"hello ", b"world"), chunked=False)
    assert await sent(upload, watchman) == b"hello world"
    assert upload.ended
    assert upload.replayable
    assert await sent(upload, watchman) == b"hello world"


async def test_chunks_end_with_the_trailers_that_may_pass(watchman):
    wanted = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    upload = Upload(Body(b"hello"), chunked=True)
    assert await sent(upload, watchman) == wanted
    assert await sent(upload, watchman) == wanted


async def test_what_is_too_much_to_remember_is_sent_once(watchman):
    upload = Upload(Body(b"x" * REPLAY_BYTES, b"y"), chunked=False)
    assert len(await sent(upload, watchman)) == REPLAY_BYTES + 1
    assert not upload.replayable


async def test_an_answer_that_begins_while_it_is_sent_again_takes_nothing_away(watchman):
    upload = Upload(Body(*[b"x" * 1000] * 60), chunked=False)
    assert len(await sent(upload, watchman)) == 60_000
    wire, other = joined(watchman)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.run, wire)
        await trio.testing.wait_all_tasks_blocked()
        upload.forget()
        got = 0
        while got < 60_000:
            got += len(await trio.to_thread.run_sync(other.recv, 65536))
    wire.close()
    other.close()


@pytest.mark.parametrize("failure", [VisitorGone("left"), RemoteProtocolError("no chunk")])
async def test_a_body_that_fails_cuts_the_backend(watchman, failure):
    upload = Upload(Body(b"hello", failure), chunked=False)
    wire, other = joined(watchman)
    with other:
        await upload.run(wire)
        assert upload.failed is failure
        assert not upload.replayable
        with pytest.raises(WireBroken):
            await wire.receive()
        wire.close()
