"""The operator's command: what it says, and with which exit code."""

import json
import os
import pwd
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flynn_aio import doctor, main, up
from flynn_aio.bootstrap import claimed, prepare_files
from flynn_aio.certificates import ensure_certificates
from flynn_aio.config import load
from flynn_aio.engine import Finding
from flynn_aio.errors import EngineError, NotFound
from flynn_aio.user import ClusterEntry, User, invoking_user, register_cluster

NOBODY = 65534


@pytest.fixture
def settings(tmp_path):
    return load(environ={}, flags={"appliance.data_dir": str(tmp_path / "data"), "router.https_port": 8443})


@pytest.fixture
def run(monkeypatch, tmp_path, capfd):
    """Run the command in this process; its exit code, and what it printed."""
    for name in [name for name in os.environ if name.startswith("FLYNN_AIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLYNN_AIO_DATA_DIR", str(tmp_path / "data"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["flynn-aio", *words])
        code = main.main()
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def test_help_lists_the_commands_in_the_order_of_need(run):
    code, out, _ = run("--help")
    places = [
        out.index(f"\n  {name}")
        for name in ("up", "down", "status", "doctor", "credentials", "key", "stack", "version")
    ]
    assert (code, places) == (0, sorted(places))


@pytest.mark.parametrize("words", [["upp"], ["up", "--http-prot", "1"], ["stack"], ["up", "--http-port", "many"]])
def test_a_wrong_command_exits_with_2(run, words):
    code, _, err = run(*words)
    assert (code, err != "") == (2, True)


def test_a_wrong_setting_exits_with_2_and_starts_nothing(run, tmp_path):
    code, out, err = run("up", "--http-port", "99999")
    assert (code, out) == (2, "")
    assert err.startswith("error: --http-port: router.http_port = 99999 is not allowed; it must be a port")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["up", "down", "stack list"])
def test_not_being_root_is_one_line_with_the_command_to_type(run, monkeypatch, command):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, out, err = run(*command.split())
    assert (code, out) == (1, "")
    assert err.startswith("error: flynn-aio needs root")
    assert err.endswith(f"type: sudo flynn-aio {command}\n")


def test_status_of_nothing_says_what_to_type(run):
    code, out, _ = run("status")
    assert code == 1
    assert out.startswith("not running")
    assert "type: flynn-aio up" in out
    code, out, _ = run("status", "--json")
    assert (code, json.loads(out)["running"]) == (1, False)


def test_credentials_before_the_first_start(run):
    code, _, err = run("credentials")
    assert (code, "type: flynn-aio up" in err) == (1, True)


def test_credentials_are_what_a_client_needs(run, settings):
    with claimed(settings.data_dir):
        prepare_files(settings)
        ensure_certificates(settings.data_dir / "keys", settings.domain, now=datetime.now(UTC))
    code, out, _ = run("credentials", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"domain", "controller_url", "git_url", "images_url", "key", "tls_pin", "ca_cert"}
    assert found["controller_url"] == "https://controller.flynn.localhost"
    assert found["ca_cert"].startswith("-----BEGIN CERTIFICATE-----")


def test_down_of_nothing_is_no_error(run):
    code, out, _ = run("down")
    assert (code, out.startswith("nothing to stop")) == (0, True)


def test_expected_failures_are_told_apart_from_bugs():
    failures = BaseExceptionGroup("", [EngineError("a"), BaseExceptionGroup("", [NotFound("b")])])
    assert [error.message for error in up.expected(failures)] == ["a", "b"]
    assert up.expected(BaseExceptionGroup("", [EngineError("a"), ValueError("b")])) is None
    assert up.expected(KeyError("c")) is None


def test_the_doctor_says_what_is_wrong_and_what_to_type(settings, capsys, monkeypatch):
    async def probe(_):
        return [Finding("podman", False, "podman is not in $PATH", "apt-get install podman")]

    monkeypatch.setattr(doctor, "probe_host", probe)
    monkeypatch.setattr(doctor, "_registry", lambda image: Finding("registry", None, "does not answer"))
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        settings = replace(settings, router=replace(settings.router, http_port=port, https_port=0))
        assert doctor.doctor(settings, as_json=False) == 1
    out = capsys.readouterr().out
    assert "FAIL podman" in out
    assert "-> apt-get install podman" in out
    assert f"0.0.0.0:{port}: Address already in use" in out
    assert "--http-port N" in out
    assert "note registry" in out
    assert doctor.doctor(settings, as_json=True) == 1
    assert {finding["name"] for finding in json.loads(capsys.readouterr().out)} >= {"podman", "git", "domain"}


def test_no_registry_is_no_obstacle():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert doctor._registry(f"{address}/debian:12").ok is True
    assert doctor._registry(f"{address}/debian:12").ok is None


def test_under_sudo_the_person_is_the_one_who_typed_it(monkeypatch, tmp_path):
    entry = pwd.struct_passwd(("ann", "x", 1000, 1001, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {1000: entry}[uid])
    assert invoking_user({"SUDO_UID": "1000", "HOME": "/root"}) == User("ann", 1000, 1001, tmp_path)
    assert invoking_user({"SUDO_UID": "77"}) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can write another person's files as that person")
def test_a_persons_files_are_written_as_that_person():
    # Not below pytest's own directory, which is closed to others.
    place = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        user = User("nobody", NOBODY, NOBODY, home)
        entry = ClusterEntry(domain="flynn.test", key="secret", pin="pin", ca_cert="-----BEGIN")
        assert register_cluster(user, entry) is None
        for file in (home / ".flynnrc", home / ".gitconfig", home / ".flynn" / "ca-certs" / "default.pem"):
            assert file.stat().st_uid == NOBODY
        assert stat.S_IMODE((home / ".flynnrc").stat().st_mode) == 0o600
        (home / ".flynnrc").unlink()
        home.chmod(0o500)
        problem = register_cluster(user, entry)
        assert problem.startswith(f"could not write {home}/.flynnrc: ")
    finally:
        subprocess.run(["rm", "-rf", place], check=True)
