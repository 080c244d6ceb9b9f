"""Volumes: the directories behind them, and who may have them. Nothing here asks Podman.

A volume is a plain directory, ``<volume_dir>/<id>``, bound into the container. It was chosen over
Podman's named volumes because it lies beside the database that speaks of it: one copy of the data
directory has both, `podman volume prune` cannot take it, and a person finds it. Nobody but root gets
as far as the directory from outside, and inside it is mounted `nosuid` and `nodev`.

An empty volume is given to the user the job runs as; from then on its owners are the job's affair.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import trio

from ..errors import EngineError, StartError
from ..model import VolumeID, as_uuid
from .protocol import JobSpec


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory of the host that a job sees at `target`; `is_empty` if nobody has written to it yet."""

    source: Path
    target: str
    is_empty: bool


def directory_of(root: Path, volume: VolumeID) -> Path:
    return root / volume


def find_volumes(root: Path) -> set[VolumeID]:
    """Return the volumes that have a directory. Blocks."""
    return {VolumeID(name) for name in os.listdir(root) if as_uuid(name) == name}


def make_volume(root: Path, volume: VolumeID) -> None:
    """Make the directory of a volume, so that no power cut forgets it. Blocks. Idempotent.

    Raises:
        StartError: there is no room for it, or it cannot be written.
    """
    directory = directory_of(root, volume)
    try:
        directory.mkdir(mode=0o755, exist_ok=True)
        parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as exc:
        raise StartError(
            f"cannot create volume {volume} at {directory}: {exc.strerror}; free some space on its disk, "
            "or see whether it may be written"
        ) from exc


def bind_all(spec: JobSpec, root: Path) -> list[Bind]:
    """Return the directories of a job's volumes. Blocks.

    Raises:
        StartError: one is missing.
    """
    binds = []
    for volume in spec.volumes:
        directory = directory_of(root, volume.id)
        try:
            binds.append(Bind(directory, volume.target, is_empty=not os.listdir(directory)))
        except OSError as exc:
            raise StartError(missing(spec, volume.id, f"{directory}: {exc.strerror}")) from exc
    return binds


def missing(spec: JobSpec, volume: VolumeID, why: str) -> str:
    """Return what to say of a volume that should be there and is not."""
    return (
        f"cannot start job {spec.id}: its volume {volume} is gone ({why}); put its data back, "
        f"or begin with an empty one: flynn -a {spec.app_name} volume decommission {volume}"
    )


def check_free(spec: JobSpec, held: Iterable[Collection[VolumeID]]) -> None:
    """Check that no other live job has a volume of this one. The words are Flynn's.

    Args:
        held: the volumes of each of the other live jobs.

    Raises:
        EngineError: another one has; it may be gone in a moment.
    """
    if not spec.volumes:
        return
    taken = {volume for volumes in held for volume in volumes}
    if in_use := [volume.id for volume in spec.volumes if volume.id in taken]:
        raise EngineError(f"volumes in use: {', '.join(in_use)}")


async def remove_tree(path: Path) -> None:
    """Remove a directory a job could write to, whatever it made of it. `rm` does that: it knows no depth.

    Raises:
        EngineError: something in it cannot be removed.

    Cancellation: a part may be gone.
    """
    command = ["rm", "-rf", "--one-file-system", "--", str(path)]
    done = await trio.run_process(command, capture_stderr=True, check=False)
    if done.returncode:
        raise EngineError(f"cannot remove {path}: {done.stderr.decode(errors='replace').strip()}")
