"""Images: the call podman-py serves well: committing, which is rare, slow and not to be cancelled.

It is imported at the first such call and not before: with requests it costs 9 MB resident. It blocks, so it
runs in a thread, and one at a time: a commit takes all the CPU Podman has (`findings.md` §5).
"""

from pathlib import Path

import trio

from ..errors import EngineError

COMMIT_TIMEOUT_S = 600  # findings.md §5: 9 s for 20,000 files

_limiter = trio.CapacityLimiter(1)


async def commit_container(socket: Path, container: str, image: str) -> None:
    """Make an image of a container's file system. Cancellation: waits for the end of it."""
    await trio.to_thread.run_sync(_commit, socket, container, image, limiter=_limiter)


def _commit(socket: Path, container: str, image: str) -> None:
    from podman import PodmanClient
    from podman.errors import PodmanError

    repository, _, tag = image.rpartition(":")
    try:
        with PodmanClient(base_url=f"unix://{socket}", timeout=COMMIT_TIMEOUT_S) as client:
            client.containers.get(container).commit(repository=repository, tag=tag)
    except (PodmanError, OSError) as exc:  # OSError: whatever requests raises
        raise EngineError(f"cannot commit container {container[:12]} as {image}: {exc}") from exc
