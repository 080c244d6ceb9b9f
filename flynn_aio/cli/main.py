"""The `flynn` program: one command line in, one exit code out.

Source: `cli.md` §1; Flynn `cli/main.go`, `pkg/shutdown`.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence

from . import commands, usage
from .failure import Failure
from .session import Session
from .talk import RED, in_colour, show, tell
from .usage import HelpAsked, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the arguments after the program's name; the process's own when ``None``.
    """
    _prepare_streams()
    words = [_printable(word) for word in (sys.argv[1:] if argv is None else argv)]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(words)
    except HelpAsked as asked:
        show(str(asked))
        return 0
    except UsageError as wrong:
        show(str(wrong))
        return _failed("", wrong.hint)
    except Failure as failure:  # before there was a command
        return _failed(str(failure), failure.hint)
    except KeyboardInterrupt:
        return 0  # as Flynn's client does, which scripts have come to know
    except BrokenPipeError:
        return _end_as_a_filter_does()
    except OSError as exc:  # a full disk behind our output
        tell(str(exc))
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(argv: Sequence[str]) -> int:
    if argv and argv[0] == "--version":
        argv = ["version"]
    line = usage.parse(usage.read(commands.help_text()), argv, options_first=True)
    command = commands.find(line.text("<command>"))
    grammar = usage.read(commands.command_help(command))
    args = usage.parse(grammar, line.all("<args>"), options_first=command.options_first)
    with Session(app=line.value("-a"), cluster=line.value("-c"), environ=os.environ) as session:
        try:
            return commands.function(command)(args, session) or 0
        except Failure as failure:
            from .hints import next_step

            return _failed(str(failure), next_step(failure, line.text("<command>"), session))


def _failed(text: str, hint: str) -> int:
    """Say what is wrong and what to do about it; return the exit code."""
    if text:
        tell(in_colour(text, RED, sys.stderr))
    if hint:
        tell(f"hint: {hint}")
    return 1


def _prepare_streams() -> None:
    """Let a line be out as soon as it is printed, whoever reads it, and nothing be unprintable.

    Whoever started us may have closed some of the three descriptors. They are filled in, since the next thing we
    open would get their numbers: a connection to the controller must not be somebody's standard output.
    """
    while (filler := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(filler)
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)


def _printable(word: str) -> str:
    """Return an argument as proper text: bytes that are not UTF-8 become U+FFFD, as they would on the wire."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _end_as_a_filter_does() -> int:
    """Die of SIGPIPE, so that ``flynn log | head`` ends silently and the shell sees why."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
