"""The firehose: whatever happens to batches, sinks and files, every line comes, and a job's in order."""

import random
from itertools import pairwise

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.errors import FlynnError
from flynn_aio.logs import firehose as module
from flynn_aio.logs.cursor import Cursor, Saved, load, save
from flynn_aio.logs.files import base_name, survey
from flynn_aio.logs.firehose import Firehose
from flynn_aio.logs.inotify import Changes
from flynn_aio.logs.retention import hold_on
from flynn_aio.model import JobFacts, full_job_id
from flynn_aio.settings import LogSettings
from flynn_aio.store import inline

from ..support.conmon import job_id

LATER = 4e9
"""Unix time after every write: a file that a cursor does not name is not read again."""


class Live:
    """The word on which jobs have not ended: these."""

    version = 0

    def __init__(self, *jobs):
        self.jobs = frozenset(jobs)

    def known(self):
        return self.jobs


async def describe(origin):
    await trio.lowlevel.checkpoint()
    return JobFacts(id=full_job_id(origin.job), app_name="shop")


def encode(lines, facts):
    assert {origin for _, origin in lines} <= set(facts)
    return b"".join(b"%s %s\n" % (origin.job[-1:].encode(), line.text) for line, origin in lines)


def open_firehose(directory, cursor, changes, live, *, encode=encode):
    files = [(file.name, file.modified) for file in survey(directory)]
    return Firehose(
        cursor,
        changes,
        files,
        settings=LogSettings(dir=directory),
        live=live,
        clock=SystemClock(),
        describe=describe,
        encode=encode,
        run_blocking=inline,
    )


async def next_soon(firehose):
    """Return the next batch, or ``None`` when there is none to come."""
    with trio.move_on_after(1):
        return await firehose.next()


@pytest.mark.parametrize("seed", range(20))
async def test_no_line_is_lost_and_each_job_keeps_its_order(directory, writer, monkeypatch, autojump_clock, seed):
    monkeypatch.setattr(module, "BATCH_BYTES", 600)
    monkeypatch.setattr(module, "BATCH_FILES", 2)
    rng = random.Random(seed)
    writers = [writer(number) for number in (1, 2, 3)]
    printed = [0, 0, 0]
    live = Live(*(job_id(number) for number in (1, 2, 3)))
    came: list[bytes] = []
    sent = []  # what is on its way, the oldest first

    def arrive(batch):
        came.extend(batch.data.splitlines())
        return batch.places

    def lose_the_connection():
        """Some more of what is on its way arrives, of which we do not hear."""
        for batch in sent[: rng.randrange(len(sent) + 1)]:
            arrive(batch)
        lost = {name for batch in sent for name in batch.places}
        sent.clear()
        return lost

    def reopen(saved):
        changes = Changes("", 0)
        return changes, open_firehose(directory, Cursor(saved), changes, live)

    def changed(changes, index):
        changes.names.add(base_name(writers[index].path.name))
        changes.bell.ring()

    def write(changes):
        for _ in range(rng.randrange(1, 30)):
            index = rng.randrange(3)
            if rng.random() < 0.2:
                writers[index].begin("line ")
                writers[index].print(f"{printed[index]}")
            else:
                writers[index].print(f"line {printed[index]}")
            printed[index] += 1
            changed(changes, index)

    async def take(firehose):
        batch = await next_soon(firehose)
        if batch:
            sent.append(batch)
        return batch

    changes, firehose = reopen(Saved(sink=""))
    for _ in range(60):
        match rng.randrange(10):
            case 0 | 1 | 2:
                write(changes)
            case 3 | 4 | 5:
                await take(firehose)
            case 6 if sent:
                firehose.confirm(arrive(sent.pop(0)))
            case 7:
                firehose.rewind(lose_the_connection())
            case 8:  # a crash, or a stop
                saved = firehose.saved(LATER)
                write(changes)
                lose_the_connection()
                save(directory / "cursor.json", saved)
                cursor = load(directory / "cursor.json", "")
                changes, firehose = reopen(cursor.saved(LATER, set()))
            case 9:  # conmon begins a new file; retention takes a link to it before it does so again
                index = rng.randrange(3)
                hold_on(directory)
                await take(firehose)
                if all(not piece for piece in (firehose._behind, sent)):
                    writers[index].rotate()
                    hold_on(directory)
                    changed(changes, index)
    while await take(firehose):
        pass
    for batch in sent:
        arrive(batch)
    for index, number in enumerate((1, 2, 3)):
        lines = [line[2:].decode() for line in came if line[:1] == b"%d" % number]
        assert list(dict.fromkeys(lines)) == [f"line {count}" for count in range(printed[index])]
        steps = [int(later[5:]) - int(line[5:]) for line, later in pairwise(lines)]
        assert all(step <= 1 for step in steps)  # back to an earlier line, but never past one


async def test_what_cannot_be_read_comes_later(directory, writer, autojump_clock):
    writer(1).print("one")
    failures = [OSError(5, "Input/output error"), ZeroDivisionError()]

    def fails(lines, facts):
        if failures:
            raise failures.pop(0)
        return encode(lines, facts)

    firehose = open_firehose(directory, Cursor(Saved(sink="")), Changes("", 0), Live(job_id(1)), encode=fails)
    with pytest.raises(FlynnError, match="Input/output error"):
        await firehose.next()
    with pytest.raises(ZeroDivisionError):
        await firehose.next()
    assert (await firehose.next()).data == b"1 one\n"
    assert await next_soon(firehose) is None


async def test_jobs_that_have_ended_are_let_go(directory, writer, autojump_clock):
    for number in range(1, 6):
        writer(number).print("bye")
    cursor = Cursor(Saved(sink=""))
    firehose = open_firehose(directory, cursor, Changes("", 0), Live(job_id(5)))
    while batch := await next_soon(firehose):
        firehose.confirm(batch.places)
    assert len(firehose.saved(LATER).places) == 5
    assert [name.split(".")[1] for name in firehose._tails] == [job_id(5)]
    saved = firehose.saved(LATER + 60)
    assert [name.split(".")[1] for name in saved.places] == [job_id(5)]
    again = open_firehose(directory, Cursor(saved), Changes("", 0), Live(job_id(5)))
    batch = await next_soon(again)
    assert batch.data == b""
    assert await next_soon(again) is None
