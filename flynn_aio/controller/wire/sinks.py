"""Sinks, each with the config of its kind."""

from typing import Any

from msgspec import Struct

from ...errors import ValidationError
from ...model import Sink, SinkID, SinkKind, as_uuid, syslog_config
from .checks import one_of


class SinkRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    kind: str = ""
    config: dict[str, Any] | None = None


def new_sink(sent: SinkRequest) -> Sink:
    """Check a sink. Whether anybody listens there shows later; its config is kept as it was sent."""
    if sent.id and as_uuid(sent.id) is None:
        raise ValidationError("must be a UUID", field="id")
    one_of(sent.kind, SinkKind, field="kind")
    sink = Sink(id=SinkID(as_uuid(sent.id) or ""), kind=sent.kind, config=sent.config)
    syslog_config(sink)
    return sink
