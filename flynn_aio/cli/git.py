"""What `flynn` knows from git and tells it: which remotes are apps, which CA and which password to use.

Remotes are read with git itself, never from its files: includes, worktrees and `insteadOf` are its business.

Source: `cli.md` §2 and §3; Flynn `cli/git.go`, `cli/config/git.go`.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .failure import Failure
from .rc import Cluster

SUFFIX = ".git"
DEFAULT_REMOTE = "flynn"
_CHOOSE = "'git remote -v' lists them, 'git config flynn.remote <remote>' chooses the one to use"


class RemoteApp(NamedTuple):
    """An app a git remote points at."""

    cluster: Cluster
    name: str


def remote_url(cluster: Cluster, app: str) -> str:
    """Return the URL an app is pushed to."""
    return f"{cluster.git_url}/{app}{SUFFIX}"


def app_at(url: str, clusters: Iterable[Cluster]) -> RemoteApp | None:
    """Return the app a remote's URL belongs to; ``None`` when it is none of these clusters'."""
    for cluster in clusters:
        prefix = f"{cluster.git_url}/"
        if cluster.git_url and url.startswith(prefix) and url.endswith(SUFFIX) and len(url) >= len(prefix + SUFFIX):
            return RemoteApp(cluster, url[len(prefix) : -len(SUFFIX)])
    return None


def remote_apps(listing: str, clusters: Sequence[Cluster]) -> dict[str, RemoteApp]:
    """Return the apps in the output of ``git remote -v``, by name of the remote. Push lines count."""
    apps = {}
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == "(push)" and (app := app_at(fields[1], clusters)):
            apps[fields[0]] = app
    return apps


def _git(*args: str) -> str | None:
    """Return what git prints; ``None`` when it fails or is not there."""
    try:
        done = subprocess.run(["git", *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def in_repository() -> bool:
    return _git("rev-parse", "--git-dir") is not None


def remotes() -> list[str]:
    """Return the names of all remotes; none outside a repository."""
    return (_git("remote") or "").split()


def apps_of_remotes(clusters: Sequence[Cluster]) -> dict[str, RemoteApp]:
    """Return the apps this repository has remotes for, by name of the remote."""
    return remote_apps(_git("remote", "-v") or "", clusters)


def app_of_remote(remote: str, clusters: Sequence[Cluster]) -> RemoteApp:
    """Return the app a remote points at.

    Raises:
        Failure: there is no such remote, or it belongs to something else.
    """
    url = _git("config", f"remote.{remote}.url")
    if url is None:
        raise Failure(f"could not find git remote {remote} in {os.getcwd()}", hint=_CHOOSE)
    app = app_at(url.strip(), clusters)
    if app is None:
        raise Failure(f"could not find app name in {remote} git remote", hint=_CHOOSE)
    return app


def app_here(clusters: Sequence[Cluster]) -> RemoteApp:
    """Return the app of the repository we stand in: the one `flynn.remote` names, else the only one.

    Raises:
        Failure: there is none, or one cannot tell which.
    """
    chosen = (_git("config", "flynn.remote") or "").strip()
    if chosen:
        return app_of_remote(chosen, clusters)
    listing = _git("remote", "-v")
    if listing is None:
        raise Failure(
            "no app found, run from a repo with a flynn remote or specify one with -a",
            hint="'flynn apps' lists the apps, 'flynn create' makes one",
        )
    apps = remote_apps(listing, clusters)
    if not apps:
        raise Failure(
            "no apps in git remotes",
            hint="'flynn create' makes an app and its remote, 'flynn -a <app> remote add' the remote of one there is",
        )
    if len(apps) > 1:
        raise Failure(
            "error: Multiple apps listed in git remotes, please specify one with the global -a option to "
            "disambiguate.\n\nAvailable Flynn remotes:\n" + "\n".join(sorted(apps)),
            hint=f"'git config flynn.remote {min(apps)}' makes one of them the usual one",
        )
    return next(iter(apps.values()))


def set_remote(remote: str, url: str) -> None:
    """Make a remote point at `url`, whatever it was before."""
    drop_remote(remote)
    _git("remote", "add", "--", remote, url)


def drop_remote(remote: str) -> None:
    _git("remote", "remove", remote)


def configure(git_url: str, ca_path: Path, flynn: str, *, environ: Mapping[str, str] | None = None) -> None:
    """Let git trust a cluster's CA and ask `flynn` for the password, in the person's global configuration.

    Args:
        ca_path: a PEM file; git reads it at every push.
        flynn: the path of the `flynn` executable.
        environ: whose configuration (`HOME`); ours when ``None``. Git replaces the file, so whoever runs this
            owns it afterwards: run it as the person whose home it is.

    Raises:
        Failure: git is missing, or would not write.
    """
    from shlex import quote

    for key, value in (
        (f"http.{git_url}.sslCAInfo", str(ca_path)),
        (f"http.{git_url}.sslCAPath", str(_trust_directory(ca_path))),
        (f"credential.{git_url}.helper", f"{quote(flynn)} git-credentials"),
    ):
        _change_global("--replace-all", key, value, environ=environ)


def _trust_directory(ca_path: Path) -> Path:
    """Make a directory that holds the CA once more, and return it.

    `GIT_SSL_CAINFO`, which companies with a CA of their own set for everybody, replaces our `sslCAInfo`, but
    not `sslCAPath`. OpenSSL looks a CA up there by a hash of its subject; GnuTLS reads whatever there is.
    """
    directory = ca_path.with_suffix(".d")
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / f"{_subject_hash(ca_path) or ca_path.stem}.0"
    link.unlink(missing_ok=True)
    link.symlink_to(ca_path)
    return directory


def _subject_hash(ca_path: Path) -> str:
    """Return the name OpenSSL looks for; empty when there is no `openssl` to ask, hence hardly an OpenSSL git."""
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(ca_path)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else ""


def forget(git_url: str) -> None:
    """Take back what `configure` wrote; not having written it is fine."""
    for section in (f"http.{git_url}", f"credential.{git_url}"):
        _git("config", "--global", "--remove-section", section)


def _change_global(*args: str, environ: Mapping[str, str] | None) -> None:
    command = ["git", "config", "--global", *args]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=environ, cwd="/"
        )
    except FileNotFoundError as exc:
        raise Failure("Executable 'git' was not found. Use --no-git to skip git configuration") from exc
    if done.returncode != 0:
        said = os.fsdecode(done.stdout).strip()
        raise Failure(f"error running {' '.join(command)!r}: exit status {done.returncode}: {said}")
