"""The running appliance, asked from its own machine: where it listens, with the operator's key and its own CA."""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .bootstrap import cluster_domain, cluster_key, running_pid
from .errors import FlynnError
from .settings import Settings
from .up import log_file, state_file

ASK_TIMEOUT_S = 20.0
"""More than a change waits for its turn and the database's lock, so that the reason is heard."""
ANY = "0.0.0.0"
"""Listening there, all addresses of the machine; connecting there, as to ``::``, its loopback."""


class NoAnswer(FlynnError):
    """The controller does not answer, or says no; the message is its own when it gave one."""


def state_of(settings: Settings, pid: int | None) -> dict[str, Any] | None:
    """Return what the process of this pid wrote of itself when it was ready; one that was killed left its own."""
    try:
        state: dict[str, Any] = json.loads(state_file(settings).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if state["pid"] == pid else None


def https_port(settings: Settings) -> int:
    """Return the port the appliance listens on, or, while it is down, the one it would."""
    state = state_of(settings, running_pid(settings.data_dir))
    return settings.router.https_port if state is None else int(state["https_port"])


class LocalApi:
    """The API of an appliance that is ready; see `open_api`."""

    def __init__(self, settings: Settings, connection: http.client.HTTPConnection) -> None:
        self._settings = settings
        self._connection = connection
        password = base64.b64encode(f":{cluster_key(settings)}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {password}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Return the JSON of an answer.

        Raises:
            NoAnswer: there is none, or it is an error.
        """
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, data, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
            parsed = json.loads(answer) if answer else {}
        except (OSError, http.client.HTTPException, ValueError) as exc:
            advice = f"look at {log_file(self._settings)}"
            raise NoAnswer(f"the controller does not answer ({exc or type(exc).__name__}); {advice}") from exc
        if response.status != 200:
            raise NoAnswer(parsed.get("message") or f"the controller answered {method} {path} with {response.status}")
        return parsed


@contextmanager
def open_api(settings: Settings, state: Mapping[str, Any]) -> Iterator[LocalApi]:
    """Talk to the appliance that wrote this state.

    Raises:
        OSError: the operator's key or the CA cannot be read.
    """
    address = state.get("address", ANY)  # one that has run for long may not have written it
    connection = _Here(settings, f"controller.{cluster_domain(settings)}", address, state["https_port"])
    try:
        yield LocalApi(settings, connection)
    finally:
        connection.close()


class _Here(http.client.HTTPSConnection):
    """HTTPS to an address of this machine; checked against the cluster's CA."""

    def __init__(self, settings: Settings, host: str, address: str, port: int) -> None:
        self._address = address
        self._tls = ssl.create_default_context(cafile=settings.controller.ca_certificate)
        super().__init__(host, port, timeout=ASK_TIMEOUT_S, context=self._tls)

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)
