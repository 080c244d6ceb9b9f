"""`flynn create`, `delete`, `apps`, `info`, `remote`."""

import time

import pytest

from .fake_controller import KEY, NOT_FOUND, Reply, Stream, after, error, frame
from .nouns import APP, APP_ID, SHORT, release

DELETION = {
    "app_deletion": {"app": APP_ID, "deleted_routes": [{}], "deleted_releases": [{}, {}], "deleted_resources": None},
    "error": "",
}


def linger(handler):
    """Keep a stream open for a moment, as the real one is for ever."""
    time.sleep(0.2)


def creating(request):
    return Reply({**APP, "name": request.body.get("name", "swift-otter-lane")})


def test_apps_lists_ids_and_names(person, controller):
    controller.on("GET /apps", [APP, {**APP, "id": "x", "name": "blog"}])
    done = person.flynn("apps")
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == f"ID                                    NAME\n{APP_ID}  shop\nx                                     blog\n"
    )


def test_create_outside_a_repository_makes_an_app_and_no_remote(person, controller):
    controller.on("POST /apps", creating)
    done = person.flynn("create")
    assert (done.code, done.out, done.err) == (0, "", "Created swift-otter-lane\n")
    assert controller.bodies("POST /apps") == [{"meta": None}]


def test_create_in_a_repository_makes_a_remote(person, controller):
    controller.on("POST /apps", creating)
    person.stand_in_a_repository()
    assert person.flynn("create", "blog").err == "Created blog\n"
    assert person.git("remote", "get-url", "flynn") == "https://git.example.com/blog.git"


def test_create_with_an_empty_remote_name_makes_no_remote(person, controller):
    controller.on("POST /apps", creating)
    person.stand_in_a_repository()
    assert person.flynn("create", "-r", "", "blog").code == 0
    assert person.git("remote") == ""


def test_create_asks_before_it_replaces_a_remote_and_a_no_creates_nothing(person, controller):
    controller.on("POST /apps", creating)
    person.stand_in_a_repository()
    person.git("remote", "add", "flynn", "https://elsewhere/x.git")
    done = person.flynn("create", "blog", stdin="what\nno\n")
    assert done.code == 0
    assert done.out == (
        "There is already a git remote called flynn\n"
        "Are you sure you want to replace it? (yes/no): Please type 'yes' or 'no': "
    )
    assert done.err == (
        "The remote was not created. Please declare the desired local git remote name with --remote flag.\n"
    )
    assert controller.asked == []
    assert person.flynn("create", "blog", stdin="yes\n").err == "Created blog\n"
    assert person.git("remote", "get-url", "flynn") == "https://git.example.com/blog.git"
    assert person.flynn("create", "-y", "other").out == ""


def test_the_end_of_the_input_is_a_no(person, controller):
    done = person.flynn("delete", stdin="")
    assert (done.code, done.out, done.err) == (0, 'Are you sure you want to delete the app "shop"? (yes/no): ', "")
    assert controller.asked == []


def test_create_says_what_the_controller_says(person, controller):
    controller.on("POST /apps", error("object_exists", 'application "blog" already exists', 409))
    done = person.flynn("create", "blog")
    assert (done.code, done.err) == (1, 'object_exists: application "blog" already exists\n')


def test_delete_listens_first_and_counts_what_went(person, controller):
    controller.on("GET /events", Stream([after("DELETE /apps/shop"), frame(7, "app_deletion", DELETION), linger]))
    controller.on("DELETE /apps/shop", None)
    person.stand_in_a_repository()
    person.git("remote", "add", "flynn", "https://git.example.com/shop.git")
    done = person.flynn("delete", stdin="y\n")
    assert done.code == 0
    assert done.err == "Deleted shop (removed 1 routes, deleted 2 releases, deprovisioned 0 resources)\n"
    assert controller.asked == ["GET /events", "DELETE /apps/shop"]
    assert controller.requests[0].query == {"app_id": "shop", "object_types": "app_deletion"}
    assert person.git("remote") == ""


def test_delete_leaves_a_remote_of_another_app_alone(person, controller):
    controller.on("GET /events", Stream([after("DELETE /apps/shop"), frame(7, "app_deletion", DELETION), linger]))
    controller.on("DELETE /apps/shop", None)
    person.stand_in_a_repository()
    person.git("remote", "add", "flynn", "https://git.example.com/blog.git")
    assert person.flynn("delete", "-y").code == 0
    assert person.git("remote") == "flynn"


def test_delete_says_why_it_failed(person, controller):
    failed = {"app_deletion": None, "error": "could not drop the build cache"}
    controller.on("GET /events", Stream([after("DELETE /apps/shop"), frame(7, "app_deletion", failed), linger]))
    controller.on("DELETE /apps/shop", None)
    done = person.flynn("delete", "-y")
    assert (done.code, done.err) == (1, "could not drop the build cache\n")


def test_delete_does_not_wait_for_ever(person, controller, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.deletion.DELETION_S", 0.1)
    controller.on("GET /events", Stream([linger]))
    controller.on("DELETE /apps/shop", None)
    done = person.flynn("delete", "-y")
    assert (done.code, done.err) == (1, "timed out waiting for app deletion\n")


ROUTE = {"type": "http", "id": "r", "service": "shop-web", "leader": False, "domain": "shop.example.com", "path": "/"}
CERTIFICATE = {"cert": "C", "key": "K", "created_at": SHORT, "updated_at": SHORT}


@pytest.mark.parametrize(
    ("current", "routes", "out"),
    [
        (NOT_FOUND, NOT_FOUND, "=== shop\nGit URL:  https://git.example.com/shop.git\n"),
        (
            release(),
            [{**ROUTE, "type": "tcp", "port": 3000}, {**ROUTE, "certificate": CERTIFICATE}, ROUTE],
            "=== shop\nGit URL:  https://git.example.com/shop.git\nWeb URL:  https://shop.example.com\n",
        ),
        (release(meta={}), [ROUTE], "=== shop\nWeb URL:  http://shop.example.com\n"),
        (release(meta={}), [], "=== shop\n"),
    ],
)
def test_info_shows_where_to_push_and_where_it_answers(person, controller, current, routes, out):
    controller.on("GET /apps/shop/release", current)
    controller.on("GET /apps/shop/routes", routes)
    done = person.flynn("info")
    assert (done.code, done.out, done.err) == (0, out, "")


def test_remote_add(person, controller):
    controller.on("GET /apps/shop", APP)
    assert person.flynn("remote", "add").err == "Must be executed within a git repository.\n"
    person.stand_in_a_repository()
    done = person.flynn("-a", "shop", "remote", "add", "staging")
    assert (done.code, done.err) == (0, "Created remote staging with url https://git.example.com/shop.git.\n")
    assert person.git("remote", "get-url", "staging") == "https://git.example.com/shop.git"


def test_remote_add_for_an_unknown_app(person, controller):
    done = person.flynn("remote", "add")
    assert (done.code, done.err) == (1, "controller: resource not found\n")


def test_info_knows_a_router_that_is_not_at_443(person, secure_controller):
    secure_controller.on("GET /apps/shop/release", NOT_FOUND)
    secure_controller.on("GET /apps/shop/routes", [{"type": "http", "domain": "shop.test"}])
    person.rc.write_text(
        f'default = "one"\n[[cluster]]\nName = "one"\nKey = "{KEY}"\nTLSPin = "{secure_controller.pin}"\n'
        f'ControllerURL = "https://controller.{secure_controller.domain}"\n'
    )
    done = person.flynn("-a", "shop", "info")
    assert done.out == f"=== shop\nWeb URL:  https://shop.test:{secure_controller.port}\n"
