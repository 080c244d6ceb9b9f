"""What a provider's answers mean."""

import pytest

from flynn_aio.providers.protocol import TEXT_CHARS, Answer, Provisioned, deprovisioned, provisioned


def test_an_answer_is_an_id_and_an_env():
    body = b'{"id": "/databases/a:b", "env": {"PGHOST": "x"}, "more": 1}'
    assert provisioned(Answer(status=200, body=body)) == Provisioned(id="/databases/a:b", env={"PGHOST": "x"})
    for bare in (b'{"id": "x"}', b'{"id": "x", "env": null}'):
        assert provisioned(Answer(status=200, body=bare)) == Provisioned(id="x", env={})


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            500,
            b'{"code":"unknown_error","message":"the disk\\nis full"}',
            "status 500: the disk is full$",
        ),
        (503, b'{"error":"starting"}', "answered with status 503: starting$"),
        (502, b"<html>Bad Gateway</html>", "answered with status 502$"),
        (404, b"404 page not found\n", "answered with status 404: 404 page not found$"),
        (201, b"", "answered with status 201$"),
        (200, b"", "something else than"),
        (200, b"[]", "something else than"),
        (200, b'{"id": 5}', "something else than"),
        (200, b'{"id": "x", "env": {"A": 5}}', "something else than"),
        (200, b'{"id": "", "env": {}}', "without an id"),
        (200, b'{"id": "x", "env": {"": "y"}}', "unusable env"),
        (200, b'{"id": "x", "env": {"A": "\\u0000"}}', "unusable env"),
        (200, b'{"id": "x", "env": {"A=B": "x"}}', "unusable env"),
    ],
)
def test_what_is_no_resource_is_told_so(status, body, says):
    with pytest.raises(ValueError, match=says):
        provisioned(Answer(status=status, body=body))


def test_a_redirect_says_where_to():
    with pytest.raises(ValueError, match="sends to https://other/, so register it with that URL"):
        provisioned(Answer(status=307, body=b"", location="https://other/"))


def test_a_provider_does_not_talk_for_ever():
    with pytest.raises(ValueError) as caught:
        provisioned(Answer(status=500, body=b"x" * 10_000))
    assert len(str(caught.value)) < TEXT_CHARS + 50


def test_gone_is_gone():
    deprovisioned(Answer(status=200, body=b""))
    deprovisioned(Answer(status=404, body=b"no such database"))
    with pytest.raises(ValueError, match="status 500: in use"):
        deprovisioned(Answer(status=500, body=b"in use"))
