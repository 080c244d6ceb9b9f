"""The reader of flows notices what differs, and the writer writes what the reader reads."""

from pathlib import Path

import pytest

from .flow import Bindings, Mismatch, Namer, dump, kind_of, load, printed

ONE = "11111111-2222-4333-8444-555555555555"
OTHER = "66666666-7777-4888-9999-aaaaaaaaaaaa"
FLOWS = sorted((Path(__file__).parent / "flows").glob("*.json"))


def test_a_word_is_bound_once():
    bindings = Bindings()
    bindings.match({"id": "<app>", "of": ["host0-<app>"]}, {"id": ONE, "of": [f"host0-{ONE}"]})
    assert bindings.render("/apps/<app>") == f"/apps/{ONE}"
    with pytest.raises(Mismatch, match="recorded '<app>'"):
        bindings.match("<app>", OTHER)


def test_nothing_is_bound_by_what_differs():
    bindings = Bindings()
    with pytest.raises(Mismatch):
        bindings.match({"id": "<job>", "state": "up"}, {"id": ONE, "state": "down"})
    bindings.match({"id": "<job>"}, {"id": OTHER})
    assert bindings.values == {"job": OTHER}


@pytest.mark.parametrize(
    ("template", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1], [1, 2]),
        ([], None),
        ("<time>", "2026-11-23 04:11:15"),
        ("<time>", "2026-11-23T04:11:15+00:00"),
        ("<number>", "1"),
        ("<number>", True),
        ("<app>", "hello"),
        ("at <time>", "2026-11-23T04:11:15Z"),
        ("<app> <app>", f"{ONE} {OTHER}"),
        (None, ""),
    ],
)
def test_a_difference_is_noticed(template, actual):
    with pytest.raises(Mismatch):
        Bindings().match(template, actual)


def test_the_namer_makes_what_bindings_match():
    seen = {
        "id": 7,
        "object_type": "job",
        "object_id": ONE,
        "data": {"id": f"host0-{ONE}", "uuid": ONE, "release": OTHER, "port": 3007},
        "created_at": "2026-11-23T04:11:15.01603Z",
    }
    namer = Namer({"domain": "flynn.test"})
    template = namer.template(seen)
    assert template == {
        "id": "<number>",
        "object_type": "job",
        "object_id": "<job>",
        "data": {"id": "host0-<job>", "uuid": "<job>", "release": "<release>", "port": "<number>"},
        "created_at": "<time>",
    }
    Bindings().match(template, seen)
    assert namer.text(f"https://hello.flynn.test/{OTHER}") == "https://hello.<domain>/<release>"


def test_an_id_is_called_after_the_path_it_came_from():
    paths = ("/apps", "/apps/hello/release", f"/apps/hello/scale/{ONE}", "/apps/hello/deploy", f"/releases/{ONE}")
    assert [kind_of(path) for path in paths] == ["app", "release", "scale", "deployment", "release"]


def test_what_is_printed_compares_without_clocks_and_widths():
    assert printed("ID    CREATED        X\n1  2 seconds ago  y\nscale completed in 1.5s\n") == [
        "ID  CREATED  X",
        "1  <ago>  y",
        "scale completed in <duration>",
    ]


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_flow_is_written_as_it_is_read_and_holds_no_secret(path):
    text = path.read_text()
    assert dump(load(text)) == text
    assert "PRIVATE KEY" not in text
    assert "BEGIN CERTIFICATE" not in text
    assert "/home/" not in text
    assert "/tmp/" not in text
