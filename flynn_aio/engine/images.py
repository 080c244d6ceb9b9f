"""Images: the rare calls podman-py serves well: pulling and committing.

It is imported at the first such call and not before: with requests it costs 9 MB resident. It blocks, so it
runs in threads of its own, where a slow registry cannot keep others from theirs.
"""

from pathlib import Path

import trio

from ..errors import EngineError

PULL_TIMEOUT_S = 1800
COMMIT_TIMEOUT_S = 600  # findings.md §5: 9 s for 20,000 files

_limiter = trio.CapacityLimiter(2)


async def pull_image(socket: Path, image: str) -> None:
    """Fetch an image from its registry.

    Cancellation: Podman goes on pulling, at worst to the end; an image more does no harm.
    """
    await trio.to_thread.run_sync(_pull, socket, image, abandon_on_cancel=True, limiter=_limiter)


async def commit_container(socket: Path, container: str, image: str) -> None:
    """Make an image of a container's file system. Cancellation: waits for the end of it."""
    await trio.to_thread.run_sync(_commit, socket, container, image, limiter=_limiter)


def _pull(socket: Path, image: str) -> None:
    from podman import PodmanClient
    from podman.errors import PodmanError
    from requests.exceptions import RequestException

    try:
        with PodmanClient(base_url=f"unix://{socket}", timeout=PULL_TIMEOUT_S) as client:
            client.images.pull(image)
    except (PodmanError, RequestException, OSError) as exc:
        raise EngineError(f"cannot pull image {image}: {exc}") from exc


def _commit(socket: Path, container: str, image: str) -> None:
    from podman import PodmanClient
    from podman.errors import PodmanError
    from requests.exceptions import RequestException

    repository, _, tag = image.rpartition(":")
    try:
        with PodmanClient(base_url=f"unix://{socket}", timeout=COMMIT_TIMEOUT_S) as client:
            client.containers.get(container).commit(repository=repository, tag=tag)
    except (PodmanError, RequestException, OSError) as exc:
        raise EngineError(f"cannot commit container {container[:12]} as {image}: {exc}") from exc
