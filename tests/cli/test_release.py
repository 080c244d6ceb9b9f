"""`flynn release` and `flynn deployment`."""

import json
import time

import pytest

from flynn_aio.cli.release import merged

from .fake_controller import NOT_FOUND, Reply, Stream, after, frame
from .nouns import APP, APP_ID, NEW, OLD, SHORT, release, since

ARTIFACTS = release()["artifacts"]


def linger(handler):
    time.sleep(0.2)


@pytest.fixture
def released(controller):
    controller.on("GET /apps/shop", APP)
    for name in ("shop", APP_ID):
        controller.on(f"GET /apps/{name}/release", release())
        controller.on(f"POST /apps/{name}/deploy", {"id": "d", "app": APP_ID, "finished_at": SHORT})
    newest_first = [release(OLD, created_at=since(minutes=5)), release(NEW, created_at=since(days=3))]
    controller.on("GET /apps/shop/releases", newest_first)
    controller.on(f"GET /releases/{NEW}", release(NEW, env={}, meta={}, processes={}, artifacts=[]))
    for artifact, uri in zip(ARTIFACTS, ["image:runner", "slug:x"], strict=True):
        controller.on(f"GET /artifacts/{artifact}", {"id": artifact, "type": "flynn", "uri": uri})
    controller.on("POST /releases", lambda request: Reply({**request.body, "id": "made"}))
    return controller


def test_listing(person, released):
    width = len(OLD)
    assert person.flynn("release").out == f"{'ID':<{width}}  Created\n{OLD}  5 minutes ago\n{NEW}  3 days ago\n"
    assert person.flynn("release", "-q").out == person.flynn("release", "--quiet").out == f"{OLD}\n{NEW}\n"


def test_showing(person, released):
    assert person.flynn("release", "show").out == (
        f"ID:               {OLD}\n"
        "Artifact[0]:      flynn+image:runner\n"
        "Artifact[1]:      flynn+slug:x\n"
        "Process Types:    web, worker\n"
        "Created At:       2026-11-23 04:01:05.536513 +0000 UTC\n"
        "ENV[EMPTY]        \n"
        "ENV[FOO]          bar\n"
        "META[git]         true\n"
        "META[git.commit]  0123abc\n"
    )
    assert person.flynn("release", "show", NEW).out == (
        f"ID:             {NEW}\nProcess Types:  \nCreated At:     2026-11-23 04:01:05.536513 +0000 UTC\n"
    )


def test_showing_json_asks_for_no_artifacts(person, released):
    out = person.flynn("release", "show", "--json").out
    assert out.count("\n") == 1
    assert json.loads(out) == release()
    assert released.asked == ["GET /apps/shop/release"]


def test_showing_what_is_not_there(person, controller):
    for argv in (["release", "show"], ["release", "show", NEW]):
        done = person.flynn(*argv)
        assert (done.code, done.out, done.err) == (1, "", "controller: resource not found\n")


def test_a_rollback_goes_to_the_second_newest_release(person, released):
    done = person.flynn("release", "rollback", stdin="yes\n")
    assert done.code == 0
    assert done.out == f'Are you sure you want to rollback to release "{NEW}"? (yes/no): '
    assert done.err == f"Rolling back to release {NEW} from {OLD}.\nSuccessfully rolled back to release {NEW}.\n"
    assert released.bodies("POST /apps/shop/deploy") == [{"id": NEW}]


@pytest.mark.parametrize(
    ("argv", "releases", "err"),
    [
        (["-y", OLD], None, "Release id given is the current release.\n"),
        (["-y"], [release(NEW), release(OLD)], "Release id given is the current release.\n"),
        (["-y"], [release()], "Not enough releases to perform a rollback.\n"),
    ],
)
def test_rollbacks_to_nowhere(person, released, argv, releases, err):
    if releases:
        released.on("GET /apps/shop/releases", releases)
    done = person.flynn("release", "rollback", *argv)
    assert (done.code, done.err) == (1, err)


@pytest.mark.parametrize(
    ("others", "err"),
    [
        ([], f"Deleted release {NEW} (deleted 2 files)\n"),
        (["a"], "Release scaled down for app but not fully deleted (still associated with 1 other apps)\n"),
    ],
)
def test_deleting(person, released, others, err):
    path = f"/apps/shop/releases/{NEW}"
    gone = {"release_deletion": {"release": NEW, "remaining_apps": others, "deleted_files": ["a", "b"]}, "error": ""}
    released.on("GET /events", Stream([after(f"DELETE {path}"), frame(9, "release_deletion", gone), linger]))
    released.on(f"DELETE {path}", None)
    done = person.flynn("release", "delete", NEW, stdin="y\n")
    assert (done.code, done.err) == (0, err)
    assert done.out == f'Are you sure you want to delete release "{NEW}"? (yes/no): '
    assert released.requests[0].query == {"app_id": "shop", "object_id": NEW, "object_types": "release_deletion"}


def test_an_update_is_laid_over_the_release(person, released):
    file = person.home / "update.json"
    file.write_text(json.dumps({"env": {"NEW": "1"}, "processes": {"web": {"omni": True}}}))
    done = person.flynn("release", "update", str(file))
    assert (done.code, done.err) == (0, "Created release made.\n")
    (sent,) = released.bodies("POST /releases")
    assert sent["env"] == {"FOO": "bar", "EMPTY": "", "NEW": "1"}
    assert sent["processes"]["web"] == {**release()["processes"]["web"], "omni": True}
    assert sent["artifacts"] == ARTIFACTS


def test_a_clean_update_takes_over_artifacts_only(person, released):
    file = person.home / "update.json"
    file.write_text('{"env": {"NEW": "1"}}')
    assert person.flynn("release", "update", str(file), "--clean").code == 0
    assert released.bodies("POST /releases") == [{"env": {"NEW": "1"}, "artifacts": ARTIFACTS, "app_id": APP_ID}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "open update.json: no such file or directory"),
        ("{", "update.json is not JSON: "),
        ("[]", "not a release"),
    ],
)
def test_update_files_that_are_none(person, released, content, says):
    if content is not None:
        (person.home / "update.json").write_text(content)
    done = person.flynn("release", "update", "update.json")
    assert done.code == 1
    assert says in done.err
    assert "POST /releases" not in released.asked


def test_merging_keeps_what_the_update_leaves_empty():
    before = {"processes": {"web": {"args": ["a"], "env": {"A": "1"}, "ports": [{"port": 0}], "resources": {"cpu": 1}}}}
    update = {
        "processes": {"web": {"args": [], "env": {"B": "2"}, "omni": False, "resources": {"memory": 2}}, "new": {}}
    }
    assert merged(before, update)["processes"] == {
        "web": {
            "args": ["a"],
            "env": {"A": "1", "B": "2"},
            "ports": [{"port": 0}],
            "resources": {"cpu": 1, "memory": 2},
        },
        "new": {},
    }


def test_release_add_is_deprecated_but_works(person, released):
    released.on("POST /artifacts", {"id": "artifact"})
    done = person.flynn("release", "add", "https://registry?name=x")
    assert (done.code, done.err.splitlines()[1:]) == (0, ["Created release made."])
    assert person.flynn("release", "add", "-t", "tar", "x").err == "Release type tar not supported.\n"


def deployments():
    return [
        {"id": "d2", "status": "running", "created_at": since(minutes=4)},
        {"id": "d1", "status": "complete", "created_at": since(hours=3), "finished_at": since(hours=2)},
    ]


def test_deployments(person, released):
    released.on("GET /apps/shop/deployments", deployments())
    assert person.flynn("deployment").out == (
        "ID  STATUS    CREATED        FINISHED\n"
        "d2  running   4 minutes ago  \n"
        "d1  complete  3 hours ago    2 hours ago\n"
    )


def test_one_deployment(person, released):
    failed = {
        "id": "d2",
        "old_release": OLD,
        "new_release": NEW,
        "strategy": "all-at-once",
        "status": "failed",
        "processes": {"worker": 2, "web": 1},
        "deploy_timeout": 30,
        "created_at": SHORT,
    }
    released.on("GET /deployments/d2", failed)
    released.on("GET /events", [{"id": 9, "data": {"status": "failed", "error": "web did not come up"}}, {"id": 8}])
    assert person.flynn("deployment", "show", "d2").out == (
        "ID:           d2\n"
        "Status:       failed\n"
        "Strategy:     all-at-once\n"
        f"Old Release:  {OLD}\n"
        f"New Release:  {NEW}\n"
        "Processes:    web=1 worker=2\n"
        "Timeout:      30s\n"
        "Created At:   2026-11-23 04:01:05.536513 +0000 UTC\n"
        "Finished At:  <nil>\n"
        "Error:        web did not come up\n"
    )
    assert released.requests[-1].headers["accept"] == "application/json"


FAILURE = {
    "error": "web job failed to start: 0 of 1 up after 5 s\nlistens on 127.0.0.1:8080 only: bind 0.0.0.0",
    "phase": "health",
    "explanation": ["it runs, but has not become healthy within 5 s", "listens on 127.0.0.1:8080 only: bind 0.0.0.0"],
    "job": "host0-n1",
    "job_type": "web",
    "signal": "SIGKILL",
    "oom": True,
    "memory_limit": 512 * 1024 * 1024,
    "port": 8080,
    "opened": ["127.0.0.1:8080"],
    "probes": [
        {"at": "2026-11-23T04:01:06Z", "error": "connection refused on ip:8080", "count": 31},
        {"at": "2026-11-23T04:01:09Z"},
    ],
    "log": ["listening"],
    "serving": {"release": OLD, "processes": {"web": 1}},
    "try_next": [
        {"purpose": "allow more time", "command": "flynn -a shop deployment timeout 10"},
        {"purpose": "see more", "command": "flynn -a shop log -j host0-n1"},
    ],
}


def test_a_failed_deployment_tells_all_that_is_known_of_it(person, released):
    steps = [{"step": "up web=1", "at": "2026-11-23T04:01:05.6Z"}]
    failed = {
        "id": "d2",
        "status": "failed",
        "created_at": "2026-11-23T04:01:05.5Z",
        "finished_at": "2026-11-23T04:01:10.75Z",
        "steps": steps,
        "failure": FAILURE,
    }
    released.on("GET /deployments/d2", failed)
    _, _, told = person.flynn("deployment", "show", "d2").out.partition("Error:")
    assert told == (
        "        web job failed to start: 0 of 1 up after 5 s\n"
        "Phase:        health\n"
        "Job:          host0-n1 (web)\n"
        "Ended By:     SIGKILL\n"
        "Memory:       512MB, and ran out of it\n"
        "Told Port:    8080\n"
        "Opened:       127.0.0.1:8080\n"
        f"Serving:      {OLD} (web=1)\n"
        "\nWhy:\n"
        "  it runs, but has not become healthy within 5 s\n"
        "  listens on 127.0.0.1:8080 only: bind 0.0.0.0\n"
        "\nSteps:\n"
        "     0.1 s  up web=1\n"
        "     5.2 s  failed\n"
        "\nHealth check:\n"
        "  2026-11-23T04:01:06.000000Z  connection refused on ip:8080, 31 times\n"
        "  2026-11-23T04:01:09.000000Z  it answered\n"
        "\nLast lines:\n"
        "  listening\n"
        "\nTry next:\n"
        "  to allow more time:  flynn -a shop deployment timeout 10\n"
        "  to see more:         flynn -a shop log -j host0-n1\n"
    )
    shown = json.loads(person.flynn("deployment", "show", "--json", "d2").out)
    assert (shown["failure"], shown["error"]) == (FAILURE, FAILURE["error"])


def test_a_deployment_that_came_off_tells_its_steps(person, released):
    steps = [{"step": "up web=1", "at": "2026-11-23T04:01:05.5Z"}, {"step": "down web=0", "at": "2026-11-23T04:01:07Z"}]
    times = {"created_at": "2026-11-23T04:01:05.5Z", "finished_at": "2026-11-23T04:01:08Z"}
    released.on("GET /deployments/d3", {"id": "d3", "status": "complete", "steps": steps, **times})
    out = person.flynn("deployment", "show", "d3").out
    assert out.endswith("\n\nSteps:\n     0.0 s  up web=1\n     1.5 s  down web=0\n     2.5 s  complete\n")


def test_deploy_timeout(person, released):
    released.on("POST /apps/shop", APP)
    assert person.flynn("deployment", "timeout").out == "120\n"
    assert person.flynn("deployment", "timeout", "30").out == ""
    assert released.bodies("POST /apps/shop") == [{"id": "shop", "meta": None, "deploy_timeout": 30}]
    done = person.flynn("deployment", "timeout", "soon")
    assert (done.code, done.err) == (1, 'error parsing timeout "soon": not a whole number\n')


def test_setting_the_batch_size_keeps_all_other_metadata(person, released):
    released.on("POST /apps/shop", APP)
    assert person.flynn("deployment", "batch-size").out == "not set\n"
    assert person.flynn("deployment", "batch-size", "3").out == ""
    (sent,) = released.bodies("POST /apps/shop")
    assert sent == {"id": "shop", "meta": {**APP["meta"], "flynn-deploy-batch-size": "3"}}
    released.on("GET /apps/shop", {**APP, "meta": sent["meta"]})
    assert person.flynn("deployment", "batch-size").out == "3\n"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("0", 'error parsing batch-size "0": a batch has at least one job\n'),
        ("many", 'error parsing batch-size "many": not a whole number\n'),
        ("9" * 30, f'error parsing batch-size "{"9" * 30}": not a whole number\n'),
    ],
)
def test_a_size_no_batch_can_have(person, released, size, said):
    done = person.flynn("deployment", "batch-size", size)
    assert (done.code, done.err) == (1, said)
    assert released.bodies("POST /apps/shop") == []


def test_a_deployment_nobody_knows(person, released):
    released.on("GET /deployments/x", NOT_FOUND)
    assert person.flynn("deployment", "show", "x").err == "controller: resource not found\n"
