"""Template: the text a sink puts before each message, made from what is known of the job. Pure.

Flynn takes any Go template over its job. We take what says where a message comes from: text, and actions
that name a field. Go's loops, conditions, variables and functions are refused when the sink is made.

Source: `logs.md` §7; Flynn `host/logmux/sink.go`, `SyslogSink.Write`; Go `text/template`.
"""

import re
from collections.abc import Mapping

from msgspec import Struct, field

from ..errors import ValidationError

NO_VALUE = "<no value>"
"""What Go writes for a key that a map does not have."""
MAX_TEMPLATE = 1000
"""Characters. It is repeated with every line."""

_ACTION = re.compile(r"\{\{(?P<left>- )?(?P<body>.*?)(?P<right> -)?\}\}", re.DOTALL)
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_FIELD = re.compile(r"\.(?P<map>Metadata|Config\.Env)\.(?P<key>\w+)")
_INDEX = re.compile(r"index\s+\.(?P<map>Metadata|Config\.Env)\s+(?P<quote>[\"`])(?P<key>[^\"`\\]*)(?P=quote)")


class JobFacts(Struct, frozen=True, kw_only=True):
    """What is known of the job a line comes from.

    Attributes:
        id: as users see it, ``<host>-<uuid>``.
        metadata: the app's, and where the job belongs, e.g. `flynn-controller.release`.
    """

    id: str
    app_name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


class _Field(Struct, frozen=True):
    """A place to fill in. `is_index` tells how Go treats a missing key."""

    map: str
    key: str = ""
    is_index: bool = False

    def of(self, job: JobFacts) -> str:
        if not self.map:
            return job.id
        values = job.metadata if self.map == "Metadata" else job.env
        return values.get(self.key, "" if self.is_index else NO_VALUE)


class Template(Struct, frozen=True):
    """Pieces in order: texts, and fields to fill in."""

    pieces: tuple[str | _Field, ...] = ()

    def fill(self, job: JobFacts) -> str:
        """Return the text for a job. Line ends become spaces: a message is one line."""
        text = "".join(piece if isinstance(piece, str) else piece.of(job) for piece in self.pieces)
        return " ".join(text.splitlines())


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        ValidationError: it has an action we do not know, or one without an end.
    """
    if len(text) > MAX_TEMPLATE:
        raise ValidationError(f"String length must be shorter than {MAX_TEMPLATE} characters.", field="config.template")
    pieces: list[str | _Field] = []
    end, trims = 0, False
    for action in _ACTION.finditer(text):
        before = text[end : action.start()]
        pieces.append(_trimmed(before, left=trims, right=bool(action["left"])))
        end, trims = action.end(), bool(action["right"])
        if not _COMMENT.fullmatch(action["body"]):
            pieces.append(_field(action["body"].strip()))
    pieces.append(_trimmed(text[end:], left=trims))
    if any("{{" in piece for piece in pieces if isinstance(piece, str)):
        raise ValidationError("has a {{ without a }}", field="config.template")
    return Template(tuple(piece for piece in pieces if piece != ""))


def _trimmed(text: str, *, left: bool = False, right: bool = False) -> str:
    text = text.lstrip() if left else text
    return text.rstrip() if right else text


def _field(action: str) -> _Field:
    if action == ".ID":
        return _Field("")
    if found := _FIELD.fullmatch(action):
        return _Field(found["map"], found["key"])
    if found := _INDEX.fullmatch(action):
        return _Field(found["map"], found["key"], is_index=True)
    raise ValidationError(
        f'has {{{{{action}}}}}, which is not supported; these are: {{{{.ID}}}}, {{{{index .Metadata "KEY"}}}} and '
        "{{.Config.Env.NAME}}",
        field="config.template",
    )
