"""`python -m tests.support.traffic DOORS RATE`: all kinds of requests at an even rate, until stdin ends.

Every request goes out when its time has come, whatever became of those before; at `AT_ONCE` of them it is
skipped and counted. Printed in the end is one JSON object, the fields of an `Outcome`.

Args:
    DOORS: the fields of `Doors` as a JSON object.
    RATE: requests per second; a WebSocket session counts as one.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from .http1 import Answer, Doors, Http1, Lost
from .http2 import Http2, open_http2
from .outcome import Failure

AT_ONCE = 1000
PATIENCE_S = 20.0
HTTP2_CONNECTIONS = 4
ROOM_S = 0.01
"""Between two looks for a connection that takes one more request; only a slow router makes one look twice."""
BODY_BYTES = 8000
LONGEST_S = 2.0
"""Of a slow answer and of a session."""
PIECES = 10


@dataclass(slots=True)
class Attempt:
    """One request on its way: its token, how far it came, and who answered."""

    token: str
    phase: str = "connecting"
    job: str = ""


class Client:
    """All connections there are, and the ways to ask."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.tls = doors.context("http/1.1")
        self.idle: dict[bool, list[Http1]] = {True: [], False: []}
        self.shared: list[Http2] = []
        self.opening = asyncio.Lock()

    async def connected(self, *, secure: bool) -> Http1:
        return Http1(self.doors, *await self.doors.connect(self.tls if secure else None))

    async def keep_alive(self, attempt: Attempt, *, secure: bool) -> None:
        """Ask on a kept connection, and keep it."""
        connection = self.idle[secure].pop() if self.idle[secure] else await self.connected(secure=secure)
        await said(attempt, connection.ask)
        if connection.kept:
            self.idle[secure].append(connection)
        else:
            connection.close()

    async def fresh(self, attempt: Attempt, *, secure: bool) -> None:
        """Ask on a connection of its own."""
        connection = await self.connected(secure=secure)
        try:
            await said(attempt, connection.ask)
        finally:
            connection.close()

    async def post(self, attempt: Attempt) -> None:
        """Send a body on a kept connection."""
        connection = self.idle[False].pop() if self.idle[False] else await self.connected(secure=False)
        await summed(attempt, connection.ask)
        self.idle[False].append(connection)

    async def drip(self, attempt: Attempt, *, secure: bool) -> None:
        """Read a slow answer."""
        connection = await self.connected(secure=secure)
        try:
            await dripped(attempt, connection.ask)
        finally:
            connection.close()

    async def http2(self, attempt: Attempt, what: Callable[[Attempt, "Ask"], Awaitable[None]]) -> None:
        """Ask on a connection that others use at the same time."""
        async with self.opening:
            for connection in [each for each in self.shared if not each.kept]:
                self.shared.remove(connection)
            if len(self.shared) < HTTP2_CONNECTIONS:
                self.shared.append(await open_http2(self.doors))
        while True:
            if free := [each for each in self.shared if each.kept and each.has_room]:
                break
            await asyncio.sleep(ROOM_S)
        await what(attempt, random.choice(free).ask)

    async def websocket(self, attempt: Attempt, *, secure: bool) -> None:
        """Have a session: open it, talk, close it."""
        connection = await self.connected(secure=secure)
        try:
            attempt.phase = "upgrading"
            attempt.job = await connection.upgrade(f"/echo/{attempt.token}")
            check(attempt, attempt.job)
            for number in range(random.randint(1, PIECES)):
                attempt.phase = f"talking, {number} texts"
                await connection.echo(f"{attempt.token} {number}")
                await asyncio.sleep(random.random() * LONGEST_S / PIECES)
            attempt.phase = "closing"
            await connection.end()
        finally:
            connection.close()

    async def close(self) -> None:
        for connection in (*self.idle[True], *self.idle[False]):
            connection.close()
        for shared in self.shared:
            await shared.close()


Ask = Callable[..., Awaitable[Answer]]


async def said(attempt: Attempt, ask: Ask) -> None:
    attempt.phase = "asking"
    check(attempt, text_of(await ask("GET", f"/say/{attempt.token}")))


async def summed(attempt: Attempt, ask: Ask) -> None:
    attempt.phase = "sending"
    body = random.randbytes(BODY_BYTES)
    check(attempt, text_of(await ask("POST", f"/sum/{attempt.token}", body)), hashlib.sha1(body).hexdigest())


async def dripped(attempt: Attempt, ask: Ask) -> None:
    attempt.phase = "reading slowly"
    lines = text_of(await ask("GET", f"/drip/{attempt.token}?{random.random() * LONGEST_S:.2f}")).splitlines()
    if len(lines) != PIECES:
        raise Lost(f"{len(lines)} lines of {PIECES}")
    for number, line in enumerate(lines):
        check(attempt, line, str(number))


def text_of(answer: Answer) -> str:
    if answer.status != 200:
        raise Lost(f"status {answer.status}: {answer.body[:80]!r}")
    return answer.body.decode()


def check(attempt: Attempt, text: str, *more: str) -> None:
    """Raise unless the text says which job answered which request, and what more it should."""
    attempt.job, _, rest = text.strip().partition(" ")
    if rest.split(" ")[1:] != [attempt.token, *more]:
        raise Lost(f"a wrong answer: {text[:160]!r}")


KINDS: dict[str, tuple[int, Callable[[Client, Attempt], Awaitable[None]]]] = {
    "keep-alive": (24, lambda client, attempt: client.keep_alive(attempt, secure=False)),
    "keep-alive-tls": (14, lambda client, attempt: client.keep_alive(attempt, secure=True)),
    "fresh": (14, lambda client, attempt: client.fresh(attempt, secure=False)),
    "fresh-tls": (6, lambda client, attempt: client.fresh(attempt, secure=True)),
    "post": (8, lambda client, attempt: client.post(attempt)),
    "http2": (18, lambda client, attempt: client.http2(attempt, said)),
    "http2-post": (6, lambda client, attempt: client.http2(attempt, summed)),
    "drip": (2, lambda client, attempt: client.drip(attempt, secure=False)),
    "drip-tls": (2, lambda client, attempt: client.drip(attempt, secure=True)),
    "http2-drip": (2, lambda client, attempt: client.http2(attempt, dripped)),
    "websocket": (2, lambda client, attempt: client.websocket(attempt, secure=False)),
    "websocket-tls": (2, lambda client, attempt: client.websocket(attempt, secure=True)),
}
"""Kind -> its share in percent, and how it is done."""


@dataclass(slots=True)
class Tally:
    """What became of the requests so far."""

    skipped: int = 0
    jobs: dict[str, int] = field(default_factory=dict)
    took_ms: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    failures: list[Failure] = field(default_factory=list)

    async def make(self, kind: str, client: Client, attempt: Attempt, due: float) -> None:
        """Make one request and note its end."""
        began, problem = time.time(), ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await KINDS[kind][1](client, attempt)
        except (Lost, ValueError, KeyError) as exc:  # the last two: what came is no answer
            problem = str(exc) if isinstance(exc, Lost) else repr(exc)
        except TimeoutError:
            problem = f"no end after {PATIENCE_S:.0f} s"
        except (OSError, EOFError) as exc:
            problem = repr(exc)
        if problem:
            self.failures.append(Failure(kind, attempt.phase, problem, attempt.job, began, time.time()))
        else:
            self.took_ms[kind].append((time.perf_counter() - due) * 1000)
            self.jobs[attempt.job] = self.jobs.get(attempt.job, 0) + 1


async def run(doors: Doors, rate: float, over: Awaitable[object]) -> Tally:
    """Ask `rate` times a second until `over`, then wait for what is under way."""
    client, tally = Client(doors), Tally()
    kinds, shares = list(KINDS), [share for share, _ in KINDS.values()]
    ending = asyncio.ensure_future(over)
    under_way: set[asyncio.Task[None]] = set()
    began, asked = time.perf_counter(), 0
    while not ending.done():
        due = int((time.perf_counter() - began) * rate) + 1
        for number in range(asked, due):
            if len(under_way) >= AT_ONCE:
                tally.skipped += 1
                continue
            [kind] = random.choices(kinds, shares)
            made = tally.make(kind, client, Attempt(f"{number:x}"), began + number / rate)
            task = asyncio.create_task(made)
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        asked = due
        await asyncio.sleep(1 / rate)
    if under_way:
        await asyncio.wait(under_way, timeout=PATIENCE_S + 1)
    await client.close()
    return tally


async def until_stdin_ends() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with suppress(OSError):
        await reader.read()


if __name__ == "__main__":
    tally = asyncio.run(run(Doors(**json.loads(sys.argv[1])), float(sys.argv[2]), until_stdin_ends()))
    print(json.dumps(asdict(tally)))
