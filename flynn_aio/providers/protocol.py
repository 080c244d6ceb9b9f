"""What is said to a provider, and what its answer means. Pure.

``POST <url>`` with a JSON object makes a resource: 200 and ``{"id", "env"}``. ``DELETE <url>?id=<id>`` removes it: 200.

Source: `controller-api.md` §10.3; Flynn `pkg/resource`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from msgspec import Struct

from ..errors import MalformedInput
from ..model import decode

TEXT_CHARS = 300
"""How much of a provider's own words about a failure is passed on."""
_NOISE = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What a provider made."""

    id: str
    env: Mapping[str, str]


class _Made(Struct, frozen=True):
    id: str
    env: dict[str, str] | None = None


class _Said(Struct, frozen=True):
    """How parts of Flynn, among others, tell of a failure."""

    message: str = ""
    error: str = ""


def provisioned(answer: Answer) -> Provisioned:
    """Return what was made.

    Raises:
        ValueError: nothing, or nothing that can be used; the text goes on after "it".
    """
    _check(answer)
    try:
        made = decode(answer.body, _Made)
    except MalformedInput as error:
        raise ValueError(
            'answered with something else than {"id": TEXT, "env": {NAME: TEXT}}, and may have made something'
        ) from error
    env = made.env or {}
    if not made.id or any(not name or "=" in name or "\0" in name + value for name, value in env.items()):
        raise ValueError("answered without an id or with an unusable env, and may have made something")
    return Provisioned(id=made.id, env=env)


def deprovisioned(answer: Answer) -> None:
    """Check that a resource is gone. If it was so before, that is well: a first try may have got that far.

    Raises:
        ValueError: it is not; the text goes on after "it".
    """
    if answer.status != HTTPStatus.NOT_FOUND:
        _check(answer)


def _check(answer: Answer) -> None:
    if answer.status == HTTPStatus.OK:
        return
    if 300 <= answer.status < 400:
        raise ValueError(f"sends to {answer.location or 'another place'}, so register it with that URL")
    said = _own_words(answer.body)
    raise ValueError(f"answered with status {answer.status}{f': {said}' if said else ''}")


def _own_words(body: bytes) -> str:
    try:
        said = decode(body, _Said)
        text = said.message or said.error
    except MalformedInput:
        text = "" if body.lstrip()[:1] in (b"{", b"[", b"<") else body.decode("utf-8", "replace")
    return _NOISE.sub(" ", text).strip()[:TEXT_CHARS]
