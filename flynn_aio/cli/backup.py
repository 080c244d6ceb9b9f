"""`flynn cluster backup`: the cluster's state as a tar.

The stock client makes its own tar, out of jobs that dump the cluster's databases; ours takes what the
controller streams, and believes it only when size and checksum are those of the controller's record.

Source: `cli.md` §5.1, `resources.md` §6.
"""

import hashlib
import os
import time

from .client import Answer
from .failure import Failure
from .progress import Progress
from .replacing import replacing
from .session import Session
from .talk import tell
from .usage import Args

RECORD_S = 15.0
"""How long the record may take to be written once the last byte is here."""
RECORD_PAUSE_S = 0.1
_AGAIN = "what was written is of no use: try again; 'flynn-aio status' on the server says whether it is well"


def backup(args: Args, session: Session) -> None:
    """Write a backup to ``--file``, or to our standard output."""
    name = args.value("--file")
    if not name and os.isatty(1):
        raise Failure("a backup is a tar, which a terminal cannot show", hint="flynn cluster backup --file backup.tar")
    tell("Creating cluster backup...")
    with session.client.open("GET", "/backup", accept="application/tar") as answer:
        if name:
            with replacing(name, mode=0o600) as written:  # it has passwords in it
                _receive(answer, written.descriptor, session)
                written.complete = True
        else:
            _receive(answer, 1, session)
    tell("Backup complete.")


def _receive(answer: Answer, descriptor: int, session: Session) -> None:
    """Write what comes, and compare it with the record.

    Raises:
        Failure: it did not come whole.
        OSError: it cannot be written.
    """
    sha512 = hashlib.sha512()
    with Progress("backing up") as progress, open(descriptor, "wb", buffering=0, closefd=False) as file:
        for piece in answer.pieces():
            sha512.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
            progress.advance(len(piece))
    record = _record(session)
    if record.get("status") != "complete":
        raise Failure(f"the backup is not complete: {record.get('error') or 'its end is not known'}", hint=_AGAIN)
    if record.get("sha512") != sha512.hexdigest():
        raise Failure("the backup is not complete: it is not what the controller sent", hint=_AGAIN)


def _record(session: Session) -> dict[str, object]:
    """Return the record of the backup just made, when it is there: it follows the last byte."""
    give_up_at = time.monotonic() + RECORD_S
    while True:
        record: dict[str, object] = session.client.get("/backup")
        if record.get("status") != "running" or time.monotonic() >= give_up_at:
            return record
        time.sleep(RECORD_PAUSE_S)
