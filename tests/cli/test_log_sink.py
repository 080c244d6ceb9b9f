"""`flynn cluster log-sink`."""

import json

import pytest

from .fake_controller import error

SINK = {
    "id": "3f0c2d0e-5f0b-4a55-9a86-1f6c2d6f5f0e",
    "kind": "syslog",
    "config": {"url": "syslog://logs.example.com", "template": "é\t{{.ID}}", "use_ids": True},
    "created_at": "2026-11-23T04:00:00Z",
    "updated_at": "2026-11-23T04:00:00Z",
}


def add(person, *argv):
    return person.flynn("cluster", "log-sink", "add", "syslog", *argv)


def test_sinks_are_listed_with_their_config_as_it_is(person, controller):
    controller.on("GET /sinks", [], [SINK], [SINK])
    assert person.flynn("cluster", "log-sink").out == "ID  KIND  CONFIG\n"
    assert person.flynn("cluster", "log-sink").out == (
        "ID                                    KIND    CONFIG\n"
        "3f0c2d0e-5f0b-4a55-9a86-1f6c2d6f5f0e  syslog  "
        '{"url":"syslog://logs.example.com","template":"é\\t{{.ID}}","use_ids":true}\n'
    )
    assert json.loads(person.flynn("cluster", "log-sink", "--json").out) == [SINK]


@pytest.mark.parametrize(
    ("argv", "config"),
    [
        (["syslog://h"], {"url": "syslog://h", "format": "rfc6587"}),
        (
            ["--use-ids", "--insecure", "--format", "newline", "syslog+tls://h:6514", "p {{.ID}}"],
            {
                "url": "syslog+tls://h:6514",
                "template": "p {{.ID}}",
                "use_ids": True,
                "insecure": True,
                "format": "newline",
            },
        ),
        (["syslog://h:1", "--format=prefixed_newline"], {"url": "syslog://h:1", "format": "prefixed_newline"}),
    ],
)
def test_a_sink_is_added(person, controller, argv, config):
    controller.on("POST /sinks", SINK)
    done = add(person, *argv)
    assert (done.code, done.out, done.err) == (0, "", f"Created sink {SINK['id']}.\n")
    [sent] = controller.bodies("POST /sinks")
    assert sent == {"id": "", "kind": "syslog", "config": config}
    assert list(sent["config"]) == list(config)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["http://h"], "Invalid syslog protocol: http\n"),
        (["logs.example.com"], "Invalid syslog protocol: \n"),
        (["udp://h:514"], "Invalid syslog protocol: udp\n"),
        (["--format", "json", "syslog://h"], "Invalid syslog format: json\n"),
        (["syslog://[h"], "Invalid syslog URL: "),
    ],
)
def test_what_cannot_be_a_sink_is_not_sent(person, controller, argv, message):
    done = add(person, *argv)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(message)
    assert controller.asked == []


def test_the_id_of_a_sink_is_completed(person, controller):
    controller.on("GET /sinks", [SINK])
    assert person.flynn("complete", "--", "cluster", "log-sink", "remove", "").out == f"{SINK['id']}\n"


def test_the_controllers_refusal_is_shown(person, controller):
    controller.on("POST /sinks", error("validation_error", "config.template has {{end}}", 400))
    assert add(person, "syslog://h", "{{end}}").err == "validation_error: config.template has {{end}}\n"


def test_a_sink_is_removed(person, controller):
    controller.on(f"DELETE /sinks/{SINK['id']}", SINK)
    done = person.flynn("cluster", "log-sink", "remove", SINK["id"])
    assert (done.code, done.out, done.err) == (0, "", f"Deleted sink {SINK['id']}.\n")
    missing = person.flynn("cluster", "log-sink", "remove", "x/y")
    assert (missing.code, missing.err.splitlines()[0]) == (1, "controller: resource not found")
    assert controller.asked[-1] == "DELETE /sinks/x%2Fy"
