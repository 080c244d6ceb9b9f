"""Which cluster and which app a command is about."""

import pytest

from flynn_aio.cli.failure import Failure
from flynn_aio.cli.session import Session

TEXT = "".join(
    f'[[cluster]]\nName = "{name}"\nControllerURL = "https://controller.{name}.test"\nGitURL = "https://git.{name}.test"\n'
    for name in ("one", "two", "three")
)


@pytest.fixture
def at(person):
    person.rc.write_text('default = "two"\n' + TEXT)

    def found(*, app="", cluster="", **environ):
        session = Session(app=app, cluster=cluster, environ={"HOME": str(person.home), **environ})
        try:
            about = session.app
        except Failure as failure:
            about = failure
        try:
            return session.cluster.name, str(about)
        except Failure as failure:
            return str(failure), str(about)

    return found


NO_APP = "no app found, run from a repo with a flynn remote or specify one with -a"


def test_options_then_environment_then_default(at):
    assert at() == ("two", NO_APP)
    assert at(app="x", cluster="three") == ("three", "x")
    assert at(FLYNN_APP="y", FLYNN_CLUSTER="one") == ("one", "y")
    assert at(app="x", cluster="three", FLYNN_APP="y", FLYNN_CLUSTER="one") == ("three", "x")
    assert at(cluster="nope") == ('unknown cluster "nope"', NO_APP)


def test_the_first_cluster_when_there_is_no_default(person, at):
    person.rc.write_text(TEXT)
    assert at(app="x") == ("one", "x")
    person.rc.write_text("")
    assert at(app="x") == ("no clusters configured", "x")


def test_a_remote_names_app_and_cluster(person, at):
    person.stand_in_a_repository()
    person.git("remote", "add", "flynn", "https://git.three.test/shop.git")
    assert at() == ("three", "shop")
    assert at(app="flynn") == ("three", "shop")
    assert at(app="other") == ("two", "other")
    assert at(FLYNN_APP="env") == ("two", "env")  # no git then, so the default cluster
    assert at(cluster="one") == ("one", "no apps in git remotes")  # remotes of other clusters do not count
    assert at(app="flynn", cluster="one") == ("one", "flynn")


def test_several_remotes_leave_the_default_cluster(person, at):
    person.stand_in_a_repository()
    person.git("remote", "add", "a", "https://git.three.test/shop.git")
    person.git("remote", "add", "b", "https://git.one.test/shop.git")
    cluster, app = at()
    assert cluster == "two"
    assert app.endswith("Available Flynn remotes:\na\nb")
