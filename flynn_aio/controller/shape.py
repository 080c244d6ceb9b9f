"""What goes in and out of an endpoint, said as a value: for the table of routes and its documents.

A body of JSON is named by its type: a struct, ``list[App]``, or ``A | B`` for one or the other;
``None`` means that there is no body. The types of this module name the bodies that are something
else. None of them is ever made: they are only named.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class EventStream(Generic[T]):
    """Server-sent events without an end in sight, each with the JSON of a `T`."""


class Lines(Generic[T]):
    """Text, with the JSON of a `T` on each line."""


class Pem:
    """A certificate as text."""


class Tar:
    """A tar archive."""


class GzippedTar:
    """A tar archive in gzip."""


class Html:
    """A page for a browser."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter that is not in the path.

    Attributes:
        text: what it does, for a person.
        type: what its text must be: ``int``, ``bool`` (``true`` counts, all else is false) or ``str``.
        where: `query` or `header`.
    """

    name: str
    text: str
    type: type = str
    where: Literal["query", "header"] = "query"
