"""`~/.flynnrc`: the clusters this person knows, and which of them is the default.

Only this file knows the format. It is Flynn's own: TOML, written whole, with the keys in Flynn's order, so that
both clients can share one file. Keys are read in any case. The functions on `Config` are pure; `read`, `write`
and `add_cluster` touch files, and nothing else: the appliance uses them too.

Source: `cli.md` §2; Flynn `cli/config/config.go`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .failure import Failure
from .render import quoted
from .replacing import os_reason, replacing


class Cluster(NamedTuple):
    """One cluster. Empty text means not set; no `git_url` means that git is not used with it.

    Attributes:
        key: the controller key, which is also git's password.
        tls_pin: base64 of the SHA-256 of the server's leaf certificate (DER); replaces checking against CAs.
    """

    name: str
    controller_url: str
    git_url: str = ""
    image_url: str = ""
    key: str = ""
    tls_pin: str = ""
    oauth_url: str = ""
    docker_push_url: str = ""


class Config(NamedTuple):
    """The whole file."""

    default: str = ""
    clusters: tuple[Cluster, ...] = ()

    def named(self, name: str) -> Cluster | None:
        """Return the cluster of that name."""
        return next((cluster for cluster in self.clusters if cluster.name == name), None)


_FIELDS = {  # key in the file -> (field, whether it is written even when empty); in Flynn's order
    "Name": ("name", True),
    "OAuthURL": ("oauth_url", False),
    "Key": ("key", False),
    "TLSPin": ("tls_pin", False),
    "ControllerURL": ("controller_url", True),
    "GitURL": ("git_url", True),
    "ImageURL": ("image_url", True),
    "DockerPushURL": ("docker_push_url", False),
}


def cluster_at(domain: str, name: str, key: str, *, tls_pin: str = "") -> Cluster:
    """Return the cluster whose services answer under `domain`.

    Args:
        domain: the cluster's domain, with ``:port`` when that is not 443; a controller URL is understood, too.
    """
    base = domain.removeprefix("https://controller.")
    return Cluster(
        name,
        controller_url=f"https://controller.{base}",
        git_url=f"https://git.{base}",
        image_url=f"https://images.{base}",
        key=key,
        tls_pin=tls_pin,
    )


def added(config: Config, cluster: Cluster, *, default: bool = False, force: bool = False) -> Config:
    """Return `config` with `cluster` in it; the first cluster becomes the default.

    Args:
        force: replace the entry that has the same name or one of the same URLs.

    Raises:
        Failure: such an entry exists, or several do, even with `force`.
    """
    conflicts = {other: text for other in config.clusters if (text := _conflict(other, cluster))}
    if len(conflicts) > 1:
        raise Failure(
            "The cluster name and/or URLs conflict with multiple existing clusters.",
            hint="'flynn cluster' lists them, 'flynn cluster remove <name>' removes one",
        )
    if conflicts and not force:
        raise Failure(next(iter(conflicts.values())), hint="-f replaces it")
    clusters = (*(other for other in config.clusters if other not in conflicts), cluster)
    replaced_default = config.default in {other.name for other in conflicts}
    becomes_default = default or len(clusters) == 1 or replaced_default
    return Config(cluster.name if becomes_default else config.default, clusters)


def _conflict(existing: Cluster, new: Cluster) -> str:
    """Return what the two have in common that they must not; empty when nothing."""
    if existing.name == new.name:
        return f"Cluster {quoted(new.name)} already exists in ~/.flynnrc"
    for field in ("git_url", "controller_url", "docker_push_url"):
        url = getattr(new, field)
        if url and getattr(existing, field) == url:
            return f"A cluster with the URL {quoted(url)} already exists in ~/.flynnrc"
    return ""


def removed(config: Config, name: str) -> Config:
    """Return `config` without that cluster; if it was the default, the first of the others is."""
    clusters = tuple(cluster for cluster in config.clusters if cluster.name != name)
    default = clusters[0].name if config.default == name and clusters else config.default
    return Config(default, clusters)


def parse(text: str) -> Config:
    """Read the file's text.

    Raises:
        Failure: it is not TOML, or not what a `~/.flynnrc` looks like.
    """
    import tomllib

    try:
        top = {key.lower(): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as exc:
        raise Failure(f"error reading ~/.flynnrc: {exc}") from exc
    default, tables = top.get("default", ""), top.get("cluster", [])
    if (
        not isinstance(default, str)
        or not isinstance(tables, list)
        or not all(isinstance(each, dict) for each in tables)
    ):
        raise Failure("error reading ~/.flynnrc: it needs a text `default` and `[[cluster]]` tables")
    return Config(default, tuple(map(_cluster, tables)))


def _cluster(table: Mapping[str, object]) -> Cluster:
    lowered = {key.lower(): value for key, value in table.items()}
    values = {field: lowered.get(key.lower(), "") for key, (field, _) in _FIELDS.items()}
    wrong = next((key for key, (field, _) in _FIELDS.items() if not isinstance(values[field], str)), None)
    if wrong:
        raise Failure(f"error reading ~/.flynnrc: {wrong} of a cluster is not a text")
    return Cluster(**{field: str(value) for field, value in values.items()})


def text(config: Config) -> str:
    """Return the file's text; empty when no cluster is left."""
    if not config.clusters:
        return ""
    parts = [f"default = {_toml(config.default)}\n"]
    for cluster in config.clusters:
        parts.append("\n[[cluster]]\n")
        for key, (field, always) in _FIELDS.items():
            value = getattr(cluster, field)
            if value or always:
                parts.append(f"  {key} = {_toml(value)}\n")
    return "".join(parts) + "\n"


def _toml(value: str) -> str:
    """Return a TOML basic string."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(each) or (each if each >= " " else f"\\u{ord(each):04x}") for each in value) + '"'


def home(environ: Mapping[str, str]) -> Path:
    """Return the person's home directory."""
    return Path(environ.get("HOME") or os.path.expanduser("~"))


def path(environ: Mapping[str, str]) -> Path:
    """Return where the file is: `$FLYNNRC`, else `~/.flynnrc`."""
    return Path(environ["FLYNNRC"]) if environ.get("FLYNNRC") else home(environ) / ".flynnrc"


def ca_path(environ: Mapping[str, str], cluster: str) -> Path:
    """Return where the CA certificate of a cluster is kept for git."""
    return home(environ) / ".flynn" / "ca-certs" / f"{cluster}.pem"


def read(file: Path) -> Config:
    """Read the file; a missing one is an empty configuration.

    Raises:
        Failure: it cannot be read or understood.
    """
    try:
        return parse(file.read_text("utf-8"))
    except FileNotFoundError:
        return Config()
    except OSError as exc:
        raise Failure(f"error reading {file}: {os_reason(exc)}") from exc
    except UnicodeDecodeError as exc:
        raise Failure(f"error reading {file}: {exc}") from exc


def write(file: Path, config: Config) -> None:
    """Replace the file, all or nothing: see `replacing`.

    Raises:
        Failure: it cannot be written.
    """
    with replacing(str(file)) as written:
        with open(written.descriptor, "w", encoding="utf-8", closefd=False) as out:
            out.write(text(config))
        written.complete = True


def add_cluster(file: Path, cluster: Cluster, *, default: bool = False, force: bool = False) -> Config:
    """Add `cluster` to the file, as `flynn cluster add` does, and return what the file says now.

    Raises:
        Failure: see `added`, `read` and `write`.
    """
    config = added(read(file), cluster, default=default, force=force)
    write(file, config)
    return config
