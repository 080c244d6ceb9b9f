"""Which app a repository is about, and what git is told."""

import os

import pytest

from flynn_aio.cli import git, rc
from flynn_aio.cli.failure import Failure
from flynn_aio.cli.git import RemoteApp

ONE = rc.cluster_at("one.test", "one", "k1")
TWO = rc.cluster_at("two.test", "two", "k2")
NO_GIT = rc.cluster_at("three.test", "three", "k3")._replace(git_url="")
CLUSTERS = (NO_GIT, ONE, TWO)


@pytest.mark.parametrize(
    ("url", "app"),
    [
        ("https://git.one.test/shop.git", RemoteApp(ONE, "shop")),
        ("https://git.two.test/shop.git", RemoteApp(TWO, "shop")),
        ("https://git.one.test/shop", None),
        ("https://git.one.test.evil/shop.git", None),
        ("/shop.git", None),
        ("git@github.com:x/y.git", None),
    ],
)
def test_urls(url, app):
    assert git.app_at(url, CLUSTERS) == app


def test_only_push_lines_count():
    listing = (
        "flynn\thttps://git.one.test/a.git (fetch)\nflynn\thttps://git.one.test/b.git (push)\n"
        "origin\tgit@github.com:x/y.git (push)\nodd line\nempty\t (push)\n"
    )
    assert git.remote_apps(listing, CLUSTERS) == {"flynn": RemoteApp(ONE, "b")}


def why_not(*clusters):
    with pytest.raises(Failure) as caught:
        git.app_here(clusters or CLUSTERS)
    return str(caught.value)


def test_outside_a_repository(person):
    assert why_not() == "no app found, run from a repo with a flynn remote or specify one with -a"


def test_in_a_repository(person):
    repository = person.stand_in_a_repository()
    assert why_not() == "no apps in git remotes"
    person.git("remote", "add", "flynn", "https://git.one.test/a.git")
    assert git.app_here(CLUSTERS) == RemoteApp(ONE, "a")
    person.git("remote", "add", "staging", "https://git.two.test/b.git")
    assert why_not() == (
        "error: Multiple apps listed in git remotes, please specify one with the global -a option to disambiguate."
        "\n\nAvailable Flynn remotes:\nflynn\nstaging"
    )
    assert git.app_here([TWO]) == RemoteApp(TWO, "b")  # as if `-c two` were given
    person.git("config", "flynn.remote", "staging")
    assert git.app_here(CLUSTERS) == RemoteApp(TWO, "b")
    person.git("config", "flynn.remote", "nope")
    assert why_not() == f"could not find git remote nope in {repository}"
    person.git("remote", "add", "origin", "https://example.com/x.git")
    person.git("config", "flynn.remote", "origin")
    assert why_not() == "could not find app name in origin git remote"


def test_git_missing_is_like_no_repository(person, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert not git.in_repository()
    assert why_not().startswith("no app found")


def test_configuring_and_forgetting(person):
    ca = person.home / "ca.pem"
    for _ in range(2):
        git.configure("https://git.one.test", ca, "/opt/my tools/flynn")
    assert person.git("config", "--global", "http.https://git.one.test.sslCAInfo") == str(ca)
    assert person.git("config", "--global", "http.https://git.one.test.sslCAPath") == str(person.home / "ca.d")
    assert [link.readlink() for link in (person.home / "ca.d").iterdir()] == [ca]
    helper = person.git("config", "--global", "--get-all", "credential.https://git.one.test.helper")
    assert helper == "'/opt/my tools/flynn' git-credentials"
    git.forget("https://git.one.test")
    assert (person.home / ".gitconfig").read_text() == ""


def test_configuring_somebody_elses_account(person, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    environ = {key: value for key, value in os.environ.items() if key != "GIT_CONFIG_GLOBAL"} | {"HOME": str(other)}
    git.configure("https://git.one.test", other / "ca.pem", "flynn", environ=environ)
    assert "git-credentials" in (other / ".gitconfig").read_text()
    assert not (person.home / ".gitconfig").exists()


def test_configuring_without_git_and_without_a_home(person, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/nonexistent/gitconfig")
    with pytest.raises(Failure, match="error running 'git config --global .*exit status"):
        git.configure("https://git.one.test", person.home / "ca.pem", "flynn")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Failure, match="Executable 'git' was not found. Use --no-git to skip git configuration"):
        git.configure("https://git.one.test", person.home / "ca.pem", "flynn")
