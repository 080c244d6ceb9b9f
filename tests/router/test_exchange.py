"""One request on its way, as decisions."""

import pytest

from flynn_aio.router.exchange import MAX_INTERIM, Dial, Exchange, Reply, Step
from flynn_aio.router.framing import LocalProtocolError, Response

A, B, C = "a", "b", "c"


def exchange(*backends: str, method: bytes = b"GET", upgrade: bool = False) -> Exchange[str]:
    return Exchange(iter(backends), method=method, upgrade=upgrade)


def answer(status: int) -> Response:
    return Response(1, status, b"", [], 0, (), True)


def test_the_second_backend_is_tried_before_giving_up():
    one = exchange(A, B)
    assert one.begin() == Dial(A)
    assert one.dial_failed() == Dial(B)
    assert one.dial_failed() == Reply(503)


def test_without_backends_the_answer_is_503():
    assert exchange().begin() == Reply(503)


def test_a_request_is_answered():
    one = exchange(A)
    assert one.begin() == Dial(A)
    one.dialled(reused=False)
    assert one.answered(answer(200)) is Step.RELAY
    one.ended()


def test_an_error_after_the_connection_hits_one_backend_only():  # TestErrorAfterConnOnlyHitsOneBackend
    one = exchange(A, B)
    one.begin()
    one.dialled(reused=False)
    assert one.backend_lost(silent=True, replayable=True) == Reply(503)


def stale(method: bytes, *, silent: bool = True, replayable: bool = True) -> tuple[Exchange[str], object]:
    one = exchange(A, B, method=method)
    one.begin()
    one.dialled(reused=True)
    return one, one.backend_lost(silent=silent, replayable=replayable)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_stale_connection_is_replaced(method):  # TestHTTPServiceHandlerBackendConnectionClosed
    one, command = stale(method)
    assert command == Dial(A, fresh=True)
    one.dialled(reused=False)
    assert one.answered(answer(200)) is Step.RELAY


def test_a_stale_connection_is_replaced_once():
    one, _ = stale(b"GET")
    one.dialled(reused=False)
    assert one.backend_lost(silent=True, replayable=True) == Reply(503)


def test_not_when_something_was_answered_or_let_go():
    assert stale(b"GET", silent=False)[1] == Reply(503)
    assert stale(b"POST", replayable=False)[1] == Reply(503)


def test_a_backend_that_died_with_a_post_in_hand_is_not_replaced():
    assert stale(b"POST")[0].dial_failed() == Reply(503)
    assert stale(b"GET")[0].dial_failed() == Dial(B, fresh=True)


def test_interim_responses_are_passed_on_and_100_is_not():
    one = exchange(A)
    one.begin()
    one.dialled(reused=False)
    assert one.answered(answer(100)) is Step.SKIP
    assert one.answered(answer(103)) is Step.INTERIM
    assert one.answered(answer(200)) is Step.RELAY


def test_interim_responses_without_end_are_an_error():
    one = exchange(A)
    one.begin()
    one.dialled(reused=False)
    for _ in range(MAX_INTERIM):
        assert one.answered(answer(103)) is Step.INTERIM
    assert one.answered(answer(103)) == Reply(503)


def test_only_who_asked_for_an_upgrade_gets_one():
    for upgrade, command in ((True, Step.TUNNEL), (False, Reply(503))):
        one = exchange(A, upgrade=upgrade)
        one.begin()
        one.dialled(reused=False)
        assert one.answered(answer(101)) == command


def test_a_response_that_breaks_off_is_aborted():
    one = exchange(A, B)
    one.begin()
    one.dialled(reused=True)
    one.answered(answer(200))
    assert one.backend_lost(silent=False, replayable=True) is Step.ABORT


def test_what_does_not_fit_is_our_mistake():
    one = exchange(A)
    with pytest.raises(LocalProtocolError):
        one.dialled(reused=False)
    one.begin()
    with pytest.raises(LocalProtocolError):
        one.begin()
    with pytest.raises(LocalProtocolError):
        one.answered(answer(200))
