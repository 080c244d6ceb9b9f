"""The progress bar."""

import io
import os
import socket
import sys

from flynn_aio.cli.attach import Attachment
from flynn_aio.cli.progress import Progress, line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_the_share_the_amounts_and_the_rate():
    assert line("dump", 512 * 1024, 1024 * 1024, 2.0, 200) == (
        "dump [############            ]  50% 512kB of 1MB 256kB/s"
    )


def test_without_a_total_there_is_only_the_amount():
    assert line("dump", 2048, None, 1.0, 200) == "dump 2kB 2kB/s"


def test_a_bar_never_wraps():
    assert len(line("a very long label", 10, 100, 1.0, 12)) == 12


def test_it_is_drawn_on_a_terminal_not_more_often_than_needed_and_is_gone_afterwards(monkeypatch):
    terminal, clock = Terminal(), iter([0.0, 1.0, 1.01, 1.2])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("dump", 100, now=lambda: next(clock)) as progress:
        for _ in range(3):
            progress.advance(10)
    assert terminal.getvalue().count("dump") == 2
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_nothing_is_drawn_for_a_pipe_a_dumb_terminal_or_when_asked_to_be_quiet(monkeypatch):
    for stream, quiet, term in ((io.StringIO(), False, ""), (Terminal(), True, ""), (Terminal(), False, "dumb")):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", term)
        with Progress("dump", 100, quiet=quiet) as progress:
            progress.advance(50)
        assert stream.getvalue() == ""


def test_what_a_job_says_is_not_written_into_the_bar(monkeypatch, tmp_path):
    """The bar is taken away before the job's line is written, and drawn again when bytes go by."""
    order = []

    class Bar:
        def hide(self):
            order.append("hide")

    monkeypatch.setattr(os, "write", lambda descriptor, data: order.append(bytes(data)) or len(data))
    ours, theirs = socket.socketpair()
    with ours, theirs, open(tmp_path / "dump", "wb") as dump:
        early = b"\x03\x02\x00\x00\x00\x05oops\n" + b"\x05\x00\x00\x00\x00"
        attachment = Attachment(ours, early, stdin=None, stdout=dump.fileno(), terminal=None, given=Bar())
        assert attachment.run() == 0
    assert order == ["hide", b"oops\n"]


def test_a_hidden_bar_comes_back(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("dump", 100) as progress:
        progress.hide()
        assert terminal.getvalue() == ""
        progress.advance(10)
        progress.hide()
        assert terminal.getvalue().endswith("\r\x1b[K")
        progress.advance(10)
        assert terminal.getvalue().count("dump") == 2
