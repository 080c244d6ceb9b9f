"""Clients that mean harm, or have died, before the whole appliance: each ends only its own connection, in its time.

The doors themselves are tested without the router in `tests/controller/test_connection.py`; here everything a client
sends passes the router first, as it does in life.
"""

import base64
import ssl
from contextlib import suppress
from dataclasses import replace

import pytest
import trio

from flynn_aio.bootstrap import cluster_key

from ..support.http_client import basic
from .test_in_memory import DOMAIN, engine, running, settings

__all__ = ["engine", "settings"]

CONTROLLER, GIT = f"controller.{DOMAIN}", f"git.{DOMAIN}"
PATHS = {CONTROLLER: "/apps", GIT: "/hello.git/info/refs?service=git-upload-pack"}
TRAILING = {
    "byte": b"x",
    "frame": b"\x81\x05hello",
    "zeros": bytes(20),
    "much": b"\xff" * 100_000,
    "request": b"GET /ping HTTP/1.1\r\nHost: %b\r\n\r\n" % CONTROLLER.encode(),
    "lines": b"\r\n\r\n" * 100,
}
PATIENCE_S = 15.0
"""More than any deadline below, and the second the router's watchman may be late."""


@pytest.fixture
def impatient(settings):
    """Every deadline a client can meet, each a length of its own."""
    return replace(
        settings,
        router=replace(settings.router, write_timeout_s=1.0, header_timeout_s=1.5, idle_timeout_s=2.0),
        controller=replace(settings.controller, write_timeout_s=5.0, keep_alive_timeout_s=1.0),
    )


def head(method, host, path, key, *lines):
    authorization = [f"Authorization: {basic(key)}"] if key else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *authorization, *lines, "", ""]).encode()


async def rest_of(stream):
    """Return what the server still says until it closes."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                data = await stream.receive_some(65536)
            except trio.BrokenResourceError:
                return received
            if not data:
                return received
            received += data


async def serves(world):
    """Check that everybody else is served as before."""
    assert (await world.api.get("/apps")).status == 200
    assert (await world.ask(GIT)).status == 401


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_websocket_upgrade_with_trailing_bytes_ends_only_its_own_connection(settings, engine, tls):
    async with running(settings, engine) as world:
        await world.api.post("/apps", {"name": "hello"})
        context = ssl.create_default_context(cafile=settings.controller.ca_certificate)

        async def dial(host):
            if not tls:
                return await world.dial()
            raw = await trio.open_tcp_stream("127.0.0.1", world.ready.https_port)
            return trio.SSLStream(raw, context, server_hostname=host, https_compatible=True)

        for host, path in PATHS.items():
            for key in ("", cluster_key(settings)):
                upgrade = head(
                    "GET", host, path, key, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
                )  # fmt: skip
                for trailing in TRAILING.values():
                    async with await dial(host) as together:
                        with suppress(trio.BrokenResourceError):  # it may have heard enough in the middle
                            await together.send_all(upgrade + trailing)
                        status = (await together.receive_some(65536)).partition(b" ")[2][:3]
                        assert status == (b"200" if key else b"401")
                    async with await dial(host) as apart:
                        await apart.send_all(upgrade)
                        assert (await apart.receive_some(65536)).startswith(b"HTTP/1.1 ")
                        with suppress(trio.BrokenResourceError):
                            await apart.send_all(trailing)
        await serves(world)


@pytest.mark.parametrize("with_key", [False, True], ids=["no key", "key"])
async def test_a_client_that_never_reads_is_given_up(impatient, engine, with_key):
    """The router's `write_timeout_s` ends it; what the controller had to say to it goes with it."""
    async with running(impatient, engine) as world:
        for number in range(3 if with_key else 0):
            artifact = {"type": "flynn", "uri": f"image:{number}", "meta": {"x": "x" * 900_000}}
            assert (await world.api.post("/artifacts", artifact)).status == 200
        path = "/artifacts" if with_key else "/ca-cert"
        ask = head("GET", CONTROLLER, path, cluster_key(impatient) if with_key else "")
        stuck = trio.socket.socket()
        stuck.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stuck.connect(("127.0.0.1", world.ready.http_port))
        stream = trio.SocketStream(stuck)
        with trio.fail_after(60), suppress(trio.BrokenResourceError):
            while True:  # until it is cut off: whole requests wait behind the one whose answer does not fit
                await stream.send_all(ask * 100)
        await serves(world)
        stuck.close()


@pytest.mark.parametrize(
    ("sent", "within_s", "answer"),
    [
        (b"", 1.5, b""),
        (b"GET /ping HTTP/1.1\r\nHo", 1.5, b""),
        (b"POST /apps HTTP/1.1\r\nHost: %b\r\n%bContent-Length: 100\r\n\r\n{", 1.0, b"HTTP/1.1 400 "),
        (b"POST /apps HTTP/1.1\r\nHost: %b\r\n%bTransfer-Encoding: chunked\r\n\r\n5\r\n{", 1.0, b"HTTP/1.1 400 "),
        (b"GET /ping HTTP/1.1\r\nHost: %b\r\n%b\r\n", 2.0, b"HTTP/1.1 200 "),
    ],
    ids=["silent", "half a head", "half a body", "half a chunk", "idle"],
)
async def test_a_client_that_stalls_in_a_request_ends_under_a_deadline(impatient, engine, sent, within_s, answer):
    """`router.header_timeout_s`, `controller.keep_alive_timeout_s` for bodies, `router.idle_timeout_s`."""
    async with running(impatient, engine) as world:
        key = f"Authorization: {basic(cluster_key(impatient))}\r\n".encode()
        async with await world.dial() as stream:
            started = trio.current_time()
            await stream.send_all(sent % (CONTROLLER.encode(), key) if b"%b" in sent else sent)
            said = await rest_of(stream)
            assert said.startswith(answer)
            if answer.endswith(b"400 "):
                assert b"The request body did not arrive within 1 s" in said
            assert within_s - 0.1 < trio.current_time() - started < within_s + 4
        await serves(world)


async def test_a_client_that_stalls_in_a_stream_ends_under_a_deadline(impatient, engine):
    """Its events pile up in the sockets, then in the router's hands for `router.write_timeout_s`."""
    async with running(impatient, engine) as world:
        stuck = trio.socket.socket()
        stuck.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stuck.connect(("127.0.0.1", world.ready.http_port))
        stream = trio.SocketStream(stuck)
        await stream.send_all(head("GET", CONTROLLER, "/events?object_types=artifact", cluster_key(impatient)))
        follower = world.api.stream("/events?object_types=artifact")
        async with follower as healthy:
            for number in range(12):
                artifact = {"type": "flynn", "uri": f"image:{number}", "meta": {"x": "x" * 900_000}}
                assert (await world.api.post("/artifacts", artifact)).status == 200
                received = b""
                with trio.fail_after(10):
                    while not received.endswith(b"\n\n"):
                        received += await healthy.piece()
            with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
                while True:  # until it is cut off; the server does not listen to this
                    await stream.send_all(b"\r\n" * 1000)
        await serves(world)
        stuck.close()


async def test_neither_holds_up_a_shutdown(settings, engine):
    """Their deadlines are a minute away: only the end of the drain itself can end them."""
    settings = replace(settings, router=replace(settings.router, drain_s=1.0))
    async with running(settings, engine) as world:
        for number in range(3):
            artifact = {"type": "flynn", "uri": f"image:{number}", "meta": {"x": "x" * 900_000}}
            await world.api.post("/artifacts", artifact)
        stuck = trio.socket.socket()
        stuck.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stuck.connect(("127.0.0.1", world.ready.http_port))
        await trio.SocketStream(stuck).send_all(head("GET", CONTROLLER, "/artifacts", cluster_key(settings)))
        half = await world.dial()
        await half.send_all(head("POST", CONTROLLER, "/apps", cluster_key(settings), "Content-Length: 10") + b"{")
        await serves(world)
        left_at = trio.current_time()
    assert trio.current_time() - left_at < settings.router.drain_s + settings.controller.drain_s + 10
    stuck.close()
    await half.aclose()
