"""What a person reads when `flynn-aio up` cannot start, and what is left behind: nothing.

Every case is met with the real commands. One line on stderr says why, the exit code is not 0, no traceback
is shown, and neither container, network nor process stays.
"""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from ..support.appliance import ROOT, Appliance

pytestmark = [pytest.mark.podman, pytest.mark.slow]

SUBNET = "100.102.0.64/26"
GATEWAY = "100.102.0.65"
IP_FREEBIND = 15
NOBODY = 65534
AS_NOBODY = "import os, sys; os.geteuid = lambda: 65534; from flynn_aio.main import main; sys.exit(main())"


@pytest.fixture
def one(tmp_path):
    """An appliance that has never run; nothing of it may be left at the end."""
    appliance = Appliance(tmp_path, SUBNET)
    try:
        yield appliance
    finally:
        appliance.settings = {}
        appliance.domain = "flynn.localhost"
        appliance.down()
        assert appliance.traces() == []


@contextmanager
def small_disk(appliance, size):
    """Have the data directory on a disk of its own."""
    appliance.data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", appliance.data_dir], check=True)
    try:
        yield
    finally:
        try:
            subprocess.run(["mount", "-o", "remount,size=64m", appliance.data_dir], check=True)
            appliance.down()
        finally:
            subprocess.run(["umount", appliance.data_dir], check=True)


def check_refused(done, *words, code=1):
    """Check that a command failed as it should: with one line that has all the words."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "error: " not in done.stdout
    for word in words:
        assert str(word) in done.stderr, done.stderr


@pytest.mark.parametrize("how", [("up",), ("up", "--detach"), ("status",), ("down",)])
def test_an_unknown_setting_is_named_with_its_place_and_nothing_starts(one, how):
    file = one.place / "flynn.toml"
    file.write_text("[router]\n# ours\nhttp_prot = 8080\n")
    done = one.aio(*how, "--config", str(file), check=False)
    check_refused(done, f"{file}:3: unknown key 'router.http_prot' (its value is 8080); is it http_port?", code=2)
    assert not one.data_dir.exists()


def test_a_wrong_value_is_named_with_what_is_allowed(one):
    one.settings["ROUTER_HTTP_PORT"] = "99999"
    done = one.up(check=False)
    check_refused(done, "FLYNN_AIO_ROUTER_HTTP_PORT: router.http_port = '99999'", "a port from 0", code=2)
    assert not one.data_dir.exists()


@pytest.mark.parametrize("command", ["up", "down", "stack build"])
def test_who_is_not_root_is_told_what_to_type(one, command):
    words = command.split()
    try:  # a real other user, where the virtual environment is theirs to read
        done = subprocess.run(
            [sys.executable, "-m", "flynn_aio", *words],
            cwd=ROOT, env=one.environ, user=NOBODY, group=NOBODY, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except PermissionError:
        done = one.run(sys.executable, "-c", AS_NOBODY, *words, check=False)
    check_refused(
        done, "needs root", f"; type: sudo {sys.executable if 'flynn_aio ' in done.stderr else '-c'}", command
    )
    assert not one.data_dir.exists()


@pytest.mark.parametrize("port", ["HTTP", "HTTPS"])
def test_a_busy_port_is_named(one, port):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        number = taken.getsockname()[1]
        one.settings[f"ROUTER_{port}_PORT"] = str(number)
        check_refused(one.up(check=False), f"0.0.0.0:{number}: Address already in use", "http_port and https_port")
        assert one.traces() == []


def test_a_busy_dns_port_is_named(one):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        taken.bind((GATEWAY, 53))
        check_refused(one.aio("up", check=False), f"cannot answer DNS on {GATEWAY} port 53", "ss -lntup")
        assert one.traces() == []


def test_a_missing_podman_is_named_with_what_to_install(one):
    one.settings["ENGINE_PODMAN"] = "/nonexistent"
    check_refused(one.up(check=False), "there is no program /nonexistent", "apt-get install podman")
    assert one.traces() == []
    checked = one.aio("doctor", check=False)
    assert checked.returncode == 1
    assert "FAIL podman" in checked.stdout


def test_a_hanging_podman_is_given_up_in_time(one):
    podman = one.place / "podman"
    podman.write_text("#!/bin/sh\nexec sleep 1000\n")
    podman.chmod(0o755)
    one.settings |= {"ENGINE_PODMAN": str(podman), "ENGINE_CALL_TIMEOUT_S": "1"}
    began = time.monotonic()
    check_refused(
        one.up(check=False), "cannot start Podman's service: it did not answer within 1 s", "flynn-aio doctor"
    )
    assert time.monotonic() - began < 15
    assert one.traces() == []


@pytest.mark.parametrize("size", ["8k", "100k"])
def test_a_full_disk_at_the_first_start_is_said_and_room_mends_it(one, size):
    with small_disk(one, size):
        check_refused(one.up(check=False), one.data_dir, "free some space")
        assert one.traces() == []
        check_refused(one.aio("up", check=False), "free some space")
        subprocess.run(["mount", "-o", "remount,size=64m", one.data_dir], check=True)
        assert "ready after" in one.up().stdout


def test_a_directory_with_other_things_is_left_as_it_is(one):
    one.data_dir.mkdir(mode=0o750)
    (one.data_dir / "thesis.tex").write_text("")
    for how in (["up"], ["up", "--detach"]):
        check_refused(one.aio(*how, check=False), one.data_dir, "thesis.tex", "--data-dir")
    assert "nothing to stop" in one.aio("down").stdout
    assert [path.name for path in one.data_dir.iterdir()] == ["thesis.tex"]
    assert one.data_dir.stat().st_mode & 0o777 == 0o750


def test_a_second_appliance_another_domain_and_a_corrupt_database_change_nothing(one):
    one.up()
    pid, pinned = one.state["pid"], (one.data_dir / "keys" / "leaf.pem").read_bytes()
    for how in (["up"], ["up", "--detach"]):
        check_refused(one.aio(*how, check=False), f"already running on {one.data_dir} (pid {pid})", "flynn-aio down")
    assert "runs as pid" in one.aio("status").stdout
    assert one.state["pid"] == pid

    stopped = one.aio("down").stdout
    assert f"stopping the appliance (pid {pid})" in stopped
    assert one.traces() == []
    again = one.aio("down")
    assert again.stdout.startswith("stopped 0 jobs\n")
    assert again.stderr == ""
    shown = one.aio("status", check=False)
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (1, f"not running ({one.data_dir})")
    assert '"running": false' in one.aio("status", "--json", check=False).stdout

    one.domain = "other.localhost"
    check_refused(one.up(check=False), "is flynn.localhost, not other.localhost; start it with --domain")
    one.domain = "flynn.localhost"
    assert (one.data_dir / "keys" / "leaf.pem").read_bytes() == pinned

    database = one.data_dir / "flynn.db"
    good = database.read_bytes()
    for bad in (b"no database at all\n" * 1000, good[: len(good) // 2], good[:4096] + os.urandom(8192) + good[12288:]):
        database.write_bytes(bad)
        check_refused(one.aio("up", check=False), f"the database {database}", "restore a backup", "move it away")
        assert database.read_bytes() == bad
        assert one.traces() == []
    database.write_bytes(good)
    one.up()
    assert (one.data_dir / "keys" / "leaf.pem").read_bytes() == pinned


class Terminal:
    """`flynn-aio up` in the foreground of a terminal, as a person sees it."""

    def __init__(self, appliance):
        self.shown = ""
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.execvpe(sys.executable, [sys.executable, "-m", "flynn_aio", "up"], appliance.environ)

    def wait_for(self, text, *, within_s=30):
        deadline = time.monotonic() + within_s
        while text not in self.shown and time.monotonic() < deadline:
            if select.select([self._screen], [], [], 0.1)[0]:
                self.shown += self._read()
        assert text in self.shown, self.shown

    def interrupt(self):
        os.write(self._screen, b"\x03")

    def wait(self):
        """Return the exit code."""
        while piece := self._read():
            self.shown += piece
        os.close(self._screen)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self):
        try:
            return os.read(self._screen, 4096).decode(errors="replace")
        except OSError:  # the other end has gone
            return ""


def test_ctrl_c_drains_and_a_second_one_ends_at_once(one):
    one.settings["ROUTER_DRAIN_S"] = one.settings["CONTROLLER_DRAIN_S"] = "60"
    terminal = Terminal(one)
    terminal.wait_for("ready after")
    terminal.interrupt()
    terminal.wait_for("SIGINT: draining; the apps keep running")
    assert terminal.wait() == 0
    assert "Traceback" not in terminal.shown

    terminal = Terminal(one)
    terminal.wait_for("ready after")
    key = (one.data_dir / "keys" / "cluster.key").read_text().strip()
    url = f"https://controller.flynn.localhost:{one.state['https_port']}/events?past=true"
    busy = subprocess.Popen(
        ["curl", "--silent", "--no-buffer", "--cacert", one.data_dir / "keys" / "ca.pem", "--user", f":{key}", url,
         "--header", "Accept: text/event-stream"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert busy.stdout.readline()
        terminal.interrupt()
        terminal.wait_for("SIGINT: draining")
        assert os.waitpid(terminal.pid, os.WNOHANG) == (0, 0), "nothing was in flight"
        terminal.interrupt()
        began = time.monotonic()
        assert terminal.wait() == 0
        assert time.monotonic() - began < 10
        assert "SIGINT again: stopping at once" in terminal.shown
        assert "Traceback" not in terminal.shown
    finally:
        busy.send_signal(signal.SIGTERM)
        busy.communicate()
