"""Speaking the controller's API: requests, and the errors as a person reads them.

One idle connection is kept and used again; a second one exists only while a stream is open beside it.

Source: `controller-api.md` §1 and §2; Flynn `pkg/httpclient`, `controller/client/v1`.
"""

import json
import select
import socket
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from .failure import ADD_LINE, NONSENSE, Failure, NotFound, Refused, Unauthorized, Unreachable
from .http1 import HTTPError, Response
from .rc import Cluster
from .wire import Connection, Door, reason

RETRY_FOR_S = 10.0
RETRY_PAUSE_S = 0.1
MAX_REDIRECTS = 10
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})


class Answer:
    """A response whose body is still on the wire."""

    def __init__(self, connection: Connection, response: Response) -> None:
        self.connection = connection
        self._response = response

    def read(self) -> bytes:
        """Return the whole body."""
        try:
            return self._response.read()
        except BaseException as exc:
            self.close()
            if isinstance(exc, OSError | HTTPError):
                raise Unreachable(reason(exc)) from exc
            raise

    def pieces(self) -> Iterator[bytes]:
        """Yield the body piece by piece, as they come.

        Raises:
            Unreachable: the connection broke.
        """
        try:
            while data := self._response.piece():
                yield data
        except (OSError, HTTPError) as exc:
            raise Unreachable(reason(exc)) from exc

    def lines(self) -> Iterator[bytes]:
        """Yield the body line by line, without newlines, as they come.

        Raises:
            TimeoutError: a timeout was set on the connection's `wire`; the answer is of no more use.
            Unreachable: the connection broke.
        """
        unfinished: list[bytes] = []  # the pieces of a line: a long one has many
        while True:
            try:
                data = self._response.piece()
            except TimeoutError:
                raise
            except (OSError, HTTPError) as exc:
                raise Unreachable(reason(exc)) from exc
            if not data:
                break
            first, *others = data.split(b"\n")
            unfinished.append(first)
            if others:
                yield b"".join(unfinished)
                *complete, last = others
                unfinished = [last]
                yield from complete
        if any(unfinished):
            yield b"".join(unfinished)

    def take_over(self) -> tuple[socket.socket, bytes]:
        """Return the socket of an upgraded connection, not blocking any more, and what has come on it already."""
        wire = self.connection.wire
        wire.setblocking(False)
        try:
            return wire, self._response.reader.read1(65536) or b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return wire, b""

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def length(self) -> int | None:
        """How many bytes the body has; ``None`` when the server did not say."""
        return self._response.length

    @property
    def leaves_it_open(self) -> bool:
        """Whether the connection can be used again."""
        return self._response.leaves_it_open

    def close(self) -> None:
        self.connection.close()


class Client:
    """The controller of one cluster.

    Attributes:
        asked_last: the last request, as errors name it: ``GET "https://controller.example.com/apps"``.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._base = cluster.controller_url.rstrip("/")
        self._door = Door(cluster.controller_url, _pin(cluster.tls_pin))
        self._headers = {
            "Host": self._door.authority,
            "Content-Type": "application/json",
            "Authorization": "Basic " + b64encode(f":{cluster.key}".encode()).decode(),
        }
        self.asked_last = ""
        self._idle: Connection | None = None

    def close(self) -> None:
        """Close the idle connection; the client can still be used."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._send("GET", path, query=query)

    def post(self, path: str, body: object) -> Any:
        return self._send("POST", path, body)

    def upload(self, path: str, pieces: Iterable[bytes], length: int) -> Any:
        """Post a body of `length` bytes as it comes; return the answer's JSON. It is never tried twice.

        Raises: as `open`.
        """
        connection = Connection(self._door)
        self.asked_last = self._named("POST", path)
        try:
            response = connection.upload(path, pieces, length, {**self._headers, "Accept": "application/json"})
        except (OSError, HTTPError) as exc:
            connection.close()
            raise self._unreachable("POST", path, exc) from exc
        answer = Answer(connection, response)
        if response.status != 200:
            raise self._failure("POST", path, answer, response, upgrade=False)
        return self._decoded("POST", path, answer)

    def put(self, path: str, body: object) -> Any:
        return self._send("PUT", path, body)

    def delete(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._send("DELETE", path, query=query)

    def text(self, path: str) -> bytes:
        """Return a body that is not JSON."""
        answer = self.open("GET", path, accept="*/*")
        body = answer.read()
        self._keep(answer)
        return body

    def _send(self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None) -> Any:
        return self._decoded(method, path, self.open(method, path, body, query=query))

    def _decoded(self, method: str, path: str, answer: Answer) -> Any:
        data = answer.read()
        self._keep(answer)
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as exc:
            raise Unreachable(f"{self._named(method, path)}: the response is not JSON") from exc

    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        upgrade: bool = False,
    ) -> Answer:
        """Send a request and return its successful answer.

        A failure that calls itself transient is tried again for `RETRY_FOR_S`. A 307 is followed within the cluster's
        own URL, with the same method and body.

        Args:
            path: starts with ``/``; ids in it went through `part`.
            upgrade: 101 is the success, not 200, and the connection is nobody else's afterwards.

        Raises:
            NotFound: 404 without an error object.
            Refused: the controller's own error.
            Unreachable: anything else.
        """
        target = path + ("?" + urlencode(query) if query else "")
        sent = {**self._headers, "Accept": accept, **(headers or {})}
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        self.asked_last = self._named(method, target)
        give_up_at = time.monotonic() + RETRY_FOR_S
        redirects = 0
        while True:
            answer, response = self._exchange(method, target, payload, sent, fresh=upgrade)
            if response.status == (101 if upgrade else 200):
                return answer
            if response.status == 307 and redirects < MAX_REDIRECTS:
                target = self._redirected(method, target, answer, response)
                redirects += 1
                continue
            failure = self._failure(method, target, answer, response, upgrade=upgrade)
            if not (isinstance(failure, Refused) and failure.retry) or time.monotonic() >= give_up_at:
                raise failure
            time.sleep(RETRY_PAUSE_S)

    def _exchange(
        self, method: str, target: str, payload: bytes | None, headers: Mapping[str, str], *, fresh: bool
    ) -> tuple[Answer, Response]:
        while True:
            connection = Connection(self._door) if fresh else self._take()
            try:
                response = connection.exchange(method, target, payload, headers)
            except BaseException as exc:
                connection.close()
                if not isinstance(exc, OSError | HTTPError):
                    raise
                if connection.used and method in _REPEATABLE:
                    continue  # the server closed it while it was idle; the next one is new
                raise self._unreachable(method, target, exc) from exc
            return Answer(connection, response), response

    def _redirected(self, method: str, target: str, answer: Answer, response: Response) -> str:
        """Return where to ask instead.

        Raises:
            Unreachable: at another server: it would be handed the key.
        """
        answer.read()
        self._keep(answer)
        location = response.headers.get("location", "")
        path = location.removeprefix(self._base)
        if not path.startswith("/") or path.startswith("//"):
            raise Unreachable(
                f'{self._named(method, target)}: httpclient: redirected to "{location}", which is another server'
            )
        return path

    def _named(self, method: str, target: str) -> str:
        return f'{method} "{self._base}{target}"'

    def _unreachable(self, method: str, target: str, exc: Exception) -> Unreachable:
        refused = isinstance(exc, ConnectionRefusedError | socket.gaierror)
        dialled = f"dial tcp {self._door.host}:{self._door.port}: " if refused else ""
        return Unreachable(f"{self._named(method.capitalize(), target)}: {dialled}{reason(exc)}")

    def _failure(self, method: str, target: str, answer: Answer, response: Response, *, upgrade: bool) -> Failure:
        data = answer.read()
        self._keep(answer)
        if "application/json" in response.headers.get("content-type", ""):
            try:
                error = json.loads(data)
                return Refused(str(error["code"]), str(error["message"]), retry=error.get("retry") is True)
            except NONSENSE:
                pass  # a proxy's idea of JSON: the status says enough
        if response.status == 404 and not upgrade:
            return NotFound()
        raw = "" if upgrade else "raw req: "
        kind = Unauthorized if response.status == 401 else Unreachable
        return kind(f"{self._named(method, target)}: httpclient: {raw}unexpected status {response.status}")

    def _take(self) -> Connection:
        connection, self._idle = self._idle, None
        if connection is not None:
            readable, _, _ = select.select([connection.wire], [], [], 0)
            if not readable:  # else the server closed it, or said something nobody asked for
                return connection
            connection.close()
        return Connection(self._door)

    def _keep(self, answer: Answer) -> None:
        if self._idle is not None or not answer.leaves_it_open:
            answer.close()
        else:
            answer.connection.used = True
            self._idle = answer.connection


def part(text: str) -> str:
    """Return an id or name as one segment of a path."""
    return quote(text, safe="")


def _pin(text: str) -> bytes | None:
    if not text:
        return None
    try:
        return b64decode(text, validate=True)
    except ValueError as exc:
        raise Failure(f"error decoding tls pin: {exc}", hint=ADD_LINE) from exc
