"""Names that nobody answers for hold up nobody but those who ask for them."""

import socket
import threading

import pytest
import trio
import trio.testing

from flynn_aio import names


@pytest.fixture
def silence(monkeypatch):
    """A name server that says nothing until the end of the test, but for `here.test`."""
    over = threading.Event()

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        if flags & socket.AI_NUMERICHOST:  # Trio asks first, on its own thread, whether it is a name at all
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        if host == b"here.test":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(names.socket, "getaddrinfo", getaddrinfo)
    yield over
    over.set()


async def test_a_silent_name_server_leaves_threads_for_others(silence):
    trio.socket.set_custom_hostname_resolver(names.Names())
    async with trio.open_nursery() as nursery:
        for number in range(trio.to_thread.current_default_thread_limiter().total_tokens):
            nursery.start_soon(trio.socket.getaddrinfo, f"{number}.test", 80)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert await trio.to_thread.run_sync(lambda: "read") == "read"
        nursery.cancel_scope.cancel()


async def test_a_name_is_found(silence):
    trio.socket.set_custom_hostname_resolver(names.Names())
    found = await trio.socket.getaddrinfo("here.test", 1, type=socket.SOCK_STREAM)
    assert found[0][4] == ("127.0.0.1", 1)
