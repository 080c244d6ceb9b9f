"""Requests through the whole router on loopback, over HTTP/1.1."""

import h11
import trio

from .conftest import House


async def answer_hello(stream: trio.SocketStream) -> None:
    """A backend in h11 that answers every request with what it saw of it."""
    connection = h11.Connection(h11.SERVER)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED and connection.our_state is h11.MUST_CLOSE:
            return
        elif isinstance(event, h11.EndOfMessage):
            body = b"hello\n"
            headers = [(b"content-length", b"%d" % len(body))]
            await stream.send_all(connection.send(h11.Response(status_code=200, headers=headers)))
            await stream.send_all(connection.send(h11.Data(data=body)) + connection.send(h11.EndOfMessage()))
            connection.start_next_cycle()


async def test_a_request_reaches_the_backend_and_its_answer_comes_back(house: House):
    await house.backends.start(answer_hello)
    async with await house.http() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: hello.flynn.test\r\n\r\n")
        got = await stream.receive_some()
    assert got == b"HTTP/1.1 200 \r\ncontent-length: 6\r\n\r\nhello\n"
