"""Exchange: one request on its way through the router, without streams or clock. Pure.

Its methods are what happened, their answers what to do next; bodies pass it by, since nothing
about them needs deciding. Source: `router.md` §6.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

from .framing import LocalProtocolError, Response

B = TypeVar("B")

MAX_INTERIM = 32
"""1xx responses a backend may send before its answer; more is a loop."""
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})


class Dial(NamedTuple, Generic[B]):
    """Connect to this backend, over a kept connection unless a `fresh` one is asked for."""

    backend: B
    fresh: bool = False


class Reply(NamedTuple):
    """Answer with a page of our own."""

    status: int


class Step(Enum):
    """Commands without arguments."""

    SKIP = auto()
    """Read on: this response is between the backend and us."""
    INTERIM = auto()
    """Pass this 1xx on and read on."""
    RELAY = auto()
    """Pass on this response and its body."""
    TUNNEL = auto()
    """Pass on this 101, then bytes are bytes."""
    ABORT = auto()
    """The client has half a response: end its stream so that it can tell."""


Command = Dial[B] | Reply | Step


class _State(Enum):
    IDLE = auto()
    DIALLING = auto()
    FORWARDING = auto()
    RESPONDING = auto()
    DONE = auto()


class Exchange(Generic[B]):
    """One request on its way.

    A backend that refuses the connection costs nothing, since no byte of the request has left:
    the next one is tried, and only an exhausted list becomes a 503. After that an error is final,
    with one exception: a kept connection may have been closed by its backend just before we used
    it. When no byte of an answer came and the whole request can be sent again, the same backend gets it over a
    fresh connection. If it refuses that, its process has died, perhaps with our request in
    hand: then only a request that changes nothing may go elsewhere.

    Args:
        backends: whom to try, in order; asked for only as far as needed.
        method: of the request.
        upgrade: whether it asks for another protocol.
    """

    __slots__ = ("_backend", "_backends", "_interim", "_method", "_replaying", "_reused", "_state", "_upgrade")

    def __init__(self, backends: Iterator[B], *, method: bytes, upgrade: bool = False) -> None:
        self._backends = backends
        self._method = method
        self._upgrade = upgrade
        self._backend: B | None = None
        self._state = _State.IDLE
        self._reused = False
        self._replaying = False
        self._interim = 0

    def begin(self) -> Dial[B] | Reply:
        """The head has come."""
        self._expect(_State.IDLE)
        return self._dial_next()

    def dial_failed(self) -> Dial[B] | Reply:
        """The backend refused, or did not answer in time."""
        self._expect(_State.DIALLING)
        if self._replaying and self._method not in _SAFE_METHODS:
            return self._give_up()
        return self._dial_next()

    def dialled(self, *, reused: bool) -> None:
        """There is a connection; the request goes out on it."""
        self._expect(_State.DIALLING)
        self._state = _State.FORWARDING
        self._reused = reused

    def answered(self, response: Response) -> Step | Reply:
        """A response head has come from the backend."""
        self._expect(_State.FORWARDING)
        self._reused = False
        if response.status >= 200:
            self._state = _State.RESPONDING
            return Step.RELAY
        if response.status == 101:
            if not self._upgrade:
                return self._give_up()
            self._state = _State.RESPONDING
            return Step.TUNNEL
        self._interim += 1
        if self._interim > MAX_INTERIM:
            return self._give_up()
        return Step.SKIP if response.status == 100 else Step.INTERIM  # the 100 was promised by us, or not at all

    def backend_lost(self, *, silent: bool, replayable: bool) -> Dial[B] | Reply | Step:
        """The connection to the backend broke, ended early, or said what is no response.

        Args:
            silent: not one byte of an answer came.
            replayable: everything of the body that was sent is still at hand.
        """
        if self._state is _State.RESPONDING:
            self._state = _State.DONE
            return Step.ABORT
        self._expect(_State.FORWARDING)
        if self._reused and silent and replayable and self._backend is not None:
            self._reused = False
            self._replaying = True
            self._state = _State.DIALLING
            return Dial(self._backend, fresh=True)
        return self._give_up()

    def ended(self) -> None:
        """The response has been passed on to its end."""
        self._expect(_State.RESPONDING)
        self._state = _State.DONE

    def _dial_next(self) -> Dial[B] | Reply:
        self._backend = next(self._backends, None)
        if self._backend is None:
            return self._give_up()
        self._state = _State.DIALLING
        return Dial(self._backend, fresh=self._replaying)

    def _give_up(self) -> Reply:
        self._state = _State.DONE
        return Reply(503)

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise LocalProtocolError(f"an exchange that is {self._state.name} was told what only fits {state.name}")
