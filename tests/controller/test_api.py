"""What holds for every request: keys, errors, the two kinds of 404, CORS."""

import json

import pytest

from flynn_aio.controller.api import password_of
from flynn_aio.controller.routes import IMAGES, TABLE, Auth

from ..support.http_client import basic
from .conftest import KEY

APP = "/apps/hello"


def path_of(endpoint):
    uuid = "6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11"
    return "/".join(
        {":type": "http", ":event": "1"}.get(part, uuid if part[:1] == ":" else part)
        for part in endpoint.path.split("/")
    )


each_endpoint = pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
each_endpoint_of_each_door = pytest.mark.parametrize(
    ("door", "endpoint"),
    [("controller", endpoint) for endpoint in TABLE] + [("images", endpoint) for endpoint in IMAGES],
    ids=lambda value: value if isinstance(value, str) else f"{value.method} {value.path}",
)


@each_endpoint_of_each_door
async def test_every_route_asks_for_a_key_unless_it_says_otherwise(stage, door, endpoint):
    async def answer(key, headers=None):
        return await stage.client(key, door).request(endpoint.method, path_of(endpoint), headers=headers)

    without, wrong, right = [await answer(key) for key in (None, "wrong", KEY)]
    assert right.status in {200, 400, 404}
    if endpoint.auth is Auth.NONE:
        assert without.status == wrong.status == right.status == 200
        return
    assert without.status == (200 if endpoint.auth is Auth.OPTIONAL else 401)
    assert wrong.status == 401
    for refused in (without, wrong):
        if refused.status == 401:
            assert (refused.body, refused.content_type) == (b"", None)
            assert "www-authenticate" not in refused.headers
    for credentials in ("Bearer " + KEY, "Basic !", "Basic", "Basic " + KEY):
        if endpoint.auth is not Auth.OPTIONAL:
            assert (await answer(None, {"authorization": credentials})).status == 401


@each_endpoint_of_each_door
async def test_only_a_stream_takes_the_key_from_the_query(stage, door, endpoint):
    client = stage.client(None, door)
    without, wrong, right = [
        (await client.request(endpoint.method, path_of(endpoint) + query)).status
        for query in ("", "?key=wrong", f"?key={KEY}")
    ]
    if endpoint.auth is Auth.STREAM:
        assert (without, wrong) == (401, 401)
        assert right in {200, 400, 404}  # 400: a list of all formations is refused
        # Whoever sends a password means it, whatever the query says.
        assert (await stage.client("wrong", door).get(f"{path_of(endpoint)}?key={KEY}")).status == 401
    else:
        assert without == wrong == right


@each_endpoint_of_each_door
async def test_what_is_next_to_a_route_needs_a_key_and_is_not_there(stage, door, endpoint):
    for method, path in (
        (endpoint.method, path_of(endpoint) + "/"),
        (endpoint.method, "/" + path_of(endpoint)),
        ("PATCH", path_of(endpoint)),
    ):
        assert (await stage.client(None, door).request(method, path)).status == 401
        response = await stage.client(door=door).request(method, path)
        assert (response.status, response.body) == (404, b"404 page not found\n")


@each_endpoint_of_each_door
async def test_a_preflight_of_any_route_needs_no_key(stage, door, endpoint):
    headers = {"origin": "https://dashboard.example.com"}
    for key in (None, "wrong"):
        response = await stage.client(key, door).request("OPTIONS", path_of(endpoint), headers=headers)
        assert (response.status, response.body) == (200, b"")
        assert endpoint.method in response.headers["access-control-allow-methods"].split(",")


@each_endpoint
async def test_a_route_reads_a_body_exactly_when_it_says_that_it_takes_one(client, endpoint):
    response = await client.request(endpoint.method, path_of(endpoint), b"{")
    refused = response.status == 400 and response.json()["code"] == "syntax_error"
    assert refused == (endpoint.takes is not None)


async def test_the_user_name_does_not_matter(stage):
    headers = {"authorization": basic(KEY, user="anybody")}
    assert (await stage.client(None).get("/apps", headers=headers)).status == 200


def test_a_password_is_read_from_basic_credentials_only():
    assert password_of({"authorization": basic("a:b")}) == "a:b"
    assert password_of({"authorization": basic("x").replace("Basic", "bAsIc")}) == "x"
    for header in ("", "Basic", "Basic ", "Basic w6TDtg", "Basic /w==", "Bearer eA=="):
        assert password_of({"authorization": header}) == ""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/apps/"),
        ("GET", "//apps"),
        ("GET", "/apps/a/b/c/d/e"),
        ("PATCH", "/apps"),
        ("DELETE", "/releases"),
        ("HEAD", "/nothing"),
    ],
)
async def test_an_unknown_path_or_method_is_a_404_in_plain_text(client, method, path):
    response = await client.request(method, path)
    assert (response.status, response.content_type) == (404, "text/plain; charset=utf-8")
    assert response.body == (b"" if method == "HEAD" else b"404 page not found\n")


@pytest.mark.parametrize(
    "path",
    [
        "/apps/nobody",
        "/apps/6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11",
        "/apps/nobody/release",
        "/apps/nobody/jobs",
        "/apps/nobody/log",
        "/apps/nobody/routes",
        "/releases/not-a-uuid",
        "/releases/6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11",
        "/artifacts/not-a-uuid",
        "/deployments/%00",
        "/events/x",
        "/events/99999999999999999999",
        "/events/4711",
    ],
)
async def test_what_does_not_exist_is_a_404_without_json(client, path):
    """The stock client only takes such a 404 for "not found"; a JSON one breaks `env set` on new apps."""
    response = await client.get(path)
    assert (response.status, response.content_type, response.body) == (404, None, b"")


async def test_a_trailing_slash_is_another_path(client):
    await client.post("/apps", {"name": "hello"})
    assert (await client.get(APP)).status == 200
    assert (await client.get(APP + "/")).status == 404


BAD_JSON = {
    "empty": b"",
    "not JSON": b"{name: x}",
    "cut off": b'{"name": "x"',
    "trailing": b'{"name": "x"} x',
    "wrong type": b'{"name": 1}',
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "not UTF-8": b'{"name": "\xff"}',
    "lone surrogate": b'{"name": "x", "meta": {"a": "\\ud800"}}',
    "a number in a text map": b'{"meta": {"a": 1}}',
    "deep": b'{"meta": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a huge number": b'{"deploy_timeout": 1e400}',
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
async def test_what_is_no_json_is_a_syntax_error(client, body):
    response = await client.post("/apps", body)
    assert response.status == 400
    said = response.json()
    said.pop("detail", None)  # where the wrong type is, if it is JSON at all
    assert said == {"code": "syntax_error", "message": "The provided JSON input is invalid", "retry": False}


async def test_a_body_must_be_said_to_be_json(client):
    for content_type in ("text/plain", ""):
        response = await client.post("/apps", {"name": "x"}, headers={"content-type": content_type})
        assert response.status == 400
        assert response.body == (
            b'{"code":"validation_error","message":"Content-Type must be application/json","retry":false}'
        )
    charset = {"content-type": "application/json; charset=utf-8"}
    assert (await client.post("/apps", {"name": "x"}, headers=charset)).status == 200


@pytest.mark.parametrize("text", ["\\u0000", "\\\\\\u0000", "x\\u0000"])
async def test_a_nul_is_refused_wherever_it_stands(client, text):
    response = await client.post("/apps", b'{"meta": {"a": "%s"}}' % text.encode())
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert (await client.post("/apps", b'{"meta": {"a": "\\\\u0000"}}')).status == 200  # a backslash and a word


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_big_is_refused(client, settings, chunked):
    body = json.dumps({"name": "x" * settings.max_body_bytes}).encode()
    response = await client.post("/apps", body, headers={"transfer-encoding": "chunked"} if chunked else None)
    assert (response.status, response.json()["code"]) == (400, "request_body_too_big")
    assert response.json()["message"] == "The provided request body is too big"


async def test_a_field_that_is_wrong_is_named(client):
    response = await client.post("/apps", {"name": "Not a name"})
    assert response.body == (
        b'{"code":"validation_error",'
        b'"message":"name String must match the pattern: \\"^[a-z\\\\d]+(-[a-z\\\\d]+)*$\\".",'
        b'"detail":{"field":"name"},"retry":false}'
    )


async def test_a_mistake_of_ours_is_a_500_that_is_not_repeated(stage, client, monkeypatch, caplog):
    async def broken(query):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(stage.store, "read", broken)
    headers = {"authorization": ""}
    assert (await client.get("/ping", headers=headers)).status == 200
    response = await client.get("/apps")
    assert response.status == 500
    assert response.body == b'{"code":"unknown_error","message":"Something went wrong","retry":false}'
    assert "ZeroDivisionError" in caplog.text


async def test_cors_reflects_the_origin_and_preflights_need_no_key(stage):
    origin = {"origin": "https://dashboard.example.com"}
    preflight = await stage.client(None).request("OPTIONS", "/apps", headers=origin)
    refused = await stage.client(None).get("/apps", headers=origin)
    assert (preflight.status, refused.status) == (200, 401)
    for response in (preflight, refused):
        assert response.headers["access-control-allow-origin"] == "https://dashboard.example.com"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD"
        assert response.headers["access-control-allow-headers"] == (
            "Auth-Key,Authorization,Accept,Content-Type,If-Match,If-None-Match,X-GRPC-Web"
        )
        assert response.headers["access-control-expose-headers"] == "ETag,Content-Disposition"
        assert response.headers["access-control-max-age"] == "3600"
    assert not any(name.startswith("access-control") for name in (await stage.client().get("/apps")).headers)


async def test_a_connection_is_kept_for_the_next_request(stage, monkeypatch):
    dialled = []

    async def dial():
        dialled.append(1)
        return await stage.controller.dial("controller")()

    client = stage.client()
    client._dial = dial
    for _ in range(3):
        assert (await client.get("/apps")).status == 200
        assert (await client.get("/apps/nobody")).status == 404
        assert (await client.post("/apps", b"{")).status == 400
    assert len(dialled) == 1
