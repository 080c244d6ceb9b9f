"""The help text as a grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import usage
from flynn_aio.cli.commands import COMMANDS, command_help
from flynn_aio.cli.usage import HelpAsked, UsageError

TEXT = """usage: flynn show [-a] [-q|--quiet] [-t <type>]
       flynn show add http [-n <lines>] [--all-of-it] <name> [<path>]
       flynn show kill [options] [--] <job>...

What it shows.

Options:
    -a, --all                  everything
    -q, --quiet                less
    -t, --process-type=<type>  one type
    -n <lines>                 how many [default: 7]
    --all-of-it                even more
"""
GRAMMAR = usage.read(TEXT)
USAGE = TEXT.partition("\n\n")[0]


@pytest.mark.parametrize(
    ("argv", "words", "given_options", "given_arguments"),
    [
        ([], (), {}, {}),
        (["-aq"], (), {"--all": "", "--quiet": ""}, {}),
        (["-aqt", "web"], (), {"--all": "", "--quiet": "", "--process-type": "web"}, {}),
        (["-tweb"], (), {"--process-type": "web"}, {}),
        (["-t", ""], (), {"--process-type": ""}, {}),
        (["--process-type=a=b"], (), {"--process-type": "a=b"}, {}),
        (["--pro", "web"], (), {"--process-type": "web"}, {}),
        (["--qui"], (), {"--quiet": ""}, {}),
        (["--all"], (), {"--all": ""}, {}),  # exact beats being a prefix of --all-of-it
        (["add", "http", "x"], ("add", "http"), {}, {"<name>": ("x",)}),
        (["-n5", "add", "http", "x", "y"], ("add", "http"), {"-n": "5"}, {"<name>": ("x",), "<path>": ("y",)}),
        (["add", "-n", "5", "http", "x"], ("add", "http"), {"-n": "5"}, {"<name>": ("x",)}),
        (["kill", "a", "-q", "b"], ("kill",), {"--quiet": ""}, {"<job>": ("a", "b")}),
        (["kill", "a", "--", "-q", "b"], ("kill",), {}, {"<job>": ("a", "-q", "b")}),
        (["kill", "-"], ("kill",), {}, {"<job>": ("-",)}),
    ],
)
def test_what_fits_is_understood(argv, words, given_options, given_arguments):
    args = usage.parse(GRAMMAR, argv)
    unset = {"--all": None, "--quiet": None, "--process-type": None, "-n": "7", "--all-of-it": None}
    assert args.words == words
    assert args.options == unset | given_options
    assert args.arguments == {"<name>": (), "<path>": (), "<job>": ()} | given_arguments


@pytest.mark.parametrize(
    ("argv", "first_line"),
    [
        (["frob"], None),
        (["add"], None),
        (["add", "http"], None),
        (["add", "http", "a", "b", "c"], None),
        (["kill"], None),
        (["--bogus"], None),
        (["-x"], None),
        (["-n5"], None),  # not an option of that usage line
        (["--a"], "--a is not a unique prefix: --all, --all-of-it?"),
        (["-t"], "-t requires argument"),
        (["--process-type"], "--process-type requires argument"),
        (["--quiet=yes"], "--quiet must not have an argument"),
    ],
)
def test_what_does_not_fit_is_answered_with_the_usage_lines(argv, first_line):
    with pytest.raises(UsageError) as caught:
        usage.parse(GRAMMAR, argv)
    assert str(caught.value) == (f"{first_line}\n{USAGE}" if first_line else USAGE)


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["-ah"], ["frob", "--help"], ["--bogus", "-h"]])
def test_asking_for_help_wins_over_mistakes(argv):
    with pytest.raises(HelpAsked) as caught:
        usage.parse(GRAMMAR, argv)
    assert str(caught.value) == TEXT


def test_options_first_leaves_the_rest_to_somebody_else():
    grammar = usage.read(
        "usage: flynn run [-d] [--] <command> [<argument>...]\n\nOptions:\n  -d, --detached  do not wait\n"
    )
    args = usage.parse(grammar, ["-d", "ls", "-l", "--", "--help"], options_first=True)
    assert args.flag("--detached")
    assert args.text("<command>") == "ls"
    assert args.all("<argument>") == ("-l", "--", "--help")
    assert usage.parse(grammar, ["--", "-x"], options_first=True).text("<command>") == "-x"


def test_a_misspelt_name_in_a_command_does_not_go_unnoticed():
    args = usage.parse(GRAMMAR, [])
    with pytest.raises(KeyError):
        args.flag("--al")
    with pytest.raises(KeyError):
        args.text("<nam>")


WORDS = ["-a", "-q", "-t", "--all", "--", "-", "add", "http", "kill", "x", "-n5", "--pro=1", "-tq"]


def parsed_or_refused(argv):
    try:
        return usage.parse(GRAMMAR, argv)
    except UsageError as wrong:
        return str(wrong)


@given(st.lists(st.sampled_from(WORDS)))
def test_any_arguments_either_fit_or_get_the_usage(argv):
    result = parsed_or_refused(argv)
    if isinstance(result, str):
        assert result.endswith(USAGE)
    else:
        assert all(each in argv for each in result.words)
        assert all(place in argv for places in result.arguments.values() for place in places)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_grammar_whose_options_are_all_explained(name):
    text = command_help(COMMANDS[name])
    grammar = usage.read(text)
    assert all(line.startswith(("usage: flynn " + name, "       flynn " + name)) for line in grammar.usage.split("\n"))
    described = text.partition("Options:")[2]
    for option in grammar.options:
        assert option.name in described
    offered = frozenset[str]().union(*(line.options for line in grammar.lines))
    assert offered == {option.name for option in grammar.options}
