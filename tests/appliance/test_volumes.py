"""Volumes on real Podman: what a process wrote survives its crash, our kill -9 and a restart of everything.

TestPersistentVolumes of Flynn, with the deaths that one machine can die.
"""

import json
import os
import signal
from pathlib import Path

import pytest

from ..support.appliance import repository, running, until

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "diary.flynn.localhost"
APP = {
    "app.py": """\
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

DIARY = os.environ.get("DIARY", "/dev/null")


def write(line):
    with open(DIARY, "a") as diary:
        diary.write(line + "\\n")


def leave(*_):
    write("left")
    sys.exit()


write(os.environ["FLYNN_JOB_ID"])
if "BROKEN" in os.environ:
    sys.exit(3)
if "PARTING" in os.environ:
    signal.signal(signal.SIGTERM, leave)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with open(DIARY, "rb") as diary:
            self.wfile.write(diary.read())


HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
""",
    "requirements.txt": "",
    "Procfile": "web: python3 app.py\n",
}


@pytest.fixture
def appliance():
    with running("100.108.0.0/25") as one:
        yield one


def one_more(appliance, before: list[str]) -> list[str]:
    """Wait until one more job has written to the volume and serves; return all that did."""

    def read() -> list[str]:
        answer = appliance.fetch(HOST)
        lines = answer.text.split() if answer.status == 200 else []
        return lines if lines[:-1] == before and lines != before else []

    lines = until(read, within_s=60)
    assert lines, (before, appliance.fetch(HOST).text)
    return lines


def begin(appliance, env: dict[str, str], volume: dict) -> Path:
    """Push the app, and then give its processes a volume; return where its repository is."""
    repo = repository(appliance.place / "diary", APP)
    appliance.flynn("create", "diary", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    update = appliance.place / "update.json"
    update.write_text(json.dumps({"env": env, "processes": {"web": {"volumes": [volume]}}}))
    appliance.flynn("release", "update", str(update), cwd=repo)
    return repo


def volumes(appliance) -> list[dict]:
    return json.loads(appliance.flynn("-a", "diary", "volume", "--json").stdout)


def on_disk(appliance) -> set[str]:
    return set(os.listdir(appliance.data_dir / "volumes"))


def bare(job: str) -> str:
    return job.partition("-")[2]


def container(appliance, job: str) -> str:
    return f"flynn-{appliance.appliance_id}-{bare(job)}"


def test_data_outlives_every_death_but_a_decommission(appliance):
    begin(appliance, {"DIARY": "/data/diary"}, {"path": "/data"})
    diary = one_more(appliance, [])
    [volume] = volumes(appliance)
    assert (volume["state"], volume["path"], volume["job"]) == ("created", "/data", bare(diary[-1]))
    directory = appliance.data_dir / "volumes" / volume["id"]
    assert (directory.stat().st_uid, (directory / "diary").read_text().split()) == (5000, diary)

    pid = appliance.run("podman", "inspect", "--format", "{{.State.Pid}}", container(appliance, diary[-1])).stdout
    os.kill(int(pid), signal.SIGKILL)  # a crash
    diary = one_more(appliance, diary)

    appliance.flynn("-a", "diary", "kill", diary[-1])  # a wish
    diary = one_more(appliance, diary)

    appliance.kill()  # our own death: the job goes on, and is still the one that has the volume
    appliance.up()
    assert appliance.fetch(HOST).text.split() == diary
    assert [one["job"] for one in volumes(appliance)] == [bare(diary[-1])]

    appliance.kill()  # both: nobody of ours sees the job end
    appliance.run("podman", "rm", "--force", "--time=0", container(appliance, diary[-1]))
    appliance.up()
    diary = one_more(appliance, diary)

    appliance.down()  # as when the machine is restarted
    assert on_disk(appliance) == {volume["id"]}
    appliance.up()
    diary = one_more(appliance, diary)
    assert [one["id"] for one in volumes(appliance)] == [volume["id"]]

    said = appliance.flynn("-a", "diary", "volume", "decommission", volume["id"]).stdout
    assert said.startswith(f"volume {volume['id']} successfully decommissioned at 20")
    assert appliance.job_ids("diary") == {diary[-1]}
    appliance.flynn("-a", "diary", "kill", diary[-1])
    another = one_more(appliance, [])
    [new, old] = sorted(volumes(appliance), key=lambda one: "decommissioned_at" in one)
    assert (old["id"], "job" in old) == (volume["id"], False)
    assert (directory / "diary").read_text().split() == diary

    moved = appliance.place / "moved"
    (appliance.data_dir / "volumes" / new["id"]).rename(moved)  # a disk that was not mounted, a slip of the hand
    appliance.flynn("-a", "diary", "kill", another[-1])
    lost = f"its volume {new['id']} is gone"
    jobs = until(lambda: [job for job in every_job(appliance) if lost in job.get("host_error", "")], within_s=60)
    assert jobs, every_job(appliance)
    moved.rename(appliance.data_dir / "volumes" / new["id"])
    one_more(appliance, another)

    appliance.flynn("-a", "diary", "delete", "--yes")
    assert until(lambda: on_disk(appliance) == set(), within_s=60), on_disk(appliance)


def test_a_kept_volume_goes_from_release_to_release_and_back_from_one_that_fails(appliance):
    begin(appliance, {"DIARY": "/data/diary", "PARTING": "yes"}, {"path": "/data", "keep": True})
    [first] = diary = one_more(appliance, [])
    [volume] = volumes(appliance)
    assert (volume["state"], volume["path"], volume["job"], volume["keep"]) == ("created", "/data", bare(first), True)

    appliance.flynn("-a", "diary", "env", "set", "COLOUR=blue")
    diary = one_more(appliance, [first, "left"])  # the old one had left before the new one began
    second = diary[-1]
    assert release_of(appliance, second) != release_of(appliance, first)
    assert [(one["id"], one["job"]) for one in volumes(appliance)] == [(volume["id"], bare(second))]

    assert appliance.flynn("-a", "diary", "env", "set", "BROKEN=yes", check=False).returncode != 0
    *before, third = handed_back(appliance, [*diary, "left"])
    assert release_of(appliance, third) == release_of(appliance, second)
    assert before, "the failed release never had the volume"
    assert release_of(appliance, second) not in {release_of(appliance, job) for job in before}
    [shown] = appliance.flynn("-a", "diary", "volume").stdout.splitlines()[1:]
    assert volume["id"] in shown
    assert [(one["id"], one["job"]) for one in volumes(appliance)] == [(volume["id"], bare(third))]

    assert on_disk(appliance) == {volume["id"]}
    appliance.flynn("-a", "diary", "delete", "--yes")
    assert until(lambda: on_disk(appliance) == set(), within_s=60), on_disk(appliance)


def handed_back(appliance, before: list[str]) -> list[str]:
    """Wait until somebody serves again; return which jobs have written to the volume since `before`."""

    def read() -> list[str]:
        answer = appliance.fetch(HOST)
        return answer.text.split() if answer.status == 200 else []

    lines = until(read, within_s=60)
    assert lines[: len(before)] == before, lines
    return lines[len(before) :]


def release_of(appliance, job: str) -> str:
    return next(one["release"] for one in every_job(appliance) if one["uuid"] == bare(job))


def every_job(appliance) -> list[dict]:
    return json.loads(appliance.flynn("-a", "diary", "ps", "--all", "--json").stdout)
