"""`python -m bench.load PORT HOST RATE SECONDS`: requests at an even rate, whatever the answers do.

A process of its own, so that nothing else of the bench is in its way. Every request goes out when its time has come,
on a kept connection; while all of them are busy it waits for one. Printed is a JSON list: how long each answer took
since its request wanted to go out, in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections import deque

CONNECTIONS = 50
LAST_ANSWERS_S = 2.0


class Visitor(asyncio.Protocol):
    """One connection, with at most one request on it."""

    def __init__(self, request: bytes, idle: list["Visitor"], waiting: deque[float], took_ms: list[float]) -> None:
        self._request = request
        self._idle = idle
        self._waiting = waiting
        self._took_ms = took_ms
        self._wanted_at = 0.0
        self._received = b""
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def ask(self, wanted_at: float) -> None:
        self._received = b""
        self._wanted_at = wanted_at
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._took_ms.append((time.perf_counter() - self._wanted_at) * 1000)
        if self._waiting:
            self.ask(self._waiting.popleft())
        else:
            self._idle.append(self)


async def run(port: int, host: str, rate: float, seconds: float) -> list[float]:
    """Ask `rate` times a second; return how long the answers took, in milliseconds."""
    loop = asyncio.get_running_loop()
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    idle: list[Visitor] = []
    waiting: deque[float] = deque()
    took_ms: list[float] = []
    for _ in range(CONNECTIONS):
        _, visitor = await loop.create_connection(lambda: Visitor(request, idle, waiting, took_ms), "127.0.0.1", port)
        idle.append(visitor)
    began, asked = time.perf_counter(), 0
    while asked < rate * seconds:
        now = time.perf_counter()
        due = int((now - began) * rate) + 1
        for _ in range(due - asked):
            if idle:
                idle.pop().ask(now)
            else:
                waiting.append(now)
        asked = max(asked, due)
        await asyncio.sleep(1 / rate)
    await asyncio.sleep(LAST_ANSWERS_S)
    assert len(took_ms) == asked, f"{asked - len(took_ms)} of {asked} requests got no answer"
    return took_ms


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(asyncio.run(run(int(words[0]), words[1], float(words[2]), float(words[3])))))
