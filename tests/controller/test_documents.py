"""The description of the API as it is served: a document, and a page that needs nothing else."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from flynn_aio.controller.documents import documents, image_documents, render
from flynn_aio.controller.openapi import describe
from flynn_aio.controller.routes import IMAGES, TABLE

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Every tag of a page with its attributes; those that were opened must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def each(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


@pytest.mark.parametrize(("table", "documents"), [(TABLE, documents), (IMAGES, image_documents)])
def test_the_page_names_every_endpoint_and_every_type(table, documents):
    text = documents().page.decode()
    page = Page(text)
    document = describe(table)
    ids = page.each("id")
    assert len(set(ids)) == len(ids)
    assert {one["operationId"] for methods in document["paths"].values() for one in methods.values()} <= set(ids)
    assert {f"type-{name}" for name in document["components"]["schemas"]} <= set(ids)
    links = page.each("href")
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing():
    page = Page(documents().page.decode())
    assert not {"script", "img", "link", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert page.each("src") == page.each("style") == page.each("onclick") == []


def test_the_policy_allows_just_the_style_sheet_of_the_page():
    text = documents().page.decode()
    [style] = re.findall("<style>(.*)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert documents().policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in documents().policy


def test_text_of_the_document_is_no_markup():
    document = describe(TABLE[:1])
    document["info"]["title"] = "<script>`a < b`</script>"
    assert "&lt;script&gt;<code>a &lt; b</code>&lt;/script&gt;" in render(document)
    Page(render(document))


def test_it_is_made_once():
    assert documents() is documents()


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_anybody_may_read_it(stage, key):
    client = stage.client(key)
    document = await client.get("/openapi.json")
    assert (document.status, document.body) == (200, documents().openapi)
    assert document.json()["info"]["title"] == "Flynn controller"
    page = await client.get("/docs")
    assert (page.status, page.content_type, page.body) == (200, "text/html; charset=utf-8", documents().page)
    assert page.headers["content-security-policy"] == documents().policy
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_the_image_service_describes_itself_at_its_own_host(stage):
    client = stage.client(None, door="images")
    document = await client.get("/openapi.json")
    assert (document.status, document.body) == (200, image_documents().openapi)
    assert document.json()["info"]["title"] == "Flynn image service"
    assert {"/layer/{layer}", "/artifact"} <= set(document.json()["paths"])
    assert (await client.get("/docs")).body == image_documents().page
