from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.errors import ValidationError
from flynn_aio.receive.procfile import TYPES_MAX, parse_procfile, parse_release


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("web: python app.py\n", {"web": "python app.py"}),
        ("web: a\nworker: b\nnew-web: c", {"web": "a", "worker": "b", "new-web": "c"}),
        ("# a comment\n\nweb: 'echo \"x: y\"'  # why\n", {"web": 'echo "x: y"'}),
        ("web: 8080\nyes: yes\n", {"web": "8080", "yes": "yes"}),
        ("\ufeffweb: x\r\nclock: y\r\n", {"web": "x", "clock": "y"}),
        ("web: |\n  one\n  two\n", {"web": "one\ntwo\n"}),
        ("web: sh -c 'exec app --port=$PORT'\n", {"web": "sh -c 'exec app --port=$PORT'"}),
        ("", {}),
        ("# nothing yet\n", {}),
    ],
)
def test_a_procfile_is_a_yaml_mapping_of_types_to_commands(text, commands):
    assert parse_procfile(text.encode()) == commands
    assert list(parse_procfile(text.encode())) == list(commands)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"- web\n- worker\n", "Procfile is not a mapping"),
        (b"python app.py\n", "Procfile is not a mapping"),
        (b"web: a\nweb: b\n", "Procfile line 2: the process type 'web' is there twice"),
        (b"web:\n", "Procfile line 1: the process type 'web' has no command"),
        (b"web: ''\n", "Procfile line 1: the process type 'web' has no command"),
        (b"web: [a, b]\n", "Procfile line 1: the command of 'web' is not a text"),
        (b"my web: a\n", "Procfile line 1: 'my web' is no process type"),
        (b"web: a\nwo/rker: b\n", "Procfile line 2: 'wo/rker' is no process type"),
        (b"? [a]\n: b\n", "Procfile line 1: '' is no process type"),
        (b"web: a: b\n", "Procfile line 1 is not YAML: mapping values are not allowed"),
        (b"web: a\n\tworker: b\n", "Procfile line 2 is not YAML"),
        (b"web: a\n---\nweb: b\n", "Procfile line 2 is not YAML"),
        (b"web: \xff\n", "Procfile is not UTF-8 text (byte 5)"),
        (b"web: \x00\n", "Procfile is not YAML"),
        (b"a" * 64 + b": b\n", "is no process type"),
        (b"[" * 5000, "is not"),
        ("".join(f"t{n}: x\n" for n in range(TYPES_MAX + 1)).encode(), f"has {TYPES_MAX + 1} process types"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(data, message):
    with pytest.raises(ValidationError) as caught:
        parse_procfile(data)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("---\ndefault_process_types:\n  web: bin/web\nconfig_vars:\n  A: b\naddons: []\n", {"web": "bin/web"}),
        ("--- {}\n", {}),
        ("", {}),
        ("default_process_types:\n", {}),
        ("default_process_types: {}\n", {}),
    ],
)
def test_default_types_come_from_what_bin_release_prints(text, types):
    assert parse_release(text.encode()) == types


@pytest.mark.parametrize("text", ["words", "- a", "default_process_types: web"])
def test_a_release_that_is_no_mapping_is_refused(text):
    with pytest.raises(ValidationError, match="not a"):
        parse_release(text.encode())


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
COMMANDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)


@given(st.dictionaries(NAMES, COMMANDS, max_size=10))
def test_what_yaml_writes_is_read_back(commands):
    quoted = "".join(yaml.safe_dump({name: command}, default_style='"') for name, command in commands.items())
    assert parse_procfile(quoted.encode()) == commands


@given(st.binary(max_size=200))
def test_any_bytes_are_commands_or_one_clear_error(data):
    with suppress(ValidationError):
        assert all(parse_procfile(data).values())
