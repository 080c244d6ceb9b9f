"""What may stand at a place of a command line, read from the same help texts that the program obeys. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from . import commands, usage
from .usage import Grammar, Line, Option


class Place(NamedTuple):
    """What may stand where the unfinished word is.

    Attributes:
        words: words and options of the language itself.
        command: the command it belongs to; empty for `flynn`'s own options.
        subcommand: the words after it, as far as they are typed.
        given: the arguments after those.
        value: the name of an argument or of an option's value, like ``<app>``; empty when none may stand here.
        prefix: what the unfinished word has before that value: ``--type=``.
    """

    words: tuple[str, ...] = ()
    command: str = ""
    subcommand: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    value: str = ""
    prefix: str = ""


def place(typed: Sequence[str]) -> Place:
    """Return what may come where the last of the typed words is. It may be empty, or half a word.

    Args:
        typed: the words after ``flynn``.
    """
    top = usage.read(commands.help_text())
    *before, unfinished = typed or ("",)
    rest = list(before)
    while rest and rest[0].startswith("-"):
        option = usage.awaits(rest.pop(0), top)
        if option:
            if not rest:
                return Place(value=_value_of(top, option))
            rest.pop(0)
    if rest:
        return _inside(rest[0], rest[1:], unfinished)
    if unfinished.startswith("-"):
        return Place(words=_spellings(top.options))
    return Place(words=commands.listed())


def _inside(name: str, typed: Sequence[str], unfinished: str) -> Place:
    """Return what may come inside a command."""
    command = commands.COMMANDS.get(name)
    if command is None:
        return Place()
    grammar = usage.read(commands.command_help(command))
    places: list[str] = []
    rest = list(typed)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return Place(command=name)
        if not word.startswith("-") or word == "-":
            places.append(word)
        elif option := usage.awaits(word, grammar):
            if not rest:
                return _value(name, grammar, places, option)
            rest.pop(0)
    if places and command.options_first:
        return Place(command=name)  # the rest is for another program
    lines = [line for line in grammar.lines if _may_become(line, places)]
    if unfinished.startswith("--") and "=" in unfinished:
        head = unfinished.partition("=")[0]
        awaiting = usage.awaits(head, grammar)
        return _value(name, grammar, places, awaiting, prefix=f"{head}=") if awaiting else Place(command=name)
    if unfinished.startswith("-"):
        allowed = {each for line in lines for each in line.options}
        return Place(words=_spellings([option for option in grammar.options if option.name in allowed]))
    words = {line.words[len(places)] for line in lines if len(line.words) > len(places)}
    complete = [line for line in lines if len(line.words) <= len(places)]
    longest = max((len(line.words) for line in complete), default=0)
    values = [value for line in complete if len(line.words) == longest and (value := _argument(line, len(places)))]
    return Place(tuple(sorted(words)), name, tuple(places[:longest]), tuple(places[longest:]), next(iter(values), ""))


def _value(name: str, grammar: Grammar, places: Sequence[str], option: Option, *, prefix: str = "") -> Place:
    """Return the place of an option's value."""
    words = _words_of(grammar, places)
    return Place((), name, words, tuple(places[len(words) :]), _value_of(grammar, option), prefix)


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


def _spellings(options: Sequence[Option]) -> tuple[str, ...]:
    return tuple(sorted(option.name for option in options))


def _value_of(grammar: Grammar, option: Option) -> str:
    """Return how the help text calls the value of an option: ``<proc>`` of ``--process-type=<proc>``."""
    found = re.search(rf"{re.escape(option.name)}(?:=|\s)(<[^>]*>)", grammar.help)
    return found[1] if found else ""
