"""The API's description of itself, as a document for programs and as a page for people. Pure.

The page is rendered from the document, so the two cannot disagree. It needs nothing else: no
script, no picture, nothing from elsewhere; its policy allows its own style sheet and that is all.
"""

import base64
import functools
import hashlib
import html
import re
from collections.abc import Iterable, Iterator

from ..model import encode
from .json_schema import Schema
from .openapi import IMAGE_SERVICE, describe
from .request import Documents
from .routes import IMAGES, TABLE

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
nav a { margin-right: .8em }
details { border-top: 1px solid #8884; padding: .3rem 0 }
details > :not(summary) { margin-left: 4.5rem }
summary { cursor: pointer }
summary b { display: inline-block; width: 4.5rem }
summary span { opacity: .7; margin-left: 1em }
code { font: .9em ui-monospace, monospace }
table { border-collapse: collapse }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0; border-top: 1px solid #8882 }
"""

_CODE = re.compile(r"``?([^`]+)``?")


@functools.cache
def documents() -> Documents:
    """Return the description of the API; some milliseconds of work when first called."""
    return _documents(describe(TABLE))


@functools.cache
def image_documents() -> Documents:
    """Return the description of the image service."""
    return _documents(describe(IMAGES, title="Flynn image service", about=IMAGE_SERVICE))


def _documents(document: Schema) -> Documents:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return Documents(
        openapi=encode(document),
        page=render(document).encode(),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    )


def render(document: Schema) -> str:
    """Return an OpenAPI document of ours as a page."""
    info, components = document["info"], document["components"]
    return "".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(info["title"])}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style><h1>{_text(info['title'])}</h1>",
            *(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n")),
            '<p>For programs: <a href="openapi.json">openapi.json</a></p><nav>',
            *(f'<a href="#{_anchor(tag["name"])}">{_text(tag["name"])}</a>' for tag in document["tags"]),
            '<a href="#failures">failures</a><a href="#types">types</a></nav>',
            *(piece for tag in document["tags"] for piece in _section(tag, document["paths"])),
            '<h2 id="failures">Failures</h2>',
            _table(
                ("status", "", "body"),
                ((status, _text(one["description"]), _content(one)) for status, one in components["responses"].items()),
            ),
            '<h2 id="types">Types</h2>',
            *(_type(name, schema) for name, schema in components["schemas"].items()),
            "</html>\n",
        ]
    )


def _section(tag: Schema, paths: Schema) -> Iterator[str]:
    yield f'<h2 id="{_anchor(tag["name"])}">{_text(tag["name"])}</h2><p>{_text(tag["description"])}</p>'
    for path, operations in paths.items():
        for method, operation in operations.items():
            if tag["name"] in operation["tags"]:
                yield _operation(method.upper(), path, operation)


def _operation(method: str, path: str, operation: Schema) -> str:
    keys = " or ".join("none" if not one else next(iter(one)) for one in operation["security"]) or "none"
    rows = [("key", _text(keys))]
    for param in operation["parameters"]:
        rows.append((f"<code>{_text(param['name'])}</code>", _text(f"{param['in']}: {param['description']}")))
    if "requestBody" in operation:
        rows.append(("takes", _content(operation["requestBody"])))
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            content = _content(response)
            rows.append((status, content or _text(response["description"])))
    failures = ", ".join(status for status, response in operation["responses"].items() if "$ref" in response)
    rows.append(("may fail", f'<a href="#failures">{failures}</a>'))
    body = _table((), rows)
    head = f"<b>{method}</b><code>{_text(path)}</code><span>{_text(operation['summary'])}</span>"
    return f'<details id="{operation["operationId"]}"><summary>{head}</summary>{body}</details>'


def _content(holder: Schema) -> str:
    """Return the media types of a body and what is in them."""
    return "<br>".join(
        f"<code>{media}</code> {_kind(one.get('x-item', one['schema']))}"
        for media, one in holder.get("content", {}).items()
    )


def _type(name: str, schema: Schema) -> str:
    head = f'<h3 id="type-{name}">{name}</h3>'
    if "properties" not in schema:
        return f"{head}<p>{_kind(schema)}</p>"
    required = schema.get("required", [])
    fields = (
        (
            f"<code>{_text(field)}</code>",
            _kind(one) + ("" if field in required else "?"),
            _text(one.get("description", "")),
        )
        for field, one in schema["properties"].items()
    )
    return f"{head}<p>{_text(schema['description'])}</p>{_table((), fields)}"


def _kind(schema: Schema) -> str:
    """Return a schema in a few words."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return f'<a href="#type-{name}">{name}</a>'
        case {"anyOf": [*several]}:
            return " or ".join(_kind(one) for one in several)
        case {"enum": [*values]}:
            return " | ".join(f"<code>{_text(str(value))}</code>" for value in values)
        case {"type": "array", "items": item}:
            return f"[{_kind(item)}]"
        case {"type": "object", "additionalProperties": dict(value)}:
            return f"map of {_kind(value)}"
        case {"format": str(kind)} | {"type": str(kind)}:
            return kind
        case _:
            return "any"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; cells are HTML already."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{titles and f'<tr>{titles}</tr>'}{lines}</table>"


def _anchor(name: str) -> str:
    return "tag-" + name.replace(" ", "-")


def _text(text: str) -> str:
    """Return text as HTML; what stands in backquotes is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
