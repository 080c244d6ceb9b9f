"""Probes against real sockets on loopback."""

import socket
import ssl
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from flynn_aio.discoverd.checks import MATCH_BYTES, probe
from flynn_aio.model import HealthCheck

TCP = HealthCheck(type="tcp")
HTTP = HealthCheck(type="http")


@asynccontextmanager
async def serving(handler, wrap=None):
    """Yield the address of a server that handles each connection with `handler`."""
    async with trio.open_nursery() as nursery:

        async def handle(stream):
            async with wrap(stream) if wrap else stream as wrapped:
                await handler(wrapped)

        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def answering(response: bytes, seen: list[bytes] | None = None):
    async def handler(stream):
        request = await stream.receive_some(65536)
        if seen is not None:
            seen.append(request)
        try:
            await stream.send_all(response)
        except trio.BrokenResourceError:
            return  # the probe had seen enough

    return handler


def response(body: bytes = b"", status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)) + body


@pytest.fixture
def closed():
    """An address on which nobody listens, and nobody can begin to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


async def test_tcp_open_and_closed(closed):
    async with serving(answering(b"")) as addr:
        assert await probe(TCP, addr) == ""
        assert await probe(HealthCheck(), addr) == ""
    assert await probe(TCP, closed) == f"connection refused on {closed}"


async def test_http_asks_for_200_by_default():
    seen: list[bytes] = []
    async with serving(answering(response(), seen)) as addr:
        assert await probe(HTTP, addr) == ""
    head = seen[0].split(b"\r\n")
    assert head[0] == b"GET / HTTP/1.1"
    assert f"host: {addr}".encode() in [line.lower() for line in head]


async def test_http_refused(closed):
    assert await probe(HTTP, closed) == f"connection refused on {closed}"


async def test_status_host_and_path_are_settings():
    seen: list[bytes] = []
    check = HealthCheck(type="http", status=302, host="shop.example", path="/ready?deep=1")
    async with serving(answering(response(status="302 Found"), seen)) as addr:
        assert await probe(check, addr) == ""
        assert await probe(HTTP, addr) == f"HTTP status 302 instead of 200 from {addr}/"
    assert seen[0].startswith(b"GET /ready?deep=1 HTTP/1.1\r\nHost: shop.example\r\n")


async def test_match_is_searched_in_the_beginning_of_the_body():
    check = HealthCheck(type="http", match="fine")
    async with serving(answering(response(b"all is fine here"))) as addr:
        assert await probe(check, addr) == ""
    async with serving(answering(response(b"-" * MATCH_BYTES + b"fine"))) as addr:
        assert await probe(check, addr) == f"no 'fine' in the first 5120 bytes from {addr}/"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"
    async with serving(answering(chunked)) as addr:
        assert await probe(check, addr) == ""


async def test_an_endless_body_is_not_read_to_its_end():
    async def endless(stream):
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await stream.send_all(b"x" * 1000)
        except trio.BrokenResourceError:
            return

    async with serving(endless) as addr:
        with trio.fail_after(5):
            assert "no 'y'" in await probe(HealthCheck(type="http", match="y"), addr)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_what_is_not_http_is_said_to_be_so(garbage):
    async with serving(answering(garbage)) as addr:
        assert await probe(HTTP, addr) in (f"no HTTP response from {addr}", f"connection reset by peer from {addr}")


@pytest.mark.parametrize("path", ["/a b", "/a\nX: y", "/\x00", "/größe"])
async def test_a_malformed_path_is_an_answer_and_no_crash(path):
    async with serving(answering(response())) as addr:
        assert "cannot be put into a request" in await probe(HealthCheck(type="http", path=path), addr)


@pytest.mark.parametrize("host", ["größe.example", "\r\n"])
async def test_a_malformed_host_is_an_answer_and_no_crash(host):
    async with serving(answering(response())) as addr:
        assert "cannot be put into a request" in await probe(HealthCheck(type="http", host=host), addr)


@pytest.mark.parametrize("host", [".example", "größe..example", "x" * 300, "a\x00b"])
async def test_a_host_no_handshake_can_name_is_an_answer_and_no_crash(host):
    async with serving(answering(response())) as addr:
        assert "cannot be put into a request" in await probe(HealthCheck(type="https", host=host), addr)


async def test_an_unknown_type_is_an_answer_and_no_crash():
    assert await probe(HealthCheck(type="icmp"), "127.0.0.1:1") == "check type 'icmp' is none of tcp, http and https"


async def test_the_caller_decides_how_long_to_wait():
    async def silent(_stream):
        await trio.sleep_forever()

    async with serving(silent) as addr:
        with trio.move_on_after(0.05) as scope:
            await probe(HTTP, addr)
        assert scope.cancelled_caught


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory):
    """A context with a certificate nobody trusts."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=2), now - timedelta(days=1))
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_https_verifies_nothing_and_sends_the_host_as_sni(server_tls):
    asked: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    wrap = partial(trio.SSLStream, ssl_context=server_tls, server_side=True, https_compatible=True)
    async with serving(answering(response(b"hi")), wrap) as addr:
        assert await probe(HealthCheck(type="https", match="hi"), addr) == ""
        assert await probe(HealthCheck(type="https", host="shop.example"), addr) == ""
    assert asked == [None, "shop.example"]


async def test_https_to_a_plain_server_names_the_handshake():
    async with serving(answering(response())) as addr:
        assert "failed TLS handshake" in await probe(HealthCheck(type="https"), addr)
