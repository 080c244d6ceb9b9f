"""Client: one request over a Unix socket, against a server of h11's and against bad ones."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import pytest
import trio

from flynn_aio.engine.calls import Calls
from flynn_aio.engine.client import Client, Disconnected, Refused, file_pieces
from flynn_aio.errors import EngineError
from flynn_aio.settings import EngineSettings

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(directory: Path, handle: Handler) -> AsyncIterator[Client]:
    path = directory / "s"
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(listener)])
        yield Client(path)
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> tuple[h11.Connection, h11.Request, bytes]:
    connection = h11.Connection(h11.SERVER)
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            assert request is not None
            return connection, request, body


def answering(status: int, body: bytes, seen: list[tuple[str, bytes]]) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        connection, request, content = await read_request(stream)
        seen.append((f"{request.method.decode()} {request.target.decode()}", content))
        head = h11.Response(
            status_code=status, headers=[("Transfer-Encoding", "chunked"), ("Libpod-API-Version", "4.3.1")]
        )
        await stream.send_all(connection.send(head) + connection.send(h11.Data(data=body)))
        await stream.send_all(connection.send(h11.EndOfMessage()))
        await stream.aclose()

    return handle


async def test_a_call_sends_json_and_returns_the_whole_answer(tmp_path):
    seen = []
    async with serving(tmp_path, answering(200, b'{"a":1}', seen)) as client:
        answer = await client.call("POST", "x/y", doing="try", query={"all": True, "n": 1}, json={"b": [2]})
    assert (answer.status, answer.body, answer.headers["libpod-api-version"]) == (200, b'{"a":1}', "4.3.1")
    assert seen == [("POST /v4.0.0/libpod/x/y?all=true&n=1", b'{"b":[2]}')]


async def test_a_file_is_streamed(tmp_path):
    seen = []
    content = bytes(range(256)) * 3000
    (tmp_path / "file").write_bytes(content)
    async with serving(tmp_path, answering(200, b"", seen)) as client:
        await client.call("POST", "x", doing="try", body=file_pieces(tmp_path / "file"))
    assert seen == [("POST /v4.0.0/libpod/x", content)]


@pytest.mark.parametrize("body", [b'{"cause":"c","message":"no such thing","response":404}', b"no such thing\n"])
async def test_a_refusal_says_what_was_being_done_and_podmans_reason(tmp_path, body):
    async with serving(tmp_path, answering(404, body, [])) as client:
        with pytest.raises(Refused) as error:
            await client.call("GET", "x", doing="look for it")
    assert (error.value.status, error.value.reason) == (404, "no such thing")
    assert error.value.message == "cannot look for it: no such thing"


async def test_nobody_listens(tmp_path):
    with pytest.raises(Disconnected, match="cannot try: .*does not listen"):
        await Client(tmp_path / "s").call("GET", "x", doing="try")


@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", b"not http\r\n\r\n"])
async def test_half_an_answer_or_none_is_a_disconnection(tmp_path, garbage):
    async def handle(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(garbage)
        await stream.aclose()

    async with serving(tmp_path, handle) as client:
        with pytest.raises(Disconnected, match="ended the connection"):
            await client.call("GET", "x", doing="try")
        with pytest.raises(Disconnected, match="ended the connection"):
            await client.upgrade("x", doing="try")


async def test_an_upgrade_gives_the_bare_stream_and_what_came_with_it(tmp_path):
    async def handle(stream: trio.SocketStream) -> None:
        _, request, _ = await read_request(stream)
        assert dict(request.headers)[b"upgrade"] == b"tcp"
        await stream.send_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst")
        assert await stream.receive_some() == b"ping"
        await stream.send_all(b"pong")
        await stream.aclose()

    async with serving(tmp_path, handle) as client:
        bare = await client.upgrade("x", doing="try")
        async with bare.stream as stream:
            assert bare.first == b"first"
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"pong"
            assert await stream.receive_some() == b""


async def test_an_upgrade_can_be_refused(tmp_path):
    async with serving(tmp_path, answering(404, b'{"message":"no such container"}', [])) as client:
        with pytest.raises(Refused, match="no such container"):
            await client.upgrade("x", doing="try")


def calls(client: Client, tmp_path: Path) -> Calls:
    directories = {name: tmp_path for name in ("run_dir", "log_dir", "slug_dir", "layer_dir", "volume_dir")}
    return Calls(client, EngineSettings(appliance="0123abcd", call_timeout_s=5, **directories))


async def test_a_failed_pull_is_found_in_an_answer_of_200(tmp_path):
    body = b'{"stream":"Trying to pull"}\n{"error":"connection refused"}\n'
    async with serving(tmp_path, answering(200, body, [])) as client:
        with pytest.raises(EngineError, match="cannot pull image a:1: connection refused"):
            await calls(client, tmp_path).pull_image("a:1")


async def test_removing_is_tried_twice(tmp_path):
    seen = []
    async with serving(tmp_path, answering(500, b'{"message":"conmon is gone"}', seen)) as client:
        with pytest.raises(Refused, match="conmon is gone"):
            await calls(client, tmp_path).remove("c1")
    assert len(seen) == 2


async def test_an_answer_that_is_not_what_it_should_be(tmp_path):
    async with serving(tmp_path, answering(200, b'{"Id":7}', [])) as client:
        with pytest.raises(EngineError, match="not what it should be"):
            await calls(client, tmp_path).inspect("c1")


async def test_a_silent_service_costs_no_more_than_the_deadline(tmp_path, autojump_clock):
    async def handle(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(tmp_path, handle) as client:
        began = trio.current_time()
        with pytest.raises(EngineError, match="cannot list containers: Podman did not answer within 5 s"):
            await calls(client, tmp_path).list_ours()
        assert trio.current_time() - began == 5
