"""flynn.toml, `FLYNN_AIO_*` and flags -> frozen `Settings`. The only reader of files and environment.

A settings field with a default is a key of its section; one without is derived here, from the
data directory or from another key. Later sources win: file, environment, flags. Whatever is
wrong is one sentence with the key, the value, what is allowed, and where it stands.
"""

import dataclasses
import difflib
import ipaddress
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import tomli

from .model import is_domain
from .settings import (
    HOST_FEATURES,
    BuildSettings,
    ControllerSettings,
    DiscoverdSettings,
    EngineSettings,
    ImageSettings,
    LogSettings,
    ProviderSettings,
    RouterSettings,
    SchedulerSettings,
    Settings,
    StoreSettings,
    appliance_id,
)

DEFAULT_DATA_DIR = Path("/var/lib/flynn-aio")
DEFAULT_DOMAIN = "flynn.localhost"
SYSTEM_FILE = Path("/etc/flynn-aio/flynn.toml")
OPERATOR_KEY = "cluster.key"
ENV_PREFIX = "FLYNN_AIO_"
CONFIG_ENV = f"{ENV_PREFIX}CONFIG"

SECTIONS: dict[str, type] = {
    "store": StoreSettings,
    "engine": EngineSettings,
    "logs": LogSettings,
    "discoverd": DiscoverdSettings,
    "scheduler": SchedulerSettings,
    "router": RouterSettings,
    "build": BuildSettings,
    "providers": ProviderSettings,
    "images": ImageSettings,
    "controller": ControllerSettings,
}
APPLIANCE_KEYS = ("data_dir", "domain")

_PORT_RANGE = range(65536)


class ConfigError(Exception):
    """A setting is wrong; the message is the one line to print. Nothing was started."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, and where."""

    value: Any
    source: str


def load(
    *, file: Path | None = None, environ: Mapping[str, str], flags: Mapping[str, object | None] | None = None
) -> Settings:
    """Read every source and return the whole configuration.

    Args:
        file: a TOML file that must exist; ``None`` reads `FLYNN_AIO_CONFIG` or, if it is there, `SYSTEM_FILE`.
        environ: `FLYNN_AIO_SECTION_KEY` sets ``section.key``; `FLYNN_AIO_DATA_DIR` and `FLYNN_AIO_DOMAIN` are short.
        flags: dotted keys to values of the command line; ``None`` means not given.

    Raises:
        ConfigError: a key is unknown or a value not allowed.
    """
    given = _from_file(file, environ) | _from_environment(environ)
    given |= {key: Given(value, _flag(key)) for key, value in (flags or {}).items() if value is not None}
    for key in given:
        _known(key, given[key])
    data_dir = _data_dir(given.get("appliance.data_dir"))
    domain = _domain(given.get("appliance.domain"))
    values = {section: _section(section, given) for section in SECTIONS}
    keys, run_dir, slugs = data_dir / "keys", data_dir / "run", data_dir / "slugs"
    engine = EngineSettings(
        appliance=appliance_id(data_dir),
        run_dir=run_dir,
        log_dir=data_dir / "logs",
        slug_dir=slugs,
        layer_dir=data_dir / "layers",
        volume_dir=data_dir / "volumes",
        **values["engine"],
    )
    return Settings(
        data_dir=data_dir,
        domain=domain,
        store=StoreSettings(path=data_dir / "flynn.db", **values["store"]),
        engine=engine,
        logs=LogSettings(dir=data_dir / "logs", **values["logs"]),
        discoverd=DiscoverdSettings(address=engine.gateway, **values["discoverd"]),
        scheduler=SchedulerSettings(
            slug_dir=slugs, gateway=engine.gateway, host_features=engine.host_features, **values["scheduler"]
        ),
        router=RouterSettings(certificate=keys / "leaf.pem", key=keys / "leaf.key", **values["router"]),
        build=BuildSettings(
            repo_dir=data_dir / "repos",
            slug_dir=slugs,
            cache_dir=data_dir / "caches",
            work_dir=data_dir / "build",
            run_dir=run_dir,
            gateway=engine.gateway,
            **values["build"],
        ),
        providers=ProviderSettings(ca_certificate=keys / "ca.pem", **values["providers"]),
        images=ImageSettings(layer_dir=data_dir / "layers", **values["images"]),
        controller=ControllerSettings(
            ca_certificate=keys / "ca.pem",
            operator_key=keys / OPERATOR_KEY,
            gateway=engine.gateway,
            host_features=engine.host_features,
            max_jobs=engine.max_jobs,
            slug_dir=slugs,
            **values["controller"],
        ),
        sources={key: one.source for key, one in given.items()},
    )


def keys_of(section: str) -> dict[str, dataclasses.Field[Any]]:
    """Return the keys a section has in `flynn.toml`: the fields with a default."""
    return {
        field.name: field
        for field in dataclasses.fields(SECTIONS[section])
        if field.default is not MISSING or field.default_factory is not MISSING
    }


# Where values come from


def _from_file(file: Path | None, environ: Mapping[str, str]) -> dict[str, Given]:
    path = file or (Path(environ[CONFIG_ENV]) if environ.get(CONFIG_ENV) else None)
    if path is None:
        if not SYSTEM_FILE.exists():
            return {}
        path = SYSTEM_FILE
    try:
        text = path.read_text()
        parsed = tomli.loads(text)
    except OSError as exc:
        raise ConfigError(f"reading settings: {path}: {exc.strerror}") from exc
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"reading settings: {path} is not TOML: {exc}") from exc
    given = {}
    for section, content in parsed.items():
        if not isinstance(content, dict):
            raise ConfigError(f"{path}:{_line(text, '', section)}: {section!r} must stand in a section, e.g. [router]")
        for key, value in content.items():
            given[f"{section}.{key}"] = Given(value, f"{path}:{_line(text, section, key)}")
    return given


def _line(text: str, section: str, key: str) -> int:
    """Return the line a key stands on; the parser does not tell."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            current = header[1]
        if current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return 1


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    given = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or name == CONFIG_ENV:
            continue
        short = name.removeprefix(ENV_PREFIX).lower()
        section, _, key = short.partition("_")
        dotted = f"appliance.{short}" if short in APPLIANCE_KEYS else f"{section}.{key}"
        given[dotted] = Given(value, f"the environment's {name}")
    return given


def _flag(key: str) -> str:
    return "--" + key.partition(".")[2].replace("_", "-")


def _known(key: str, given: Given) -> None:
    section, _, name = key.partition(".")
    allowed = APPLIANCE_KEYS if section == "appliance" else tuple(keys_of(section)) if section in SECTIONS else None
    if allowed is None:
        raise ConfigError(
            f"{given.source}: unknown section {section!r} (of key {key!r}); "
            f"sections are {', '.join(['appliance', *SECTIONS])}"
        )
    if name not in allowed:
        close = difflib.get_close_matches(name, allowed, 1)
        raise ConfigError(
            f"{given.source}: unknown key {key!r} (its value is {given.value!r}); "
            f"{f'is it {close[0]}? ' if close else ''}[{section}] has {', '.join(allowed)}"
        )


# What values may be


def _section(section: str, given: Mapping[str, Given]) -> dict[str, Any]:
    hints = typing.get_type_hints(SECTIONS[section])
    return {
        name: _value(f"{section}.{name}", given[f"{section}.{name}"], hints[name])
        for name in keys_of(section)
        if f"{section}.{name}" in given
    }


def _value(key: str, given: Given, wanted: Any) -> Any:
    allowed, parse = _rule(key, wanted)
    try:
        return parse(given.value)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(f"{given.source}: {key} = {given.value!r} is not allowed; it must be {allowed}") from None


def _rule(key: str, wanted: Any) -> tuple[str, Callable[[Any], Any]]:
    """Return what is allowed, in words, and the function that accepts it."""
    if key.endswith("host_features"):
        return f"a list of some of {', '.join(HOST_FEATURES)}", _host_features
    if key.endswith("_port"):
        return "a port from 0 (any free one) to 65535", _port
    if wanted is int:
        return "a whole number of at least 1", _positive_int
    if wanted is float:
        return "a number of seconds above 0", _positive_float
    if wanted is ipaddress.IPv4Network:
        return "a private IPv4 network of at least 16 addresses, e.g. 100.100.0.0/16", _network
    if isinstance(wanted, types.UnionType):
        return "an absolute path, or empty for none", _optional_path
    if wanted is str:
        return "a text", _text
    return "a list of texts", _texts


def _positive_int(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if type(number) is not int or number < 1:
        raise ValueError
    return number


def _port(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if type(number) is not int or number not in _PORT_RANGE:
        raise ValueError
    return number


def _positive_float(value: Any) -> float:
    number = float(value) if isinstance(value, str) else value
    if type(number) not in (int, float) or not 0 < number < 1e9:
        raise ValueError
    return float(number)


def _network(value: Any) -> ipaddress.IPv4Network:
    network = ipaddress.IPv4Network(_text(value))
    if network.num_addresses < 16 or network.is_multicast or network.is_loopback:
        raise ValueError
    return network


def _optional_path(value: Any) -> Path | None:
    path = Path(_text(value))
    if value and not path.is_absolute():
        raise ValueError
    return path if value else None


def _text(value: Any) -> str:
    if type(value) is not str or "\0" in value:
        raise ValueError
    return value


def _host_features(value: Any) -> tuple[str, ...]:
    features = _texts(value)
    if not set(features) <= set(HOST_FEATURES):
        raise ValueError
    return features


def _texts(value: Any) -> tuple[str, ...]:
    items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if type(items) is not list:
        raise ValueError
    return tuple(_text(item) for item in items)


def _data_dir(given: Given | None) -> Path:
    if given is None:
        return DEFAULT_DATA_DIR
    if not given.value or "\0" in str(given.value):
        raise ConfigError(f"{given.source}: appliance.data_dir = {given.value!r} is not allowed; it must be a path")
    return Path(str(given.value)).expanduser().absolute()


def _domain(given: Given | None) -> str:
    if given is None:
        return DEFAULT_DOMAIN
    domain = str(given.value).lower().rstrip(".")
    if not is_domain(domain):
        raise ConfigError(
            f"{given.source}: appliance.domain = {given.value!r} is not allowed; it must be a host name, "
            "e.g. flynn.example.com"
        )
    return domain
