"""Attach: the end of an output and the loss of it, which look the same on the stream."""

import signal
import socket

import pytest
import trio

from flynn_aio.engine import Output, Stream
from flynn_aio.engine.attach import PodmanAttachment
from flynn_aio.engine.client import BareStream
from flynn_aio.engine.processes import WatchedProcess
from flynn_aio.errors import EngineError
from flynn_aio.model import JobID
from flynn_aio.watch import Watch

from .test_processes import SLEEP, start


class Service:
    """Stands for `PodmanService`: its process can be replaced, its generation grows once that one answers."""

    def __init__(self, process: WatchedProcess) -> None:
        self.process = process
        self.generation = Watch(0)

    @property
    def is_alive(self) -> bool:
        return not self.process.is_ending


class Container:
    status = type("Status", (), {"id": JobID("j1")})


@pytest.fixture
async def service(nursery):
    service = Service(WatchedProcess((await start(nursery, SLEEP)).pid, ""))
    yield service
    service.process.close()
    nursery.cancel_scope.cancel()


@pytest.fixture
async def streams(service):
    """An attachment, and Podman's end of its stream."""
    ours, podmans = socket.socketpair()
    async with trio.SocketStream(trio.socket.from_stdlib_socket(podmans)) as podman:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            bare = BareStream(stream, b"first ")
            yield PodmanAttachment(Container(), bare, service=service, tty=True, resize=None), podman


async def test_what_came_with_the_answer_is_the_first_output(streams):
    attachment, podman = streams
    await podman.send_all(b"second")
    await podman.aclose()
    assert [piece async for piece in attachment.output] == [
        Output(Stream.STDOUT, b"first "),
        Output(Stream.STDOUT, b"second"),
    ]


async def test_an_end_is_a_loss_when_the_service_died(streams, service):
    attachment, podman = streams
    service.process.send_signal(signal.SIGKILL)
    await service.process.wait_ended()
    await podman.aclose()
    with pytest.raises(EngineError, match="lost the streams of job j1"):
        [piece async for piece in attachment.output]


async def test_an_end_is_a_loss_while_the_next_service_is_still_starting(streams, service, nursery):
    attachment, podman = streams
    service.process.close()
    service.process = WatchedProcess((await start(nursery, SLEEP)).pid, "")
    await podman.aclose()
    with pytest.raises(EngineError, match="lost the streams of job j1"):
        [piece async for piece in attachment.output]
