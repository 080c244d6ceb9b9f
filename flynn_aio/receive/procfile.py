"""Procfile and `.release`: which process types a slug has, and their commands.

Pure. Both files are YAML mappings, as upstream read them, so YAML's quoting and comments
hold and the order of keys is kept. They are read as nodes, not as values: a command is
its text, even when YAML would make a number or a truth value of it.

Source: `build.md` §3; Flynn `slugbuilder/builder/build.sh`, `slugrunner/runner/init`.
"""

import re

import yaml

from ..errors import ValidationError

TYPES_MAX = 100
"""Process types of one app; more is a file that is no Procfile."""
TYPE_NAME_MAX = 63
"""A type ends up in a service name, which is a DNS label."""

_TYPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EXAMPLE = "write one `TYPE: COMMAND` per line, such as `web: python app.py`"


def parse_procfile(data: bytes) -> dict[str, str]:
    """Return the commands of a Procfile: process type to command, in the file's order.

    Raises:
        ValidationError: not UTF-8, not YAML, not a mapping, a type twice or with a bad name, or
            a command that is no text. The message names the line.
    """
    root = _compose(data, "Procfile")
    if root is None:
        return {}
    return _commands(root, "Procfile")


def parse_release(data: bytes) -> dict[str, str]:
    """Return the default process types of what a buildpack's `bin/release` printed; they may be none.

    Raises:
        ValidationError: as `parse_procfile`.
    """
    root = _compose(data, ".release")
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ValidationError("what the buildpack's bin/release printed is not a YAML mapping")
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "default_process_types" and not _is_null(value):
            return _commands(value, "default_process_types")
    return {}


def _compose(data: bytes, what: str) -> yaml.Node | None:
    try:
        return yaml.compose(data.decode("utf-8-sig"), Loader=_LOADER)
    except UnicodeDecodeError as exc:
        raise ValidationError(f"{what} is not UTF-8 text (byte {exc.start}); {_EXAMPLE}") from exc
    except yaml.MarkedYAMLError as exc:
        line = f" line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ValidationError(
            f"{what}{line} is not YAML: {exc.problem}; {_EXAMPLE}, and quote a command "
            "that has a colon followed by a space, a tab in front, or a quote at its start"
        ) from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValidationError(f"{what} is not YAML: {str(exc).splitlines()[0]}; {_EXAMPLE}") from exc


def _commands(node: yaml.Node, what: str) -> dict[str, str]:
    if not isinstance(node, yaml.MappingNode):
        raise ValidationError(f"{what} is not a mapping of process types to commands; {_EXAMPLE}")
    if len(node.value) > TYPES_MAX:
        raise ValidationError(
            f"{what} has {len(node.value)} process types, and {TYPES_MAX} are the most an app can have"
        )
    commands: dict[str, str] = {}
    for key, value in node.value:
        where = f"{what} line {key.start_mark.line + 1}"
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if not _TYPE_NAME.fullmatch(name) or len(name) > TYPE_NAME_MAX:
            raise ValidationError(
                f"{where}: {name!r} is no process type: letters, digits, `-` and `_`, at most {TYPE_NAME_MAX}"
            )
        if name in commands:
            raise ValidationError(f"{where}: the process type {name!r} is there twice; remove one of them")
        if not isinstance(value, yaml.ScalarNode):
            raise ValidationError(f"{where}: the command of {name!r} is not a text; {_EXAMPLE}")
        if _is_null(value) or not value.value.strip():
            raise ValidationError(f"{where}: the process type {name!r} has no command")
        commands[name] = value.value
    return commands


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"
