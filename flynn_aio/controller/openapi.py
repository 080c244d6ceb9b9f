"""The API's description of itself: OpenAPI 3.1, made from the table of routes and the structs it names. Pure.

What holds for every request is said once, here: which failures there are and how they look.

Source: OpenAPI 3.1.0; `controller-api.md` §1 and §2.
"""

import sys
import types
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin

from .api import STATUSES, ErrorBody
from .json_schema import Components, Schema, summary
from .request import EVENT_STREAM, JSON
from .routes import Auth, Endpoint
from .shape import EventStream, GzippedTar, Html, Lines, Param, Pem, Tar

CONTROLLER = """\
The API of Flynn's controller, version 1. The image service, at `images.DOMAIN` where this is at `controller.DOMAIN`,
has a document and a page like these of its own.\
"""
IMAGE_SERVICE = """\
The image service: layers in, an artifact out; what `flynn docker push` speaks to. The controller's API, at
`controller.DOMAIN` where this is at `images.DOMAIN`, has a document and a page like these of its own.\
"""
COMMON = """\
Every request carries the cluster's key as the password of Basic authentication; the user name does not matter.
Success is exactly 200. What does not exist is a 404 without a body; every other failure is an `ErrorBody`, except
401, which is empty. Bodies are JSON and say so in `Content-Type`. Unknown keys of a body are dropped, `null` is the
same as leaving a field out, and a field that is left out of an answer is empty. Times are UTC. Lists are newest first.\
"""

TEXT = "text/plain"
OTHER_MEDIA: dict[object, str] = {
    Pem: "application/x-x509-ca-cert",
    Tar: "application/tar",
    GzippedTar: "application/gzip",
    Html: "text/html",
}

SECURITY: dict[Auth, list[Schema]] = {
    Auth.KEY: [{"key": []}],
    Auth.STREAM: [{"key": []}, {"keyInQuery": []}],
    Auth.OPTIONAL: [{}, {"key": []}],
    Auth.NONE: [],
}
SCHEMES = {
    "key": {"type": "http", "scheme": "basic", "description": "The password is the key; the user name is free."},
    "keyInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "For event streams of a browser, which cannot send headers.",
    },
}

PATH_PARAMS: dict[str, Schema] = {
    "layer": {
        "description": "the SHA-256 of its tar, 64 hexadecimal digits in lower case",
        "schema": {"type": "string"},
    },
    "app": {"description": "its id or its name", "schema": {"type": "string"}},
    "provider": {"description": "its id or its name", "schema": {"type": "string"}},
    "job": {"description": "its id, or the UUID in it", "schema": {"type": "string"}},
    "event": {"description": "its id, a number", "schema": {"type": "integer"}},
    "type": {"description": "the type of the route", "schema": {"enum": ["http", "tcp"]}},
}
UUID: Schema = {"description": "its id, a UUID", "schema": {"type": "string"}}


def describe(table: Iterable[Endpoint], *, title: str = "Flynn controller", about: str = CONTROLLER) -> Schema:
    """Return the OpenAPI document of an API; `about` says what is special about it, in Markdown."""
    components = Components()
    paths: dict[str, dict[str, Schema]] = {}
    tags: dict[str, str] = {}
    for endpoint in table:
        module = sys.modules[endpoint.handler.__module__]
        tags.setdefault(_tag(endpoint), summary(module))
        paths.setdefault(path_of(endpoint), {})[endpoint.method.lower()] = _operation(endpoint, components)
    error = components.schema(ErrorBody)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": f"{about}\n\n{COMMON}"},
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "securitySchemes": SCHEMES,
            "responses": {str(status): response for status, response in _failures(error)},
            "schemas": dict(sorted(components.schemas.items())),
        },
    }


def path_of(endpoint: Endpoint) -> str:
    """Return the path of a route as OpenAPI writes it: ``/apps/{app}``."""
    return "/".join(f"{{{part[1:]}}}" if part[:1] == ":" else part for part in endpoint.path.split("/"))


def statuses(endpoint: Endpoint) -> list[int]:
    """Return every status an endpoint may answer with, a bug of ours (500) included."""
    named = ":" in endpoint.path or any(param.name == "app_id" for param in endpoint.params)
    conditions = {
        101: endpoint.upgrade is not None,
        200: True,
        400: True,  # a body that is too big and a query without an end are refused wherever they come
        401: endpoint.auth is not Auth.NONE,
        404: named,
        409: endpoint.method != "GET",
        429: endpoint.auth is not Auth.NONE,
        500: True,
        503: True,
    }
    return sorted({status for status, possible in conditions.items() if possible}.union(endpoint.also))


def _tag(endpoint: Endpoint) -> str:
    return endpoint.handler.__module__.rpartition(".")[2].replace("_", " ")


def _operation(endpoint: Endpoint, components: Components) -> Schema:
    names = [part[1:] for part in endpoint.path.split("/") if part[:1] == ":"]
    operation: Schema = {
        "operationId": "_".join([endpoint.method.lower(), *endpoint.path.replace(":", "").split("/")[1:]]),
        "tags": [_tag(endpoint)],
        "summary": summary(endpoint.handler),
        "security": SECURITY[endpoint.auth],
        "parameters": [
            *({"name": name, "in": "path", "required": True} | PATH_PARAMS.get(name, UUID) for name in names),
            *(_parameter(param) for param in endpoint.params),
        ],
        "responses": {str(status): _response(endpoint, status, components) for status in statuses(endpoint)},
    }
    if endpoint.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.takes, components)}
    return operation


def _parameter(param: Param) -> Schema:
    schema = {"type": {int: "integer", bool: "boolean", str: "string"}[param.type]}
    return {"name": param.name, "in": param.where, "description": param.text, "schema": schema}


def _response(endpoint: Endpoint, status: int, components: Components) -> Schema:
    if status == 101:
        return {"description": "The job runs and its streams follow, with `Upgrade: flynn-attach/0`"}
    if status == 200:
        if endpoint.gives is None:
            return {"description": "Done; there is no body"}
        return {"description": "Done", "content": _content(endpoint.gives, components)}
    if status == 500 and endpoint.unwell is not None:
        return {"description": "It is not well", "content": _content(endpoint.unwell, components)}
    return {"$ref": f"#/components/responses/{status}"}


def _content(shape: object, components: Components) -> dict[str, Schema]:
    """Return the media types of a body, each with its schema; several JSON types share one."""
    found: dict[str, Schema] = {}
    for one in get_args(shape) if get_origin(shape) in {Union, types.UnionType} else (shape,):
        origin: Any = get_origin(one)
        if one in OTHER_MEDIA:
            found[OTHER_MEDIA[one]] = {"schema": {"type": "string"}}
        elif origin in {EventStream, Lines}:
            item = components.schema(get_args(one)[0])
            how = "The JSON in each frame" if origin is EventStream else "The JSON in each line"
            media = EVENT_STREAM if origin is EventStream else TEXT
            found[media] = {"schema": {"type": "string", "description": f"{how}: {_name(item)}"}, "x-item": item}
        else:
            schema = components.schema(one)
            first = found.get(JSON, {}).get("schema")
            found[JSON] = {"schema": schema if first is None else {"anyOf": [first, schema]}}
    return found


def _name(item: Schema) -> str:
    return str(item["$ref"].rpartition("/")[2])


def _failures(error: Schema) -> Iterable[tuple[int, Schema]]:
    for status in sorted(set(STATUSES.values())):
        codes = ", ".join(f"`{code}`" for code, answer in STATUSES.items() if answer == status)
        response: Schema = {"description": f"{HTTPStatus(status).phrase}: {codes}"}
        if status not in {401, 404}:
            response["content"] = {JSON: {"schema": error}}
        yield status, response
