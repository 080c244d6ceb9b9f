"""Retention: what goes when an app's files hold too much."""

import os

from flynn_aio.engine import log_file_name
from flynn_aio.logs.files import KEPT, OLD, LogFile, opened, pieces, survey
from flynn_aio.logs.line import Origin
from flynn_aio.logs.retention import MAX_ENDED_JOBS, Plan, carry_out, hold_on, is_over, plan, remove
from flynn_aio.model import AppID, JobID

APP, OTHER = AppID("00000000-0000-4000-8000-00000000000a"), AppID("00000000-0000-4000-8000-00000000000b")


def job(number: int) -> JobID:
    return JobID(f"00000000-0000-4000-8000-{number:012}")


def file(number: int, size: int, *, old: int = 0, app: AppID = APP) -> LogFile:
    """Return the file of job `number`, which was written last at that time."""
    name = log_file_name(app, job(number), "web")
    return LogFile(
        Origin(app, job(number), "web"), name, bytes_used=size + old, old_bytes=old, modified=number, current_bytes=size
    )


def names(*numbers: int) -> list[str]:
    return [log_file_name(APP, job(number), "web") for number in numbers]


def test_nothing_goes_while_there_is_room():
    files = [file(1, 50), file(2, 50), file(3, 100, app=OTHER)]
    assert not is_over(files, app_bytes=100)
    assert not plan(files, frozenset(), app_bytes=100)


def test_ended_jobs_go_first_and_the_oldest_of_them():
    files = [file(3, 50), file(1, 50), file(2, 50), file(0, 60)]
    assert is_over(files, app_bytes=120)
    assert plan(files, frozenset({job(0)}), app_bytes=120) == Plan(delete=names(1, 2))


def test_then_what_live_jobs_wrote_before():
    files = [file(1, 50, old=50), file(2, 50, old=50)]
    assert plan(files, frozenset({job(1), job(2)}), app_bytes=150) == Plan(drop_old=names(1))


def test_then_the_beginnings_of_live_files():
    kib = 1024
    files = [file(1, 900 * kib, old=10 * kib), file(2, 100 * kib)]
    made = plan(files, frozenset({job(1), job(2)}), app_bytes=400 * kib)
    assert made == Plan(drop_old=names(1), punch={names(1)[0]: 700 * kib})


def test_many_small_ended_jobs_go_as_well():
    files = [file(number, 1) for number in range(MAX_ENDED_JOBS + 3)]
    assert is_over(files, app_bytes=10_000)
    assert plan(files, frozenset(), app_bytes=10_000) == Plan(delete=names(0, 1, 2))


def test_a_file_conmon_begins_anew_keeps_what_was_before(tmp_path):
    (name,) = names(1)
    (tmp_path / name).write_bytes(b"first ")
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    hold_on(tmp_path)
    assert (tmp_path / (name + KEPT)).samefile(tmp_path / name)

    for text in (b"second ", b"third "):
        (tmp_path / "new").write_bytes(text)
        os.rename(tmp_path / "new", tmp_path / name)
        with opened(tmp_path, name) as parts:  # even before anybody tidied up
            assert b"".join(pieces(parts, 0)).endswith(text)
            assert len(parts) > 1
        hold_on(tmp_path)
    with opened(tmp_path, name) as parts:
        assert b"".join(pieces(parts, 0)) == b"second third "
        assert b"".join(pieces(parts, 8)) == b"hird "
        assert b"".join(pieces(parts, 2, most=7)) == b"cond th"
    assert sorted(os.listdir(tmp_path)) == sorted([name, name + KEPT, name + OLD, "notes.txt"])

    (found,) = survey(tmp_path)
    assert (found.name, found.current_bytes, found.old_bytes, found.bytes_used) == (name, 6, 4096, 8192)
    remove(tmp_path, name)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_punched_file_keeps_its_size_and_its_end(tmp_path):
    (name,) = names(1)
    data = os.urandom(100 * 1024)
    (tmp_path / name).write_bytes(data)
    hold_on(tmp_path)
    carry_out(Plan(punch={name: 64 * 1024, "gone": 4096}, drop_old=["gone"], delete=["gone"]), tmp_path)
    (found,) = survey(tmp_path)
    assert found.current_bytes == len(data)
    assert found.bytes_used <= 40 * 1024
    assert (tmp_path / name).read_bytes() == bytes(64 * 1024) + data[64 * 1024 :]
