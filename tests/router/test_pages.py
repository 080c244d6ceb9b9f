"""The router's own answers."""

from flynn_aio.router.pages import MAX_CUSTOM_PAGE_BYTES, Pages


def test_a_page_says_its_status():
    head, body = Pages().page(404)
    assert (head.status, head.reason, body) == (404, b"Not Found", b"Not Found\n")
    assert b"Content-Length: 10\r\n" in [line for _, _, line in head.fields]


def test_only_503_has_a_page_of_the_operator():
    pages = Pages(b"<h1>soon</h1>" + b"x" * MAX_CUSTOM_PAGE_BYTES)
    assert pages.page(503)[1].startswith(b"<h1>soon</h1>")
    assert len(pages.page(503)[1]) == MAX_CUSTOM_PAGE_BYTES
    assert pages.page(404)[1] == b"Not Found\n"
