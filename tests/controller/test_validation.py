"""Every row of the validation tables, as one case: what is sent, and what it is answered with.

Source: `controller-api.md` §4.2 and §5.8.
"""

import json
import re

import pytest
import trio

from flynn_aio.controller.routes import TABLE
from flynn_aio.model import Release
from flynn_aio.store import changes

from ..support.build import make_app, make_release

NOBODY = "6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11"
NO_URI = "Value must be a valid URI, according to RFC3986."


@pytest.fixture
async def ids(store):
    """What a case may refer to with `{name}`."""
    app = await make_app(store)
    release = await make_release(store, app)
    bare = await store.transact(lambda tx: changes.create_release(tx, Release(app_id=app.id)))
    return {"app": app.id, "release": release.id, "artifact": release.artifacts[0], "bare": bare.id, "nobody": NOBODY}


def filled(value, ids):
    match value:
        case str():
            for name, one in ids.items():
                value = value.replace("{" + name + "}", one)
            return value
        case dict():
            return {filled(key, ids): filled(one, ids) for key, one in value.items()}
        case list():
            return [filled(one, ids) for one in value]
        case _:
            return value


FLYNN = {"type": "flynn", "uri": "image:localhost/test/app:1"}
RELEASE = {"app_id": "{app}", "artifacts": ["{artifact}"]}
JOBS, SCALE, FORMATION = "/apps/hello/jobs", "/apps/hello/scale/{release}", "/apps/hello/formations/{release}"

CHECK = "processes.web.ports.0.service.check"


def checked(**check):
    return {**RELEASE, "processes": {"web": {"ports": [{"service": {"name": "hello-web", "check": check}}]}}}


# method, path, body, field (None: the object as a whole), part of the message
REFUSED = {
    "app name, characters": ("POST", "/apps", {"name": "Not-a-name"}, "name", "String must match the pattern: "),
    "app name, end": ("POST", "/apps", {"name": "a-"}, "name", "String must match the pattern: "),
    "app name, newline": ("POST", "/apps", {"name": "a\n"}, "name", "String must match the pattern: "),
    "app name, length": ("POST", "/apps", {"name": "a" * 101}, "name", "String length must be shorter than 100"),
    "app id": ("POST", "/apps", {"id": "x"}, "id", "must be a UUID"),
    "app strategy": ("POST", "/apps", {"strategy": "x"}, "strategy", "Enum error. The data must be equal to one of"),
    "app strategy, update": ("POST", "/apps/hello", {"strategy": "x"}, "strategy", "Enum error."),
    "app meta, update": ("POST", "/apps/hello", {"meta": {"a": 1}}, "meta", "Value must be one of these types"),
    "app meta, list": ("POST", "/apps/hello/meta", {"meta": []}, "meta", "Value must be one of these types: [object]"),
    "deploy timeout, text": (
        "POST",
        "/apps/hello",
        {"deploy_timeout": "9"},
        "deploy_timeout",
        "types: [integer]. Got string",
    ),
    "deploy timeout, 0": ("POST", "/apps/hello", {"deploy_timeout": 0}, "deploy_timeout", "at least 1"),
    "deploy timeout, -1": ("POST", "/apps", {"deploy_timeout": -1}, "deploy_timeout", "at least 1"),
    "deploy timeout, int32": ("POST", "/apps/hello", {"deploy_timeout": 2**31}, "deploy_timeout", "must be"),
    "app update keys": ("POST", "/apps/hello", {"x": 1}, None, 'Additional properties aren\'t allowed, found "x"'),
    "artifact type": ("POST", "/artifacts", {"uri": "image:x"}, "type", "[docker file flynn]"),
    "artifact uri": ("POST", "/artifacts", {"type": "flynn", "uri": "x"}, "uri", NO_URI),
    "artifact uri, absent": ("POST", "/artifacts", {"type": "flynn"}, "uri", NO_URI),
    "artifact size": (
        "POST",
        "/artifacts",
        {"type": "flynn", "uri": "http://127.0.0.1:1/x"},
        "size",
        "greater than zero",
    ),
    "artifact docker": ("POST", "/artifacts", {"type": "docker", "uri": "http://x/y"}, "type", "not supported"),
    "artifact file": ("POST", "/artifacts", {"type": "file", "uri": "http://x/y"}, "type", "not supported"),
    "release app, absent": ("POST", "/releases", {}, "app_id", "must be the UUID of an app"),
    "release app, name": ("POST", "/releases", {"app_id": "hello"}, "app_id", "must be the UUID of an app"),
    "release app, unknown": ("POST", "/releases", {"app_id": "{nobody}"}, "app_id", "does not exist"),
    "release artifacts": ("POST", "/releases", {**RELEASE, "artifacts": ["{nobody}"]}, "artifacts", "does not exist"),
    "release artifacts, form": ("POST", "/releases", {**RELEASE, "artifacts": ["x"]}, "artifacts", "does not exist"),
    "release types, 10,000": (
        "POST",
        "/releases",
        {**RELEASE, "processes": {f"t{n}": {} for n in range(10_000)}},
        "processes",
        "must have at most 256 process types, not 10000",
    ),
    "release type, newline": ("POST", "/releases", {**RELEASE, "processes": {"a\n": {}}}, "processes", "printable"),
    "release type, length": (
        "POST",
        "/releases",
        {**RELEASE, "processes": {"a" * 101: {}}},
        "processes",
        "at most 100",
    ),
    "release env key": (
        "POST",
        "/releases",
        {**RELEASE, "env": {"": "v"}},
        "env",
        'you can\'t create an env var with an empty key (tried to set ""="v")',
    ),
    "release ports": (
        "POST",
        "/releases",
        {**RELEASE, "processes": {"web": {"ports": [{"port": 99999}]}}},
        "processes.web.ports",
        "must be 0 to 65535",
    ),
    "release check type": ("POST", "/releases", checked(type="icmp"), f"{CHECK}.type", "must be tcp, http or https"),
    "release check path": ("POST", "/releases", checked(path="/a b"), f"{CHECK}.path", "must be a path such as"),
    "release check interval": (
        "POST",
        "/releases",
        checked(interval=5),
        f"{CHECK}.interval",
        "must be 0 or a number of nanoseconds from 1000000 on, not 5; 5 s are 5000000000",
    ),
    "release stop signal": (
        "POST",
        "/releases",
        {**RELEASE, "processes": {"web": {"stop_signal": "SIGNONE"}}},
        "processes.web.stop_signal",
        "must be a signal that can end a process, such as SIGINT, not 'SIGNONE'",
    ),
    "job release, absent": ("POST", JOBS, {}, None, 'Required error. The data must be an object with "release"'),
    "job release, bare": ("POST", JOBS, {"release": "{bare}"}, "release.ArtifactIDs", "cannot be empty"),
    "job artifacts": ("POST", JOBS, {"release": "{release}", "artifacts": ["{nobody}"]}, "artifacts", "does not exist"),
    "scale state": ("PUT", SCALE, {"state": "x"}, "state", "[pending cancelled complete]"),
    "scale processes, type": (
        "PUT",
        SCALE,
        {"state": "pending", "new_processes": {"b": 1, "a": 1, "web": 1}},
        None,
        "requested scale includes process types that do not exist in the release: a, b",
    ),
    "scale processes, -1": (
        "PUT",
        SCALE,
        {"state": "pending", "new_processes": {"web": -1}},
        "new_processes.web",
        "must be 0 to",
    ),
    "scale nothing": (
        "PUT",
        SCALE,
        {"state": "pending"},
        None,
        "scale request must have either processes or tags set",
    ),
    "formation of a bare release": (
        "PUT",
        "/apps/hello/formations/{bare}",
        {"processes": {"web": 1}},
        None,
        "release is not deployable",
    ),
    "formation processes, -1": ("PUT", FORMATION, {"processes": {"web": -1}}, "processes.web", "must be 0 to"),
    "formations": ("GET", "/formations", None, None, "must either request a stream or only active formations"),
    "current release": (
        "PUT",
        "/apps/hello/release",
        {"id": "{nobody}"},
        None,
        f"could not find release with ID {NOBODY}",
    ),
    "deploy": ("POST", "/apps/hello/deploy", {"id": "x"}, None, "could not find release with ID x"),
    "provider url": ("POST", "/providers", {"name": "p", "url": "x"}, "url", "is not like http://HOST/PATH"),
    "provider url, absent": ("POST", "/providers", {"name": "p"}, "url", ""),
    "provider name, absent": ("POST", "/providers", {"url": "http://127.0.0.1:1/"}, "name", ""),
    "sink kind": ("POST", "/sinks", {"kind": "x", "config": {"url": "syslog://127.0.0.1:1"}}, "kind", "[syslog]"),
    "sink config": ("POST", "/sinks", {"kind": "syslog"}, None, "config"),
    "log lines": ("GET", "/apps/hello/log?lines=x", None, "lines", "lines must be an integer between 0 and 10000"),
    "log lines, many": ("GET", "/apps/hello/log?lines=10001", None, "lines", "must be an integer between 0 and 10000"),
    "log lines, -1": ("GET", "/apps/hello/log?lines=-1", None, "lines", "must be an integer between 0 and 10000"),
    "events before": ("GET", "/events?before_id=x", None, "before_id", "is invalid"),
    "events since": ("GET", "/events?since_id=1.0", None, "since_id", "is invalid"),
    "events count": ("GET", "/events?count=0x1", None, "count", "is invalid"),
    "route type": ("POST", "/apps/hello/routes", {"type": "udp", "service": "x"}, "type", "[http tcp]"),
    "route http with a port": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "a.test", "port": 1},
        None,
        "Invalid route",
    ),
    "route path without a slash": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "hello.flynn.test", "path": "x"},
        None,
        "Invalid route",
    ),
    "route path without a default": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "a.test", "path": "/x"},
        None,
        "Invalid route",
    ),
    "route drain of one service": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "hello-web", "domain": "a.test", "drain_backends": False},
        None,
        "Invalid route",
    ),
    "route without a service": ("POST", "/apps/hello/routes", {"type": "http", "domain": "a.test"}, None, ""),
    "route without a domain": ("POST", "/apps/hello/routes", {"type": "http", "service": "x"}, None, ""),
    "route tcp port": ("POST", "/apps/hello/routes", {"type": "tcp", "service": "x", "port": 65535}, None, ""),
    "route tcp port, -1": ("POST", "/apps/hello/routes", {"type": "tcp", "service": "x", "port": -1}, None, ""),
    "route certificate": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "a.test", "tls_cert": "x", "tls_key": "y"},
        None,
        "Certificate invalid: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_what_breaks_a_rule_is_refused_with_the_field_and_the_reason(client, ids, case):
    method, path, body, field, text = case
    response = await client.request(method, filled(path, ids), filled(body, ids))
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert text in response.json()["message"]
    assert response.json()["retry"] is False
    if field is not None:
        assert response.json()["detail"] == {"field": field}
        assert response.json()["message"].startswith(f"{field} ")


SYNTAX = {
    "app meta": ("POST", "/apps", {"meta": {"a": 1}}),
    "app meta, list": ("POST", "/apps", {"meta": []}),
    "release env": ("POST", "/releases", {**RELEASE, "env": {"A": 1}}),
    "port": ("POST", "/releases", {**RELEASE, "processes": {"web": {"ports": [{"port": "x"}]}}}),
    "scale": ("PUT", SCALE, {"state": "pending", "new_processes": {"web": 1.5}}),
    "scale, text": ("PUT", SCALE, {"state": "pending", "new_processes": {"web": "2"}}),
    "scale, truth": ("PUT", FORMATION, {"processes": {"web": True}}),
    "scale, list": ("PUT", FORMATION, {"processes": ["web"]}),
    "tags, text": ("PUT", FORMATION, {"processes": {"web": 1}, "tags": {"web": "disk=ssd"}}),
    "tags, number": ("PUT", SCALE, {"state": "pending", "new_tags": {"web": {"cores": 8}}}),
    "deploy timeout": ("POST", "/apps", {"deploy_timeout": "9"}),
    "route": ("POST", "/apps/hello/routes", {"type": "tcp", "port": "x"}),
}


@pytest.mark.parametrize("case", SYNTAX.values(), ids=SYNTAX)
async def test_a_value_of_the_wrong_type_is_a_syntax_error(client, ids, case):
    method, path, body = case
    response = await client.request(method, filled(path, ids), filled(body, ids))
    assert (response.status, response.json()["code"]) == (400, "syntax_error")
    assert response.json()["message"] == "The provided JSON input is invalid"
    assert re.fullmatch(r"Expected `.+`, got `.+` - at `\$\..+`", response.json()["detail"]["reason"])


async def test_an_event_id_of_the_last_connection_must_be_a_number(client):
    response = await client.get("/events", headers={"accept": "*/*", "last-event-id": "x"})
    assert (response.status, response.json()["detail"]) == (400, {"field": "Last-Event-Id"})


CONFLICTS = {
    "app name": ("POST", "/apps", {"name": "hello"}, "object_exists", 'application "hello" already exists'),
    "route": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "hello.flynn.test"},
        "conflict",
        "Duplicate route",
    ),
    "tcp port 80": (
        "POST",
        "/apps/hello/routes",
        {"type": "tcp", "service": "x", "port": 80},
        "conflict",
        "Port reserved for HTTP/HTTPS traffic",
    ),
    "tcp port 443": (
        "POST",
        "/apps/hello/routes",
        {"type": "tcp", "service": "x", "port": 443},
        "conflict",
        "Port reserved for HTTP/HTTPS traffic",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS.values(), ids=CONFLICTS)
async def test_what_is_there_already_is_a_conflict(client, ids, case):
    method, path, body, code, message = case
    response = await client.request(method, path, body)
    assert (response.status, response.json()["code"], response.json()["message"]) == (409, code, message)


async def test_a_tcp_port_is_given_once_and_never_again(client, ids):
    wanted = {"type": "tcp", "service": "x", "port": 0}
    first = (await client.post("/apps/hello/routes", wanted)).json()
    assert first["port"] == 3000
    response = await client.post("/apps/hello/routes", {**wanted, "port": 3000})
    assert (response.status, response.json()["message"]) == (409, "Duplicate route")
    assert response.json()["detail"]["port"] == 3000
    assert (await client.delete(f"/apps/hello/routes/tcp/{first['id']}")).status == 200
    assert (await client.post("/apps/hello/routes", wanted)).json()["port"] == 3001


ACCEPTED = {
    "a null is the zero value": ("POST", "/apps", {"name": None, "meta": None, "strategy": None}),
    "unknown keys are dropped": ("POST", "/apps", {"unknown": [1, {"x": None}]}),
    "a null in a text map is empty": ("POST", "/releases", {**RELEASE, "env": {"A": None}}),
    "a release without artifacts": ("POST", "/releases", {"app_id": "{app}"}),
    "process types may have any name": ("POST", "/releases", {**RELEASE, "processes": {"Any name!": {}}}),
    "most of an app may be sent back": (
        "POST",
        "/apps/hello/meta",
        {"id": "x", "name": "y", "protected": True, "release": 1, "created_at": "", "updated_at": None, "meta": {}},
    ),
    "the same artifact again": ("POST", "/artifacts", FLYNN),
    "a path gets its slash": (
        "POST",
        "/apps/hello/routes",
        {"type": "http", "service": "x", "domain": "hello.flynn.test", "path": "/x"},
    ),
}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
async def test_what_flynn_takes_is_taken(client, ids, case):
    method, path, body = case
    response = await client.request(method, filled(path, ids), filled(body, ids))
    assert response.status == 200, response


async def test_a_duplicate_artifact_is_the_one_that_is_there(client, ids):
    assert (await client.post("/artifacts", FLYNN)).json()["id"] == ids["artifact"]


async def test_of_a_key_that_comes_twice_the_last_counts(client):
    response = await client.post("/apps", b'{"name": "first", "name": "second"}')
    assert response.json()["name"] == "second"


def wrong(kind):
    """JSON texts that are no good for almost any field, and one that is too deep."""
    numbers = ["0", "-1", "1.5", "1e400", "1" * 400, "99999999999999999999"]
    texts = [
        '""',
        '"x"',
        '"\\ud800"',
        '"\\u0000"',
        '"\\uffff"',
        '"../../etc/passwd"',
        '"%00"',
        '"' + "x" * 10_000 + '"',
    ]
    return [
        *numbers,
        *texts,
        "true",
        "null",
        "NaN",
        "[]",
        "{}",
        "[null]",
        '[{"x": [1]}]',
        '{"": {"": ""}}',
        "[" * 900 + "]" * 900,
    ]


@pytest.mark.parametrize(
    "endpoint", [one for one in TABLE if one.takes], ids=lambda endpoint: f"{endpoint.method} {endpoint.path}"
)
async def test_no_value_in_any_field_is_more_than_a_refusal(stage, client, ids, endpoint):
    path = endpoint.path.replace(":app", "hello").replace(":type", "http")
    path = "/".join(NOBODY if part[:1] == ":" else part for part in path.split("/"))
    path = path.replace(f"scale/{NOBODY}", f"scale/{ids['release']}")
    path = path.replace(f"formations/{NOBODY}", f"formations/{ids['release']}")
    whole = filled(WHOLE.get(endpoint.path, {}), ids)
    for name in endpoint.takes.__struct_fields__:
        for text in wrong(name):
            others = {key: value for key, value in whole.items() if key != name}
            body = json.dumps(others)[:-1] + (", " if others else "") + f'"{name}": {text}}}'
            response = await client.request(endpoint.method, path, body.encode())
            assert response.status in {200, 400, 404, 409}, (name, text[:80], response)
            if response.status == 400:
                assert response.json()["code"] in {"syntax_error", "validation_error"}


WHOLE = {
    "/releases": RELEASE,
    "/artifacts": {**FLYNN, "uri": "image:localhost/test/other:1"},
    "/apps/:app/routes": {"type": "tcp", "service": "x"},
    "/apps/:app/jobs": {"release": "{release}"},
    "/apps/:app/scale/:release": {"state": "pending", "new_processes": {"web": 1}},
    "/apps/:app/deploy": {"id": "{release}"},
    "/providers": {"name": "p", "url": "http://127.0.0.1:1/x"},
    "/sinks": {"kind": "syslog", "config": {"url": "syslog://127.0.0.1:1"}},
}
"""What is right apart from the one field."""


PATHS = ["%", "%zz", "%2", "%ff", "%ed%a0%80", "%00", "a%00b", "%2e%2e", "a%2fb", "%0a", "x" * 2000, "%f0%9f%92%a9"]


@pytest.mark.parametrize("part", PATHS)
async def test_an_id_that_cannot_be_one_is_not_there(client, ids, part):
    for endpoint in TABLE:
        if ":" not in endpoint.path or endpoint.takes:
            continue
        names = [one for one in endpoint.path.split("/") if one[:1] == ":"]
        path = endpoint.path.replace(names[-1], part).replace(":app", "hello").replace(":type", "http")
        path = "/".join(NOBODY if one[:1] == ":" else one for one in path.split("/"))
        response = await client.request(endpoint.method, path)
        assert (response.status, response.body) == (404, b""), (endpoint.path, response)


QUERIES = ["%", "%zz=%zz", "a=%ff", "=", "&&&", "app_id=%ff", "app_id=%00", "object_types=%00", "count=" + "9" * 5000]


@pytest.mark.parametrize("query", [*QUERIES, "&".join(["a=b"] * 101)])
async def test_a_query_that_makes_no_sense_is_no_mistake_of_ours(client, ids, query):
    for endpoint in TABLE:
        if endpoint.method == "GET" and ":" not in endpoint.path.replace(":app", ""):
            response = await client.get(endpoint.path.replace(":app", "hello") + "?" + query)
            assert response.status in {200, 400, 404}, (endpoint.path, response)


async def test_of_many_writes_at_once_one_wins_and_the_others_are_told(stage, ids):
    async def at_once(method, path, body):
        answers = []

        async def one():
            answers.append(await stage.client().request(method, path, body))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        return sorted(answer.status for answer in answers)

    assert await at_once("POST", "/apps", {"name": "contended"}) == [200] + [409] * 7
    route = {"type": "http", "service": "x", "domain": "a.test"}
    assert await at_once("POST", "/apps/hello/routes", route) == [200] + [409] * 7
    assert (
        await at_once("POST", "/apps/hello/routes", {"type": "tcp", "service": "x", "port": 3010}) == [200] + [409] * 7
    )
    assert await at_once("POST", "/artifacts", {**FLYNN, "uri": "image:localhost/test/new:1"}) == [200] * 8
    scale = {"state": "pending", "new_processes": {"web": 2}}
    assert await at_once("PUT", filled(SCALE, ids), scale) == [200] * 8
    assert await at_once("DELETE", "/apps/contended", None) == [200] + [404] * 7
    artifacts = (await stage.client().get("/artifacts")).json()
    assert len([one for one in artifacts if one["uri"] == "image:localhost/test/new:1"]) == 1
