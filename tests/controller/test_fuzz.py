"""Every endpoint of the table, called with whatever its own description allows and forbids.

Schemathesis makes the requests from the `/openapi.json` of the controller and of the image service. Many of
them begin as one that is in order (`things`) and have little in them made up, others have ids of what was
made before in them, so that they reach further than "not found". They go over TCP, one after the other, to
one appliance whose engine is a fake. Nothing may answer 5xx, with a status it did not announce, or with a
body that its schema does not have; and every endpoint must have been seen to succeed and to refuse.

A run is repeatable: `FUZZ_SEED` and `FUZZ_EXAMPLES` (per endpoint and kind, 8 or more) are its only input. `make fuzz`
takes a new seed and runs for longer.
"""

import itertools
import os
import random
import re
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from inspect import isclass
from typing import Any, get_args, get_origin

import pytest
import requests
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flynn_aio.controller.openapi import path_of
from flynn_aio.controller.request import JSON
from flynn_aio.controller.routes import IMAGES, TABLE, Auth, Endpoint
from flynn_aio.controller.shape import GzippedTar, Tar
from flynn_aio.controller.wire import ReleaseRef
from flynn_aio.receive.slugs import Slugs
from flynn_aio.receive.transfer import SlugTransfer

from ..receive.conftest import build_settings
from ..receive.test_transfer import Images
from ..support.build import make_app, make_release
from ..support.http_client import basic
from ..support.layers import digest
from ..support.provider import running_provider
from ..support.tcp import on_a_port
from .conftest import KEY
from .things import NOWHERE, Good, Things, bad_tars, good_request, huge_manifests

SEED = int(os.environ.get("FUZZ_SEED", "1"))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
ROUNDS = 2
CALL_TIMEOUT_S = 10.0
"""For one request: an endpoint that does not answer is a failure like any other."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WORDS: dict[str, list[Any]] = {
    "ArtifactRequest.type": ["flynn", "flynn", "docker"],
    "RouteRequest.type": ["http", "tcp"],
    "type": ["http", "tcp"],
    "uri": ["image:localhost/test/app:1", "image:localhost/test/app:2", "slug:none", "http://127.0.0.1:1/x"],
    "url": ["http://127.0.0.1:1/x"],
    "domain": ["hello.example.com", "other.example.com"],
    "path": ["/", "/x/", "/x"],
    "service": ["hello-web", "other-web"],
    "ScaleRequestBody.state": ["pending", "pending", "complete", "cancelled"],
    "kind": ["syslog"],
    "strategy": ["one-by-one", "in-batches"],
    "port": [0, 3000, 80, 70000],
    "size": [0, 1],
    "ReleaseRequest.processes": [{"web": {"ports": [{"port": 0, "proto": "tcp"}]}}, {"web": {}, "worker": {}}],
    "FormationRequest.processes": [{"web": 1}, {"web": 0}],
    "new_processe": [{"web": 2}, {"web": 0}, {"nothing": 1}],
    "config": [{"url": "syslog://127.0.0.1:1"}, {}],
    "hash": ["0" * 64],
    "name": ["hello", "other", "third"],
    "env": [{"A": "b"}],
    "meta": [{"a": "b"}],
    "deploy_timeout": [30],
}
"""What means something to a field, without the s at its end; made-up text would seldom hit on it."""
UUID = re.compile(r"[0-9a-f-]{36}")
ENDPOINTS = {f"{endpoint.method} {path_of(endpoint)}": endpoint for endpoint in (*TABLE, *IMAGES)}
DOORS = ("controller", "images")
LAYER_BYTES = 1_000_000


def must_be_seen(label: str, endpoint: Endpoint) -> set[int]:
    """Return the statuses an endpoint must have answered with by the end of a run."""
    named = ":" in endpoint.path
    usual = {status for status, seen in ((200, True), (400, endpoint.takes), (404, named)) if seen}
    return (usual | ALSO.get(label, set())) - NEVER.get(label, set())


ALSO: dict[str, set[int]] = {
    "PUT /domain": {409},
    "POST /apps": {409},
    "POST /apps/{app}/routes": {409},
    "POST /releases": {409},
    "POST /sinks": {409},
    "POST /keys": {409},
    "DELETE /keys/{key}": {409},
    "POST /providers": {409},
    "DELETE /providers/{provider}": {409},
    "POST /providers/{provider}/resources": {412},
    "DELETE /providers/{provider}/resources/{resource}": {412},
    "GET /formations": {400},
}
"""What stands in the way of a request, beside what is missing or malformed."""

NEVER = {"PUT /volumes/{volume}": {404}, "POST /layer/{layer}": {404}}
"""Both make what their path names."""


@dataclass
class Turn:
    """Which of the requests to an endpoint this is; the first of each kind are of a plan, the others of the dice."""

    mode: GenerationMode
    number: int = 0


@dataclass
class Memory:
    """Ids and names seen in answers, by the kind of thing they are of."""

    known: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list, WORDS))

    def learn(self, kind: str, answer: Any) -> None:
        for one in answer if isinstance(answer, list) else [answer]:
            if isinstance(one, dict):
                for name in ("id", "name"):
                    value = str(one.get(name) or "")
                    if value and value not in self.known[kind]:
                        self.known[kind] = [*self.known[kind], value][-8:]

    def sensible(self, struct: Any, body: dict[str, Any], dice: random.Random) -> dict[str, Any]:
        """Return a body with less made up and more that may mean something; sometimes as it was."""
        if dice.random() < 0.3:
            return body
        made_up = dice.choice([0.0, 0.0, 0.4])
        kept = {
            name: self.instead(name, value, dice)
            for name, value in body.items()
            if dice.random() < (made_up / 4 if name == "id" else made_up)
        }
        for name in struct.__struct_fields__:
            known = self.known.get(f"{struct.__name__}.{name}") or self.known.get(_singular(name, struct), [])
            if name in {"app_id", "apps"}:  # its name would do in a path
                known = [one for one in known if not isinstance(one, str) or UUID.fullmatch(one)] or known
            if known and dice.random() < 0.9:
                one = dice.choice(known)
                kept[name] = [one] if name in {"artifacts", "apps"} else one
        return kept

    def instead(self, name: str, value: Any, dice: random.Random) -> Any:
        """Return something we know in place of what was made up for `name`, or that."""
        known = self.known.get(_singular(name))
        if not known or dice.random() < 0.3:
            if isinstance(value, dict):
                return {key: self.instead(key, one, dice) for key, one in value.items()}
            return value
        if isinstance(value, list):
            return [dice.choice(known) for _ in value] or [dice.choice(known)]
        return dice.choice(known) if isinstance(value, str | int | dict) else value


def _singular(name: str, struct: Any = None) -> str:
    if name == "id" and struct is ReleaseRef:
        return "release"
    return name.removesuffix("_id").removesuffix("s")


@schemathesis.serializer("application/tar", "application/gzip")
def _as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _put(good: Good, case: Any) -> None:
    """Have `case` ask for just that."""
    case.path_parameters = dict(good.path_parameters)
    case.query = dict(good.query)
    case.headers, case.cookies = {}, {}
    case.body = NOT_SET if good.body is None else good.body


class Fuzzer:
    """Calls one API, notes what it answers and what should not have been.

    Attributes:
        failures: the first failure of each kind at each endpoint, with how to repeat the request.
        answers: how often each endpoint answered with each status.
    """

    def __init__(self, base_urls: dict[str, str], provider_url: str, dice: random.Random) -> None:
        self._base_urls = base_urls
        self._provider_url = provider_url
        self._numbers = itertools.count(1)
        self._things = self._new_things()
        self._last_good: dict[str, Good] = {}
        self._dice = dice
        self._session = requests.Session()
        self._session.headers["authorization"] = basic(KEY)
        self.memory = Memory()
        self.failures: dict[tuple[str, str], str] = {}
        self.answers: Counter[tuple[str, int]] = Counter()
        self.operations = [
            (door, found.ok())
            for door in DOORS
            for found in schemathesis.openapi.from_dict(
                self._ask(door, "GET", "/openapi.json").json()
            ).get_all_operations()
        ]

    def _new_things(self, provider_url: str = "") -> Things:
        return Things(self._ask, self._numbers, provider_url or self._provider_url)

    def _ask(self, door: str, method: str, path: str, *, body: Any = None, accept: str = JSON) -> requests.Response:
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        url, headers = self._base_urls[door] + path, {"accept": accept}
        return self._session.request(method, url, headers=headers, timeout=CALL_TIMEOUT_S, **sent)

    def run(self, examples: int) -> None:
        """Call every endpoint with requests that fit its description, and with some that do not."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of generators that cannot think of anything more
            for number in range(ROUNDS):
                for door, operation in self._dice.sample(self.operations, len(self.operations)):
                    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                        self._fuzz(door, operation, Turn(mode), -(-examples // ROUNDS), SEED + number)

    def _fuzz(self, door: str, operation: Any, turn: Turn, examples: int, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=examples,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=turn.mode), dice=st.randoms(use_true_random=False))
        def one(case: Any, dice: random.Random) -> None:
            label = f"{case.method} {case.path}"
            self._prepare(label, case, turn, dice)
            turn.number += 1
            self._call(door, label, case, dice)
            if case.method == "DELETE":  # it may have hit on what we have
                self._things = self._new_things()

        try:
            one()
        except Unsatisfiable:
            assert turn.mode is GenerationMode.NEGATIVE  # without a parameter or a body nothing can be wrong

    def _prepare(self, label: str, case: Any, turn: Turn, dice: random.Random) -> None:
        """Make a request out of a made-up one that may mean something."""
        endpoint = ENDPOINTS[label]
        if endpoint.method == "DELETE":  # what is asked for goes with it, and with an app goes all of it
            self._things = self._new_things()
        match turn.mode, turn.number:
            case GenerationMode.POSITIVE, 0:
                self._last_good[label] = good_request(label, self._things)
                _put(self._last_good[label], case)
            case GenerationMode.POSITIVE, 1:
                _put(self._last_good[label], case)  # the same once more
            case GenerationMode.POSITIVE, 2 if case.path_parameters:
                _put(good_request(label, self._things), case)
                case.path_parameters = {name: self._things.id() for name in case.path_parameters}
            case GenerationMode.POSITIVE, 3 if "provider" in endpoint.path:
                things = self._new_things(NOWHERE)
                _put(good_request(label, things), case)
                assert things.resource  # it stays when its provider is to go
            case GenerationMode.POSITIVE, 3 if label == "DELETE /keys/{key}":
                case.path_parameters = {"key": "cluster"}  # the operator's own stays
            case GenerationMode.NEGATIVE, 0 if endpoint.takes not in {None, Tar, GzippedTar}:
                case.path_parameters = good_request(label, self._things).path_parameters
            case _ if dice.random() < 0.5:
                self._vary(label, case, dice)
            case _:
                self._remember(endpoint, case, dice)

    def _vary(self, label: str, case: Any, dice: random.Random) -> None:
        """Make a request that is in order but for one thing."""
        endpoint, made_up = ENDPOINTS[label], case.body
        good = good_request(label, self._things)
        case.path_parameters = dict(good.path_parameters)
        case.body = NOT_SET if good.body is None else good.body
        if isinstance(good.body, bytes):
            case.body = dice.choice(bad_tars(good.body))
            if "layer" in case.path_parameters and dice.random() < 0.5:
                case.path_parameters = {"layer": digest(case.body)}
        elif label == "POST /artifact" and dice.random() < 0.5:
            case.body = dice.choice(huge_manifests(self._things))
        elif good.body is not None and isinstance(made_up, dict) and made_up and dice.random() < 0.8:
            name = dice.choice(sorted(made_up))
            case.body = good.body | {name: made_up[name]}
        elif endpoint.takes is not None and dice.random() < 0.3:
            case.body = made_up

    def _remember(self, endpoint: Endpoint, case: Any, dice: random.Random) -> None:
        """Put what was seen before into a request."""
        memory = self.memory
        case.path_parameters = {
            name: memory.instead(name, value, dice) for name, value in (case.path_parameters or {}).items()
        }
        if isinstance(case.query, dict):
            case.query = {name: memory.instead(name, value, dice) for name, value in case.query.items()}
        if isinstance(case.body, dict):
            case.body = memory.sensible(endpoint.takes, case.body, dice)

    def _call(self, door: str, label: str, case: Any, dice: random.Random) -> None:
        endpoint, memory = ENDPOINTS[label], self.memory
        one_of_many = get_args(endpoint.gives)[0] if get_origin(endpoint.gives) is list else endpoint.gives
        kind = one_of_many.__name__.lower() if isclass(one_of_many) else ""
        if endpoint.auth is Auth.STREAM and dice.random() < 0.3:
            self._begin_stream(door, case, label, dice)
            return
        if isinstance(case.query, dict):
            case.query = {name: value for name, value in case.query.items() if name != "follow"}
        try:
            response = self._send(door, case, JSON, dice)
            self.answers[label, response.status_code] += 1
            case.validate_response(response, checks=CHECKS)
        except (requests.exceptions.RequestException, Failure, FailureGroup) as failure:
            self._note(label, failure, case)
            return
        if response.status_code == 200 and response.headers.get("content-type") == JSON:
            if isinstance(response.json(), list) and not case.path_parameters:
                memory.known[kind] = []  # what is not there any more is better forgotten
            memory.learn(kind, response.json())

    def _begin_stream(self, door: str, case: Any, label: str, dice: random.Random) -> None:
        """Ask for a stream, look at its head, and leave."""
        try:
            with self._send(door, case, "text/event-stream", dice) as response:
                self.answers[label, response.status_code] += 1
                if response.status_code == 200:
                    assert response.headers["content-type"].startswith("text/event-stream")
                else:
                    assert response.status_code in {400, 401, 404}
        except (requests.exceptions.RequestException, AssertionError) as failure:
            self._note(label, failure, case)

    def _send(self, door: str, case: Any, accept: str, dice: random.Random) -> requests.Response:
        arguments = case.as_transport_kwargs(base_url=self._base_urls[door])
        arguments["headers"]["Accept"] = accept  # Schemathesis would ask for a stream where there may be one
        if dice.random() < 0.95:  # it likes wrong keys, and there is little to see behind them
            arguments["headers"]["Authorization"] = basic(KEY)
        streams = accept != JSON
        return self._session.request(**arguments, stream=streams, timeout=CALL_TIMEOUT_S)

    def _note(self, label: str, failure: Exception, case: Any) -> None:
        for reason in getattr(failure, "exceptions", [failure]):
            kind = getattr(reason, "title", type(reason).__name__)
            self.failures.setdefault((label, kind), f"{label}: {reason}\n{case.as_curl_command()}")


@pytest.mark.parametrize("examples", [EXAMPLES])
async def test_no_request_gets_an_answer_that_was_not_announced(open_stage, store, clock, tmp_path, examples):
    app = await make_app(store)
    release = await make_release(store, app)
    slugs = Slugs(build_settings(tmp_path / "built"))
    slugs.prepare()
    transfer = SlugTransfer(store, slugs, Images(), clock, stack="debian-12")
    async with (
        open_stage(slugs=transfer, max_layer_bytes=LAYER_BYTES) as stage,
        running_provider() as provider,
        on_a_port(stage.controller.dial("controller")) as port,
        on_a_port(stage.controller.dial("images")) as images_port,
    ):

        def fuzz() -> Fuzzer:
            urls = {"controller": f"http://127.0.0.1:{port}", "images": f"http://127.0.0.1:{images_port}"}
            fuzzer = Fuzzer(urls, provider.url, random.Random(SEED))
            fuzzer.memory.learn("app", {"id": app.id, "name": app.name})
            fuzzer.memory.learn("release", {"id": release.id})
            fuzzer.memory.learn("artifact", {"id": release.artifacts[0]})
            fuzzer.run(examples)
            return fuzzer

        fuzzer = await trio.to_thread.run_sync(fuzz)
    print(f"seed {SEED}, {fuzzer.answers.total()} requests")
    for (label, status), count in sorted(fuzzer.answers.items()):
        print(f"{label} {status}: {count}")
    assert not fuzzer.failures, "\n\n".join(fuzzer.failures.values())
    missing = {
        label: must_be_seen(label, endpoint) - {status for of, status in fuzzer.answers if of == label}
        for label, endpoint in ENDPOINTS.items()
    }
    assert {label: statuses for label, statuses in missing.items() if statuses} == {}
