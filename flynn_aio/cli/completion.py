"""Shell completion: `flynn completion` prints a shell's script, and that calls `flynn complete`.

The shell calls ``flynn complete -- WORD...`` with the words typed so far, the last of them unfinished, and gets one
candidate per line. What is possible at a place is read from help texts (`place`), so a new command completes
without a line here; only what ids and names stand for is in `candidates`.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .candidates import lister
from .failure import NONSENSE, Failure
from .place import place
from .session import Session
from .shells import SCRIPTS
from .talk import show_raw
from .usage import Args

ANSWER_S = 2.0  # a person who pressed Tab waits no longer


class _TooLate(Exception):
    """`ANSWER_S` is over. No `OSError`: the client takes those for the network's, and tries again."""


def completion(args: Args, session: Session) -> None:
    """usage: flynn completion <shell>

    Print the script that lets bash, zsh or fish complete flynn's commands, options, apps and ids.

    Examples:

        $ echo 'source <(flynn completion bash)' >> ~/.bashrc

        $ echo 'source <(flynn completion zsh)' >> ~/.zshrc

        $ flynn completion fish > ~/.config/fish/completions/flynn.fish
    """
    script = SCRIPTS.get(args.text("<shell>"))
    if script is None:
        raise Failure(f"no completion for {args.text('<shell>')}", hint=f"there is {', '.join(SCRIPTS)}")
    show_raw(script)


def complete(args: Args, session: Session) -> None:
    """usage: flynn complete [--] <word>...

    Print what may come next; shells call this by themselves. See flynn help completion.
    """
    typed = args.all("<word>")
    wanted = place(typed)
    candidates = [*wanted.words]
    listed = lister(wanted)
    if listed:
        try:
            with _deadline(ANSWER_S), Session(**_chosen(typed), environ=session.environ) as asked:
                candidates += [wanted.prefix + each for each in listed(asked, wanted)]
        except (Failure, OSError, _TooLate, *NONSENSE):
            pass  # nothing to offer is an answer: the shell falls back to file names
    show_raw("".join(f"{each}\n" for each in candidates if each.startswith(typed[-1])))


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise `_TooLate` when the block takes longer."""

    def ring(signum: int, frame: object) -> None:
        raise _TooLate

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _chosen(typed: Sequence[str]) -> dict[str, str]:
    """Return the app and the cluster among the global options typed."""
    chosen = {"app": "", "cluster": ""}
    words = iter(typed[:-1])
    for word in words:
        if not word.startswith("-"):
            break
        key = {"-a": "app", "-c": "cluster"}.get(word[:2])
        if key:
            chosen[key] = word[2:] or next(words, "")
    return chosen
