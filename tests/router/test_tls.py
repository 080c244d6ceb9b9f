"""Which certificate a handshake gets, and what happens to those that fail."""

import shutil
import ssl
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from flynn_aio.model import Certificate
from flynn_aio.router import CertificateError, open_router
from flynn_aio.store import changes
from tests.support.certs import Authority

from .conftest import House, tls_stream
from .ends import Recorder, ask, http, read_all


def names_of(stream: trio.SSLStream) -> set[str]:
    return {name for _, name in stream.getpeercert()["subjectAltName"]}


async def test_https_is_served_with_the_clusters_certificate(house: House, client_context):  # TestDefaultServerKeypair
    backend = Recorder()
    await house.backends.start(backend)
    async with tls_stream(house, client_context, "hello.flynn.test") as stream:
        for _ in range(2):
            assert (await ask(stream, http())).body == b"hello\n"
        assert names_of(stream) == {"flynn.test", "*.flynn.test"}
    assert backend.seen[0].header(b"X-Forwarded-Proto") == b"https"


async def test_a_name_nobody_answers_for_gets_no_certificate(house: House, client_context):  # TestAddHTTPRoute
    with pytest.raises(trio.BrokenResourceError) as caught:
        async with tls_stream(house, client_context, "nobody.flynn.test"):
            pass
    assert "unrecognized name" in str(caught.value.__cause__).lower()


async def test_without_a_name_the_clusters_certificate_is_served(house: House, client_context):
    client_context.check_hostname = False
    plain = await trio.open_tcp_stream("127.0.0.1", house.front.https_port)
    stream = trio.SSLStream(plain, client_context, https_compatible=True)
    async with stream:
        await stream.do_handshake()
        assert "flynn.test" in names_of(stream)
        assert (await ask(stream, http(host=b"nobody.example"))).status == 404


async def test_a_route_brings_its_own_certificate_and_changes_it_live(
    house: House, client_context, authority: Authority
):  # TestAddHTTPRouteWithCert, TestUpdateCert, TestAddHTTPRouteWithExistingCert
    await house.backends.start(Recorder())
    first, second = authority.leaf("own.example", "first.example"), authority.leaf("own.example", "second.example")
    route = await house.route("own.example", certificate=Certificate(cert=first.cert, key=first.key))
    async with tls_stream(house, client_context, "own.example") as old:
        assert names_of(old) == {"own.example", "first.example"}

        def change(tx):
            wanted = type(route)(
                **{name: getattr(route, name) for name in route.__struct_fields__}
                | {"certificate": Certificate(cert=second.cert, key=second.key)}
            )
            return changes.update_route(tx, house.app.id, wanted)

        await house.store.transact(change)
        await house.router.refresh()
        async with tls_stream(house, client_context, "own.example") as new:
            assert names_of(new) == {"own.example", "second.example"}
        assert (await ask(old, http(host=b"own.example"))).status == 200  # and lost nobody


async def test_a_door_is_served_with_the_clusters_certificate(open_house, client_context):
    async def no_one() -> trio.SocketStream:
        raise OSError("closed")

    async with (
        open_house(doors={"controller": no_one}) as house,
        tls_stream(house, client_context, "controller.flynn.test") as stream,
    ):
        assert (await ask(stream, http(host=b"controller.flynn.test"))).status == 503


async def test_plain_http_on_the_tls_port_is_told_so(house: House):
    stream = await trio.open_tcp_stream("127.0.0.1", house.front.https_port)
    async with stream:
        await stream.send_all(http())
        got = await read_all(stream)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert got.endswith(b"Client sent an HTTP request to an HTTPS server.\n")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01" + b"\xff" * 300, b"\x16", b""])
async def test_garbage_ends_within_the_handshakes_deadline(house: House, autojump_clock, sent):
    stream = await trio.open_tcp_stream("127.0.0.1", house.front.https_port)
    async with stream:
        if sent:
            await stream.send_all(sent)
        started = trio.current_time()
        await read_all(stream)
        assert trio.current_time() - started < 12


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(house: House, client_context):  # TestLegacyTLSDisallowed
    client_context.minimum_version = ssl.TLSVersion.TLSv1
    client_context.maximum_version = ssl.TLSVersion.TLSv1_1
    client_context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(trio.BrokenResourceError):
        async with tls_stream(house, client_context, "hello.flynn.test"):
            pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_tunnel_over_tls_half_closes(house: House, client_context, version):
    async def last_word(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nyou first")
        await stream.send_eof()
        got = await read_all(stream)
        received.append(got)
        ended.set()

    received: list[bytes] = []
    ended = trio.Event()
    await house.backends.start(last_word)
    client_context.maximum_version = version
    async with tls_stream(house, client_context, "hello.flynn.test") as stream:
        await stream.send_all(http(b"/", b"Connection: Upgrade", b"Upgrade: x"))
        got = b""
        while not got.endswith(b"you first"):
            got += await stream.receive_some()
        await stream.send_all(b"then me")
    with trio.fail_after(2):
        await ended.wait()
    assert received == [b"then me"]


async def test_a_big_body_passes_over_tls_both_ways(house: House, client_context):
    body = bytes(range(256)) * 8192
    backend = Recorder(lambda seen: (200, [(b"Content-Length", b"%d" % len(seen.body))], seen.body))
    await house.backends.start(backend)
    async with tls_stream(house, client_context, "hello.flynn.test") as stream:
        line = b"Content-Length: %d" % len(body)
        answer = await ask(stream, http(b"/", line, method=b"POST") + body)
    assert answer.body == body


async def test_a_certificate_that_does_not_load_says_which(house: House, settings, tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")

    with pytest.raises(CertificateError):
        async with open_router(
            replace(settings, certificate=tmp_path / "bad.pem"), house.store, house.backends.services
        ):
            pass
    with pytest.raises(CertificateError, match="missing.pem"):
        missing = replace(settings, certificate=tmp_path / "missing.pem")
        async with open_router(missing, house.store, house.backends.services):
            pass


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_curl_is_served_with_either_version(house: House, authority: Authority, flag, version):
    await house.backends.start(Recorder())
    port = house.front.https_port
    with tempfile.TemporaryDirectory() as folder:
        ca = Path(folder) / "ca.pem"
        ca.write_text(authority.pem)
        command = [
            "curl", "-sS", flag, "--cacert", str(ca), "--resolve", f"hello.flynn.test:{port}:127.0.0.1",
            "-w", "%{http_version} %{http_code}", f"https://hello.flynn.test:{port}/",
        ]  # fmt: skip
        done = await trio.run_process(command, capture_stdout=True, check=False)
    assert done.stdout.decode() == f"hello\n{version} 200"
