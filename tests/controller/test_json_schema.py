"""Structs become JSON Schema as the wire has them."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from flynn_aio.controller.json_schema import Components, attributes, summary
from flynn_aio.model import AppID, Event, Time


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(Struct, forbid_unknown_fields=True):
    """A leaf.

    And more about it.

    Attributes:
        colour: as seen
            from afar.
        app, tree: where it is.

    Notes: none.
    """

    colour: Colour
    app: AppID = AppID("")
    tree: "Leaf | None" = None


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Any, {}),
        (object, {}),
        (None, {"type": "null"}),
        (bool, {"type": "boolean"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (AppID, {"type": "string"}),
        (Time, {"type": "string", "format": "date-time"}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Annotated[str, Meta(extra_json_schema={"pattern": "a"})], {"type": "string", "pattern": "a"}),
        (list[Leaf], {"type": "array", "items": {"$ref": "#/components/schemas/Leaf"}}),
    ],
)
def test_a_type_has_its_schema(kind, schema):
    assert Components().schema(kind) == schema


def test_a_struct_is_kept_by_name_with_what_its_docstring_says():
    components = Components()
    components.schema(Leaf)
    assert components.schemas == {
        "Colour": {"enum": ["red", "blue"]},
        "Leaf": {
            "type": "object",
            "description": "A leaf.",
            "properties": {
                "colour": {"$ref": "#/components/schemas/Colour", "description": "as seen from afar."},
                "app": {"type": "string", "description": "where it is."},
                "tree": {
                    "anyOf": [{"$ref": "#/components/schemas/Leaf"}, {"type": "null"}],
                    "description": "where it is.",
                },
            },
            "required": ["colour"],
            "additionalProperties": False,
        },
    }


def test_a_field_that_may_be_unset_and_raw_json_have_a_schema():
    class Reply(Struct):
        detail: int | UnsetType = UNSET

    components = Components()
    components.schema(Reply)
    components.schema(Event)
    assert components.schemas["Reply"]["properties"] == {"detail": {"type": "integer"}}
    assert components.schemas["Event"]["properties"]["data"] == {}


def test_two_types_of_one_name_are_refused():
    components = Components()
    components.schema(defstruct("Other", ["a"]))
    with pytest.raises(ValueError, match="both have a type Other"):
        components.schema(defstruct("Other", ["b"]))


def test_what_is_no_json_is_refused():
    with pytest.raises(TypeError, match="has no place in the API"):
        Components().schema(bytes)


def test_a_docstring_is_read_as_far_as_it_goes():
    class Bare:
        pass

    assert (summary(Bare), attributes(Bare)) == ("", {})
    assert summary(Leaf) == "A leaf."
    assert attributes(Leaf) == {"colour": "as seen from afar.", "app": "where it is.", "tree": "where it is."}
