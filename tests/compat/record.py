"""Record the flows: a proxy in front of an appliance that writes down what a client says and hears.

    python -m tests.compat.record --client PROGRAM --data-dir DIR --upstream ADDRESS --listen ADDRESS [FLOW ...]

`PROGRAM` is any build of Flynn's own `flynn`; it speaks to `--listen`, port 443, where `controller.DOMAIN` must resolve
to. The appliance of `--data-dir` runs beside it, its router on `--upstream`; its apps, providers and sinks are
deleted. Each flow's commands are run again and its exchanges written anew.
"""

import argparse
import json
import os
import ssl
import subprocess
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import h11
import trio

from ..support.http_client import HTTPClient
from ..support.provider import running_provider
from .attach_wire import received, sent_words
from .flow import SENT, Namer, apps_of_users, dump, kind_of, load, pack, printed
from .given import certificates, furnish, give

FLOWS = Path(__file__).parent / "flows"
COMMAND_TIMEOUT_S = 90
AMOUNT = 65536


@dataclass
class Seen:
    """One exchange, as its bytes went by."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    type: str = ""
    answer: bytes = b""
    sent: bytes = b""
    waits: list[tuple[int, int]] = field(default_factory=list)
    """For the recording of a session: after how many bytes received how many had been sent."""


class Recorder:
    """Answers for the appliance, and remembers. `seen` is in the order of the requests' beginnings."""

    def __init__(self, upstream: str, port: int) -> None:
        self._upstream = (upstream, port)
        self.seen: list[Seen] = []

    async def serve(self, stream: Any) -> None:
        """Carry one client connection, request by request."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            async with stream, await trio.open_tcp_stream(*self._upstream) as behind:
                client, server = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
                while await self._exchange(client, stream, server, behind):
                    client.start_next_cycle()
                    server.start_next_cycle()

    async def _exchange(self, client: h11.Connection, stream: Any, server: h11.Connection, behind: Any) -> bool:
        request = await _event(client, stream)
        if not isinstance(request, h11.Request):
            return False
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        seen = Seen(request.method.decode(), request.target.decode(), headers)
        self.seen.append(seen)
        while not isinstance(piece := await _event(client, stream), h11.EndOfMessage):
            seen.body += bytes(piece.data)
        plain = [
            (name, value)
            for name, value in request.headers
            if name.lower() not in (b"transfer-encoding", b"content-length")
        ]
        length = [(b"content-length", str(len(seen.body)).encode())] if seen.body else []
        await behind.send_all(
            server.send(h11.Request(method=request.method, target=request.target, headers=plain + length)) or b""
        )
        if seen.body:
            await behind.send_all(server.send(h11.Data(data=seen.body)) or b"")
        await behind.send_all(server.send(h11.EndOfMessage()) or b"")
        head = await _event(server, behind)
        seen.status = head.status_code
        seen.type = {name.decode(): value.decode() for name, value in head.headers}.get("content-type", "")
        await stream.send_all(client.send(head) or b"")
        if seen.status == 101:
            await self._relay(seen, stream, behind, bytes(server.trailing_data[0]))
            return False
        return await self._body(seen, client, stream, server, behind)

    async def _body(self, seen: Seen, client: h11.Connection, stream: Any, server: h11.Connection, behind: Any) -> bool:
        async def until_gone(scope: trio.CancelScope) -> None:
            with suppress(trio.BrokenResourceError, ssl.SSLError):
                await stream.receive_some(1)
            scope.cancel()

        streaming = seen.type.startswith("text/")
        async with trio.open_nursery() as nursery:
            if streaming:  # the client ends these by hanging up, and says nothing more on them
                nursery.start_soon(until_gone, nursery.cancel_scope)
            while True:
                event = await _event(server, behind)
                if isinstance(event, h11.Data):
                    seen.answer += bytes(event.data)
                await stream.send_all(client.send(event) or b"")
                if isinstance(event, h11.EndOfMessage):
                    break
            nursery.cancel_scope.cancel()
        return not streaming and server.their_state is h11.DONE and client.our_state is h11.DONE

    async def _relay(self, seen: Seen, stream: Any, behind: Any, early: bytes) -> None:
        async def down(scope: trio.CancelScope) -> None:
            data = early
            while data or (data := await behind.receive_some(AMOUNT)):
                seen.answer += data
                await stream.send_all(data)
                data = b""
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(down, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError):
                while data := await stream.receive_some(AMOUNT):
                    seen.waits.append((len(seen.answer), len(seen.sent)))
                    seen.sent += data
                    await behind.send_all(data)


async def _event(connection: h11.Connection, stream: Any) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some(AMOUNT))
    return event


def exchange(seen: Seen, namer: Namer) -> dict[str, Any]:
    """Return an exchange as data."""
    kind = kind_of(seen.path)
    ask = f"{seen.method} {namer.text(seen.path, kind=kind)}"
    got = {name: seen.headers.get(name) for name in SENT}
    found: dict[str, Any] = {"ask": ask}
    if (password := b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode()[1:]) != namer.fill(
        "<key>"
    ):
        found["key"] = password
    headers = {name: value for name, value in got.items() if value != SENT[name]}
    headers |= {name: seen.headers[name] for name in ("last-event-id", "connection", "upgrade") if name in seen.headers}
    if headers:
        found["headers"] = headers
    host = seen.headers["host"].partition(".")[0]
    if host != "controller":
        found["host"] = host
    if seen.body and seen.path.startswith("/layer/"):
        found["packed"] = pack(seen.body)
    elif seen.body:
        found["body"] = namer.template(json.loads(seen.body), kind=kind)
    found["status"] = seen.status
    if seen.status == 101:
        return found | {"session": _session(seen, namer)}
    if seen.type != "application/json":
        found["type"] = seen.type
    return found | _answer(seen, namer, kind)


def _answer(seen: Seen, namer: Namer, kind: str) -> dict[str, Any]:
    text = seen.answer.decode()
    if not text and not seen.type.startswith("text/"):
        return {}
    if seen.type.startswith("text/event-stream"):
        frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        return {"frames": [namer.template(one) for one in frames]}
    if seen.type == "text/plain":
        return {"lines": [namer.template(json.loads(line), kind="job") for line in text.splitlines()]}
    if seen.type == "application/json":
        answer = json.loads(text)
        if seen.path == "/apps" and seen.method == "GET":
            answer = apps_of_users(answer)
        if seen.path == "/apps" and seen.method == "POST" and b'"name"' not in seen.body:
            namer.know(answer["name"], "name")
        return {"answer": namer.template(answer, kind=kind)}
    return {"answer": namer.text(text)}


def _session(seen: Seen, namer: Namer) -> dict[str, Any]:
    words: list[Any] = []
    starts = [sent for _, sent in seen.waits] + [len(seen.sent)]
    for (got, start), end in zip(seen.waits, starts[1:], strict=True):
        for word in sent_words(seen.sent[start:end]):
            if word[0] == "signal":  # somebody saw something first
                words.append(["after", namer.text(received(seen.answer[:got]).get("stdout", ""))])
            words.append(word)
    return {"sent": words, "received": namer.template(received(seen.answer))}


async def clear(api: HTTPClient) -> None:
    """Delete every app but the system's, every provider and every sink; return when they are gone."""
    with trio.fail_after(COMMAND_TIMEOUT_S):
        while left := apps_of_users((await api.get("/apps")).json()):
            for app in left:
                await api.delete(f"/apps/{app['id']}")
            await trio.sleep(0.2)
    for path in ("/providers", "/sinks"):
        for found in (await api.get(path)).json():
            await api.delete(f"{path}/{found['id']}")


async def run(step: Mapping[str, Any], client: str, place: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Run a step's command as a person would; its output and exit code."""
    for name, text in step.get("files", {}).items():
        (place / name).write_text(text)
    words = [client if word == "flynn" else word for word in step["run"]]
    process: Any = await trio.lowlevel.open_process(
        words, cwd=place, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    got = {"stdout": b"", "stderr": b""}

    async def collect(name: str, stream: Any) -> None:
        async for piece in stream:
            got[name] += piece
            if step.get("until", "\0").encode() in got[name]:
                process.send_signal(step.get("signal", 15))

    with trio.fail_after(COMMAND_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, "stdout", process.stdout)
            nursery.start_soon(collect, "stderr", process.stderr)
            with suppress(trio.BrokenResourceError):
                await process.stdin.send_all(step.get("stdin", "").encode())
            await process.stdin.aclose()
        code = await process.wait()
    return {"exit": code} | {name: text.decode() for name, text in got.items() if text}


async def record(flow: dict[str, Any], args: argparse.Namespace, recorder: Recorder, api: HTTPClient) -> dict[str, Any]:
    """Run a flow and return it with what was seen."""
    keys = args.data_dir / "keys"
    pin = b64encode(sha256(ssl.PEM_cert_to_DER_cert((keys / "leaf.pem").read_text())).digest()).decode()
    key = (keys / "cluster.key").read_text().strip()
    with tempfile.TemporaryDirectory() as place:
        known = {"ca": (keys / "ca.pem").read_text()} | {
            "domain": args.domain,
            "key": key,
            "pin": pin,
            "image": args.image,
            "place": place,
        }
        known |= {"provider": args.provider} | certificates(args.domain)
        await trio.to_thread.run_sync(furnish, Path(place), known)
        await clear(api)
        known |= await give(api, flow.get("given", {}), args.image)
        namer = Namer(known)
        env = {
            "PATH": f"{place}/bin:{os.environ['PATH']}",
            "HOME": place,
            "FLYNNRC": f"{place}/flynnrc",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        if not flow.get("bare"):
            add = ["flynn", "cluster", "add", "--tls-pin", pin, "default", args.domain, key]
            assert (await run({"run": add}, args.client, Path(place), env))["exit"] == 0
        steps = []
        for step in flow["steps"]:
            asked = {
                name: step[name] for name in ("run", "files", "stdin", "until", "signal", "unordered") if name in step
            }
            recorder.seen.clear()
            rendered = {"run": [namer.fill(word) for word in step["run"]], "stdin": namer.fill(step.get("stdin", ""))}
            said = await run(asked | rendered, args.client, Path(place), env)
            await trio.sleep(0.3)  # the last bytes of the connections it left behind
            exchanges = [exchange(seen, namer) for seen in recorder.seen]
            prints = {"exit": said["exit"]} | {
                name: printed(namer.text(said[name])) for name in ("stdout", "stderr") if name in said
            }
            if step.get("unordered"):
                prints |= {name: sorted(prints[name]) for name in ("stdout", "stderr") if name in prints}
            if prints.get("stderr", [""])[-1].startswith("WARNING: Flynn is unmaintained"):
                prints["stderr"].pop()
            printed_something = {name: value for name, value in prints.items() if value != []}
            steps.append(asked | {"prints": printed_something, "exchanges": exchanges})
            print(" ".join(step["run"]), "->", said)
        return {name: flow[name] for name in ("about", "given", "bare") if name in flow} | {"steps": steps}


async def main(args: argparse.Namespace) -> None:
    keys = args.data_dir / "keys"
    state = json.loads((args.data_dir / "run" / "appliance.json").read_text())
    args.domain = (keys / "domain").read_text().strip()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "leaf.pem", keys / "leaf.key")
    recorder = Recorder(args.upstream, state["http_port"])
    api = HTTPClient(
        partial(trio.open_tcp_stream, args.upstream, state["http_port"]), key=(keys / "cluster.key").read_text().strip()
    )
    plain = api.headers
    api.headers = lambda headers: plain(headers) | {"host": f"controller.{args.domain}"}
    async with running_provider() as provider, trio.open_nursery() as nursery:
        args.provider = provider.url
        await nursery.start(partial(trio.serve_ssl_over_tcp, recorder.serve, 443, context, host=args.listen))
        moves_away = FLOWS / "migrate-domain.json"
        for path in args.flows or sorted(FLOWS.glob("*.json"), key=lambda path: path == moves_away):  # it is the last
            flow = await record(load(path.read_text()), args, recorder, api)
            path.write_text(dump(flow))
        nursery.cancel_scope.cancel()
    api.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--image", required=True, help="an image with a shell that the engine has")
    parser.add_argument("flows", type=Path, nargs="*")
    trio.run(main, parser.parse_args())
