"""Files that are written whole or not at all."""

import os
import stat

import pytest

from flynn_aio.cli.failure import Failure
from flynn_aio.cli.replacing import replacing


def write(name, data=b"new", *, complete=True, **more):
    with replacing(str(name), **more) as written:
        os.write(written.descriptor, data)
        written.complete = complete


def test_a_file_takes_its_name_once_it_is_complete(tmp_path):
    file = tmp_path / "dump"
    file.write_bytes(b"old")
    write(file, complete=False)
    assert file.read_bytes() == b"old"
    write(file)
    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["dump"]


@pytest.mark.parametrize(
    ("before", "mode", "after"), [(0o600, 0o666, 0o600), (0o640, 0o666, 0o640), (0o644, 0o600, 0o600)]
)
def test_a_private_file_stays_private_all_the_time(tmp_path, monkeypatch, before, mode, after):
    file, modes = tmp_path / "dump", []
    file.touch()
    file.chmod(before)
    monkeypatch.setattr(os, "write", lambda descriptor, data: modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode)))
    write(file, mode=mode)
    assert modes == [0o600]
    assert stat.S_IMODE(file.stat().st_mode) == after


def test_what_is_on_no_disk_yet_does_not_take_the_place_of_what_is(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    file = tmp_path / "dump"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="error writing .*dump: no space left on device"):
        write(file)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["dump"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path, monkeypatch):
    file = tmp_path / "dump"
    with replacing(str(file)) as written:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        write(file, b"second")
        os.write(written.descriptor, b"first")
        written.complete = True
    assert file.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["dump"]


def test_a_pipe_nobody_reads_any_more_is_a_broken_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BrokenPipeError), replacing(str(pipe)) as written:
        os.close(reader)
        os.write(written.descriptor, b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
