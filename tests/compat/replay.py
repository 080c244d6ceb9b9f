"""A client that says what was recorded, to the whole appliance in memory, through its router over TLS."""

import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio

from flynn_aio.bootstrap import cluster_key

from ..appliance.test_in_memory import DOMAIN, World
from ..support.attach_client import attach, resize, signal, stdin
from ..support.http_client import HTTPClient, basic
from ..support.provider import running_provider
from .flow import SENT, Bindings, Mismatch, apps_of_users, unpack
from .given import certificates, give

FLOWS = sorted((Path(__file__).parent / "flows").glob("*.json"))
WITHIN_S = 10
SETTLES_WITHIN_S = 5
"""For a question asked again: the recorded one came after the time a person needs between two commands."""
IMAGE = "flynn-aio/test"


class Replay:
    """A client that says what was recorded, with the ids of today."""

    def __init__(self, api: HTTPClient, bindings: Bindings) -> None:
        self._api = api
        self.bindings = bindings

    async def step(self, step: dict[str, Any]) -> None:
        """Send the requests of one command; its streams stay open until it has got what it waits for."""
        async with trio.open_nursery() as streams:
            for exchange in step["exchanges"]:
                if "frames" in exchange:
                    await streams.start(self._follow, exchange)
                else:
                    with trio.fail_after(WITHIN_S):
                        await self._exchange(exchange)

    def _asked(self, exchange: dict[str, Any]) -> tuple[str, str, dict[str, str | None]]:
        method, path = self.bindings.render(exchange["ask"]).split(" ", 1)
        headers = SENT | exchange.get("headers", {})
        if "host" in exchange:
            headers["host"] = f"{exchange['host']}.{DOMAIN}"
        if "key" in exchange:
            headers["authorization"] = basic(exchange["key"])
        return method, path, headers

    async def _exchange(self, exchange: dict[str, Any]) -> None:
        method, path, headers = self._asked(exchange)
        body = unpack(exchange["packed"]) if "packed" in exchange else self.bindings.render(exchange.get("body"))
        if "session" in exchange:
            await self._session(exchange, path, body)
        elif "follow=true" in path:
            await self._tail(exchange, path, headers)
        else:
            deadline = trio.current_time() + (SETTLES_WITHIN_S if method == "GET" else 0)
            while (different := await self._difference(exchange, method, path, headers, body)) is not None:
                if trio.current_time() > deadline:
                    raise different
                await trio.sleep(0.05)

    async def _difference(
        self, exchange: dict[str, Any], method: str, path: str, headers: dict[str, str | None], body: Any
    ) -> Mismatch | None:
        """Ask, and return in what the answer differs."""
        got = await self._api.request(method, path, body, headers=headers)
        try:
            self._head(exchange, got)
            self._answer(exchange, got.body.decode())
        except Mismatch as different:
            return different
        return None

    def _head(self, exchange: dict[str, Any], got: Any) -> None:
        expected = exchange["status"], exchange.get("type", "application/json")
        if (got.status, got.content_type or "") != expected:
            raise Mismatch(f"{exchange['ask']}: {got}, recorded {expected}")

    def _answer(self, exchange: dict[str, Any], text: str) -> None:
        where = exchange["ask"]
        if "lines" in exchange:
            self.bindings.match(exchange["lines"], [decoded(line) for line in text.splitlines()], where)
        elif exchange.get("type", "application/json") == "application/json" and text:
            answer = decoded(text)
            if where == "GET /apps":
                answer = apps_of_users(answer)
            self.bindings.match(exchange["answer"], answer, where)
        else:
            self.bindings.match(exchange.get("answer", ""), text, where)

    async def _follow(self, exchange: dict[str, Any], *, task_status: Any) -> None:
        """Read an event stream up to the last frame the client waited for."""
        _, path, headers = self._asked(exchange)
        async with self._api.stream(path, headers=headers) as stream:
            self._head(exchange, stream.head)
            task_status.started()
            seen: list[str] = []
            for number, frame in enumerate(exchange["frames"]):
                where = f"{exchange['ask']} frame {number}"
                try:
                    with trio.fail_after(WITHIN_S):
                        while not self._matches(frame, event := await stream.event(), where):
                            seen.append(json.dumps(event))
                except trio.TooSlowError:
                    raise Mismatch(f"{where}: did not come, only {seen}") from None

    def _matches(self, frame: Any, event: Any, where: str) -> bool:
        """Tell whether this is the event that was seen. Others may come between: of a job still stopping, say."""
        try:
            self.bindings.match(frame, event, where)
        except Mismatch:
            return False
        return True

    async def _tail(self, exchange: dict[str, Any], path: str, headers: dict[str, str | None]) -> None:
        """Read a followed log up to the last line the client saw before somebody stopped it."""
        async with self._api.stream(path, accept=None, headers=headers) as stream:
            self._head(exchange, stream.head)
            text = b""
            while text.count(b"\n") < len(exchange["lines"]):
                text += await stream.piece()
            self._answer(exchange, text.decode())

    async def _session(self, exchange: dict[str, Any], path: str, body: Any) -> None:
        told = exchange["session"]
        async with attach(self._api, path, body) as session:
            assert session.head.status == exchange["status"], session.head
            got = ""
            for word in told["sent"]:
                match word:
                    case ["stdin", text]:
                        await session.send(stdin(text.encode()))
                    case ["end of stdin"]:
                        await session.send(stdin(b""))
                    case ["signal", number]:
                        await session.send(signal(number))
                    case ["resize", rows, columns]:
                        await session.send(resize(rows, columns))
                    case ["after", text]:
                        while not got.endswith(text):
                            [kind, data] = await session.frame()
                            assert (kind, data[0]) == ("data", 1), data
                            got += data[1].decode()
            streams, [kind, end] = await session.output()
        names = {1: "stdout", 2: "stderr", 3: "init"}
        texts = {number: text.decode() for number, text in sorted(streams.items()) if text}
        if got:
            texts[1] = got + texts.get(1, "")
        self.bindings.match(
            told["received"], {names[n]: text for n, text in texts.items()} | {kind: end}, exchange["ask"]
        )


def decoded(text: str) -> Any:
    return json.loads(text)


class StockClient(HTTPClient):
    """Speaks TLS to the controller, and adds only the key to the headers it is given."""

    def __init__(self, world: World, key: str) -> None:
        self._tls = ssl.create_default_context(cafile=str(world.settings.data_dir / "keys" / "ca.pem"))
        self._port = world.ready.https_port
        super().__init__(self._dial_tls, key=key)

    async def _dial_tls(self) -> trio.SSLStream[trio.SocketStream]:
        plain = await trio.open_tcp_stream("127.0.0.1", self._port)
        name = f"controller.{DOMAIN}"
        return trio.SSLStream(plain, self._tls, server_hostname=name, https_compatible=True)

    def headers(self, headers: dict[str, str | None] | None) -> dict[str, str]:
        given = headers if headers is not None else {"content-type": "application/json"}
        all_of_them = {"host": f"controller.{DOMAIN}", "authorization": basic(self._key)} | given
        return {name: value for name, value in all_of_them.items() if value is not None}

    def close(self) -> None:
        while self._idle:
            self._idle.pop().stream.transport_stream.socket.close()


@asynccontextmanager
async def replaying(world: World, flow: dict[str, Any]) -> AsyncIterator[Replay]:
    """Have what a flow takes as given, and a client that has no idea of today's ids yet."""
    keys = world.settings.data_dir / "keys"
    key = cluster_key(world.settings)
    pin = b64encode(sha256(ssl.PEM_cert_to_DER_cert((keys / "leaf.pem").read_text())).digest()).decode()
    known = {"domain": DOMAIN, "key": key, "pin": pin, "image": IMAGE, "ca": (keys / "ca.pem").read_text()}
    known |= certificates(DOMAIN)
    client = StockClient(world, key)
    known |= await give(world.api, flow.get("given", {}), IMAGE)
    async with running_provider() as provider:
        yield Replay(client, Bindings(provider=provider.url, **known))
    client.close()
