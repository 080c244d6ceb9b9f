"""Probes of endpoints that mean ill, or are badly ill: each ends in time, in little memory, and with a reason."""

import tracemalloc
from contextlib import asynccontextmanager

import pytest
import trio

from flynn_aio.discoverd.checks import HEAD_BYTES, INFORMATIONAL, REDIRECTS, probe
from flynn_aio.model import HealthCheck

HTTP = HealthCheck(type="http")
MATCH = HealthCheck(type="http", match="needle")
PATIENCE_S = 0.5
MIB = 1024 * 1024


@asynccontextmanager
async def serving(answer):
    """Let `answer(stream, target)` answer each connection on loopback; yield the address."""

    async def handle(stream):
        async with stream:
            try:
                request = await stream.receive_some(65536)
                await answer(stream, request.split(b" ")[1].decode("latin-1") if b" " in request else "")
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def asked(check: HealthCheck, addr: str) -> str | None:
    """Probe as the monitor does, with a deadline; ``None`` when it was needed."""
    with trio.move_on_after(PATIENCE_S):
        return await probe(check, addr)
    return None


def redirecting(**targets: str):
    async def answer(stream, target):
        location = targets.get(target.strip("/") or "root")
        if location is None:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nneedle")
        else:
            head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            await stream.send_all(head.encode("latin-1"))

    return answer


async def test_a_redirect_within_the_instance_is_followed():
    async with serving(redirecting(root="/login?next=%2F", login="x")) as addr:
        assert await asked(MATCH, addr) == ""
    async with serving(redirecting(a="b", b="./c")) as addr:
        assert await asked(HealthCheck(type="http", path="/a"), addr) == ""


async def test_a_redirect_to_its_own_full_address_is_followed():
    async with serving(redirecting(root="http://shop.example/in")) as addr:
        assert await asked(HealthCheck(type="http", host="shop.example"), addr) == ""


@pytest.mark.parametrize(
    "location", ["https://elsewhere.example/", "//elsewhere.example/", "http://[", "https://{addr}/"]
)
async def test_a_redirect_elsewhere_says_nothing_about_this_instance(location):
    async with serving(redirecting(root=location)) as addr:
        said = await asked(HTTP, addr)
    assert (
        said == f"HTTP status 302 instead of 200 from {addr}/, and it leads to {location}, which is not this instance"
    )


async def test_a_redirect_is_what_was_asked_for_when_its_status_is():
    async with serving(redirecting(root="https://elsewhere.example/")) as addr:
        assert await asked(HealthCheck(type="http", status=302), addr) == ""


async def test_redirects_in_a_circle_end():
    async with serving(redirecting(root="/a", a="/b", b="/a")) as addr:
        assert await asked(HTTP, addr) == f"HTTP status 302 instead of 200 from {addr}/b, after {REDIRECTS} others"


@pytest.mark.parametrize("location", ["/a b", "/\xff", "x" * 50_000])
async def test_a_location_that_cannot_be_asked_for_is_a_reason(location):
    async with serving(redirecting(root=location, **{"x" * 50_000: "https://elsewhere.example/" + "y" * 5000})) as addr:
        said = await asked(HTTP, addr)
    assert said
    assert len(said) < 60_000


async def endless_headers(stream, target):
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-More: " + b"y" * 4000 + b"\r\n")


async def one_endless_header(stream, target):
    await stream.send_all(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await stream.send_all(b"y" * 4000)


async def endless_interim_responses(stream, target):
    while True:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def endless_chunk_size(stream, target):
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"0" * 4000)


async def tls_garbage(stream, target):
    await stream.send_all(bytes(range(256)) * 64)


@pytest.mark.parametrize(
    "answer", [endless_headers, one_endless_header, endless_interim_responses, endless_chunk_size, tls_garbage]
)
async def test_what_has_no_end_is_no_response(answer):
    async with serving(answer) as addr:
        assert await asked(MATCH, addr) == f"no HTTP response from {addr}"


async def test_a_few_interim_responses_are_ordinary():
    async def answer(stream, target):
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n" * INFORMATIONAL)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(answer) as addr:
        assert await asked(HTTP, addr) == ""


async def test_tls_garbage_is_no_handshake():
    async with serving(tls_garbage) as addr:
        assert "failed TLS handshake" in (await asked(HealthCheck(type="https"), addr) or "")


def silent_after(piece: bytes):
    async def answer(stream, target):
        await stream.send_all(piece)
        await trio.sleep_forever()

    return answer


async def drop_by_drop(stream, target):
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n":
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.1)


@pytest.mark.parametrize(
    "answer",
    [silent_after(b""), silent_after(b"HTTP/1.1 200"), silent_after(b"HTTP/1.1 200 OK\r\n\r\nnee"), drop_by_drop],
    ids=["hangs", "hangs in the head", "hangs in the body", "a byte now and then"],
)
async def test_what_is_late_is_cut_off_by_the_deadline_of_the_probe(answer):
    async with serving(answer) as addr:
        assert await asked(MATCH, addr) is None


async def test_a_late_handshake_is_cut_off_too():
    async with serving(silent_after(b"")) as addr:
        assert await asked(HealthCheck(type="https"), addr) is None


async def test_five_megabytes_are_neither_read_nor_kept():
    sent = 0

    async def answer(stream, target):
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")
        for _ in range(500):
            await stream.send_all(b"z" * 10_000)
            sent += 10_000

    async with serving(answer) as addr:
        tracemalloc.start()
        try:
            said = await asked(MATCH, addr)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert said == f"no 'needle' in the first 5120 bytes from {addr}/"
    assert most < 8 * HEAD_BYTES
    assert sent < 5_000_000
