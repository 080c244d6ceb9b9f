"""Which branch of a push is deployed, and which pushes are refused.

Pure. Flynn deploys `master`; `main` stands wherever `master` does.

Source: `build.md` §1, *Branch handling*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .failure import PushRejected

BRANCHES = ("refs/heads/master", "refs/heads/main")
"""What is deployed, dearest first: with both in one push, `main` is just another branch."""
NOT_DEPLOYABLE = "The push must include a change to the master branch to be deployed."


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One line of a push: this ref moves from `old` to `new`; all zeros mean it is not there."""

    old: str
    new: str
    ref: str

    @property
    def deletes(self) -> bool:
        return not self.new.strip("0")

    @property
    def creates(self) -> bool:
        return not self.old.strip("0")


def parse_updates(text: str) -> tuple[RefUpdate, ...]:
    """Read what git tells a `pre-receive` hook: ``<old> <new> <ref>`` per line.

    Only a line feed ends one: a ref may hold what Unicode has of line separators.
    """
    return tuple(RefUpdate(*line.split(" ", 2)) for line in text.split("\n") if line)


def deployed_update(updates: Sequence[RefUpdate]) -> RefUpdate:
    """Return the update whose commit is to be built.

    Raises:
        PushRejected: only other refs move, or the branch is deleted.
    """
    for branch in BRANCHES:
        for update in updates:
            if update.ref == branch and not update.deletes:
                return update
    raise PushRejected(NOT_DEPLOYABLE, more=["To deploy another branch, push it there: git push flynn BRANCH:master"])
