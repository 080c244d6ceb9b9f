"""`flynn resource` and `flynn provider`: what is asked for, in which order, and what is said."""

import json

import pytest

from .fake_controller import NOT_FOUND, error
from .nouns import APP, APP_ID, NEW, OLD, release

PG = {"id": "11111111-0000-4000-8000-000000000001", "name": "postgres", "url": "http://pg-web.discoverd/databases"}
RESOURCE = {
    "id": "22222222-0000-4000-8000-000000000002",
    "provider": PG["id"],
    "external_id": "/databases/u:d",
    "env": {"PGHOST": "leader.pg.discoverd", "PGUSER": "u"},
    "apps": [APP_ID],
    "created_at": "2026-11-23T04:01:05Z",
}
OTHER = {**RESOURCE, "id": "22222222-0000-4000-8000-000000000003"}
ADD = "POST /providers/postgres/resources"
REMOVE = f"DELETE /providers/postgres/resources/{RESOURCE['id']}"
DEPLOYED = {"id": "d", "app": APP_ID, "finished_at": "2026-11-23T04:01:05Z"}


@pytest.fixture
def shop(controller):
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/shop/release", release())
    controller.on(f"GET /apps/{APP_ID}/release", release())
    controller.on("POST /releases", release(NEW))
    controller.on(f"POST /apps/{APP_ID}/deploy", DEPLOYED)
    controller.on("GET /providers", [PG])
    controller.on(f"GET /providers/{PG['id']}", PG)
    controller.on("GET /apps/shop/resources", [RESOURCE])
    controller.on(ADD, RESOURCE)
    controller.on(REMOVE, RESOURCE)
    return controller


def test_a_list_names_the_provider_of_each(person, shop):
    shop.on("GET /apps/shop/resources", [RESOURCE, OTHER])
    done = person.flynn("resource")
    assert done.out == (
        "ID                                    Provider ID                           Provider Name\n"
        f"{RESOURCE['id']}  {PG['id']}  postgres\n"
        f"{OTHER['id']}  {PG['id']}  postgres\n"
    )
    assert shop.asked == ["GET /apps/shop/resources", f"GET /providers/{PG['id']}"]


def test_a_list_as_json_has_no_passwords(person, shop):
    done = person.flynn("resource", "--json")
    assert json.loads(done.out) == [{key: value for key, value in RESOURCE.items() if key != "env"}]


def test_adding_puts_the_env_into_a_new_release(person, shop):
    done = person.flynn("resource", "add", "postgres")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"Created resource {RESOURCE['id']} and release {NEW}.\n"
    assert shop.asked == [
        ADD,
        "GET /apps/shop",
        f"GET /apps/{APP_ID}/release",
        "POST /releases",
        f"POST /apps/{APP_ID}/deploy",
    ]
    assert shop.bodies(ADD) == [{"apps": ["shop"], "config": None}]
    [made] = shop.bodies("POST /releases")
    assert made["env"] == {"FOO": "bar", "EMPTY": "", **RESOURCE["env"]}
    assert "id" not in made


def test_adding_to_an_app_without_a_release_makes_one_of_just_the_env(person, shop):
    shop.on(f"GET /apps/{APP_ID}/release", NOT_FOUND)
    assert person.flynn("resource", "add", "postgres").code == 0
    assert shop.bodies("POST /releases") == [{"env": RESOURCE["env"], "app_id": APP_ID}]


def test_a_resource_whose_env_cannot_be_set_is_told_of(person, shop):
    shop.on("POST /releases", error("validation_error", "no", 400))
    done = person.flynn("resource", "add", "postgres")
    assert (done.code, done.err) == (1, "validation_error: no\n")
    assert f"'flynn resource remove postgres {RESOURCE['id']}'" in done.hint


@pytest.mark.parametrize(
    ("providers", "named", "hint"),
    [
        ([PG], "postgresql", 'Did you mean "postgres"?'),
        ([PG], "mysql", "there is no provider mysql. 'flynn provider' lists what there is"),
        ([], "mysql", "there are no providers. 'flynn provider add mysql <url>' registers one"),
        ([PG], "postgres", "'flynn apps' lists the apps there are"),
    ],
)
def test_an_unknown_provider_is_told_from_the_known_ones(person, shop, providers, named, hint):
    shop.on("GET /providers", providers)
    shop.on(ADD, NOT_FOUND)
    done = person.flynn("resource", "add", named)
    assert (done.code, done.err) == (1, "controller: resource not found\n")
    assert done.hint == hint


def test_removing_drops_what_was_not_changed_since(person, shop):
    current = release(env={"FOO": "bar", "PGHOST": RESOURCE["env"]["PGHOST"], "PGUSER": "somebody else"})
    shop.on("GET /apps/shop/release", current)
    shop.on(f"GET /apps/{APP_ID}/release", current)
    done = person.flynn("resource", "remove", "postgres")
    assert done.err == f"Deleted resource {RESOURCE['id']}, created release {NEW}.\n"
    assert shop.asked == [
        "GET /apps/shop/resources",
        f"GET /providers/{PG['id']}",
        REMOVE,
        "GET /apps/shop/release",
        "GET /apps/shop",
        f"GET /apps/{APP_ID}/release",
        "POST /releases",
        f"POST /apps/{APP_ID}/deploy",
    ]
    assert shop.bodies("POST /releases")[0]["env"] == {"FOO": "bar", "PGUSER": "somebody else"}


def test_removing_a_named_one_looks_for_no_other(person, shop):
    assert person.flynn("resource", "remove", "postgres", RESOURCE["id"]).code == 0
    assert shop.asked[0] == REMOVE


def test_removing_from_an_app_without_a_release_leaves_it_without(person, shop):
    shop.on("GET /apps/shop/release", NOT_FOUND)
    done = person.flynn("resource", "remove", "postgres")
    assert (done.code, done.err) == (0, f"Deleted resource {RESOURCE['id']}.\n")
    assert "POST /releases" not in shop.asked


@pytest.mark.parametrize(
    ("resources", "err", "hint"),
    [
        ([], "App has no resource for postgres\n", "'flynn resource' lists what it has"),
        (
            [RESOURCE, OTHER],
            "App has more than one resource for postgres, specify resource ID\n",
            f"it is one of {RESOURCE['id']}, {OTHER['id']}",
        ),
    ],
)
def test_which_one_to_remove_must_be_clear(person, shop, resources, err, hint):
    shop.on("GET /apps/shop/resources", resources)
    done = person.flynn("resource", "remove", "postgres")
    assert (done.code, done.err, done.hint) == (1, err, hint)


def test_the_provider_may_be_its_id(person, shop):
    shop.on(f"DELETE /providers/{PG['id']}/resources/{RESOURCE['id']}", RESOURCE)
    assert person.flynn("resource", "remove", PG["id"]).code == 0


def test_providers_are_listed(person, shop):
    done = person.flynn("provider")
    assert done.out == (
        "ID                                    NAME      URL\n"
        "11111111-0000-4000-8000-000000000001  postgres  http://pg-web.discoverd/databases\n"
    )
    assert json.loads(person.flynn("provider", "--json").out) == [PG]


def test_without_providers_nothing_is_listed_and_a_person_told_why(person, shop):
    shop.on("GET /providers", [])
    done = person.flynn("provider")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "'flynn provider add' registers one" in done.hint
    assert person.flynn("provider", "--json").out == "[]\n"


def test_a_provider_is_added(person, shop):
    shop.on("POST /providers", PG)
    done = person.flynn("provider", "add", "postgres", PG["url"])
    assert (done.code, done.out, done.err) == (0, "", "Created provider postgres.\n")
    assert shop.bodies("POST /providers") == [{"url": PG["url"], "name": "postgres"}]


def test_a_resource_whose_provider_is_gone_is_forgotten(person, shop):
    assert person.flynn("resource", "remove", "--forget", "postgres", RESOURCE["id"]).code == 0
    assert shop.requests[0].query == {"forget": "true"}


def test_a_provider_is_removed(person, shop):
    shop.on("DELETE /providers/postgres", PG)
    done = person.flynn("provider", "remove", "postgres")
    assert (done.code, done.out, done.err) == (0, "", "Removed provider postgres.\n")
    done = person.flynn("provider", "remove", "postgre")
    assert (done.code, done.err) == (1, "controller: resource not found\n")
    assert done.hint == "'flynn provider' lists what there is"


def test_old_releases_stay_as_they_are(person, shop):
    person.flynn("resource", "add", "postgres")
    assert shop.bodies(f"POST /apps/{APP_ID}/deploy") == [{"id": NEW}]
    assert OLD not in json.dumps(shop.bodies("POST /releases"))
