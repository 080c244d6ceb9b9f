"""Work that a request begins and that must end well without it: its client may leave at any moment."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def outliving(background: trio.Nursery, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work in `background` and return what it returns, or raise what it raises.

    Cancellation: the work goes on. Whoever writes it sees to it that a failure is also found in the log.
    """
    done = trio.Event()
    results: list[T] = []
    failures: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await work())
        except Exception as error:
            failures.append(error)
        finally:
            done.set()

    background.start_soon(run)
    await done.wait()
    for failure in failures:
        raise failure
    if not results:  # the background was cancelled, and with it soon this request
        await trio.sleep_forever()
    return results[0]
