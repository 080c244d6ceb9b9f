"""Formations and scale requests."""

from collections.abc import Mapping

from msgspec import Struct

from ...errors import ValidationError

MAX_PROCESSES = 10_000
"""Of one type. A machine holds far fewer; a slip of the finger asks for far more."""


class FormationRequest(Struct, frozen=True, kw_only=True):
    """The body of a formation. Without `processes` every type goes to 0."""

    processes: dict[str, int] | None = None
    tags: dict[str, dict[str, str]] | None = None


class ScaleRequestBody(Struct, frozen=True, kw_only=True):
    """The body of a scale request: a wish while `state` is pending, else what became of request `id`."""

    id: str = ""
    state: str = ""
    new_processes: dict[str, int] | None = None
    new_tags: dict[str, dict[str, str]] | None = None


def check_counts(processes: Mapping[str, int] | None, *, field: str) -> None:
    for name, count in (processes or {}).items():
        if not 0 <= count <= MAX_PROCESSES:
            raise ValidationError(f"must be 0 to {MAX_PROCESSES}", field=f"{field}.{name}")


def check_tags(tags: Mapping[str, Mapping[str, str]] | None, *, field: str) -> None:
    for name, pairs in (tags or {}).items():
        if "" in pairs:
            raise ValidationError("must not have a tag without a key", field=f"{field}.{name}")
