"""`flynn volume`."""

import json

from .nouns import APP, APP_ID, OLD, SHORT, since

ID = "f7e1ae94-64d3-4ce7-82eb-04d07e0a1b8b"
OTHER = "1b9a2a9c-2b4e-4f0e-a37d-0a5bd8f9b1a4"
JOB = "5136d8fb-8c5e-4f0e-a37d-0a5bd8f9b1a4"
GONE = "2026-11-23T05:00:00Z"


def volume(**more):
    return {
        "path": "/data",
        "id": ID,
        "host_id": "host0",
        "type": "data",
        "state": "created",
        "app": APP_ID,
        "release": OLD,
        "job": JOB,
        "job_type": "db",
        "meta": {"b": "<2>", "a": "1"},
        "created_at": SHORT,
        "updated_at": SHORT,
        **more,
    }


def unattached(**more):
    found = volume(id=OTHER, state="destroyed", **more)
    del found["job"]
    return found


def test_listing(person, controller):
    listed = [volume(created_at=since(minutes=3)), unattached(created_at=since(days=1), decommissioned_at=GONE)]
    controller.on("GET /apps/shop/volumes", listed)
    done = person.flynn("volume")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "ID                                    HOST   STATE      ATTACHED JOB"
        "                                CREATED        DECOMMISSIONED\n"
        f"{ID}  host0  created    host0-{JOB}  3 minutes ago  false\n"
        f"{OTHER}  host0  destroyed                                              24 hours ago   true\n"
    )
    assert json.loads(person.flynn("volume", "--json").out) == listed


def test_an_app_without_any(person, controller):
    controller.on("GET /apps/shop/volumes", [])
    assert person.flynn("volume").out == "ID  HOST  STATE  ATTACHED JOB  CREATED  DECOMMISSIONED\n"


def test_show(person, controller):
    controller.on(f"GET /apps/shop/volumes/{ID}", volume())
    assert person.flynn("volume", "show", ID).out == (
        f"ID:                {ID}\n"
        "State:             created\n"
        "HostID:            host0\n"
        f"AppID:             {APP_ID}\n"
        f"ReleaseID:         {OLD}\n"
        f"JobID:             host0-{JOB}\n"
        "JobType:           db\n"
        "CreatedAt:         2026-11-23 04:01:05.536513 +0000 UTC\n"
        "UpdatedAt:         2026-11-23 04:01:05.536513 +0000 UTC\n"
        "DecommissionedAt:  <nil>\n"
    )


def test_show_what_is_attached_to_nothing(person, controller):
    controller.on(f"GET /apps/shop/volumes/{OTHER}", unattached(decommissioned_at=GONE))
    out = person.flynn("volume", "show", OTHER).out
    assert "\nJobID:             \n" in out
    assert out.endswith("DecommissionedAt:  2026-11-23 05:00:00 +0000 UTC\n")


def test_show_as_json_is_one_line_as_go_writes_it(person, controller):
    controller.on(f"GET /apps/shop/volumes/{ID}", volume())
    out = person.flynn("volume", "show", "--json", ID).out
    assert json.loads(out) == volume()
    assert out.startswith(f'{{"path":"/data","id":"{ID}","host_id":"host0"')
    assert r'"meta":{"a":"1","b":"\u003c2\u003e"}' in out
    assert out.count("\n") == 1


def test_decommission_sends_what_flynns_client_sends(person, controller):
    what = f"PUT /apps/shop/volumes/{ID}/decommission"
    sent = {"id": ID, "host_id": "", "type": "", "state": ""}
    controller.on(what, {**sent, "updated_at": GONE, "decommissioned_at": GONE})
    done = person.flynn("volume", "decommission", ID)
    assert (done.code, done.out) == (0, f"volume {ID} successfully decommissioned at 2026-11-23 05:00:00 +0000 UTC\n")
    assert [request.body for request in controller.requests if str(request) == what] == [sent]


def test_an_unknown_volume_is_said_so(person, controller):
    controller.on("GET /apps", [APP])
    for words in (("show",), ("decommission",)):
        done = person.flynn("volume", *words, ID)
        assert (done.code, done.out) == (1, "")
        assert "not found" in done.err
        assert done.hint == "'flynn volume' lists what there is"
