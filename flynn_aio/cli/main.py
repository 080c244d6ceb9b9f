"""The `flynn` program: one command line in, one exit code out.

Source: `cli.md` §1; Flynn `cli/main.go`, `pkg/shutdown`.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Our own modules are imported in here: Ctrl-C while they are is an interruption like any other.

    Args:
        argv: the arguments after the program's name; the process's own when ``None``.
    """
    _prepare_streams()
    words = [_printable(word) for word in (sys.argv[1:] if argv is None else argv)]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 0  # as Flynn's client does, which scripts have come to know
    except BrokenPipeError:
        return _end_as_a_filter_does()
    except OSError as exc:  # a full disk behind our output
        return _failed(str(exc), "")
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(argv: Sequence[str]) -> int:
    from .failure import Failure
    from .talk import show
    from .usage import HelpAsked, UsageError

    try:
        return _command(argv)
    except HelpAsked as asked:
        show(str(asked))
        return 0
    except UsageError as wrong:
        show(str(wrong))
        return _failed("", wrong.hint)
    except Failure as failure:  # before there was a command
        return _failed(str(failure), failure.hint)


def _command(argv: Sequence[str]) -> int:
    from . import commands, usage
    from .failure import NONSENSE, Failure
    from .session import Session

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
        except NONSENSE as exc:
            return _misunderstood(exc, session.asked_last)


def _misunderstood(exc: Exception, asked: str) -> int:
    """Blame the answer to what was asked last for an error that wrong types make; if nothing was, it is ours."""
    if not asked:
        raise exc
    return _failed(
        f"{asked}: the answer makes no sense to this flynn ({type(exc).__name__}: {exc})",
        "'flynn version' here and 'flynn-aio --version' on the server should say the same",
    )


def _failed(text: str, hint: str) -> int:
    """Say what is wrong and what to do about it; return the exit code."""
    from .talk import RED, in_colour, suggest, tell

    if text:
        tell(in_colour(text, RED, sys.stderr))
    if hint:
        suggest(hint)
    return 1


def _prepare_streams() -> None:
    """Let a line be out as soon as it is printed, whoever reads it, and nothing be unprintable or unreadable.

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
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")


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
