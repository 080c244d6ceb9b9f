"""`flynn cluster backup`."""

import hashlib
import os
import stat
import subprocess
import sys

import pytest

from .fake_controller import Reply, Stream

PIECES = [b"flynn-backup", b"\0" * 5000, b"end"]
TAR = b"".join(PIECES)
COMPLETE = {"id": "b", "status": "complete", "sha512": hashlib.sha512(TAR).hexdigest(), "size": len(TAR)}


def answers(*records, pieces=PIECES, end=True):
    """Answer the two kinds of `GET /backup`: the stream, and then these records."""
    left = list(records)

    def answer(request):
        if "json" in request.headers["accept"]:
            return Reply(left.pop(0) if len(left) > 1 else left[0])
        return Stream(pieces, content_type="application/tar", end=end)

    return answer


def test_a_backup_is_written_whole(person, controller):
    controller.on("GET /backup", answers({"id": "b", "status": "running"}, COMPLETE))
    done = person.flynn("cluster", "backup", "--file", "my.tar")
    assert (done.code, done.out, done.err) == (0, "", "Creating cluster backup...\nBackup complete.\n")
    file = person.home / "my.tar"
    assert file.read_bytes() == TAR
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_goes_to_standard_output_without_a_file(person, controller):
    controller.on("GET /backup", answers(COMPLETE, pieces=[b"text"]))
    controller.on("GET /backup", answers(COMPLETE | {"sha512": hashlib.sha512(b"text").hexdigest()}, pieces=[b"text"]))
    done = person.flynn_process("cluster", "backup")
    assert (done.code, done.out, done.err) == (0, "text", "Creating cluster backup...\nBackup complete.\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (answers(COMPLETE, end=False), "unexpected EOF"),
        (answers({"id": "b", "status": "error", "error": "the disk is full"}), "the disk is full\n"),
        (answers(COMPLETE, pieces=PIECES[:2]), "it is not what the controller sent\n"),
    ],
)
def test_a_backup_that_is_not_whole_replaces_nothing(person, controller, answer, why):
    controller.on("GET /backup", answer)
    (person.home / "my.tar").write_bytes(b"the one of yesterday")
    done = person.flynn("cluster", "backup", "--file", "my.tar")
    assert done.code == 1
    assert why in done.err
    assert "Backup complete." not in done.err
    assert (person.home / "my.tar").read_bytes() == b"the one of yesterday"
    assert [path.name for path in person.home.glob("my.tar*")] == ["my.tar"]


def test_a_terminal_gets_no_tar(person, controller, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.backup.os.isatty", lambda descriptor: True)
    done = person.flynn("cluster", "backup")
    assert (done.code, done.err) == (1, "a backup is a tar, which a terminal cannot show\n")
    assert done.hint == "flynn cluster backup --file backup.tar"
    assert controller.asked == []


def test_a_place_that_cannot_be_written_is_said(person, controller):
    controller.on("GET /backup", answers(COMPLETE))
    done = person.flynn("cluster", "backup", "--file", "nowhere/my.tar")
    assert done.code == 1
    assert done.err.endswith("error writing nowhere/my.tar: no such file or directory\n")


@pytest.mark.parametrize(("argv", "why"), [(["--file", "/dev/full"], "error writing /dev/full: "), ([], "[Errno 28] ")])
def test_a_full_disk_is_said(person, controller, argv, why):
    controller.on("GET /backup", answers(COMPLETE))
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flynn_aio.cli.main", "cluster", "backup", *argv],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=person.environ(),
        )
    assert done.returncode == 1
    said = done.stderr.splitlines()[1]
    assert said.lower() == f"{why}{os.strerror(28)}".lower()
    assert "Backup complete." not in done.stderr
