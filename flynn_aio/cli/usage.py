"""A command's help text is its grammar.

Flynn's client reads its usage lines with docopt, and people and scripts know its rules: long options by
any unique prefix, short ones combined and with the value attached, options anywhere among the arguments,
`--` to end them, and a mistake answered with the usage lines alone. We keep the idea and the rules: the text a
person reads is what the program obeys, so neither can lie about the other. Pure.

The usual option parsers were tried first. click matches neither prefixes nor several usage lines per command,
prints errors of its own, and importing it takes as long as everything else `flynn ps` does before it connects.

A usage line holds words, options in brackets, and arguments:

    usage: flynn env set [-t <proc>] <var>=<val>...

and a line anywhere in the text that starts with a dash describes an option:

    -t, --process-type=<proc>  what it does [default: web]

Source: `cli.md` §1; Flynn `cli/main.go`, `github.com/flynn/go-docopt`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class UsageError(Exception):
    """The arguments fit no usage line. The text, for standard output, is what the person should read.

    Args:
        hint: the word that may have been meant, for standard error.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class HelpAsked(Exception):
    """`-h` or `--help` was among the arguments. The text is the whole help."""


class Option(NamedTuple):
    """An option under its canonical name: the long one where there is one, dashes included."""

    name: str
    short: str = ""
    takes_value: bool = False
    default: str | None = None


class Argument(NamedTuple):
    """A place for arguments, named as in the text: ``<job>``."""

    name: str
    optional: bool
    repeated: bool


class Line(NamedTuple):
    """One usage line: the words it starts with, the options it allows, and its arguments in order."""

    words: tuple[str, ...]
    options: frozenset[str]
    arguments: tuple[Argument, ...]

    def fits(self, given: Sequence[str]) -> bool:
        """Tell whether these words and arguments are what the line asks for."""
        count = len(given) - len(self.words)
        least = sum(not argument.optional for argument in self.arguments)
        endless = any(argument.repeated for argument in self.arguments)
        return (
            tuple(given[: len(self.words)]) == self.words
            and count >= least
            and (endless or count <= len(self.arguments))
        )


class Grammar(NamedTuple):
    """What a help text allows. `usage` is its usage lines as written."""

    help: str
    usage: str
    options: tuple[Option, ...]
    lines: tuple[Line, ...]


class Args(NamedTuple):
    """Arguments that fitted a usage line.

    Attributes:
        words: the words of that line; ``("log-sink", "add", "syslog")``.
        options: every option of the command by canonical name; ``None`` when it was not given and has no default.
        arguments: every argument of the command by name; empty when not given.
    """

    words: tuple[str, ...]
    options: Mapping[str, str | None]
    arguments: Mapping[str, tuple[str, ...]]

    def flag(self, name: str) -> bool:
        """Tell whether the option was given."""
        return self.options[name] is not None

    def value(self, name: str) -> str:
        """Return the option's value; empty when it was not given."""
        return self.options[name] or ""

    def text(self, name: str) -> str:
        """Return the argument; empty when it was left out."""
        return next(iter(self.arguments[name]), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return the arguments of a repeated place."""
        return self.arguments[name]


_HELP = frozenset({"-h", "--help"})
_DESCRIPTION = re.compile(r"^\s*(-\S.*)$", re.MULTILINE)
_DEFAULT = re.compile(r"\[default: (.*)\]", re.IGNORECASE)
_OPTION = re.compile(r"--?[a-z][a-z-]*", re.IGNORECASE)
_TOKEN = re.compile(r"<[^>]*>(?:=<[^>]*>)?|\.\.\.|\[options\]|--?[a-z][a-z-]*|[a-z][a-z-]*|[][]", re.IGNORECASE)


def read(text: str) -> Grammar:
    """Return the grammar of a help text that starts with ``usage:``."""
    usage = text.split("\n\n", 1)[0].rstrip()
    lines = usage.removeprefix("usage:").splitlines()
    options = {option.name: option for option in map(_described, _DESCRIPTION.findall(text))}
    for line in lines:
        for option in _mentioned(line):
            if _named(option.name, options.values()) is None:
                options[option.name] = option
    known = tuple(options.values())
    return Grammar(text, usage, known, tuple(_line(line, known) for line in lines))


def parse(grammar: Grammar, argv: Sequence[str], *, options_first: bool = False) -> Args:
    """Return `argv`, without program and command, as the grammar sees it.

    Args:
        options_first: options end at the first argument; what follows belongs to another program.

    Raises:
        UsageError: it fits no usage line.
        HelpAsked: it asks for help, whatever else it says.
    """
    given: dict[str, str] = {}
    places: list[str] = []
    rest = list(argv)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            places += rest
            break
        if arg.startswith("-") and arg != "-":
            given.update(_options(arg, rest, grammar))
            continue
        places.append(arg)
        if options_first:
            places += rest
            break
    if not given.keys().isdisjoint(_HELP):
        raise HelpAsked(grammar.help)
    line = next((line for line in grammar.lines if line.fits(places) and line.options.issuperset(given)), None)
    if line is None:
        raise UsageError(grammar.usage, hint=_meant(grammar, given, places))
    return Args(
        line.words,
        {option.name: given.get(option.name, option.default) for option in grammar.options},
        _placed(grammar, line, places[len(line.words) :]),
    )


def awaits(word: str, grammar: Grammar) -> Option | None:
    """Return the option in a word, which starts with a dash, whose value is the next word; ``None`` if none is."""
    try:
        for name, attached in _spelled(word, grammar):
            option = _named(name, grammar.options)
            if option and option.takes_value:
                return option if attached is None else None
    except UsageError:  # it may be several
        pass
    return None


def _meant(grammar: Grammar, given: Iterable[str], places: Sequence[str]) -> str:
    """Return a question about the first option or word that is unknown and close to a known one."""
    from .similar import did_you_mean

    options = {name for option in grammar.options for name in (option.name, option.short) if name}
    for name in given:
        if name not in options and name.startswith("--") and (guess := did_you_mean(name, options)):
            return guess
    words = {line.words[0] for line in grammar.lines if line.words}
    return did_you_mean(places[0], words) if places and places[0] not in words else ""


def _placed(grammar: Grammar, line: Line, places: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return every argument of the command with what was given for it."""
    placed = {argument.name: tuple[str, ...]() for each in grammar.lines for argument in each.arguments}
    for index, argument in enumerate(line.arguments):
        placed[argument.name] = tuple(places[index:] if argument.repeated else places[index : index + 1])
    return placed


def _options(arg: str, rest: list[str], grammar: Grammar) -> Iterator[tuple[str, str]]:
    """Yield the options one word gives, by canonical name, with their values; a value may be taken from `rest`.

    An option nobody knows comes out under the name it was given, and thus fits no usage line.
    """
    for name, attached in _spelled(arg, grammar):
        option = _named(name, grammar.options)
        if option is None:
            yield name, ""
        elif not option.takes_value:
            if attached and name.startswith("--"):
                raise UsageError(f"{name} must not have an argument\n{grammar.usage}")
            yield option.name, ""
        elif attached is None and not rest:
            raise UsageError(f"{name} requires argument\n{grammar.usage}")
        else:
            yield option.name, rest.pop(0) if attached is None else attached
            return  # the letters behind it were its value


def _spelled(arg: str, grammar: Grammar) -> Iterator[tuple[str, str | None]]:
    """Yield the names one word spells, each with what is attached to it: its value, or further letters."""
    if arg.startswith("--"):
        name, equals, value = arg.partition("=")
        names = [option.name for option in grammar.options if option.name.startswith("--")]
        similar = [name] if name in names else [each for each in names if each.startswith(name)]
        if len(similar) > 1:
            raise UsageError(f"{name} is not a unique prefix: {', '.join(sorted(similar))}?\n{grammar.usage}")
        yield similar[0] if similar else name, value if equals else None
        return
    for index, letter in enumerate(arg[1:], start=2):
        yield "-" + letter, arg[index:] or None


def _named(name: str, options: Iterable[Option]) -> Option | None:
    return next((option for option in options if name in (option.name, option.short)), None)


def _described(description: str) -> Option:
    """Return the option of a line like ``-t, --type=<type>  what it does [default: web]``."""
    head, _, tail = description.partition("  ")
    names = _OPTION.findall(re.sub(r"<[^>]*>", "", head))
    long = next((name for name in names if name.startswith("--")), "")
    short = next((name for name in names if not name.startswith("--")), "")
    default = _DEFAULT.search(tail)
    return Option(long or short, short, "<" in head, default[1] if default else None)


def _mentioned(line: str) -> Iterator[Option]:
    """Return the options a usage line names; one takes a value when an argument follows inside the brackets."""
    tokens = _TOKEN.findall(line)
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token.startswith("-"):
            yield Option(token, "" if token.startswith("--") else token, following.startswith("<"))


def _line(text: str, options: Sequence[Option]) -> Line:
    words: list[str] = []
    allowed: set[str] = set()
    arguments: list[Argument] = []
    depth = 0
    previous = ""
    for token in _TOKEN.findall(text):
        if token == "[options]":
            allowed.update(option.name for option in options)
        elif token in "[]":
            depth += 1 if token == "[" else -1
        elif token.startswith("-"):
            option = _named(token, options)
            if option:
                allowed.add(option.name)
        elif token == "...":
            arguments[-1] = arguments[-1]._replace(repeated=True)
        elif not token.startswith("<"):
            words.append(token)
        elif not previous.startswith("-"):  # else it is the value of that option
            arguments.append(Argument(token, optional=depth > 0, repeated=False))
        previous = token
    return Line(tuple(words[2:]), frozenset(allowed), tuple(arguments))  # without `flynn` and the command
