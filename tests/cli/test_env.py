"""`flynn env` and `flynn meta`, and the deployments behind them."""

import time

import pytest

from .fake_controller import NOT_FOUND, Reply, Stream, error, frame
from .nouns import APP, APP_ID, NEW, OLD, SHORT, release

DEPLOYMENT = {"id": "d1", "app": APP_ID, "new_release": NEW, "status": "pending"}


def deployment(status, event_id=6, **more):
    return frame(event_id, "deployment", {"deployment": "d1", "status": status, **more})


def linger(handler):
    time.sleep(0.2)


@pytest.fixture
def deployable(controller):
    """An app whose deployments go well."""
    controller.on("GET /apps/shop", APP)
    for name in ("shop", APP_ID):
        controller.on(f"GET /apps/{name}/release", release())
    controller.on("POST /releases", lambda request: Reply({**request.body, "id": NEW}))
    controller.on(f"POST /apps/{APP_ID}/deploy", DEPLOYMENT)
    steps = [deployment("pending", 5), b":\n", deployment("running"), b":\n", deployment("complete", 7), linger]
    controller.on("GET /events", Stream(steps))
    return controller


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (["env"], "EMPTY=\nFOO=bar\n"),
        (["env", "-t", "web"], "EMPTY=\nFOO=for web\n"),
        (["env", "--process-type=nope"], "EMPTY=\nFOO=bar\n"),
        (["env", "get", "FOO"], "bar\n"),
        (["env", "get", "EMPTY"], "\n"),
        (["env", "get", "-t", "web", "FOO"], "for web\n"),
        (["env", "-t", "worker", "get", "FOO"], "bar\n"),
    ],
)
def test_reading(person, deployable, argv, out):
    done = person.flynn(*argv)
    assert (done.code, done.out, done.err) == (0, out, "")


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["env", "get", "NOPE"], f'var "NOPE" not found in release "{OLD}"\n'),
        (["env", "get", "-t", "zz", "FOO"], f'process type "zz" not found in release {OLD}\n'),
        (["env", "set", "FOO"], 'invalid var format: "FOO"\n'),
        (["env", "set", "-t", "zz", "A=1"], f'process "zz" in release {OLD} not found\n'),
        (["meta", "set", "x"], 'invalid var format: "x"\n'),
    ],
)
def test_mistakes(person, deployable, argv, err):
    done = person.flynn(*argv)
    assert (done.code, done.out, done.err) == (1, "", err)
    assert not any(asked.startswith("POST") for asked in deployable.asked)


def test_an_app_without_a_release_has_no_environment(person, controller):
    assert person.flynn("env") == person.flynn("env", "-t", "web")
    assert person.flynn("env").code == 0
    assert person.flynn("env", "get", "FOO").err == "no app release found\n"


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        (["set", "A=1", "B==x", "FOO="], {"env": {"FOO": "", "EMPTY": "", "A": "1", "B": "=x"}}),
        (["unset", "FOO", "NOPE"], {"env": {"EMPTY": ""}}),
        (
            ["set", "-t", "worker", "A=1"],
            {
                "processes": {
                    **release()["processes"],
                    "worker": {**release()["processes"]["worker"], "env": {"A": "1"}},
                }
            },
        ),
    ],
)
def test_a_change_is_a_new_release_that_is_deployed(person, deployable, argv, changes):
    done = person.flynn("env", *argv)
    assert (done.code, done.out, done.err) == (0, "", f"Created release {NEW}.\n")
    (sent,) = deployable.bodies("POST /releases")
    assert sent == {key: value for key, value in {**release(), **changes}.items() if key != "id"}
    assert deployable.bodies(f"POST /apps/{APP_ID}/deploy") == [{"id": NEW}]
    assert deployable.requests[-1].query == {
        "app_id": APP_ID,
        "object_id": "d1",
        "object_types": "deployment",
        "past": "true",
    }


def test_the_first_variable_of_an_app_makes_its_first_release(person, deployable):
    deployable.on(f"GET /apps/{APP_ID}/release", NOT_FOUND)
    deployable.on(f"POST /apps/{APP_ID}/deploy", {**DEPLOYMENT, "finished_at": SHORT})
    assert person.flynn("env", "set", "A=1").code == 0
    assert deployable.bodies("POST /releases") == [{"env": {"A": "1"}, "app_id": APP_ID}]
    assert "GET /events" not in deployable.asked


@pytest.mark.parametrize(
    ("said", "text"), [("web did not come up", "web did not come up"), ("", "deployment d1 failed")]
)
def test_a_failed_deployment_says_why(person, deployable, said, text):
    deployable.on("GET /events", Stream([deployment("failed", error=said), linger]))
    done = person.flynn("env", "set", "A=1")
    assert (done.code, done.err) == (1, f"{text}\n")


def test_a_deployment_that_cannot_start(person, deployable):
    text = "Cannot create deploy, there is already one in progress for this app."
    deployable.on(f"POST /apps/{APP_ID}/deploy", error("validation_error", text, 400))
    assert person.flynn("env", "set", "A=1").err == f"validation_error: {text}\n"


def test_meta(person, deployable):
    deployable.on(f"POST /apps/{APP_ID}/meta", APP)
    assert person.flynn("meta").out == (
        "KEY                            VALUE\ngc.max_inactive_slug_releases  10\nowner                          ops\n"
    )
    assert person.flynn("meta", "set", "a=b=c", "owner=me").out == ""
    assert person.flynn("meta", "unset", "owner", "nope").code == 0
    gc = {"gc.max_inactive_slug_releases": "10"}
    assert deployable.bodies(f"POST /apps/{APP_ID}/meta") == [
        {**APP, "meta": {**gc, "owner": "me", "a": "b=c"}},
        {**APP, "meta": gc},
    ]
