"""The appliance's own cluster in a person's files."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from flynn_aio.certificates import ensure_certificates, pin
from flynn_aio.cli import rc


@pytest.fixture
def entry(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    ensure_certificates(keys, "flynn.test", now=datetime.now(UTC))
    leaf, ca = (keys / "leaf.pem").read_text(), (keys / "ca.pem").read_text()
    return {"domain": "flynn.test", "key": "secret", "pin": pin(leaf), "ca_cert": ca}


def register(person, **entry):
    done = subprocess.run(
        [sys.executable, "-m", "flynn_aio.cli.register"],
        input=json.dumps(entry),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return rc.read(person.home / ".flynnrc")


def test_the_first_cluster_is_the_default_and_git_knows_it(person, entry):
    config = register(person, **entry)
    assert (config.default, [cluster.name for cluster in config.clusters]) == ("default", ["default"])
    assert (person.home / ".flynnrc").stat().st_mode & 0o777 == 0o600
    assert (person.home / ".flynn" / "ca-certs" / "default.pem").read_text() == entry["ca_cert"]
    assert person.git("config", "--global", "credential.https://git.flynn.test.helper").endswith(
        "flynn git-credentials"
    )
    assert register(person, **entry) == config


def test_a_cluster_that_moved_keeps_its_name(person, entry):
    register(person, **entry)
    config = register(person, **entry | {"domain": "flynn.test:8443", "pin": "other"})
    [cluster] = config.clusters
    assert (cluster.name, cluster.controller_url) == ("default", "https://controller.flynn.test:8443")
    assert 'https://git.flynn.test"' not in (person.home / ".gitconfig").read_text()


def test_a_key_that_was_rotated_is_replaced_where_it_stood(person, entry):
    register(person, **entry)
    register(person, **entry | {"domain": "two.test", "key": "other"})
    config = register(person, **entry | {"key": "new", "old_key": "secret"})
    assert {cluster.name: cluster.key for cluster in config.clusters} == {"default": "new", "two.test": "other"}


def test_a_name_that_is_taken_is_left_to_its_owner(person, entry):
    register(person, **entry)
    config = register(person, **entry | {"domain": "two.test", "key": "other"})
    assert (config.default, [cluster.name for cluster in config.clusters]) == ("default", ["default", "two.test"])
