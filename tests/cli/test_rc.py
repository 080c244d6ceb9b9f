"""`~/.flynnrc`."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import rc
from flynn_aio.cli.failure import Failure
from flynn_aio.cli.rc import Cluster, Config

ONE = rc.cluster_at("example.com", "one", "testkey", tls_pin="2737yXS0m1o7=")
TWO = rc.cluster_at("two.test:7443", "two", "k2")

TEXT = """default = "one"

[[cluster]]
  Name = "one"
  Key = "testkey"
  TLSPin = "2737yXS0m1o7="
  ControllerURL = "https://controller.example.com"
  GitURL = "https://git.example.com"
  ImageURL = "https://images.example.com"

[[cluster]]
  Name = "two"
  Key = "k2"
  ControllerURL = "https://controller.two.test:7443"
  GitURL = ""
  ImageURL = "https://images.two.test:7443"

"""


def test_the_text_is_flynns_to_the_byte():
    config = Config("one", (ONE, TWO._replace(git_url="")))
    assert rc.text(config) == TEXT
    assert rc.parse(TEXT) == config


def test_keys_are_read_in_any_case_and_unknown_ones_passed_over():
    text = 'Default = "x"\nnew = 1\n[[Cluster]]\nname = "x"\nCONTROLLERURL = "https://c"\nfoo = "bar"\n'
    assert rc.parse(text) == Config("x", (Cluster("x", "https://c"),))


@pytest.mark.parametrize("text", ["default = ", "default = 1", "cluster = 1", "cluster = [1]", "[[cluster]]\nName = 1"])
def test_a_file_that_is_not_one_is_said_so(text):
    with pytest.raises(Failure, match="^error reading ~/.flynnrc: "):
        rc.parse(text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x7f")), min_size=8, max_size=8))
def test_any_values_survive_writing_and_reading(values):
    config = Config(values[0], (Cluster(*values),))
    assert rc.parse(rc.text(config)) == config


def test_a_domain_may_be_a_controller_url_and_keeps_its_port():
    assert rc.cluster_at("https://controller.x.test:7443", "n", "k") == Cluster(
        "n", "https://controller.x.test:7443", "https://git.x.test:7443", "https://images.x.test:7443", "k"
    )


def test_the_first_cluster_becomes_the_default_and_later_ones_only_when_asked():
    first = rc.added(Config(), ONE)
    assert first == Config("one", (ONE,))
    assert rc.added(first, TWO) == Config("one", (ONE, TWO))
    assert rc.added(first, TWO, default=True) == Config("two", (ONE, TWO))


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (ONE._replace(git_url="g", controller_url="c"), 'Cluster "one" already exists in ~/.flynnrc'),
        (
            TWO._replace(git_url=ONE.git_url),
            'A cluster with the URL "https://git.example.com" already exists in ~/.flynnrc',
        ),
        (
            TWO._replace(controller_url=ONE.controller_url),
            'A cluster with the URL "https://controller.example.com" already exists in ~/.flynnrc',
        ),
    ],
)
def test_conflicts(new, text):
    config = Config("one", (ONE,))
    with pytest.raises(Failure) as caught:
        rc.added(config, new)
    assert str(caught.value) == text
    assert rc.added(config, new, force=True).clusters == (new,)


def test_a_conflict_with_several_clusters_cannot_be_forced():
    config = Config("one", (ONE, TWO))
    with pytest.raises(Failure, match="conflict with multiple existing clusters"):
        rc.added(config, TWO._replace(name="one"), force=True)


def test_replacing_the_default_under_another_name_moves_the_default():
    renamed = ONE._replace(name="uno")
    assert rc.added(Config("one", (TWO, ONE)), renamed, force=True) == Config("uno", (TWO, renamed))


def test_clusters_without_git_do_not_conflict_over_it():
    without = ONE._replace(git_url="")
    assert len(rc.added(Config("one", (without,)), TWO._replace(git_url="")).clusters) == 2


def test_removing():
    both = Config("one", (ONE, TWO))
    assert rc.removed(both, "one") == Config("two", (TWO,))
    assert rc.removed(both, "two") == Config("one", (ONE,))
    assert rc.removed(both, "nope") == both
    assert rc.text(rc.removed(Config("one", (ONE,)), "one")) == ""


def test_where_things_are():
    assert str(rc.path({"HOME": "/h"})) == "/h/.flynnrc"
    assert str(rc.path({"HOME": "/h", "FLYNNRC": "/x/rc"})) == "/x/rc"
    assert str(rc.ca_path({"HOME": "/h"}, "one")) == "/h/.flynn/ca-certs/one.pem"


def test_a_missing_file_is_empty_and_an_unreadable_one_is_a_failure(tmp_path):
    assert rc.read(tmp_path / "rc") == Config()
    with pytest.raises(Failure, match="^error reading .*: is a directory"):
        rc.read(tmp_path)


def test_adding_to_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    real = tmp_path / "dotfiles"
    real.write_text("")
    real.chmod(0o600)
    link = tmp_path / ".flynnrc"
    link.symlink_to(real)
    assert rc.add_cluster(link, ONE) == Config("one", (ONE,))
    rc.add_cluster(link, TWO._replace(git_url=""))
    assert link.is_symlink()
    assert real.read_text() == TEXT
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [".flynnrc", "dotfiles"]


def test_nobody_else_can_read_the_keys_while_the_file_is_written(tmp_path, monkeypatch):
    file, modes = tmp_path / ".flynnrc", []
    file.touch(mode=0o600)
    monkeypatch.setattr(os, "fsync", lambda descriptor: modes.append(os.fstat(descriptor).st_mode & 0o777))
    rc.add_cluster(file, ONE)
    assert modes == [0o600]


def test_a_file_that_cannot_be_written_is_left_alone(tmp_path):
    with pytest.raises(Failure, match="^error writing .*/nowhere/rc: no such file or directory"):
        rc.add_cluster(tmp_path / "nowhere" / "rc", ONE)
