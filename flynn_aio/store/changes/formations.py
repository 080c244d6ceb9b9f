"""Changes to formations, each of them a scale request that people can follow."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ...errors import NotFound, ValidationError
from ...model import (
    CRITICAL_META,
    AppID,
    DeprecatedScale,
    Formation,
    Release,
    ReleaseID,
    ScaleRequest,
    ScaleRequestID,
    ScaleState,
)
from .. import queries, rows
from ..transaction import Transaction
from .builtin import refuse_builtin

Processes = Mapping[str, int]
Tags = Mapping[str, Mapping[str, str]]

SCALED = "scaled: there is always one of each of its processes"


def create_scale_request(
    tx: Transaction, app_id: AppID, release_id: ReleaseID, processes: Processes | None, tags: Tags | None
) -> ScaleRequest:
    """Change the counts and tags of the types that are named; the others keep theirs.

    An earlier request that is still pending is cancelled.

    Raises:
        ValidationError: nothing is named, a type is not in the release, or a count is negative.
    """
    if processes is None and tags is None:
        raise ValidationError("scale request must have either processes or tags set")
    old = queries.find_formation(tx.db, app_id, release_id) or Formation(app=app_id, release=release_id)
    _keep_critical(tx, old, _merged(old.processes, processes or {}))
    return _scale(
        tx,
        old,
        _merged(old.processes, processes or {}),
        _plain_tags(old.tags) | _plain_tags(tags or {}),
        asked=(processes, tags),
    )


def put_formation(
    tx: Transaction, app_id: AppID, release_id: ReleaseID, processes: Processes | None, tags: Tags | None
) -> ScaleRequest:
    """Change the counts that are named, as `create_scale_request`; without any, all become 0."""
    old = queries.find_formation(tx.db, app_id, release_id) or Formation(app=app_id, release=release_id)
    wanted = dict.fromkeys(old.processes, 0) if processes is None else processes
    _keep_critical(tx, old, _merged(old.processes, wanted))
    return _scale(
        tx, old, _merged(old.processes, wanted), _plain_tags(old.tags) | _plain_tags(tags or {}), asked=(wanted, tags)
    )


def set_formation(
    tx: Transaction, app_id: AppID, release_id: ReleaseID, processes: Processes, tags: Tags
) -> ScaleRequest | None:
    """Make a formation exactly this: the scheduler's own way, for the steps of a deployment.

    Returns ``None`` when it was exactly this already; nothing is written then.
    """
    old = queries.find_formation(tx.db, app_id, release_id) or Formation(app=app_id, release=release_id)
    counts = dict(processes)
    if _nonzero(counts) == _nonzero(old.processes) and _plain_tags(tags) == old.tags:
        return None
    return _scale(tx, old, counts, _plain_tags(tags), asked=(processes, tags))


def delete_formation(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> None:
    """Forget a formation; its jobs are stopped.

    Raises:
        NotFound: there is none.
    """
    refuse_builtin(tx, app_id, SCALED)
    _keep_critical(tx, queries.formation(tx.db, app_id, release_id), {})
    drop_formation(tx, app_id, release_id)


def drop_formation(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> None:
    """Forget a formation if there is one, and cancel what was asked of it."""
    old = queries.find_formation(tx.db, app_id, release_id)
    if old is None:
        return
    superseded = _cancel_pending(tx, app_id, release_id)
    tx.execute("DELETE FROM formations WHERE app = ? AND release = ?", (app_id, release_id))
    _forget_first(tx, app_id, release_id)
    request = _request(tx, old, dict.fromkeys(old.processes, 0), None, ScaleState.COMPLETE)
    _emit(tx, request, superseded)


def complete_scale_request(tx: Transaction, request_id: ScaleRequestID) -> None:
    """Say that a pending request is fulfilled; anything but a pending one is left alone."""
    _finish(tx, request_id, ScaleState.COMPLETE)


def cancel_scale_request(tx: Transaction, request_id: ScaleRequestID) -> None:
    """Say that a pending request will not be fulfilled."""
    _finish(tx, request_id, ScaleState.CANCELLED)


def _scale(
    tx: Transaction,
    old: Formation,
    processes: dict[str, int],
    tags: dict[str, dict[str, str]],
    *,
    asked: tuple[Processes | None, Tags | None],
) -> ScaleRequest:
    refuse_builtin(tx, old.app, SCALED)
    release = queries.release(tx.db, old.release)
    _check(release, processes)
    formation = replace(old, processes=processes, tags=tags, created_at=old.created_at or tx.now, updated_at=tx.now)
    tx.execute(
        """INSERT INTO formations (app, release, total, doc) VALUES (?, ?, ?, ?)
           ON CONFLICT (app, release) DO UPDATE SET total = excluded.total, doc = excluded.doc""",
        (formation.app, formation.release, formation.total, rows.doc(formation)),
    )
    _forget_first(tx, formation.app, formation.release)
    superseded = _cancel_pending(tx, formation.app, formation.release)
    request = _request(tx, old, asked[0], asked[1], ScaleState.PENDING)
    _emit(tx, request, superseded)
    return request


def _forget_first(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> None:
    """A formation somebody has changed is no longer the first push's alone, see `initial`."""
    tx.execute("DELETE FROM initial_scales WHERE app = ? AND release = ?", (app_id, release_id))


def _emit(tx: Transaction, request: ScaleRequest, superseded: Sequence[ScaleRequest]) -> None:
    """Tell of a new request, of those it takes the place of, and, as old clients know it, of the scaling."""
    tx.emit("scale_request", request.id, request, app=request.app)
    for one in superseded:
        _emit_cancelled(tx, one)
    scale = DeprecatedScale(
        prev_processes=request.old_processes, processes=request.new_processes, release=request.release
    )
    tx.emit("scale", f"{request.app}:{request.release}", scale, app=request.app)


def _keep_critical(tx: Transaction, old: Formation, processes: Processes) -> None:
    """Refuse to stop the last jobs of an app that others need. Source: `jobs.md` §4."""
    app = queries.app(tx.db, old.app)
    others = "SELECT 1 FROM formations WHERE app = ? AND release != ? AND total > 0"
    if app.meta.get(CRITICAL_META) != "true" or old.total == 0 or any(processes.values()):
        return
    if not tx.execute(others, (old.app, old.release)):
        raise ValidationError(
            f"refusing to scale down critical app {app.name}: others need it; its meta {CRITICAL_META} says so"
        )


def _check(release: Release, processes: Processes) -> None:
    if not release.artifacts:
        raise ValidationError("release is not deployable")
    unknown = sorted(kind for kind in processes if kind not in release.processes)
    if unknown:
        raise ValidationError(
            f"requested scale includes process types that do not exist in the release: {', '.join(unknown)}"
        )
    for kind, count in processes.items():
        if count < 0:
            raise ValidationError("must not be negative", field=f"processes.{kind}")


def _request(
    tx: Transaction, old: Formation, processes: Processes | None, tags: Tags | None, state: ScaleState
) -> ScaleRequest:
    """Write down a request. What it leaves as it is counts as asked for, too: so clients see it."""
    request = ScaleRequest(
        id=ScaleRequestID(tx.new_id()),
        app=old.app,
        release=old.release,
        state=state,
        old_processes=old.processes or None,
        new_processes=dict(old.processes if processes is None else processes),
        old_tags=old.tags or None,
        new_tags=(old.tags or None) if tags is None else _plain_tags(tags),
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.execute(
        "INSERT INTO scale_requests (id, app, release, state, doc) VALUES (?, ?, ?, ?, ?)",
        (request.id, request.app, request.release, request.state, rows.doc(request)),
    )
    return request


def _cancel_pending(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> list[ScaleRequest]:
    cancelled = []
    for pending in queries.pending_scale_requests(tx.db, app_id, release_id):
        one = replace(pending, state=ScaleState.CANCELLED, updated_at=tx.now)
        _save(tx, one)
        cancelled.append(one)
    return cancelled


def _emit_cancelled(tx: Transaction, request: ScaleRequest) -> None:
    tx.emit("scale_request_cancelation", request.id, request, app=request.app)
    # Flynn's client waits for this type only; without it a superseded `scale` waits its 30 s in vain.
    tx.emit("scale_request", request.id, request, app=request.app)


def _finish(tx: Transaction, request_id: ScaleRequestID, state: ScaleState) -> None:
    found = tx.execute("SELECT doc FROM scale_requests WHERE id = ?", (request_id,))
    if not found:
        raise NotFound(f"scale request {request_id!r} does not exist")
    request = rows.scale_request(found[0][0])
    if request.state is not ScaleState.PENDING:
        return
    finished = replace(request, state=state, updated_at=tx.now)
    _save(tx, finished)
    if state is ScaleState.CANCELLED:
        _emit_cancelled(tx, finished)
    else:
        tx.emit("scale_request", request_id, finished, app=request.app)


def _save(tx: Transaction, request: ScaleRequest) -> None:
    tx.execute(
        "UPDATE scale_requests SET state = ?, doc = ? WHERE id = ?", (request.state, rows.doc(request), request.id)
    )


def _merged(old: Processes, new: Processes) -> dict[str, int]:
    return dict(old) | dict(new)


def _nonzero(processes: Processes) -> dict[str, int]:
    return {kind: count for kind, count in processes.items() if count}


def _plain_tags(tags: Tags) -> dict[str, dict[str, str]]:
    return {kind: dict(wanted) for kind, wanted in tags.items()}
