"""Structs -> JSON Schema (2020-12, as OpenAPI 3.1 has it). Pure.

msgspec has this as well; ours tells what a docstring says of each attribute, and leaves out the
defaults: on the wire an omitted field is its default.
"""

import inspect
import re
from typing import Any

from msgspec import inspect as types

from ..model import Time

Schema = dict[str, Any]

_ATTRIBUTE = re.compile(r"(\w+(?:, \w+)*): (.*)")


class Components:
    """The schemas of all structs and enums met so far, by name; bodies refer to them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._classes: dict[str, type] = {}

    def schema(self, kind: object) -> Schema:
        """Return the schema of a type; what has a name is kept in `schemas` and referred to.

        Raises:
            ValueError: two types have the same name.
        """
        return self._schema(types.type_info(kind))

    def _schema(self, info: types.Type) -> Schema:
        match info:
            case types.AnyType() | types.RawType():
                return {}
            case types.NoneType():
                return {"type": "null"}
            case types.BoolType():
                return {"type": "boolean"}
            case types.IntType():
                return {"type": "integer"}
            case types.FloatType():
                return {"type": "number"}
            case types.StrType():
                return {"type": "string"}
            case types.CustomType(cls=cls):
                return {"type": "string", "format": "date-time"} if cls is Time else {}
            case types.LiteralType(values=values):
                return {"enum": list(values)}
            case types.ListType(item_type=item):
                return {"type": "array", "items": self._schema(item)}
            case types.DictType(value_type=value):
                return {"type": "object", "additionalProperties": self._schema(value)}
            case types.UnionType(types=several):
                return {"anyOf": [self._schema(one) for one in several]}
            case types.Metadata(type=inner, extra_json_schema=extra):
                return self._schema(inner) | (extra or {})
            case types.EnumType(cls=enum):
                return self._named(enum, lambda: {"enum": [member.value for member in enum]})
            case types.StructType(cls=struct):
                return self._named(struct, lambda: self._struct(info))
            case other:
                raise TypeError(f"{other} has no place in the API: say it with a struct, a list or a map")

    def _named(self, cls: type, build: Any) -> Schema:
        name = cls.__name__
        if self._classes.setdefault(name, cls) is not cls:
            raise ValueError(f"{cls.__module__} and {self._classes[name].__module__} both have a type {name}")
        if name not in self.schemas:
            self.schemas[name] = {}  # before it is built: it may refer to itself
            self.schemas[name] = build()
        return {"$ref": f"#/components/schemas/{name}"}

    def _struct(self, info: types.StructType) -> Schema:
        text = attributes(info.cls)
        properties: dict[str, Schema] = {}
        for field in info.fields:
            schema = self._schema(field.type)
            if field.name in text:
                schema = schema | {"description": text[field.name]}
            properties[field.encode_name] = schema
        found: Schema = {"type": "object", "description": summary(info.cls), "properties": properties}
        if required := [field.encode_name for field in info.fields if field.required]:
            found["required"] = required
        if info.forbid_unknown_fields:
            found["additionalProperties"] = False
        return found


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def attributes(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says about each attribute, on one line each."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if (start := _ATTRIBUTE.match(line[4:])) and line[4] != " ":
            names = start[1].split(", ")
            found |= dict.fromkeys(names, start[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
