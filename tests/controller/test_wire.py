"""Bodies -> nouns: whatever is sent is understood or refused, never stumbled over."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.controller import wire
from flynn_aio.controller.body import read_json, read_object
from flynn_aio.controller.request import Request
from flynn_aio.errors import MalformedInput, ValidationError
from flynn_aio.model import NewJob, ProcessType, encode

HEADERS = {"content-type": "application/json"}
STRUCTS = (
    wire.AppRequest,
    wire.ArtifactRequest,
    wire.ReleaseRequest,
    wire.ProcessRequest,
    wire.PortRequest,
    wire.ScaleRequestBody,
    wire.RouteRequest,
    wire.CertificateRequest,
    NewJob,
    ProcessType,
)
KEYS = st.sampled_from(
    sorted({name for struct in STRUCTS for name in struct.__struct_fields__} | {"web", "created_at"})
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("6e3e3d3f1f4e4f4c9a676a1f4a1a7c11")
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
BODIES = st.dictionaries(KEYS, VALUES, max_size=8)

READERS = {
    "app": lambda request: wire.new_app(read_json(request, wire.AppRequest)),
    "update": lambda request: wire.app_update(read_object(request)),
    "artifact": lambda request: wire.new_artifact(read_json(request, wire.ArtifactRequest)),
    "release": lambda request: wire.new_release(read_json(request, wire.ReleaseRequest)),
    "formation": lambda request: read_json(request, wire.FormationRequest),
    "scale": lambda request: read_json(request, wire.ScaleRequestBody),
    "job": lambda request: wire.new_job(read_json(request, NewJob)),
    "route": lambda request: wire.new_route(read_json(request, wire.RouteRequest)),
}


def understood_or_refused(read, body):
    """Read a body; anything but a noun or a refusal leaves as what it is."""
    with suppress(MalformedInput, ValidationError):
        assert encode(read(Request(headers=HEADERS, body=body)))


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(BODIES)
def test_any_json_is_understood_or_refused(read, body):
    understood_or_refused(read, json.dumps(body).encode())


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(st.binary())
def test_any_bytes_are_understood_or_refused(read, body):
    understood_or_refused(read, body)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('{"a": null, "b": 1}', {"b": 1}),
        ('{"env": {"a": null}}', {"env": {"a": ""}}),
        ('{"tags": {"web": {"a": null}}}', {"tags": {"web": {}}}),
        ('{"processes": {"web": {"env": {"a": null}, "args": null}}}', {"processes": {"web": {"env": {"a": ""}}}}),
        ('{"list": [null, {"a": null}]}', {"list": [None, {}]}),
    ],
)
def test_null_is_the_zero_value(sent, read):
    assert read_object(Request(headers=HEADERS, body=sent.encode())) == read
