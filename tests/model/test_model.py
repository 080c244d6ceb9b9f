"""The nouns: their JSON and their small rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.errors import MalformedInput
from flynn_aio.model import (
    App,
    Artifact,
    ProcessType,
    Release,
    ResourceSpec,
    ScaleRequest,
    ScaleState,
    Time,
    as_uuid,
    bare_job_id,
    decode,
    encode,
    full_job_id,
    instance_id,
    is_app_name,
    is_web,
    with_default_resources,
)

UUID = "a204c8eb-cfbc-4438-973b-5d2f02d8afbd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-23T04:11:15.016030Z", "2026-11-23T04:11:15.01603Z"),
        ("2026-11-23T05:11:15.5+01:00", "2026-11-23T04:11:15.5Z"),
        ("2026-11-23T04:11:15.000000Z", "2026-11-23T04:11:15Z"),
        ("2026-11-23T04:11:10Z", "2026-11-23T04:11:10Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_as_flynn_writes_them(text, shown):
    assert str(Time.parse(text)) == shown


@given(st.datetimes(timezones=st.just(Time.utcnow().tzinfo)))
def test_a_time_survives_its_text(moment):
    assert Time.parse(str(Time.of(moment))) == moment


@given(*[st.datetimes(timezones=st.just(Time.utcnow().tzinfo))] * 2)
def test_sortable_texts_compare_as_their_moments(one, two):
    assert (Time.of(one).sortable < Time.of(two).sortable) == (one < two)
    assert Time.parse(Time.of(one).sortable) == one


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23T04:11:15"])
def test_a_moment_without_zone_is_no_moment(text):
    with pytest.raises(ValueError):
        Time.parse(text)


def test_an_app_looks_as_upstream_shows_it():
    made = Time.parse("2026-11-23T04:11:15.006311Z")
    app = App(
        id=UUID,
        name="app-one",
        meta={"gc.max_inactive_slug_releases": "10"},
        strategy="all-at-once",
        deploy_timeout=120,
        created_at=made,
        updated_at=made,
    )
    assert encode(app) == (
        b'{"id":"a204c8eb-cfbc-4438-973b-5d2f02d8afbd","name":"app-one","meta":{"gc.max_inactive_slug_releases":"10"},'
        b'"strategy":"all-at-once","deploy_timeout":120,"created_at":"2026-11-23T04:11:15.006311Z",'
        b'"updated_at":"2026-11-23T04:11:15.006311Z"}'
    )
    assert decode(encode(app), App) == app


def test_what_the_wire_never_omits_is_there_though_empty():
    assert encode(App(meta={})) == b'{"meta":{}}'
    request = ScaleRequest(id="", app="a", release="r", state=ScaleState.PENDING, created_at=None, updated_at=None)
    assert encode(request) == (
        b'{"id":"","app":"a","release":"r","state":"pending","created_at":null,"updated_at":null}'
    )


@pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b'{"env":1}', b'{"env":{"A":1}}', b"\xff", b'"' + b"[" * 100_000])
def test_json_of_the_wrong_shape_is_malformed_input(wrong):
    with pytest.raises(MalformedInput, match="The provided JSON input is invalid"):
        decode(wrong, Release)


def test_deep_json_is_refused_and_not_a_crash():
    with pytest.raises(MalformedInput):
        decode(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", Release)


def test_unknown_keys_are_dropped():
    assert decode(b'{"artifacts":[],"cmd":["x"]}', Release) == Release()
    assert decode(b'{"args":["a"],"entrypoint":["b"]}', ProcessType) == ProcessType(args=["a"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(UUID, UUID), (UUID.replace("-", ""), UUID), (UUID.upper(), None), ("hello", None), (UUID + "0", None)],
)
def test_ids_are_told_from_names(text, wanted):
    assert as_uuid(text) == wanted


@pytest.mark.parametrize("name", ["a", "app-1", "1-2-3", "x" * 100])
def test_app_names(name):
    assert is_app_name(name)


def test_job_ids_are_known_in_both_forms():
    assert full_job_id(UUID) == f"host0-{UUID}"
    assert bare_job_id(f"host0-{UUID}") == bare_job_id(UUID) == UUID


def test_missing_resources_and_halves_are_filled():
    filled = with_default_resources(
        {"memory": ResourceSpec(request=1), "cpu": ResourceSpec(limit=750), "gpu": ResourceSpec()}
    )
    assert filled["memory"] == ResourceSpec(request=1, limit=1)
    assert filled["cpu"] == ResourceSpec(request=750, limit=750)
    assert filled["max_fd"] == ResourceSpec(request=10000, limit=10000)
    assert filled["gpu"] == ResourceSpec()


def test_an_artifact_says_what_it_is():
    assert Artifact(uri="slug:abc").slug == "abc"
    assert Artifact(uri="slug:abc").image is None
    assert Artifact(uri="image:localhost/x:1").image == "localhost/x:1"


def test_an_instance_is_named_after_its_address():
    assert instance_id("tcp", "10.0.0.1:80") == "e15086afcc9b0dda9e8d8cb223ff8556"


def test_web_types_are_web_and_those_that_end_so():
    assert [kind for kind in ("web", "admin-web", "webx", "worker") if is_web(kind)] == ["web", "admin-web"]
