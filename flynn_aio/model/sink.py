"""Sink: where the lines of all apps are sent as well. And what a syslog sink's config may say.

The config is kept as it was sent; what we understand of it is `SyslogConfig`.

Source: `logs.md` §7; Flynn `controller/types`, `Sink`, `SyslogSinkConfig`; `host/logmux/sink.go`.
"""

from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ..errors import MalformedInput, ValidationError
from .ids import SinkID
from .json import Time, convert
from .template import Template, parse_template

DEFAULT_SYSLOG_PORT = 514


class SinkKind(StrEnum):
    SYSLOG = "syslog"


class Sink(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sink as the API shows it; `config` is ``None`` when it was deleted."""

    id: SinkID
    kind: str
    host_managed: bool = False
    config: dict[str, Any] | None = None
    created_at: Time | None = None
    updated_at: Time | None = None


class SyslogFormat(StrEnum):
    """How messages are told apart on a connection.

    `RFC6587` counts octets, `NEWLINE` ends each with one, and `PREFIXED_NEWLINE` also puts the
    sink's prefix before the whole message rather than before its text.
    """

    RFC6587 = "rfc6587"
    NEWLINE = "newline"
    PREFIXED_NEWLINE = "prefixed_newline"


class SyslogScheme(StrEnum):
    TCP = "syslog"
    TLS = "syslog+tls"


class _Config(Struct, frozen=True, kw_only=True):
    url: str = ""
    template: str = ""
    use_ids: bool = False
    insecure: bool = False
    structured_data: bool = False
    format: str = ""


class SyslogConfig(Struct, frozen=True, kw_only=True):
    """What a syslog sink is told.

    Attributes:
        template: what to put before each message; empty means nothing.
        use_ids: ids instead of names as APP-NAME.
        insecure: take any certificate.
        structured_data: number the messages, ``[flynn seq="1"]``.
    """

    scheme: SyslogScheme
    host: str
    port: int
    template: Template
    use_ids: bool
    insecure: bool
    structured_data: bool
    format: SyslogFormat


def syslog_config(sink: Sink) -> SyslogConfig:
    """Read the config of a syslog sink. Unknown keys are ignored.

    Raises:
        ValidationError: it cannot be used; the message names the field.
    """
    if sink.config is None:
        raise ValidationError('Required error. The data must be an object with "config" as one of its keys')
    try:
        config = convert(sink.config, _Config)
    except MalformedInput as exc:
        raise ValidationError(
            "must have texts as url, template and format, and true or false as use_ids, insecure and structured_data",
            field="config",
        ) from exc
    formats = " ".join(SyslogFormat)
    if config.format and config.format not in list(SyslogFormat):
        raise ValidationError(
            f"Enum error. The data must be equal to one of these values [{formats}].", field="config.format"
        )
    scheme, host, port = _address(config.url)
    return SyslogConfig(
        scheme=scheme,
        host=host,
        port=port,
        template=parse_template(config.template),
        use_ids=config.use_ids,
        insecure=config.insecure,
        structured_data=config.structured_data,
        format=SyslogFormat(config.format or SyslogFormat.RFC6587),
    )


def _address(url: str) -> tuple[SyslogScheme, str, int]:
    example = "must be like syslog://HOST:PORT or syslog+tls://HOST:PORT"
    try:
        parts = urlsplit(url)
        scheme, host, port = SyslogScheme(parts.scheme), parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError as exc:  # another scheme, a port that is no number, a name too long to be one
        raise ValidationError(example, field="config.url") from exc
    if not host or not host.isprintable() or " " in host or port == 0:
        raise ValidationError(example, field="config.url")
    return scheme, host, port or DEFAULT_SYSLOG_PORT
