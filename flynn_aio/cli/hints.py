"""What to type next when a command has failed: one line below the error, for the person.

Where the command itself knows the next step, it says so (`Failure.hint`); this module knows what holds for all
commands. It may ask the controller once more and never fails: a hint is worth no second error.

Ours; Flynn's client has nothing like it. Form: git's ``hint: ``.
"""

from ssl import SSLCertVerificationError

from .failure import NONSENSE, Failure, NotFound, Unauthorized, Unreachable
from .render import quoted
from .session import Session
from .similar import did_you_mean
from .wire import PinMismatch

_LISTED_BY = {  # what a command takes ids of -> the command that lists them
    "kill": "ps -a",
    "log": "ps -a",
    "release": "release",
    "run": "release",  # -r
    "scale": "release",
    "deployment": "deployment",
    "route": "route",
    "resource": "resource",
    "provider": "provider",
    "volume": "volume",
}


def next_step(failure: Failure, command: str, session: Session) -> str:
    """Return what to do about a failure; empty when nothing better than its own text is known."""
    if failure.hint:
        return failure.hint
    cause = failure.__cause__
    try:
        match cause if isinstance(cause, NotFound | Unreachable) else failure:
            case NotFound():
                return _what_is_missing(command, session)
            case Unauthorized():
                return (
                    f"the cluster does not know the key in ~/.flynnrc (any more). Add {session.cluster.name} again "
                    "with -f; 'flynn-aio credentials' on the server prints the line"
                )
            case Unreachable(__cause__=PinMismatch()):
                return (
                    "the cluster has another certificate now. If you expected that, 'flynn-aio credentials' on the "
                    "server prints the line to add it again; add -f"
                )
            case Unreachable(__cause__=SSLCertVerificationError()):
                return (
                    "nobody this machine trusts has signed the cluster's certificate: give its pin with -p. "
                    "'flynn-aio credentials' on the server prints the whole line"
                )
            case Unreachable():
                return "'flynn-aio status' on the server says whether it is up"
    except (Failure, *NONSENSE):
        pass  # not even the cluster is known, or its controller makes no sense: the error says enough
    return ""


def _what_is_missing(command: str, session: Session) -> str:
    """Tell a missing app from a missing thing inside it."""
    if session.asked_for_app:
        names = {name for app in session.client.get("/apps") for name in (app["name"], app["id"])}
        if session.app not in names:
            guess = did_you_mean(session.app, names)
            return f"there is no app {quoted(session.app)}. " + (guess or "'flynn apps' lists what there is")
    listing = _LISTED_BY.get(command)
    return f"'flynn {listing}' lists what there is" if listing else ""
