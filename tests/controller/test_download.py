"""Manifests that are fetched: upstream's TestFlynnArtifact, and servers that do worse."""

import hashlib
import json

import pytest
import trio

from flynn_aio.controller import download

MANIFEST = json.dumps({"_type": "application/vnd.flynn.image.manifest.v1+json"}, separators=(",", ":")).encode()


def page(body, status="200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def sha512_256(data):
    return hashlib.new("sha512_256", data).hexdigest()


@pytest.fixture
async def serve(nursery):
    """A function that serves the same bytes to everybody who asks, and returns the URL."""

    async def start(answer):
        async def handle(stream):
            await stream.receive_some(65536)
            if answer is None:
                await trio.sleep_forever()
            await stream.send_all(answer)
            await stream.aclose()

        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/m.json"

    return start


async def created(client, uri, **changes):
    body = {"type": "flynn", "uri": uri, "size": len(MANIFEST), "hashes": {"sha512_256": sha512_256(MANIFEST)}}
    return await client.post("/artifacts", body | changes)


@pytest.mark.parametrize(
    "hashes",
    [
        {"sha512_256": sha512_256(MANIFEST)},
        {"sha512_256": sha512_256(MANIFEST), "foo": "bar"},
        {"sha256": hashlib.sha256(MANIFEST).hexdigest(), "sha512": hashlib.sha512(MANIFEST).hexdigest()},
    ],
)
async def test_a_manifest_is_fetched_and_kept(client, serve, hashes):
    uri = await serve(page(MANIFEST))
    response = await created(client, uri, hashes=hashes)
    assert response.status == 200, response
    assert response.json()["manifest"] == json.loads(MANIFEST)
    assert response.json()["hashes"] == hashes
    again = await created(client, uri, hashes={})  # it is here, so nothing is fetched
    assert again.json() == response.json()


@pytest.mark.parametrize(
    ("answer", "changes", "why"),
    [
        (page(MANIFEST), {"hashes": {}}, "verify: no hashes provided"),
        (page(MANIFEST), {"hashes": {"foo": "bar"}}, "verify: no hashes provided"),
        (page(b"", "500 Internal Server Error"), {}, "unexpected HTTP status: 500 Internal Server Error"),
        (page(b"", "599 Odd"), {}, "unexpected HTTP status: 599"),
        (page(b"{}"), {}, "verify: data too short"),
        (page(MANIFEST), {"size": len(MANIFEST) - 1}, 'verify: expected sha512_256 hash "'),
        (page(MANIFEST[:-1] + b" }"), {}, 'verify: expected sha512_256 hash "'),
        (page(MANIFEST.replace(b"v1", b"w1")), {}, 'verify: expected sha512_256 hash "'),
        (page(b"[1]"), {"size": 3, "hashes": {"sha512_256": sha512_256(b"[1]")}}, "The provided JSON input is invalid"),
        (page(MANIFEST), {"size": 2 * 1024 * 1024}, "its size is above the 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", {}, "peer closed connection"),
        (b"nonsense\r\n\r\n", {}, "illegal status line"),
    ],
)
async def test_what_is_not_the_manifest_is_refused(client, serve, answer, changes, why):
    uri = await serve(answer)
    refused = await created(client, uri, **changes)
    error = refused.json()
    assert (refused.status, error["code"], error["detail"]) == (400, "validation_error", {"field": "manifest"})
    assert error["message"].startswith(f"manifest failed to download from {uri}: {why}")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://example.com/x", "only http and https are understood"),
        ("http:///x", "only http and https are understood"),
        ("http://127.0.0.1:1/x", "all attempts to connect to 127.0.0.1:1 failed"),
        ("http://127.0.0.1:99999/x", "Port out of range 0-65535"),
    ],
)
async def test_what_cannot_be_reached_is_told(client, uri, why):
    refused = await created(client, uri)
    assert (refused.status, refused.json()["detail"]) == (400, {"field": "manifest"})
    assert why in refused.json()["message"]


async def test_a_silent_server_is_not_waited_for_for_ever(client, serve, monkeypatch):
    monkeypatch.setattr(download, "WITHIN_S", 0.05)
    uri = await serve(None)
    assert (await created(client, uri)).json()["message"].endswith("it did not arrive within 0.05 s")
