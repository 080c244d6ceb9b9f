"""An event stream on a connection alone."""

import socket

import trio

from flynn_aio.controller.bare import serve
from flynn_aio.controller.flows import HangUps

HEAD = b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_write_to_a_client_that_has_just_hung_up_is_its_end_and_no_failure():
    ours, theirs = socket.socketpair()
    theirs.close()
    wrote = []

    async def app(scope, receive, send):
        wrote.append("head")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wrote.append("body")

    hang_ups = HangUps()
    ours.setblocking(False)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as client:
        await serve(hang_ups, app, client, HEAD)
    hang_ups.close()
    assert wrote == ["head"]
