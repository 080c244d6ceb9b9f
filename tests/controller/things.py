"""Things of an appliance that belong together, and requests about them that are in order.

Made-up requests hardly ever name an app and *its* release: what is made here does, so that a fuzzer
begins where the interesting answers are.
"""

import gzip
import itertools
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests

from ..support.build import DOMAIN
from ..support.layers import digest, layer_tar

IMAGE_URI = "image:localhost/test/app:1"
NOWHERE = "http://127.0.0.1:1/things"
"""A provider that does not answer."""

Ask = Callable[..., requests.Response]
"""Send a request: door, method, path, and `body` (JSON, or bytes) or `accept`."""


class Things:
    """One of each kind, made over the API when it is first asked for.

    Args:
        numbers: for names that must differ, also from those of other `Things`.
        provider_url: where the provider of the resource is.
    """

    type = "http"

    def __init__(self, ask: Ask, numbers: "itertools.count[int]", provider_url: str) -> None:
        self._ask = ask
        self._numbers = numbers
        self.provider_url = provider_url

    def word(self, kind: str) -> str:
        """Return a name nobody has yet."""
        return f"{kind}-{next(self._numbers)}"

    def id(self) -> str:
        """Return an id nobody has yet."""
        return str(uuid.UUID(int=(0xF << 124) + next(self._numbers), version=4))

    def _made(self, method: str, path: str, body: Any = None, *, door: str = "controller", key: str = "id") -> str:
        answer = self._ask(door, method, path, body=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return str(answer.json()[key])

    @cached_property
    def app(self) -> str:
        return self._made("POST", "/apps", {"name": self.word("app")})

    @cached_property
    def artifact(self) -> str:
        return self._made("POST", "/artifacts", {"type": "flynn", "uri": IMAGE_URI})

    @cached_property
    def release(self) -> str:
        return self._made("POST", "/releases", self.new_release())

    @cached_property
    def deployment(self) -> str:
        return self._made("POST", f"/apps/{self.app}/deploy", {"id": self.release})

    @cached_property
    def formation(self) -> str:
        path = f"/apps/{self.app}/formations/{self.release}"
        return self._made("PUT", path, {"processes": {"web": 1}}, key="release")

    @cached_property
    def job(self) -> str:
        return self._made("PUT", f"/apps/{self.app}/jobs/{self.id()}", self.new_job(), key="uuid")

    @cached_property
    def provider(self) -> str:
        return self._made("POST", "/providers", {"name": self.word("provider"), "url": self.provider_url})

    @cached_property
    def resource(self) -> str:
        return self._made("PUT", f"/providers/{self.provider}/resources/{self.id()}", self.new_resource())

    @cached_property
    def route(self) -> str:
        wanted = self.new_route() | {"domain": self.route_domain}
        return self._made("POST", f"/apps/{self.app}/routes", wanted).removeprefix("http/")

    @cached_property
    def route_domain(self) -> str:
        return f"{self.word('route')}.example.com"

    @cached_property
    def sink(self) -> str:
        return self._made("POST", "/sinks", self.new_sink())

    @cached_property
    def volume(self) -> str:
        return self._made("PUT", f"/volumes/{self.id()}", self.new_volume())

    @cached_property
    def key(self) -> str:
        return self._made("POST", "/keys", self.new_key(), key="name")

    @cached_property
    def event(self) -> str:
        return str(self._ask("controller", "GET", f"/events?app_id={self.app}").json()[0]["id"])

    @cached_property
    def backup(self) -> bytes:
        return self._ask("controller", "GET", "/backup", accept="application/tar").content

    @cached_property
    def tar(self) -> bytes:
        return layer_tar({self.word("file"): b"of a layer"})

    @cached_property
    def layer(self) -> str:
        return self._made("POST", f"/layer/{digest(self.tar)}", self.tar, door="images")

    @cached_property
    def slug(self) -> str:
        answer = self._ask("images", "POST", "/slug", body=self.slug_tar)
        assert answer.status_code == 200, answer.text
        return str(answer.json()[1]["uri"]).removeprefix("slug:")

    @property
    def slug_tar(self) -> bytes:
        return gzip.compress(layer_tar({"Procfile": b"web: run\n"}))

    def new_release(self) -> dict[str, Any]:
        ports = [{"port": 0, "proto": "tcp"}]
        return {"app_id": self.app, "artifacts": [self.artifact], "processes": {"web": {"ports": ports}}}

    def new_job(self) -> dict[str, Any]:
        return {"app": self.app, "release": self.release, "type": "web", "state": "up"}

    def new_resource(self) -> dict[str, Any]:
        return {"external_id": f"/things/{self.word('thing')}", "env": {"A": "b"}, "apps": [self.app]}

    def new_route(self) -> dict[str, Any]:
        return {"type": "http", "service": self.word("service"), "domain": f"{self.word('route')}.example.com"}

    def new_sink(self) -> dict[str, Any]:
        return {"kind": "syslog", "config": {"url": "syslog://127.0.0.1:1"}}

    def new_volume(self) -> dict[str, Any]:
        return {"app": self.app, "type": "data", "state": "created", "path": "/data"}

    def new_key(self) -> dict[str, Any]:
        return {"name": self.word("key"), "hash": digest(self.word("hash").encode())}

    def new_manifest(self) -> dict[str, Any]:
        return {
            "_type": "application/vnd.flynn.image.manifest.v1+json",
            "meta": {"number": self.word("image")},
            "entrypoints": {"_default": {"env": {"A": "b"}, "cwd": "/", "args": ["serve"]}},
            "rootfs": [{"platform": {"architecture": "amd64", "os": "linux"}, "layers": [{"id": self.layer}]}],
        }


BODIES: dict[str, Callable[[Things], Any]] = {
    "PUT /domain": lambda t: {"old_domain": DOMAIN, "domain": "moved.test"},
    "POST /apps": lambda t: {"name": t.word("app"), "id": t.id()},
    "POST /apps/{app}": lambda t: {"meta": {"a": "b"}, "strategy": "one-by-one"},
    "POST /apps/{app}/meta": lambda t: {"meta": {"a": "b"}},
    "POST /artifacts": lambda t: {"type": "flynn", "uri": IMAGE_URI},
    "POST /releases": lambda t: t.new_release() | {"id": t.id()},
    "PUT /apps/{app}/release": lambda t: {"id": t.release},
    "PUT /apps/{app}/formations/{release}": lambda t: {"processes": {"web": 1}},
    "PUT /apps/{app}/scale/{release}": lambda t: {"state": "pending", "new_processes": {"web": 2}},
    "POST /apps/{app}/jobs": lambda t: {"release": t.release, "args": ["true"]},
    "PUT /apps/{app}/jobs/{job}": lambda t: t.new_job(),
    "POST /apps/{app}/deploy": lambda t: {"id": t.release},
    "POST /providers": lambda t: {"name": t.word("provider"), "url": t.provider_url},
    "POST /providers/{provider}/resources": lambda t: {"apps": [t.app], "config": {}},
    "PUT /providers/{provider}/resources/{resource}": lambda t: t.new_resource(),
    "POST /apps/{app}/routes": lambda t: t.new_route(),
    "PUT /apps/{app}/routes/{type}/{route}": lambda t: t.new_route() | {"domain": t.route_domain, "sticky": True},
    "POST /sinks": lambda t: t.new_sink() | {"id": t.id()},
    "PUT /volumes/{volume}": lambda t: t.new_volume(),
    "PUT /apps/{app}/volumes/{volume}/decommission": lambda t: {"id": t.volume},
    "POST /keys": lambda t: t.new_key(),
    "POST /layer/{layer}": lambda t: t.tar,
    "POST /artifact": lambda t: t.new_manifest(),
    "POST /slug": lambda t: t.slug_tar,
}
"""What an endpoint takes gladly."""

NEW = {"PUT /providers/{provider}/resources/{resource}": "resource", "PUT /volumes/{volume}": "volume"}
"""What is put under an id nobody has yet."""

BEFORE: dict[str, Callable[[Things], Any]] = {
    "GET /backup": lambda t: t.backup,
    "GET /apps/{app}/release": lambda t: t.deployment,
    "GET /apps/{app}/formations/{release}": lambda t: t.formation,
    "DELETE /apps/{app}/formations/{release}": lambda t: t.formation,
}
"""What must be there although nothing in the request names it."""

QUERIES = {"GET /formations": {"active": "true"}}


@dataclass(frozen=True, kw_only=True)
class Good:
    """A request that is to succeed; its parts go into a `Case` of Schemathesis."""

    path_parameters: dict[str, str]
    query: dict[str, str]
    body: Any


def good_request(label: str, things: Things) -> Good:
    """Return one for an endpoint, named by its method and path as in the OpenAPI document."""
    BEFORE.get(label, lambda t: None)(things)
    names = re.findall(r"{(\w+)}", label)
    if label == "POST /layer/{layer}":
        params = {"layer": digest(things.tar)}
    else:
        params = {name: things.id() if name == NEW.get(label) else getattr(things, name) for name in names}
    body = BODIES[label](things) if label in BODIES else None
    return Good(path_parameters=params, query=QUERIES.get(label, {}), body=body)


def bad_tars(tar: bytes) -> list[bytes]:
    """Return what is no tar, or not all of one."""
    return [b"", b"x" * 2000, tar[:700], tar[:512] + b"\xff" * 512, gzip.compress(tar)[:-9], bytes(100_000)]


def huge_manifests(things: Things) -> list[dict[str, Any]]:
    """Return manifests that are as big as nobody's."""
    good = things.new_manifest()
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"x": deep}
    return [
        good | {"rootfs": [{"layers": [{"id": digest(b"%d" % number)} for number in range(5000)]}]},
        good | {"rootfs": [{"layers": [{"id": things.layer}] * 3000}]},
        good | {"rootfs": [{"layers": [{"id": things.layer}]}] * 3000},
        good | {"meta": {str(number): "x" * 1000 for number in range(2000)}},
        good | {"entrypoints": {str(number): {"args": ["x"] * 10} for number in range(3000)}},
        good | {"rootfs": deep},
    ]
