"""`flynn cluster log-sink`: log servers that are sent the lines of all apps.

Source: `cli.md` §5.1; Flynn `cli/cluster.go`, `runLogSink`.
"""

from typing import Any
from urllib.parse import urlsplit

from .client import Client, part
from .failure import Failure, NotFound
from .render import table
from .session import Session
from .similar import did_you_mean
from .talk import show_json, show_raw, tell
from .usage import Args

_URL = "it is like syslog://HOST:514 or syslog+tls://HOST:6514"
_SCHEMES = ("syslog", "syslog+tls")
FORMATS = ("rfc6587", "newline", "prefixed_newline")


def log_sink(args: Args, session: Session) -> None:
    """List, add or remove sinks, as the words of `flynn cluster` say."""
    match args.words[1:]:
        case ("add", *_):
            created = session.client.post("/sinks", {"id": "", "kind": "syslog", "config": _config(args)})
            tell(f"Created sink {created['id']}.")
        case ("remove",):
            deleted = _delete(session.client, args.text("<id>"))
            tell(f"Deleted sink {deleted['id']}.")
        case _:
            _list(session, as_json=args.flag("--json"))


def _delete(client: Client, sink: str) -> dict[str, Any]:
    try:
        deleted: dict[str, Any] = client.delete(f"/sinks/{part(sink)}")
    except NotFound:
        raise NotFound(hint="'flynn cluster log-sink' lists what there is") from None
    return deleted


def _list(session: Session, *, as_json: bool) -> None:
    sinks = session.client.get("/sinks")
    if as_json:
        show_json(sinks)
        return
    show_raw(
        table([("ID", "KIND", "CONFIG"), *((each["id"], each["kind"], _raw(each.get("config"))) for each in sinks)])
    )


def _raw(config: dict[str, Any] | None) -> str:
    """Return a config as the one-line JSON the controller sent."""
    import json

    return "" if config is None else json.dumps(config, ensure_ascii=False, separators=(",", ":"))


def _config(args: Args) -> dict[str, object]:
    """Return what the arguments say of a syslog sink, in Flynn's order and without what is not set."""
    url, form = args.text("<url>"), args.value("--format") or FORMATS[0]
    try:
        scheme = urlsplit(url).scheme
    except ValueError as exc:
        raise Failure(f"Invalid syslog URL: {exc}", hint=_URL) from None
    if scheme not in _SCHEMES:
        raise Failure(f"Invalid syslog protocol: {scheme}", hint=_URL)
    if form not in FORMATS:
        guess = did_you_mean(form, FORMATS) or f"there is {', '.join(FORMATS)}"
        raise Failure(f"Invalid syslog format: {form}", hint=guess)
    said = {
        "url": url,
        "template": args.text("<prefix>"),
        "use_ids": args.flag("--use-ids"),
        "insecure": args.flag("--insecure"),
        "format": form,
    }
    return {key: value for key, value in said.items() if value}
