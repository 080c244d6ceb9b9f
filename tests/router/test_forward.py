"""Requests through the whole router on loopback, over HTTP/1.1.

The names of upstream's tests (`router.md` §11) stand beside ours.
"""

from functools import partial

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from .conftest import House, OpenHouse
from .ends import Recorder, Seen, answering, ask, http, read_all, says

UNAVAILABLE = b"Service Unavailable\n"


async def refused_addr() -> str:
    """Return an address nobody listens on."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    addr = f"127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    return addr


async def test_a_request_reaches_the_backend_and_its_answer_comes_back(house: House):  # TestAddHTTPRoute
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/x?y"))
    assert (answer.status, answer.body) == (200, b"hello\n")
    [seen] = backend.seen
    assert (seen.method, seen.target) == (b"GET", b"/x?y")
    assert seen.header(b"X-Forwarded-For") == b"127.0.0.1"
    assert seen.header(b"X-Forwarded-Proto") == b"http"
    assert seen.header(b"X-Forwarded-Port") == b"%d" % house.front.http_port
    assert len(seen.header(b"X-Request-Start") or b"") == 13
    assert len(seen.header(b"X-Request-Id") or b"") == 36


async def test_an_unknown_host_is_not_found(house: House):  # TestAddHTTPRoute
    async with await house.http() as stream:
        answer = await ask(stream, http(host=b"nobody.flynn.test"))
        assert (answer.status, answer.body) == (404, b"Not Found\n")
        again = await ask(stream, http(host=b"nobody.flynn.test", method=b"HEAD"))
        assert (again.status, again.headers[b"content-length"]) == (404, b"10")


UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")


@pytest.mark.parametrize("lines", [(), UPGRADE], ids=["plain", "upgrade"])
async def test_without_backends_the_service_is_unavailable(house: House, lines):  # TestNoBackends
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/", *lines))
    assert (answer.status, answer.body) == (503, UNAVAILABLE)


@pytest.mark.parametrize("lines", [(), UPGRADE], ids=["plain", "upgrade"])
async def test_without_a_backend_that_listens_too(house: House, lines):  # TestNoResponsiveBackends
    for _ in range(3):
        house.backends.register(await refused_addr())
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/", *lines))
    assert (answer.status, answer.body) == (503, UNAVAILABLE)


async def test_the_operators_own_page_is_shown(open_house: OpenHouse, tmp_path):  # TestCustom503ErrorPage
    (tmp_path / "page.html").write_bytes(b"<h1>back soon</h1>")
    async with open_house(error_503_page=str(tmp_path / "page.html")) as house, await house.http() as stream:
        answer = await ask(stream, http())
    assert (answer.status, answer.body) == (503, b"<h1>back soon</h1>")
    assert answer.headers[b"content-type"] == b"text/html; charset=utf-8"


BODY = b"x" * 100_000
LENGTH = b"Content-Length: 100000"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_refused_dial_costs_nothing(house: House, method):  # TestClosedBackendRetriesAnotherBackend
    backend = Recorder()
    await house.backends.start(backend)
    for _ in range(3):
        house.backends.register(await refused_addr())
    async with await house.http() as stream:
        for _ in range(8):
            body, lines = (BODY, (LENGTH,)) if method == b"POST" else (b"", ())
            answer = await ask(stream, http(b"/", *lines, method=method) + body)
            assert answer.status == 200
            assert backend.seen[-1].body == body


async def test_a_body_arrives_however_it_was_sent(house: House):
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        await ask(stream, http(b"/", LENGTH, method=b"POST") + BODY)
        chunked = b"3e8\r\n" + BODY[:1000] + b"\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n"
        await ask(stream, http(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunked)
        await ask(stream, http(b"/", b"Content-Length: 3", method=b"POST") + b"abc")
        await ask(stream, http(b"/", b"Content-Length: 0", method=b"POST"))
    assert [each.body for each in backend.seen] == [BODY, BODY[:1000], b"abc", b""]
    assert backend.seen[1].header(b"Transfer-Encoding") == b"chunked"
    assert backend.seen[3].header(b"Content-Length") == b"0"


async def test_empty_answers_pass(house: House):  # TestIssue5381
    def empty(seen: Seen):
        status = int(seen.target[1:])
        return status, [] if status in (204, 304) else [(b"Content-Length", b"0")], b""

    await house.backends.start(Recorder(empty))
    async with await house.http() as stream:
        for status in (200, 204, 304, 404, 200):
            answer = await ask(stream, http(b"/%d" % status))
            assert (answer.status, answer.body) == (status, b"")


async def test_the_answer_to_head_has_a_length_and_no_body(house: House):
    await house.backends.start(Recorder())
    async with await house.http() as stream:
        for _ in range(2):
            answer = await ask(stream, http(method=b"HEAD"))
            assert (answer.headers[b"content-length"], answer.body) == (b"6", b"")


async def test_an_answer_streams(house: House):  # TestHTTPResponseStreaming
    more = trio.Event()

    async def backend(stream: trio.SocketStream) -> None:
        await answering(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\nX-Sum: 9\r\n\r\n")

    await house.backends.start(backend)
    async with await house.http() as stream:
        await stream.send_all(http())
        got = b""
        while b"one" not in got:
            got += await stream.receive_some()
        assert b"two" not in got
        more.set()
        while not got.endswith(b"\r\n\r\n"):
            got += await stream.receive_some()
    assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 9\r\n\r\n")


async def test_an_answer_without_length_ends_with_the_backend(house: House):
    await house.backends.start(partial(answering_until_close, b"HTTP/1.1 200 OK\r\n\r\nall there is"))
    async with await house.http() as stream:
        for _ in range(2):
            answer = await ask(stream, http())
            assert (answer.headers[b"transfer-encoding"], answer.body) == (b"chunked", b"all there is")


async def answering_until_close(data: bytes, stream: trio.SocketStream) -> None:
    await answering(stream, data)


async def test_an_old_client_gets_what_it_understands(house: House):
    await house.backends.start(
        partial(answering_until_close, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    )
    async with await house.http() as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\nHost: hello.flynn.test\r\nConnection: keep-alive\r\n\r\n")
        assert await read_all(stream) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"


async def test_interim_answers_pass(house: House):
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    await house.backends.start(partial(answering_until_close, data))
    async with await house.http() as stream:
        answer = await ask(stream, http())
    assert (answer.interim, answer.status) == ([103], 200)


async def test_a_body_that_was_announced_is_asked_for(house: House):
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        await stream.send_all(http(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"PUT"))
        assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = await ask(stream, b"abc")
    assert (answer.status, backend.seen[0].body) == (200, b"abc")
    assert backend.seen[0].header(b"Expect") is None


async def test_nobody_is_asked_for_a_body_that_nobody_wants(house: House):
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"PUT"))
        assert (answer.interim, answer.status, answer.headers[b"connection"]) == ([], 503, b"close")


async def test_an_answer_before_the_end_of_the_request_ends_the_connection(house: House):
    await house.backends.start(
        partial(answering_until_close, b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    )
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/", b"Content-Length: 100000", method=b"POST") + b"x" * 1000)
        assert (answer.status, answer.body) == (413, b"big")
        assert await read_all(stream) == b""


async def test_a_small_body_nobody_wanted_does_not_end_the_connection(house: House):
    async with await house.http() as stream:
        for _ in range(2):
            answer = await ask(stream, http(b"/", b"Content-Length: 3", host=b"x", method=b"POST") + b"abc")
            assert (answer.status, b"connection" in answer.headers) == (404, False)


async def test_an_error_after_the_connection_hits_one_backend_only(house: House):
    # TestErrorAfterConnOnlyHitsOneBackend
    async def hang_up(stream: trio.SocketStream) -> None:
        await answering(stream)

    addresses = [await house.backends.start(hang_up) for _ in range(3)]
    async with await house.http() as stream:
        answer = await ask(stream, http())
    assert answer.status == 503
    assert sum(house.backends.accepted[addr] for addr in addresses) == 1


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_connection_the_backend_closed_is_not_missed(house: House, method):
    # TestHTTPServiceHandlerBackendConnectionClosed
    backend = Recorder(close_silently=True)
    await house.backends.start(backend)
    async with await house.http() as stream:
        for _ in range(5):
            body = b"abc" if method == b"POST" else b""
            answer = await ask(stream, http(b"/", b"Content-Length: %d" % len(body), method=method) + body)
            assert (answer.status, backend.seen[-1].body) == (200, body)
            await wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("body", [b"", b"abc", b"x" * 40_000], ids=len)
async def test_nor_one_it_closes_the_moment_we_use_it(house: House, body):
    heads: list[bytes] = []

    async def once(stream: trio.SocketStream) -> None:
        """Answer one request; close when the second comes, before reading it."""
        await read_request(stream, heads)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await stream.receive_some(1)

    await house.backends.start(once)
    async with await house.http() as stream:
        for _ in range(4):
            answer = await ask(stream, http(b"/", b"Content-Length: %d" % len(body), method=b"POST") + body)
            assert answer.status == 200
    assert [head.partition(b"\r\n\r\n")[2] for head in heads] == [body] * 4


async def read_request(stream: trio.SocketStream, into: list[bytes]) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive_some()
    length = int(got.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while len(got.partition(b"\r\n\r\n")[2]) < length:
        got += await stream.receive_some()
    into.append(got)


async def test_one_connection_may_ask_for_two_hosts(house: House):  # TestKeepaliveHostname
    await house.route("other.example", "other-web")
    await house.backends.start(Recorder(says(b"hello")))
    await house.backends.start(Recorder(says(b"other")), service="other-web")
    async with await house.http() as stream:
        for host, body in ((b"hello.flynn.test", b"hello"), (b"other.example", b"other")) * 2:
            assert (await ask(stream, http(host=host))).body == body


@pytest.mark.parametrize(
    "target", [b"//foo", b"/a%2Fb%20c/?x=%00;y", b"/?a=1&a=2;b", b"http://hello.flynn.test/abs?x", b"/a//b/../c/./"]
)
async def test_the_target_arrives_as_it_was_sent(house: House, target):
    # TestRequestURIEscaping, TestRequestQueryParams, TestDoubleSlashPath
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        assert (await ask(stream, http(target))).status == 200
    assert backend.seen[0].target == target


@pytest.mark.parametrize("host", [b"HELLO.Flynn.Test", b"hello.flynn.test:80", b"hello.flynn.test:8080"])
async def test_the_host_arrives_as_it_was_sent(house: House, host):  # TestCaseInsensitiveDomain, TestHostPortStripping
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        assert (await ask(stream, http(host=host))).status == 200
    assert backend.seen[0].header(b"Host") == host


async def test_a_client_that_closes_does_not_close_the_backend(house: House):  # TestConnectionCloseHeaderFromClient
    addr = await house.backends.start(Recorder())
    for _ in range(3):
        async with await house.http() as stream:
            answer = await ask(stream, http(b"/", b"Connection: close"))
            assert answer.headers[b"connection"] == b"close"
            assert await read_all(stream) == b""
    assert house.backends.accepted[addr] == 1


async def test_keeping_connections_can_be_switched_off(house: House):  # TestHTTPDisableKeepalive
    backend = Recorder()
    addr = await house.backends.start(backend, service="once-web")
    await house.route("once.example", "once-web", disable_keep_alives=True)
    async with await house.http() as stream:
        for _ in range(3):
            assert (await ask(stream, http(host=b"once.example"))).status == 200
    assert house.backends.accepted[addr] == 3
    assert backend.seen[0].header(b"Connection") == b"close"


async def test_a_pipeline_is_answered_in_order(house: House):
    await house.backends.start(Recorder(lambda seen: (200, [(b"Content-Length", b"2")], seen.target)))
    async with await house.http() as stream:
        await stream.send_all(b"".join(http(b"/%d" % n) for n in range(5)))
        got = b""
        with trio.fail_after(5):
            while got.count(b"\r\n\r\n/") < 5 or got.endswith(b"/"):
                got += await stream.receive_some(1)
    assert [answer.partition(b"\r\n\r\n")[2] for answer in got.split(b"HTTP/1.1 200 ")[1:]] == [
        b"/%d" % n for n in range(5)
    ]


async def test_a_client_that_leaves_takes_its_request_along(house: House):  # TestHTTPCloseNotify
    left = trio.Event()

    async def wait(stream: trio.SocketStream) -> None:
        await answering(stream)
        await read_all(stream)
        left.set()

    await house.backends.start(wait)
    for lines, body in (((), b""), ((b"Content-Length: 2",), b"x"), ((b"Content-Length: 1",), b"x")):
        left = trio.Event()
        async with await house.http() as stream:
            await stream.send_all(http(b"/", *lines) + body)
            await wait_all_tasks_blocked(0.02)
        with trio.fail_after(2):
            await left.wait()


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
async def test_a_backend_that_answers_nonsense_is_unavailable(house: House, data):
    await house.backends.start(partial(answering_until_close, data))
    async with await house.http() as stream:
        answer = await ask(stream, http())
        assert (answer.status, answer.body) == (503, UNAVAILABLE)
        assert (await ask(stream, http(host=b"x"))).status == 404


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_breaks_off_does_not_look_whole(house: House, framing):
    await house.backends.start(partial(answering_until_close, b"HTTP/1.1 200 OK\r\n%b\r\n\r\n3\r\nabc" % framing))
    async with await house.http() as stream:
        with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
            await ask(stream, http())


async def test_what_a_backend_says_unasked_is_nobodys_answer(house: House):
    async def two_for_one(stream: trio.SocketStream) -> None:
        once = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        await answering(stream, once + b"mine" + once + b"evil")
        await trio.sleep_forever()

    await house.backends.start(two_for_one)
    async with await house.http() as stream:
        for _ in range(3):
            assert (await ask(stream, http())).body == b"mine"


async def test_a_slow_reader_slows_the_backend(house: House):
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        await answering(stream, b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(bytes(65536))
            sent += 65536

    await house.backends.start(flood)
    async with await house.http() as stream:
        await stream.send_all(http())
        await wait_all_tasks_blocked(0.1)
        assert sent < 16 * 1024 * 1024  # what the kernel's buffers hold, and a piece of ours
        before = sent
        for _ in range(500):
            await stream.receive_some(65536)
        assert sent > before


async def test_a_slow_backend_slows_the_client(open_house: OpenHouse):
    async def lazy(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    sent = 0
    async with open_house(drain_s=0.1) as house:
        await house.backends.start(lazy)
        async with await house.http() as stream:
            await stream.send_all(http(b"/", b"Content-Length: 1000000000", method=b"POST"))
            with trio.move_on_after(0.3):
                while True:
                    await stream.send_all(bytes(65536))
                    sent += 65536
    assert sent < 16 * 1024 * 1024


async def test_both_directions_stream_at_once(house: House):
    async def echo(stream: trio.SocketStream) -> None:
        await answering(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while data := await stream.receive_some():
            await stream.send_all(b"%x\r\n%b\r\n" % (len(data), data))

    await house.backends.start(echo)
    async with await house.http() as stream:
        await stream.send_all(http(b"/", b"Content-Length: 100", method=b"POST"))
        assert b"200 OK" in await stream.receive_some()
        for n in range(5):
            await stream.send_all(b"ping%d" % n)
            got = b""
            while b"ping%d" % n not in got:
                got += await stream.receive_some()


async def test_a_malformed_body_is_the_clients_fault(house: House):
    await house.backends.start(Recorder())
    async with await house.http() as stream:
        answer = await ask(
            stream, http(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\nnonsense\r\n"
        )
        assert answer.status == 400
        assert await read_all(stream) == b""


async def test_the_backends_of_a_route_are_followed(house: House):  # TestAddHTTPRoute
    one = await house.backends.start(Recorder(says(b"one")))
    async with await house.http() as stream:
        assert (await ask(stream, http())).body == b"one"
        await house.backends.start(Recorder(says(b"two")))
        house.backends.unregister(one)
        for _ in range(5):
            assert (await ask(stream, http())).body == b"two"


async def test_a_busy_backend_gets_less(house: House):  # TestHTTPLoadBalance
    async def hang(stream: trio.SocketStream) -> None:
        await answering(stream)
        await trio.sleep_forever()

    await house.backends.start(hang)
    async with await house.http() as first, await house.http() as stream:
        await first.send_all(http())
        await wait_all_tasks_blocked(0.02)
        await house.backends.start(Recorder())
        for _ in range(10):
            assert (await ask(stream, http())).status == 200


async def test_only_the_leader_is_asked(house: House):  # TestLeaderRouting
    await house.route("led.example", "led-web", leader=True)
    oldest = await house.backends.start(Recorder(says(b"oldest")), service="led-web", index=1)
    await house.backends.start(Recorder(says(b"next")), service="led-web", index=2)
    async with await house.http() as stream:
        for _ in range(5):
            assert (await ask(stream, http(host=b"led.example"))).body == b"oldest"
        house.backends.unregister(oldest)
        for _ in range(5):
            assert (await ask(stream, http(host=b"led.example"))).body == b"next"


async def test_a_sticky_visitor_stays(house: House):  # TestStickyHTTPRoute
    await house.route("sticky.example", "sticky-web", sticky=True)
    names = {}
    for name in (b"a", b"b", b"c"):
        names[name] = await house.backends.start(Recorder(says(name)), service="sticky-web")
    async with await house.http() as stream:
        first = await ask(stream, http(host=b"sticky.example"))
        cookie = first.headers[b"set-cookie"]
        assert cookie.startswith(b"_backend=")
        assert cookie.endswith(b"; Path=/")
        line = b"Cookie: a=b; " + cookie.split(b";")[0]
        for _ in range(10):
            answer = await ask(stream, http(b"/", line, host=b"sticky.example"))
            assert answer.body == first.body
            assert b"set-cookie" not in answer.headers
        house.backends.unregister(names[first.body])
        answer = await ask(stream, http(b"/", line, host=b"sticky.example"))
        assert answer.body != first.body
        assert b"set-cookie" in answer.headers


async def test_paths_lead_to_services_of_their_own(house: House):  # TestPathRouting
    await house.route("paths.example", "root-web")
    await house.route("paths.example", "two-web", path="/2/")
    await house.backends.start(Recorder(says(b"root")), service="root-web")
    await house.backends.start(Recorder(says(b"two")), service="two-web")
    async with await house.http() as stream:
        for target, body in ((b"/", b"root"), (b"/2", b"two"), (b"/2/foo", b"two"), (b"/2x", b"root")):
            assert (await ask(stream, http(target, host=b"paths.example"))).body == body


async def test_a_reply_follows_an_answer_on_the_same_connection(house: House):
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        for host, status in ((b"hello.flynn.test", 200), (b"nobody.example", 404)) * 3:
            assert (await ask(stream, http(host=host))).status == status
            assert not await nothing_more(stream)


async def nothing_more(stream: trio.SocketStream) -> bytes:
    with trio.move_on_after(0.01):
        return await stream.receive_some()
    return b""
