"""What upstream's own suites ask of the API and no other test of ours tells as a whole; see `docs/compatibility.md`."""

from contextlib import asynccontextmanager

import pytest
import trio

from ..support.git import eventually
from .given import give
from .replay import IMAGE

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]
TYPES = {"web": {"args": SLEEP}, "worker": {"args": SLEEP}}
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def api(world):
    return world.api


async def given(api, app="hello", **release):
    return await give(api, {"app": app, "release": {"processes": TYPES} | release}, IMAGE)


async def got(answer):
    response = await answer
    assert response.status == 200, response
    return response.json() if response.body else None


@asynccontextmanager
async def following(api, query):
    """Have a function that returns the next events of a stream, as many as asked for."""
    async with api.stream(f"/events?{query}") as stream:

        async def following_events(count):
            with trio.fail_after(10):
                return [await stream.event() for _ in range(count)]

        yield following_events


async def release_of(api, app, artifacts=(), **more):
    body = {"app_id": app["id"], "artifacts": list(artifacts)} | more
    return await got(api.post("/releases", body))


async def test_routes_are_told_of_past_and_live(api):
    app = await got(api.post("/apps", {"name": "hello"}))
    [first] = await got(api.get("/apps/hello/routes"))
    async with following(api, "app_id=hello&object_types=route,route_deletion&past=true") as events:
        [past] = await events(1)
        route = {"type": "http", "service": "hello-web", "domain": "other.test", "drain_backends": True}
        second = await got(api.post("/apps/hello/routes", route))
        await got(api.delete(f"/apps/hello/routes/http/{second['id']}"))
        live = await events(2)
    assert [(one["object_type"], one["object_id"], one["app"]) for one in (past, *live)] == [
        ("route", first["id"], app["id"]),
        ("route", second["id"], app["id"]),
        ("route_deletion", second["id"], app["id"]),
    ]
    assert [one["data"]["domain"] for one in live] == ["other.test", "other.test"]


async def test_each_app_has_events_of_its_own(api):
    names = ("one", "other")
    apps = {name: await got(api.post("/apps", {"name": name})) for name in names}
    async with following(api, "app_id=one&object_types=release") as one, following(api, "app_id=other") as other:
        releases = {name: await release_of(api, apps[name]) for name in reversed(names)}
        for name, events in (("one", one), ("other", other)):
            [event] = await events(1)
            assert (event["app"], event["object_id"]) == (apps[name]["id"], releases[name]["id"])


async def test_providers_and_resources_are_streamed(api):
    app = await got(api.post("/apps", {"name": "hello"}))
    async with following(api, "object_types=provider,resource,resource_deletion") as events:
        provider = await got(api.post("/providers", {"name": "queue", "url": "http://127.0.0.1:9/none"}))
        path = f"/providers/{provider['id']}/resources/{NOBODY}"
        resource = {"external_id": "/queues/1", "env": {"QUEUE": "1"}, "apps": [app["id"]]}
        await got(api.put(path, resource))
        told = await events(2)
    assert [(event["object_type"], event["object_id"], event.get("app")) for event in told] == [
        ("provider", provider["id"], None),
        ("resource", NOBODY, app["id"]),
    ]
    assert told[0]["data"]["name"] == "queue"
    assert told[1]["data"]["env"] == {"QUEUE": "1"}


async def test_an_event_is_found_by_its_number(api):
    await got(api.post("/apps", {"name": "hello"}))
    [event] = await got(api.get("/events?app_id=hello&object_types=app"))
    assert await got(api.get(f"/events/{event['id']}")) == event
    missing = await api.get(f"/events/{event['id'] + 1000}")
    assert (missing.status, missing.body) == (404, b"")


async def test_releases_are_listed_newest_first(api):
    apps = [await got(api.post("/apps", {"name": name})) for name in ("one", "other")]
    made = [(await release_of(api, app))["id"] for app in (*apps, *apps)]
    assert [release["id"] for release in await got(api.get("/apps/one/releases"))] == [made[2], made[0]]
    listed = [release["id"] for release in await got(api.get("/releases"))]
    assert [release for release in listed if release in made] == made[::-1]


async def test_deployments_are_listed_newest_first(api):
    app = await got(api.post("/apps", {"name": "hello"}))
    made = []
    for _ in range(3):
        release = await release_of(api, app)
        made.append(await got(api.post("/apps/hello/deploy", {"id": release["id"]})))
    listed = await got(api.get("/apps/hello/deployments"))
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(made)]
    assert {one["status"] for one in listed} == {"complete"}


async def test_active_formations_begin_with_what_changed_last(api):
    apps = {name: await given(api, name) for name in ("one", "other")}
    for name in ("one", "other", "one"):
        count = 2 if name == "one" else 1
        path = f"/apps/{name}/formations/{apps[name]['release']}"
        await got(api.put(path, {"processes": {"web": count, "worker": count}}))

    async def changed():
        await got(api.put(f"/apps/other/formations/{apps['other']['release']}", {"processes": {"web": 3}}))
        active = await got(api.get("/formations?active=true"))
        return [one["app"]["name"] for one in active if "flynn-system-app" not in one["app"]["meta"]]

    assert await changed() == ["other", "one"]
    await got(api.put(f"/apps/other/formations/{apps['other']['release']}", {}))
    active = await got(api.get("/formations?active=true"))
    assert "other" not in [one["app"]["name"] for one in active]


async def test_unknown_jobs_are_bare_404s(api):
    await given(api)
    for method, path in (("GET", f"/apps/hello/jobs/host0-{NOBODY}"), ("DELETE", "/apps/hello/jobs/nonsense")):
        answer = await api.request(method, path)
        assert (answer.status, answer.content_type, answer.body) == (404, None, b""), path


async def test_the_meta_of_a_one_off_job_is_exactly_what_was_given(api):
    known = await given(api)
    body = {"release": known["release"], "args": SLEEP, "meta": {"foo": "baz"}}
    job = await got(api.post("/apps/hello/jobs", body))

    async def recorded():
        return [one for one in await got(api.get("/apps/hello/jobs")) if one["uuid"] == job["uuid"]]

    [listed] = await eventually(recorded)
    assert listed["meta"] == {"foo": "baz"}


async def test_ended_jobs_stay_listed_beside_their_replacements(api, world):
    known = await given(api)

    async def listed(count, up):
        async def settled():
            jobs = await got(api.get("/apps/hello/jobs"))
            states = [job["state"] for job in jobs]
            return jobs if (len(jobs), states.count("up")) == (count, up) else None

        return await eventually(settled)

    await got(api.put(f"/apps/hello/formations/{known['release']}", {"processes": {"web": 2}}))
    await listed(2, 2)
    one_off = await got(api.post("/apps/hello/jobs", {"release": known["release"], "args": SLEEP}))
    first, second = [job for job in await listed(3, 3) if job.get("type") == "web"]
    world.engine.crash(first["uuid"])
    await listed(4, 3)
    await got(api.delete(f"/apps/hello/jobs/{one_off['id']}"))
    await listed(4, 2)
    world.engine.crash(second["uuid"])
    jobs = {job["uuid"]: job["state"] for job in await listed(5, 2)}
    assert [jobs[gone] for gone in (first["uuid"], second["uuid"], one_off["uuid"])] == ["down"] * 3
