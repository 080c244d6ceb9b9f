import pytest

from flynn_aio.receive.failure import PushRejected
from flynn_aio.receive.refs import RefUpdate, deployed_update, parse_updates

NONE, A, B = "0" * 40, "a" * 40, "b" * 40


def update(ref, old=NONE, new=A):
    return RefUpdate(old, new, ref)


def test_updates_are_read_as_git_writes_them():
    assert parse_updates(f"{NONE} {A} refs/heads/master\n{A} {B} refs/heads/a b") == (
        RefUpdate(NONE, A, "refs/heads/master"),
        RefUpdate(A, B, "refs/heads/a b"),
    )


def test_a_ref_may_hold_what_unicode_takes_for_the_end_of_a_line():
    assert parse_updates(f"{NONE} {A} refs/heads/a\u2028b\x85c\n") == (RefUpdate(NONE, A, "refs/heads/a\u2028b\x85c"),)


@pytest.mark.parametrize(
    ("refs", "deployed"),
    [
        (["refs/heads/master"], "refs/heads/master"),
        (["refs/heads/main"], "refs/heads/main"),
        (["refs/heads/x", "refs/heads/main", "refs/heads/master"], "refs/heads/master"),
        (["refs/tags/v1", "refs/heads/master"], "refs/heads/master"),
    ],
)
def test_the_branch_that_is_deployed_is_found_among_others(refs, deployed):
    assert deployed_update([update(ref) for ref in refs]).ref == deployed


@pytest.mark.parametrize(
    "updates",
    [
        [],
        [update("refs/heads/foo")],
        [update("refs/tags/master")],
        [update("refs/heads/master/x")],
        [update("refs/heads/master", old=A, new=NONE)],
    ],
)
def test_anything_else_is_refused_with_upstreams_words(updates):
    with pytest.raises(PushRejected, match=r"^The push must include a change to the master branch to be deployed\.$"):
        deployed_update(updates)


def test_a_deleted_master_beside_a_pushed_main_deploys_main():
    assert deployed_update([update("refs/heads/master", A, NONE), update("refs/heads/main")]).ref == "refs/heads/main"
