"""Shell completion: what may come next on a command line.

The shell calls ``flynn complete -- WORD...`` with the words typed so far, the last of them unfinished, and gets one
candidate per line. What is possible at a place is read from the same help texts that the program obeys, so a
new command completes without a line here; only what ids and names stand for is in `_VALUES`.

The functions up to `complete` are pure; `complete` asks the controller, quietly and within `ANSWER_S`.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from . import commands, usage
from .client import part
from .failure import Failure
from .session import Session
from .talk import show_raw
from .usage import Args, Grammar, Line, Option

ANSWER_S = 2.0  # a person who pressed Tab waits no longer

SCRIPTS = {
    "bash": """\
_flynn() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(flynn complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _flynn flynn
""",
    "zsh": """\
#compdef flynn
_flynn() {
    local -a found
    found=("${(@f)$(flynn complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then
        compadd -S '' -- ${(M)found:#*=}
        compadd -- ${found:#*=}
    else
        _files
    fi
}
compdef _flynn flynn
""",
    "fish": """\
function __flynn_complete
    set -l words (commandline -opc) (commandline -ct)
    flynn complete -- $words[2..-1] 2>/dev/null
end
complete -c flynn -a '(__flynn_complete)'
""",
}


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
        raise Failure(f"no completion for {args.text('<shell>')}: there is {', '.join(SCRIPTS)}")
    show_raw(script)


class Place(NamedTuple):
    """What may stand where the unfinished word is.

    Attributes:
        words: words and options of the language itself.
        command: the command it belongs to; empty for `flynn`'s own options.
        subcommand: the words after it, as far as they are typed.
        value: the name of an argument or of an option's value, like ``<app>``; empty when none may stand here.
    """

    words: tuple[str, ...] = ()
    command: str = ""
    subcommand: tuple[str, ...] = ()
    value: str = ""


def place(typed: Sequence[str]) -> Place:
    """Return what may come where the last of the typed words is. It may be empty, or half a word.

    Args:
        typed: the words after ``flynn``.
    """
    top = usage.read(commands.help_text())
    *before, unfinished = typed or ("",)
    rest = list(before)
    while rest and rest[0].startswith("-"):
        option = _option(top, rest.pop(0))
        if option and option.takes_value:
            if not rest:
                return Place(value=_value_of(top, option))
            rest.pop(0)
    if rest:
        return _inside(rest[0], rest[1:], unfinished)
    if unfinished.startswith("-"):
        return Place(words=_spellings(top.options))
    return Place(words=tuple(name for name, each in commands.COMMANDS.items() if each.summary))


def _inside(name: str, typed: Sequence[str], unfinished: str) -> Place:
    """Return what may come inside a command."""
    command = commands.COMMANDS.get(name)
    if command is None or not command.place:
        return Place()
    grammar = usage.read(commands.command_help(command))
    places: list[str] = []
    rest = list(typed)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return Place(command=name)
        option = _option(grammar, word) if word.startswith("-") else None
        if option is None:
            places.append(word)
        elif option.takes_value and "=" not in word:
            if not rest:
                return Place(command=name, subcommand=_words_of(grammar, places), value=_value_of(grammar, option))
            rest.pop(0)
    if places and command.options_first:
        return Place(command=name)  # the rest is for another program
    lines = [line for line in grammar.lines if _may_become(line, places)]
    if unfinished.startswith("-"):
        allowed = {each for line in lines for each in line.options}
        return Place(words=_spellings([option for option in grammar.options if option.name in allowed]))
    words = {line.words[len(places)] for line in lines if len(line.words) > len(places)}
    complete = [line for line in lines if len(line.words) <= len(places)]
    longest = max((len(line.words) for line in complete), default=0)
    values = [value for line in complete if len(line.words) == longest and (value := _argument(line, len(places)))]
    return Place(tuple(sorted(words)), name, tuple(places[:longest]), next(iter(values), ""))


def _may_become(line: Line, places: Sequence[str]) -> bool:
    both = min(len(line.words), len(places))
    return line.words[:both] == tuple(places[:both])


def _words_of(grammar: Grammar, places: Sequence[str]) -> tuple[str, ...]:
    fitting = (line.words for line in grammar.lines if line.words == tuple(places[: len(line.words)]))
    return max(fitting, key=len, default=())


def _argument(line: Line, index: int) -> str:
    """Return the name of the argument at a place; empty when the line has none there."""
    at = index - len(line.words)
    if at < len(line.arguments):
        return line.arguments[at].name
    return line.arguments[-1].name if line.arguments and line.arguments[-1].repeated else ""


def _option(grammar: Grammar, word: str) -> Option | None:
    name = word.partition("=")[0]
    return next((option for option in grammar.options if name in (option.name, option.short)), None)


def _spellings(options: Sequence[Option]) -> tuple[str, ...]:
    return tuple(sorted(option.name for option in options))


def _value_of(grammar: Grammar, option: Option) -> str:
    """Return how the help text calls the value of an option: ``<proc>`` of ``--process-type=<proc>``."""
    import re

    found = re.search(rf"{re.escape(option.name)}(?:=|\s)(<[^>]*>)", grammar.help)
    return found[1] if found else ""


def complete(args: Args, session: Session) -> None:
    """usage: flynn complete [--] <word>...

    Print what may come next; shells call this by themselves. See flynn help completion.
    """
    typed = args.all("<word>")
    wanted = place(typed)
    candidates = [*wanted.words]
    lister = _VALUES.get((wanted.command, wanted.value)) or _VALUES.get(("", wanted.value))
    if lister:
        try:
            with _deadline(ANSWER_S), Session(**_chosen(typed), environ=session.environ) as asked:
                candidates += lister(asked, wanted)
        except (Failure, OSError, TimeoutError):
            pass  # nothing to offer is an answer: the shell falls back to file names
    show_raw("".join(f"{each}\n" for each in candidates if each.startswith(typed[-1])))


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in this thread when the block takes longer."""

    def ring(signum: int, frame: object) -> None:
        raise TimeoutError

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


def _clusters(session: Session, wanted: Place) -> list[str]:
    return [each.name for each in session.config.clusters]


def _apps(session: Session, wanted: Place) -> list[str]:
    return [app["name"] for app in session.client.get("/apps")]


def _of_app(what: str, show: Callable[[dict[str, Any]], str]) -> "Lister":
    def listed(session: Session, wanted: Place) -> list[str]:
        return [show(each) for each in session.client.get(f"/apps/{part(session.app)}/{what}")]

    return listed


def _current(session: Session) -> dict[str, Any]:
    return dict(session.client.get(f"/apps/{part(session.app)}/release"))


def _types(session: Session, wanted: Place) -> list[str]:
    return sorted(_current(session).get("processes") or {})


def _scales(session: Session, wanted: Place) -> list[str]:
    return [f"{kind}=" for kind in _types(session, wanted)]


def _variables(session: Session, wanted: Place) -> list[str]:
    if wanted.command == "meta":
        return sorted(session.client.get(f"/apps/{part(session.app)}").get("meta") or {})
    return sorted(_current(session).get("env") or {})


def _live_jobs(session: Session, wanted: Place) -> list[str]:
    jobs = session.client.get(f"/apps/{part(session.app)}/jobs")
    return [job["id"] for job in jobs if job.get("id") and (wanted.command == "log" or job.get("state") != "down")]


def _commands(session: Session, wanted: Place) -> list[str]:
    return [name for name, each in commands.COMMANDS.items() if each.summary]


def _shells(session: Session, wanted: Place) -> list[str]:
    return list(SCRIPTS)


def _providers(session: Session, wanted: Place) -> list[str]:
    return [each["name"] for each in session.client.get("/providers")]


def _sinks(session: Session, wanted: Place) -> list[str]:
    return [each["id"] for each in session.client.get("/sinks")]


Lister = Callable[[Session, Place], list[str]]
_ids_of_releases = _of_app("releases", lambda each: str(each["id"]))

_VALUES: dict[tuple[str, str], Lister] = {  # (command, or empty for all of them, name of the value) -> who lists them
    ("", "<app>"): _apps,
    ("", "<cluster>"): _clusters,
    ("cluster", "<cluster-name>"): _clusters,
    ("cluster", "<id>"): _sinks,
    ("help", "<command>"): _commands,
    ("completion", "<shell>"): _shells,
    ("", "<proc>"): _types,
    ("ps", "<type>"): _types,
    ("log", "<type>"): _types,
    ("scale", "<type>=<spec>"): _scales,
    ("", "<var>"): _variables,
    ("", "<job>"): _live_jobs,
    ("log", "<id>"): _live_jobs,
    ("", "<release>"): _ids_of_releases,
    ("release", "<id>"): _ids_of_releases,
    ("deployment", "<id>"): _of_app("deployments", lambda each: str(each["id"])),
    ("route", "<id>"): _of_app("routes", lambda each: f"{each['type']}/{each['id']}"),
    ("volume", "<id>"): _of_app("volumes", lambda each: str(each["id"])),
    ("resource", "<resource>"): _of_app("resources", lambda each: str(each["id"])),
    ("resource", "<provider>"): _providers,
    ("provider", "<name>"): _providers,
}
