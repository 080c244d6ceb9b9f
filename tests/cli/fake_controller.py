"""A controller that says what the test tells it to, over real sockets, and remembers what it was asked.

It answers in the exact forms of `controller-api.md`. Threads and the standard library only: the commands under test
block, and run in this process or in one of their own.
"""

import json
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

WAIT_S = 10.0
KEY = "testkey"


@dataclass(frozen=True)
class Request:
    """What came in. `body` is the decoded JSON, or ``None``; of a layer or slug, its bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    connection: int

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Reply:
    """An answer: JSON by default, or a status with raw bytes."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


NOT_FOUND = Reply(b"", 404, {})
UNAUTHORIZED = Reply(b"", 401, {})


def error(code: str, message: str, status: int, *, retry: bool = False) -> Reply:
    return Reply({"code": code, "message": message, "retry": retry}, status)


Step = bytes | Callable[["Handler"], None]


@dataclass
class Stream:
    """A chunked answer made of pieces; a callable among them is called with the handler, to wait for something.

    Args:
        end: whether to end the body properly; otherwise the connection is cut.
    """

    steps: list[Step]
    content_type: str = "text/event-stream; charset=utf-8"
    end: bool = True


@dataclass
class Upgraded:
    """101, and then the conversation is the test's: it gets the connection's file objects."""

    talk: Callable[["Handler"], None]


Answer = Reply | Stream | Upgraded | Callable[[Request], "Reply | Stream | Upgraded"]


def frame(event_id: int, object_type: str, data: dict[str, Any], **more: str) -> bytes:
    """Return an event as it stands in a stream."""
    event = {"id": event_id, "object_type": object_type, "data": data, **more}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def after(what: str) -> Step:
    """Wait until the controller was asked `what`, ``METHOD /path``, since the stream began or before."""
    return lambda handler: handler.server.controller.wait_for(what)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked is in `FakeController.requests`."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # a client that hung up
            self.close_connection = True

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {key.lower(): value for key, value in self.headers.items()},
            raw if parts.path.startswith(("/layer/", "/slug")) else json.loads(raw) if raw else None,
            id(self.connection),
        )
        self._say(request, self.server.controller.answer_to(request))

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def _say(self, request: Request, answer: Answer) -> None:
        if not isinstance(answer, Reply | Stream | Upgraded):
            answer = answer(request)
        if isinstance(answer, Reply):
            data = answer.data()
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        elif isinstance(answer, Stream):
            self._stream(answer)
        else:
            self.send_response(101)
            self.send_header("Connection", "upgrade")
            self.send_header("Upgrade", "flynn-attach/0")
            self.end_headers()
            answer.talk(self)
            self._linger()
            self.close_connection = True

    def _linger(self) -> None:
        """Wait for the client to hang up, as the real one does: closing on what it says would lose our last words."""
        self.wfile.flush()
        self.connection.settimeout(5)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(65536):
                continue

    def _stream(self, stream: Stream) -> None:
        self.send_response(200)
        self.send_header("Content-Type", stream.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for step in stream.steps:
            if callable(step):
                step(self)
            else:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(step), step))
        if stream.end:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    controller: "FakeController"


class FakeController:
    """See the module. Answers given for the same request are given in turn; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.port = 0
        self.key = KEY
        self._answers: dict[str, list[Answer]] = {}
        self._asked = threading.Condition()

    def on(self, what: str, *answers: Any) -> None:
        """Say how to answer ``METHOD /path``: with a `Reply`, `Stream` or `Upgraded`, or with this JSON."""
        known = (Reply, Stream, Upgraded)
        self._answers[what] = [each if isinstance(each, known) or callable(each) else Reply(each) for each in answers]

    def answer_to(self, request: Request) -> Answer:
        with self._asked:
            self.requests.append(request)
            self._asked.notify_all()
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme != "Basic" or b64decode(given) != f":{self.key}".encode():
                return UNAUTHORIZED
            answers = self._answers.get(str(request))
            if not answers:
                return NOT_FOUND
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def wait_for(self, what: str) -> None:
        with self._asked:
            assert self._asked.wait_for(lambda: what in self.asked, WAIT_S), f"never asked: {what}"

    @property
    def asked(self) -> list[str]:
        """All requests so far, as ``METHOD /path``."""
        return [str(request) for request in self.requests]

    def bodies(self, what: str) -> list[Any]:
        return [request.body for request in self.requests if str(request) == what]


@contextmanager
def running(controller: FakeController, tls: ssl.SSLContext | None = None) -> Iterator[FakeController]:
    """Serve on a loopback port, `controller.port`, while the block runs."""
    server = Server(("127.0.0.1", 0), Handler)
    server.controller = controller
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    controller.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
