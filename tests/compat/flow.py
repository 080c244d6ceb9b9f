"""Flows: what Flynn's own client says to a cluster and what it is told, as data. Pure.

A file of `flows/` has an `about`, what is `given`, and `steps`. A step is one command line with
what it `prints` and its `exchanges`, in the order in which the client began them. An exchange is a
request and what came of it: a `body`, `lines` of a log, `frames` of an event stream, or `session`,
both ends of an attached job.

What differs from run to run is a word in angle brackets. `<time>`, `<number>` and the like stand for
anything of their kind. Any other word is bound to what it stands for where it is met first, and is the
same from then on: `<release2>` is the second release, in whatever field it comes up.
"""

import json
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import compress, decompress

from flynn_aio.model import SYSTEM_APPS

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"

PIN = r"[A-Za-z0-9+/]{43}="

INVENTED = "00000000-"
"""How the ids of a flow begin that were never anything's."""

WILD = {
    "time": TIME,
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \+0000 UTC",
    "clock": r"\d\d:\d\d:\d\d\.\d{3}",
    "duration": r"(?:\d+m)?[\d.]+(?:s|ms|µs)",
    "port": r"\d+",
    "pem": r"-----BEGIN [A-Z ]+-----\n[\w+/=\n]+-----END [A-Z ]+-----\n?",
    "ago": r"(?:Less than a second|\d+ seconds|About a minute|\d+ minutes) ago",
}
"""What matches anything of its kind. `<number>` does as well, and stands for a JSON number."""

AUTOMATIC_PORTS = range(3000, 3501)
"""A TCP route gets one that none has had."""

SOME = {"time": "2026-01-02T03:04:05.678901Z"}
"""What a client sends back where it was told anything of a kind."""

BOUND = {"name": r"[a-z]+-[a-z]+-[a-z]+", "pin": PIN}
"""What a word that is bound may stand for, when not a UUID."""

WORD = re.compile(r"<([a-z_]+)(\d*)>")

FIELDS = {
    "app": "app",
    "app_id": "app",
    "apps": "app",
    "release": "release",
    "old_release": "release",
    "new_release": "release",
    "deployment": "deployment",
    "uuid": "job",
    "job": "job",
    "artifact": "artifact",
    "artifacts": "artifact",
    "provider": "provider",
    "volumes": "volume",
}
"""What the UUIDs in a field are called, where the field says so."""

COLLECTIONS = {"deploy": "deployment", "releases": "release", "meta": "app"}
"""What an `id` is called after the last word of the path, where that is not its singular."""

SENT = {
    "accept": "application/json",
    "accept-encoding": "gzip",
    "content-type": "application/json",
    "user-agent": "Go-http-client/1.1",
}
"""The headers of every request, besides the key; an exchange has those that differ, ``null`` for none."""


class Mismatch(AssertionError):
    """Something is not as it was recorded."""


class Bindings:
    """What the words stand for in one run of a flow."""

    def __init__(self, **known: str) -> None:
        self.values = known

    def render(self, template: Any) -> Any:
        """Return a template with its words replaced by what they stand for; a wild one by one of its kind."""
        match template:
            case str():
                return WORD.sub(lambda found: SOME.get(found[1]) or self.values[found[1] + found[2]], template)
            case list():
                return [self.render(one) for one in template]
            case dict():
                return {key: self.render(value) for key, value in template.items()}
        return template

    def match(self, template: Any, actual: Any, where: str = "") -> None:
        """Bind the words met first, and compare everything else; nothing is bound when something differs.

        Raises:
            Mismatch: with the path to what differs.
        """
        before = self.values.copy()
        try:
            self._match(template, actual, where)
        except Mismatch:
            self.values = before
            raise

    def _match(self, template: Any, actual: Any, where: str) -> None:
        match template, actual:
            case "<number>", int() if not isinstance(actual, bool):
                pass
            case str(), str():
                self._match_text(template, actual, where)
            case dict(), dict():
                if list(template) != list(actual):
                    raise Mismatch(f"{where}: fields {list(actual)}, recorded {list(template)}")
                for key, value in template.items():
                    self._match(value, actual[key], f"{where}.{key}")
            case list(), list():
                if len(template) != len(actual):
                    raise Mismatch(f"{where}: {len(actual)} items, recorded {len(template)}: {actual}")
                for number, (value, got) in enumerate(zip(template, actual, strict=True)):
                    self._match(value, got, f"{where}[{number}]")
            case _ if type(template) is not type(actual) or template != actual:
                raise Mismatch(f"{where}: {actual!r}, recorded {template!r}")

    def _match_text(self, template: str, actual: str, where: str) -> None:
        if template == actual:  # usage has words in angle brackets as well
            return
        pattern, groups = self._pattern(template)
        found = re.fullmatch(pattern, actual, re.DOTALL)
        if found is None:
            raise Mismatch(f"{where}: {actual!r}, recorded {template!r} with {self._known(template)}")
        for group, name in groups.items():
            self.values[name] = found[group]

    def _pattern(self, template: str) -> tuple[str, dict[str, str]]:
        """Return the regular expression of a template, and which of its groups bind which words."""
        parts, groups, at = [], dict[str, str](), 0
        for word in WORD.finditer(template):
            parts.append(re.escape(template[at : word.start()]))
            at, name = word.end(), word[1] + word[2]
            if name in self.values:
                parts.append(re.escape(self.values[name]))
            elif name in groups.values():
                parts.append(f"(?P={next(group for group, known in groups.items() if known == name)})")
            elif name in WILD:
                parts.append(WILD[name])
            else:
                groups[group := f"g{len(groups)}"] = name
                parts.append(f"(?P<{group}>{BOUND.get(word[1], UUID)})")
        parts.append(re.escape(template[at:]))
        return "".join(parts), groups

    def _known(self, template: str) -> dict[str, str]:
        names = [word[1] + word[2] for word in WORD.finditer(template)]
        return {name: self.values[name] for name in names if name in self.values}


class Namer:
    """Turns what was seen into templates: the recorder's side of `Bindings`.

    Args:
        known: what to call values that are known before anything is seen; longer ones first.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._names = {value: name for name, value in sorted(known.items(), key=lambda pair: -len(pair[1]))}

    def know(self, value: str, name: str) -> None:
        """From now on, call this value that."""
        self._names[value] = name

    def fill(self, template: str) -> str:
        """Return a word of a command line with what its words stand for."""
        return Bindings(**{name: value for value, name in self._names.items()}).render(template)

    def template(self, value: Any, *, kind: str = "object", field: str = "", inside: str = "") -> Any:
        """Return a template of a JSON value.

        Args:
            kind: what a plain `id` in it is the id of.
        """
        match value:
            case str():
                return self.text(value, kind=FIELDS.get(field, kind if field in ("id", "object_id") else "object"))
            case list():
                return [self.template(one, kind=kind, field=field) for one in value]
            case int() if field == "port" and value in AUTOMATIC_PORTS:
                return "<number>"
            case dict():
                inner = value.get("object_type", kind)
                if "object_type" in value:  # an event: its id is a number, its object's comes first
                    return {
                        key: "<number>" if key == "id" else self.template(one, kind=inner, field=key)
                        for key, one in value.items()
                    }
                return {
                    key: self.template(
                        one, kind=key if one and isinstance(one, dict) and key in FIELDS else kind, field=key
                    )
                    for key, one in value.items()
                }
        return value

    def text(self, value: str, *, kind: str = "object") -> str:
        for known, name in self._names.items():
            if not re.fullmatch(f"{UUID}|{PIN}", known):
                value = value.replace(known, f"<{name}>")
        value = re.sub(WILD["pem"], "<pem>", value)
        value = re.sub(rf"(?<![\w/]){PIN}", lambda found: f"<{self._name(found[0], 'pin')}>", value)
        value = re.sub(TIME, "<time>", value)
        return re.sub(
            UUID, lambda found: found[0] if found[0].startswith(INVENTED) else f"<{self._name(found[0], kind)}>", value
        )

    def _name(self, uuid: str, kind: str) -> str:
        if uuid not in self._names:
            number = 1 + sum(re.fullmatch(rf"{kind}\d*", name) is not None for name in self._names.values())
            self._names[uuid] = f"{kind}{number if number > 1 else ''}"
        return self._names[uuid]


def kind_of(path: str) -> str:
    """Return what the `id` of an answer from this path is the id of."""
    words = [word for word in path.partition("?")[0].split("/") if word]
    last = next((word for word in reversed(words[::2]) if word.isalpha()), "object")
    return COLLECTIONS.get(last, last.removesuffix("s"))


def apps_of_users(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a list of apps without those the system has for itself."""
    return [app for app in apps if "flynn-system-app" not in app["meta"]]


def printed(text: str) -> list[str]:
    """Return the lines a client printed, comparable: no clock, and one width of gap between columns."""
    for name in ("date", "clock", "ago"):
        text = re.sub(WILD[name], f"<{name}>", text)
    text = re.sub(r"(port |tcp:)3[0-5]\d\d\b", r"\1<port>", text)
    text = re.sub(rf"(scale completed in ){WILD['duration']}", r"\1<duration>", text)
    return table(text)


def pack(data: bytes) -> str:
    """Return bytes as text for a file; a tar of little is mostly zeros."""
    return b64encode(compress(data, 9)).decode()


def unpack(text: str) -> bytes:
    return decompress(b64decode(text))


def table(text: str) -> list[str]:
    """Return the lines of a text with one width of gap between columns, and without the system's apps.

    Flynn's client lists process types in any order.
    """
    text = re.sub(
        r"(?<=^Process Types:  )\S.*", lambda found: ", ".join(sorted(found[0].split(", "))), text, flags=re.M
    )
    text = re.sub(r"(?m)^\w+=\d+( \w+=\d+)+$", lambda found: " ".join(sorted(found[0].split())), text)
    lines = [re.sub(r"(?<=\S) {2,}", "  ", line) for line in text.splitlines()]
    return [line for line in lines if line.rpartition("  ")[2] not in SYSTEM_APPS]


def load(text: str) -> dict[str, Any]:
    """Read a flow's file; what stands in `values` once is where it is meant."""
    flow: dict[str, Any] = json.loads(text)
    values = flow.pop("values", {})

    def expand(value: Any) -> Any:
        match value:
            case {"as": str(name)} if len(value) == 1:
                return expand(values[name])
            case list():
                return [expand(one) for one in value]
            case dict():
                return {key: expand(one) for key, one in value.items()}
        return value

    return {name: expand(value) for name, value in flow.items()}


def dump(flow: Mapping[str, Any]) -> str:
    """Return a flow's file: indented where there is something to see, else a value per line.

    What is long and comes up again is written once, in `values`.
    """
    seen: Counter[str] = Counter()

    def count(value: Any) -> None:
        if isinstance(value, dict) and "ask" not in value and len(flat := json.dumps(value)) > LONG:
            seen[flat] += 1
            if seen[flat] > 1:
                return
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            count(one)

    count(flow)
    values: dict[str, Any] = {}
    names: dict[str, str] = {}

    def shorten(value: Any, kind: str) -> Any:
        match value:
            case dict() if seen[flat := json.dumps(value)] > 1:
                if flat not in names:
                    number = sum(name.rstrip("0123456789") == kind for name in names.values()) + 1
                    names[flat] = f"{kind}{number if number > 1 else ''}"
                    values[names[flat]] = None  # its place; what is inside may have values of its own
                    values[names[flat]] = {key: shorten(one, key) for key, one in value.items()}
                return {"as": names[flat]}
            case dict():
                kind = value.get("object_type", kind)
                return {
                    key: shorten(one, kind if key in ("answer", "body", "data") else key) for key, one in value.items()
                }
            case list():
                return [shorten(one, _asked(one) or kind) for one in value]
        return value

    body = {name: shorten(value, name) for name, value in flow.items()}
    about = {name: body.pop(name) for name in ("about", "given", "bare") if name in body}
    return _dump(about | ({"values": values} if values else {}) | body, 0) + "\n"


def _asked(value: Any) -> str:
    return kind_of(value["ask"].partition(" ")[2]) if isinstance(value, dict) and "ask" in value else ""


LONG = 150
WIDTH = 140


def _dump(value: Any, depth: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + 2 * depth <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    pad, end = "  " * (depth + 1), "  " * depth
    items: Iterable[str]
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {_dump(one, depth + 1)}" for key, one in value.items())
        opening, closing = "{", "}"
    else:
        items = (_dump(one, depth + 1) for one in value)
        opening, closing = "[", "]"
    return f"{opening}\n{pad}" + f",\n{pad}".join(items) + f"\n{end}{closing}"
