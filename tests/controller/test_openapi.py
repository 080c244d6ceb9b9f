"""The document says of every endpoint what it takes, gives and how it may fail."""

import json

import pytest
import schemathesis
from msgspec import Struct

from flynn_aio.controller.api import STATUSES
from flynn_aio.controller.openapi import describe, path_of, statuses
from flynn_aio.controller.request import EMPTY
from flynn_aio.controller.routes import IMAGES, TABLE, Auth, Endpoint
from flynn_aio.controller.shape import EventStream, GzippedTar, Lines, Param, Tar
from flynn_aio.model import App, Formation


class Wish(Struct):
    """What is wished for."""

    name: str = ""


async def handler(parts, request):
    """Do it.

    Somehow.
    """
    return EMPTY


def operation(endpoint):
    document = describe([endpoint])
    [[found]] = [list(methods.values()) for methods in document["paths"].values()]
    return found


@pytest.mark.parametrize("table", [TABLE, IMAGES], ids=["controller", "images"])
def test_the_whole_table_makes_a_valid_document(table):
    document = json.loads(json.dumps(describe(table)))
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"] == "3.1.0"
    rows = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert rows == {(path_of(endpoint), endpoint.method) for endpoint in table}
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)


@pytest.mark.parametrize("table", [TABLE, IMAGES], ids=["controller", "images"])
def test_every_reference_leads_somewhere(table):
    document = describe(table)

    def follow(value):
        match value:
            case {"$ref": str(target)}:
                found = document
                for part in target.removeprefix("#/").split("/"):
                    found = found[part]
                assert found, target
            case dict():
                for one in value.values():
                    follow(one)
            case list():
                for one in value:
                    follow(one)

    follow(document)


@pytest.mark.parametrize("endpoint", [*TABLE, *IMAGES], ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_says_what_it_does(endpoint):
    found = operation(endpoint)
    assert found["summary"].endswith(".")
    assert all(parameter["description"] for parameter in found["parameters"])


def test_a_body_is_named_by_its_type():
    found = operation(Endpoint("POST", "/apps/:app/wishes/:wish", handler, takes=Wish, gives=list[App]))
    assert found["operationId"] == "post_apps_app_wishes_wish"
    assert found["summary"] == "Do it."
    assert found["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wish"}}},
    }
    assert found["responses"]["200"]["content"] == {
        "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/App"}}}
    }
    assert [(one["name"], one["in"], one["required"]) for one in found["parameters"]] == [
        ("app", "path", True),
        ("wish", "path", True),
    ]


@pytest.mark.parametrize(
    ("takes", "media"),
    [(Wish, {"application/json"}), (Tar, {"application/tar"}), (GzippedTar, {"application/gzip"})],
)
def test_a_body_says_its_media_type(takes, media):
    found = operation(Endpoint("POST", "/x", handler, takes=takes, gives=None))
    assert set(found["requestBody"]["content"]) == media


@pytest.mark.parametrize(
    ("gives", "media"),
    [
        (list[App] | EventStream[App], {"application/json", "text/event-stream"}),
        (Lines[App] | EventStream[App], {"text/plain", "text/event-stream"}),
        (App | Tar, {"application/json", "application/tar"}),
        (App | Formation, {"application/json"}),
    ],
)
def test_an_answer_may_take_several_forms(gives, media):
    content = operation(Endpoint("GET", "/x", handler, gives=gives))["responses"]["200"]["content"]
    assert set(content) == media


def test_an_answer_without_a_body_has_no_content():
    assert "content" not in operation(Endpoint("DELETE", "/x", handler, gives=None))["responses"]["200"]


def test_a_parameter_has_a_place_and_a_type():
    params = (Param("count", "how many", int), Param("Last-Event-Id", "from where", int, "header"))
    assert operation(Endpoint("GET", "/x", handler, gives=None, params=params))["parameters"] == [
        {"name": "count", "in": "query", "description": "how many", "schema": {"type": "integer"}},
        {"name": "Last-Event-Id", "in": "header", "description": "from where", "schema": {"type": "integer"}},
    ]


def test_the_key_of_a_stream_may_stand_in_the_query():
    security = {auth: operation(Endpoint("GET", "/x", handler, auth, gives=None))["security"] for auth in Auth}
    assert security == {
        Auth.KEY: [{"key": []}],
        Auth.STREAM: [{"key": []}, {"keyInQuery": []}],
        Auth.OPTIONAL: [{}, {"key": []}],
        Auth.NONE: [],
    }


def test_only_what_can_come_is_announced():
    assert statuses(Endpoint("GET", "/x", handler, Auth.NONE, gives=None)) == [200, 400, 500, 503]
    assert statuses(Endpoint("GET", "/x/:y", handler, gives=None)) == [200, 400, 401, 404, 429, 500, 503]
    assert statuses(Endpoint("PUT", "/x", handler, gives=None)) == [200, 400, 401, 409, 429, 500, 503]
    assert 101 in statuses(Endpoint("POST", "/x", handler, gives=None, upgrade=handler))
    announced = {status for endpoint in TABLE for status in statuses(endpoint)}
    assert announced - {101, 200} == set(STATUSES.values())
