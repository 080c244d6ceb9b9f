"""`flynn-aio down`: end the appliance, then everything it made that runs."""

import os
import select
import signal
import sys
from contextlib import suppress

import trio

from .bootstrap import claimed, lock_file, running_pid
from .settings import Settings
from .up import diary, tell

MARGIN_S = 20.0
"""Beyond the drain the settings allow: the store's last checkpoint, a slow disk."""


def down(settings: Settings) -> int:
    """Stop the appliance, its jobs, its network and its Podman service; return the exit code."""
    from .engine import shut_down

    if not lock_file(settings.data_dir).exists():
        print(f"nothing to stop: there is no appliance in {settings.data_dir}")
        return 0
    try:
        _stop_process(settings)
        with claimed(settings.data_dir), diary(settings, to_file=True):
            removed = trio.run(shut_down, settings.engine)
    except BaseException as exc:
        tell(exc)
        print("the apps may still run; mend that, then type again: flynn-aio down", file=sys.stderr)
        return 1
    print(f"stopped {len(removed.jobs)} job{'' if len(removed.jobs) == 1 else 's'}")
    print("nothing of it runs any more; `flynn-aio up` starts everything again")
    return 0


def _stop_process(settings: Settings) -> None:
    pid = running_pid(settings.data_dir)
    if pid is None:
        return
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if running_pid(settings.data_dir) != pid:  # it ended meanwhile, and the number may be another's
            return
        print(f"stopping the appliance (pid {pid})")
        with suppress(ProcessLookupError):  # it ended by itself
            signal.pidfd_send_signal(process, signal.SIGTERM)
            patience = settings.router.drain_s + settings.controller.drain_s + MARGIN_S
            if not _ends(process, patience):
                print(f"it has not ended after {patience:.0f} s, so it is killed; nothing acknowledged is lost")
                signal.pidfd_send_signal(process, signal.SIGKILL)
                _ends(process, MARGIN_S)
    finally:
        os.close(process)


def _ends(process: int, patience_s: float) -> bool:
    """Wait for a process to end; a pidfd becomes readable then."""
    poller = select.poll()
    poller.register(process, select.POLLIN)
    return bool(poller.poll(patience_s * 1000))
