"""Sockets handed in, and ports that are taken."""

import errno
import os
import socket
import subprocess
import sys

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.router import ListenError, Listeners, inherited, open_front
from flynn_aio.router.listener import listen

from .conftest import House, OpenHouse
from .ends import Recorder, ask, http


async def test_a_port_that_is_taken_is_told(house: House, open_house: OpenHouse):
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_house(http_port=house.front.http_port):
            pass
    [error] = find(caught.value)
    assert str(house.front.http_port) in error.message
    assert "http_port" in error.message


def test_no_descriptors_left_is_told_as_well(monkeypatch: pytest.MonkeyPatch):
    def exhausted(*args: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", exhausted)
    with pytest.raises(ListenError, match="Too many open files"):
        listen("127.0.0.1", 0)


def find(group: BaseExceptionGroup) -> list[ListenError]:
    found: list[ListenError] = []
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            found += find(each)
        elif isinstance(each, ListenError):
            found.append(each)
    return found


async def test_handed_sockets_are_served_and_stay_open(house: House):
    """Clients that come between two fronts wait in the backlog, and the next front serves them."""
    await house.backends.start(Recorder())
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as tls:
        listeners = Listeners(http=(plain,), https=(tls,))
        settings = house.router.upstreams.settings
        port = plain.getsockname()[1]
        async with open_front(settings, house.router, doors={}, listeners=listeners) as front:
            assert (front.http_port, front.https_port) == (port, tls.getsockname()[1])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert (await ask(stream, http())).status == 200
        async with await trio.open_tcp_stream("127.0.0.1", port) as waiting:
            await waiting.send_all(http())
            await wait_all_tasks_blocked(0.01)
            async with open_front(settings, house.router, doors={}, listeners=listeners):
                assert b"200" in await waiting.receive_some()


async def test_a_handed_socket_that_does_not_listen_holds_up_nobody(house: House):
    with socket.socket() as odd, socket.create_server(("127.0.0.1", 0)) as tls:
        settings = house.router.upstreams.settings
        listeners = Listeners(http=(odd,), https=(tls,))
        async with open_front(settings, house.router, doors={}, listeners=listeners):
            await trio.sleep(0.01)


def test_nothing_is_inherited_without_the_variables():
    assert inherited({}, os.getpid()) is None
    assert inherited({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "2"}, os.getpid()) is None


INHERIT = """
import os
from flynn_aio.router import inherited
os.environ["LISTEN_PID"] = str(os.getpid())
found = inherited(os.environ, os.getpid())
print([sock.getsockname()[1] for sock in found.http], [sock.getsockname()[1] for sock in found.https])
print([sock.get_inheritable() for sock in (*found.http, *found.https)])
"""


def test_sockets_are_inherited_by_name(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
        script = f"exec {sys.executable} -c '{INHERIT}' 3<&{one.fileno()} 4<&{two.fileno()}"
        done = subprocess.run(
            ["bash", "-c", script],
            pass_fds=(one.fileno(), two.fileno()),
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "https:http"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == f"[{second}] [{first}]\n[False, False]\n"
