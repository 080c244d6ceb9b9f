"""The disk fills up while apps run: they go on, every refusal says why, and room mends it all."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from ..support.appliance import Appliance, git, repository
from .test_bad_push import APP

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "steady.flynn.localhost"


@pytest.fixture
def appliance():
    """An appliance with a disk of its own."""
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    one = Appliance(place, subnet="100.102.0.128/26")
    one.data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", one.data_dir], check=True)
    try:
        one.up()
        yield one
    finally:
        try:
            filler(one).unlink(missing_ok=True)
            one.down()
            assert one.traces() == []
        finally:
            subprocess.run(["umount", one.data_dir], check=True)
            shutil.rmtree(place)


def filler(appliance):
    return appliance.data_dir / "keys" / "filler"


def fill(appliance):
    with filler(appliance).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return


def api(appliance, method, path, body):
    """Call the controller as curl does: once, where `flynn` would try again for ten seconds."""
    key = (appliance.data_dir / "keys" / "cluster.key").read_text().strip()
    url = f"https://controller.flynn.localhost:{appliance.state['https_port']}{path}"
    ca = appliance.data_dir / "keys" / "ca.pem"
    words = ["--silent", "--cacert", ca, "--user", f":{key}", "--request", method, "--json", body]
    return appliance.run("curl", *words, "--write-out", " %{http_code}", url).stdout


def test_apps_go_on_refusals_say_why_and_room_mends_it(appliance):
    repo = repository(appliance.place / "steady", APP)
    appliance.flynn("create", "steady", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    [job], pid = appliance.job_ids("steady"), appliance.state["pid"]
    commit = appliance.run("git", "ls-remote", "flynn", "refs/heads/master", cwd=repo).stdout
    new = repository(appliance.place / "new", APP)
    appliance.flynn("create", "new", cwd=new)
    fill(appliance)

    assert appliance.fetch(HOST).text == "steady"
    refused = api(appliance, "POST", "/apps", '{"name": "another"}')
    assert refused.endswith(" 503"), refused
    assert "database or disk is full; free some space on its disk; nothing was changed" in refused
    once = appliance.flynn("run", "echo", "hi", cwd=repo, check=False)
    assert once.returncode == 1
    assert "No space left on device; free some space there" in once.stderr
    git(repo, "commit", "--allow-empty", "--message=again")
    for place in (repo, new):
        pushed = appliance.run("git", "push", "flynn", "master", cwd=place, check=False)
        assert pushed.returncode != 0
        assert "No space left on device" in pushed.stderr
        assert "Traceback" not in pushed.stderr
    shown = appliance.aio("status", check=False)
    assert shown.returncode == 1
    assert f"problem   the disk of {appliance.data_dir} is full (0 MB are free)" in shown.stdout
    assert "app       steady: 1 up" in shown.stdout

    filler(appliance).unlink()
    assert appliance.fetch(HOST).text == "steady"
    assert appliance.state["pid"] == pid
    assert appliance.job_ids("steady") == {job}
    assert appliance.run("git", "ls-remote", "flynn", "refs/heads/master", cwd=repo).stdout == commit
    assert appliance.aio("status").returncode == 0
    appliance.flynn("env", "set", "A=1", cwd=repo)
    for place in (repo, new):
        appliance.run("git", "push", "flynn", "master", cwd=place)
    assert appliance.fetch("new.flynn.localhost").text == "steady"


def test_an_appliance_that_was_killed_starts_when_there_is_room_again(appliance):
    repo = repository(appliance.place / "steady", APP)
    appliance.flynn("create", "steady", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    jobs, containers = appliance.job_ids("steady"), appliance.containers()
    appliance.kill()
    fill(appliance)
    done = appliance.up(check=False)
    assert done.returncode == 1
    assert "free some space" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert appliance.containers() == containers
    filler(appliance).unlink()
    appliance.up()
    assert appliance.job_ids("steady") == jobs
    assert appliance.fetch(HOST).text == "steady"
