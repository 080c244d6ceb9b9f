"""A controller that answers every question with nonsense: one clear line is said, and no program text is shown."""

import json

import pytest

from .fake_controller import NOT_FOUND, FakeController, Reply, running
from .nouns import release

COMMANDS = [
    "cluster log-sink", "cluster log-sink --json", "cluster log-sink add syslog syslog://h",
    "cluster log-sink remove x",
    "cluster backup --file b.tar", "create y", "delete -y", "apps", "apps --json", "info", "info --json", "ps", "ps -q",
    "ps --json", "kill x", "log", "scale", "scale --all", "scale --all --json", "scale web=1", "scale -n web=1",
    "run -d ls", "run ls", "env", "env --json", "env set A=1", "env set -t web A=1", "env unset A", "env get A",
    "env get -t web A", "limit", "limit --json", "limit set web memory=1GB", "meta", "meta --json", "meta set a=b",
    "meta unset a", "route", "route --json", "route add http d", "route add tcp", "route update http/x -s y",
    "route remove http/x", "pg psql", "pg dump", "pg restore -j 3", "mysql dump", "mongodb mongo", "redis redis-cli",
    "provider", "provider --json", "provider add x http://u", "provider remove x", "remote add", "resource",
    "resource --json", "resource add x", "resource remove x", "resource remove x y", "release", "release -q",
    "release --json", "release show", "release show x", "release show --json", "release update r.json",
    "release update r.json x", "release add u", "release delete -y x", "release rollback -y", "release rollback -y x",
    "deployment", "deployment --json", "deployment show x", "deployment show --json x", "deployment timeout",
    "deployment timeout 3", "deployment batch-size", "deployment batch-size 3", "volume", "volume --json",
    "export -f e.tar", "volume show x", "volume show --json x", "volume decommission x",
]  # fmt: skip

ODD = {"id": "x", "name": "n", "type": "http", "created_at": "soon", "state": 7, "config": 7, "args": 7, "provider": []}
NONSENSE = [
    None,
    [],
    {},
    "x",
    5,
    [None],
    [[]],
    [{}],
    [ODD],
    ODD,
    {"id": {"a": []}, "env": [1], "meta": 7, "processes": "web", "artifacts": 3, "data": "x"},
    {"id": "x", "env": {"FLYNN_POSTGRES": 7, "PGHOST": []}, "meta": {"git": []}, "processes": {"web": 7}},
    release(processes={"web": {"resources": {"memory": {"limit": 10**40}, "cpu": 3}}}, created_at=5),
    [release(created_at="2026-99-99T00:00:00Z")],
    release(artifacts=[["a"]], env={"A": [1]}, meta={"git": {}}),
]


class Nonsensical(FakeController):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def answer_to(self, request):
        return Reply(self.value)


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: json.dumps(value)[:40])
def test_nonsense(person, value, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.events.CONNECT_FOR_S", 0.05)
    monkeypatch.setattr("flynn_aio.cli.deletion.DELETION_S", 0.05)
    monkeypatch.setattr("flynn_aio.cli.scale.SCALE_S", 0.05)
    monkeypatch.setattr("flynn_aio.cli.backup.RECORD_S", 0.05)
    monkeypatch.setenv("FLYNN_APP", "shop")
    (person.home / "r.json").write_text('{"env": {"A": "1"}, "processes": {"web": {"env": {"B": "2"}}}}')
    with running(Nonsensical(value)) as fake:
        person.rc.write_text(f'[[cluster]]\nName = "one"\nKey = "k"\nControllerURL = "http://127.0.0.1:{fake.port}"\n')
        for command in COMMANDS:
            done = person.flynn(*command.split())
            assert (done.code, bool(done.err)) in ((0, True), (0, False), (1, True)), command


def test_nonsense_is_said_to_come_from_the_controller(person, controller):
    controller.on("GET /apps", [{"id": "x"}])
    done = person.flynn("apps")
    url = f"http://127.0.0.1:{controller.port}/apps"
    assert (done.code, done.out) == (1, "")
    assert done.err == f"GET \"{url}\": the answer makes no sense to this flynn (KeyError: 'name')\n"
    assert "'flynn version'" in done.hint


def test_an_error_without_a_controller_is_ours(person, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.about.help_text", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        person.flynn("help")


def test_a_hint_out_of_nonsense_is_no_second_error(person, controller):
    controller.on("GET /apps", None)
    controller.on("GET /apps/shop/jobs", NOT_FOUND)
    assert person.flynn("ps").err == "controller: resource not found\n"
