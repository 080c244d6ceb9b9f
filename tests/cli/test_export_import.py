"""`flynn export` and `flynn import`: what is asked of the cluster, what goes into the tar, and how a failure ends."""

import gzip
import io
import signal
import stat
import subprocess
import sys
import tarfile
import threading

import pytest

from flynn_aio.cli.importing import renamed

from ..support.layers import digest, layer_tar
from .fake_controller import NOT_FOUND, Reply, Stream, error
from .test_app_archive import APP, FILES, IMAGE, LAYER, written
from .test_databases import PG, Swallowing, Upgraded, printing

RELEASE = {
    "id": "r1",
    "app_id": "a1",
    "artifacts": ["art1"],
    "env": {"A": "1", "REDIS_PASSWORD": "secret", "REDIS_URL": "redis://:secret@x"},
    "meta": {"team": "x"},
    "processes": {
        "web": {
            "args": ["serve"],
            "service": "shop-web",
            "ports": [{"port": 8080, "proto": "tcp", "service": {"name": "shop-web", "create": True}}],
        },
        "worker": {},
    },
}
ROUTES = [{"id": "http/1", "type": "http", "domain": "shop.example.com", "service": "shop-web", "parent_ref": "c/a1"}]
FORMATION = {"app": "a1", "release": "r1", "processes": {"web": 2}, "tags": {"web": {"disk": "ssd"}}}
SLUG = gzip.compress(layer_tar({"./Procfile": b"web: x"}))
RUNNER = {"id": "run1", "type": "flynn", "uri": "image:localhost/flynn-aio/debian-12/runner-python:0123456789ab"}
PUSHED = {"id": "slug1", "type": "flynn", "uri": "slug:s1", "manifest": {"entrypoints": {}}}
LAYER_PATH = f"/layer/{digest(LAYER)}"


@pytest.fixture
def cluster(person, controller):
    """An app `shop` made of one layer. The image service is the same fake server."""
    person.rc.write_text(
        person.rc.read_text().replace("https://images.example.com", f"http://127.0.0.1:{controller.port}")
    )
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/a1/routes", ROUTES)
    controller.on("GET /apps/a1/release", RELEASE)
    controller.on("GET /artifacts/art1", IMAGE)
    controller.on("GET /apps/a1/formations/r1", FORMATION)
    controller.on(f"GET {LAYER_PATH}/tar", Reply(LAYER, headers={"Content-Type": "application/tar"}))
    controller.on("GET /slug/s1", Stream([SLUG[:50], SLUG[50:]], content_type="application/gzip"))
    controller.on("GET /artifacts/run1", RUNNER)
    controller.on("GET /artifacts/slug1", PUSHED)
    return controller


@pytest.fixture
def target(cluster):
    """The same cluster, where an app can be made."""
    cluster.on("POST /apps", {"id": "a2", "name": "copy"})
    cluster.on(f"POST {LAYER_PATH}", {"id": digest(LAYER)})
    cluster.on("POST /artifact", {"id": "art2"})
    cluster.on("POST /slug", [{"id": "run2"}, {"id": "slug2"}])
    cluster.on("POST /releases", {"id": "r2"})
    cluster.on("PUT /apps/a2/release", {"id": "r2"})
    cluster.on("PUT /apps/a2/formations/r2", {})
    cluster.on("POST /apps/a2/routes", {"id": "http/2"})
    cluster.on("DELETE /apps/a2", Reply(b"", 200, {}))
    return cluster


def contents(path):
    with tarfile.open(path) as tar:
        return {name.removeprefix("shop/"): tar.extractfile(name).read() for name in tar.getnames()}


def archive(person, files):
    path = person.home / "shop.tar"
    path.write_bytes(written(files))
    return str(path)


FULL = {**FILES, "release.json": RELEASE, "formation.json": FORMATION, "routes.json": ROUTES}


def test_an_image_is_exported_in_flynns_order(person, cluster):
    done = person.flynn("export", "-f", "shop.tar")
    assert (done.code, done.out, done.err) == (0, "", "")
    found = contents(person.home / "shop.tar")
    layer = f"{digest(LAYER)}.layer"
    assert list(found) == ["app.json", "routes.json", "release.json", "artifacts.json", layer, "formation.json"]
    assert found[layer] == LAYER
    assert b"secret" not in found["release.json"]
    assert b'"A": "1"' in found["release.json"]
    assert stat.S_IMODE((person.home / "shop.tar").stat().st_mode) == 0o600


def test_an_export_goes_to_standard_output(person, cluster):
    done = subprocess.run(
        [sys.executable, "-m", "flynn_aio.cli.main", "export"], capture_output=True, check=True, env=person.environ()
    )
    assert done.stderr == b""
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames()[-1] == "shop/formation.json"


def test_a_slug_is_exported_behind_the_formation(person, cluster):
    cluster.on("GET /apps/a1/release", RELEASE | {"artifacts": ["run1", "slug1"]})
    assert person.flynn("export", "-f", "shop.tar").code == 0
    found = contents(person.home / "shop.tar")
    assert list(found)[-2:] == ["formation.json", "slug.tar.gz"]
    assert found["slug.tar.gz"] == SLUG


def test_an_app_without_a_release_is_exported(person, cluster):
    cluster.on("GET /apps/a1/release", NOT_FOUND)
    assert person.flynn("export", "-f", "shop.tar").code == 0
    assert list(contents(person.home / "shop.tar")) == ["app.json", "routes.json"]


def test_without_artifacts_and_formation_there_is_still_a_release(person, cluster):
    cluster.on("GET /apps/a1/release", {"id": "r1"})
    cluster.on("GET /apps/a1/formations/r1", NOT_FOUND)
    assert person.flynn("export", "-f", "shop.tar").code == 0
    assert list(contents(person.home / "shop.tar")) == ["app.json", "routes.json", "release.json"]


def test_a_database_is_dumped_into_it(person, cluster):
    cluster.on("GET /apps/a1/release", RELEASE | {"env": {**PG, "FLYNN_POSTGRES": "db"}})
    cluster.on("GET /apps/db/release", {"id": "r9"})
    cluster.on("GET /releases/r9", {"id": "r9"})
    cluster.on("POST /apps/a1/jobs", printing(b"a dump"))
    assert person.flynn("export", "-f", "shop.tar").code == 0
    assert contents(person.home / "shop.tar")["postgres.dump"] == b"a dump"
    cluster.on("POST /apps/a1/jobs", printing(b"half", code=3))
    done = person.flynn("export", "-f", "other.tar")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "error creating postgres dump: pg_dump ended with status 3, or was interrupted"
    assert not (person.home / "other.tar").exists()


def test_what_stays_out_is_told(person, cluster):
    processes = {"web": {"volumes": [{"path": "/data"}]}}
    env = {"FLYNN_REDIS": "x", "FLYNN_MONGO": "y"}
    cluster.on("GET /apps/a1/release", RELEASE | {"env": env, "processes": processes})
    assert person.flynn("export", "-f", "shop.tar").err.splitlines() == [
        "WARN: not in the export: the data of its redis server",
        "WARN: not in the export: its mongodb database",
        "WARN: not in the export: what is in the volumes of web",
    ]


def test_an_artifact_that_is_only_named_is_told(person, cluster):
    cluster.on("GET /apps/a1/release", RELEASE | {"artifacts": ["run1"]})
    done = person.flynn("export", "-f", "shop.tar")
    assert (done.code, done.err) == (
        0,
        f"WARN: not in the export: what is in artifact run1; the importing cluster needs to have its {RUNNER['uri']}\n",
    )


@pytest.mark.parametrize(
    ("what", "answer", "why"),
    [
        ("GET /apps/shop", NOT_FOUND, "error getting app: controller: resource not found"),
        ("GET /apps/a1/routes", error("x", "y", 500), "error getting routes: x: y"),
        ("GET /apps/a1/release", error("x", "y", 500), "error retrieving app: x: y"),
        ("GET /artifacts/art1", error("x", "y", 500), "error retrieving artifact art1: x: y"),
        (
            f"GET {LAYER_PATH}/tar",
            NOT_FOUND,
            f"error downloading {digest(LAYER)}.layer: controller: resource not found",
        ),
        (
            f"GET {LAYER_PATH}/tar",
            Reply(b"other"),
            f"error downloading {digest(LAYER)}.layer: what came has the SHA-256",
        ),
        (f"GET {LAYER_PATH}/tar", Stream([b"x"], end=False), f"error downloading {digest(LAYER)}.layer: "),
        ("GET /apps/a1/formations/r1", error("x", "y", 500), "error retrieving formation: x: y"),
    ],
)
def test_an_export_that_fails_leaves_no_file(person, cluster, what, answer, why):
    cluster.on(what, answer)
    done = person.flynn("export", "-f", "shop.tar")
    assert done.code == 1
    assert done.err.startswith(why)
    assert list(person.home.glob("shop*")) == []


def test_a_slug_that_breaks_off_ends_the_export(person, cluster):
    cluster.on("GET /apps/a1/release", RELEASE | {"artifacts": ["run1", "slug1"]})
    cluster.on("GET /slug/s1", Stream([SLUG[:50]], end=False))
    done = person.flynn("export", "-f", "shop.tar")
    assert (done.code, done.err.splitlines()[-1]) == (1, "error downloading slug.tar.gz: unexpected EOF")
    assert list(person.home.glob("shop*")) == []


def test_an_image_is_imported_under_another_name(person, target):
    done = person.flynn("import", "-f", archive(person, FULL), "-n", "copy", "-r")
    assert (done.code, done.out, done.err) == (0, "Imported copy (added 2 routes, provisioned 0 resources)\n", "")
    assert target.asked == [
        "GET /apps/copy",
        f"GET {LAYER_PATH}",
        f"POST {LAYER_PATH}",
        "POST /apps",
        "POST /artifact",
        "POST /releases",
        "PUT /apps/a2/release",
        "PUT /apps/a2/formations/r2",
        "POST /apps/a2/routes",
    ]
    assert target.bodies(f"POST {LAYER_PATH}") == [LAYER]
    assert target.bodies("POST /apps") == [{"name": "copy"}]
    assert target.bodies("POST /artifact") == [IMAGE["manifest"]]
    [release] = target.bodies("POST /releases")
    assert release == {
        "app_id": "a2",
        "artifacts": ["art2"],
        "env": {"A": "1"},
        "meta": {"team": "x"},
        "processes": {
            "web": {
                "args": ["serve"],
                "service": "copy-web",
                "ports": [{"port": 8080, "proto": "tcp", "service": {"name": "copy-web", "create": True}}],
            },
            "worker": {},
        },
    }
    [formation] = target.bodies("PUT /apps/a2/formations/r2")
    assert (formation["processes"], formation["tags"]) == ({"web": 2}, {"web": {"disk": "ssd"}})
    assert target.bodies("POST /apps/a2/routes") == [
        {"type": "http", "domain": "shop.example.com", "service": "copy-web"}
    ]


def test_routes_come_only_when_asked_for_and_as_far_as_they_are_free(person, target):
    path = archive(person, FULL)
    assert person.flynn("import", "-f", path, "-n", "copy").out == (
        "Imported copy (added 1 routes, provisioned 0 resources)\n"
    )
    assert "POST /apps/a2/routes" not in target.asked
    target.on("POST /apps/a2/routes", error("conflict", "conflict: Duplicate route", 409))
    assert person.flynn("import", "-f", path, "-n", "copy", "-r").out == (
        "Imported copy (added 1 routes, provisioned 0 resources)\n"
    )


def test_a_slug_gets_the_runner_of_this_cluster(person, target):
    files = {**FULL, "artifacts.json": [RUNNER, PUSHED], "slug.tar.gz": SLUG}
    assert person.flynn("import", "-f", archive(person, files), "-n", "copy").code == 0
    [sent] = [request for request in target.requests if str(request) == "POST /slug"]
    assert (sent.body, sent.query) == (SLUG, {"runner": RUNNER["uri"]})
    [release] = target.bodies("POST /releases")
    assert (release["artifacts"], release["meta"]) == (["run2", "slug2"], {"team": "x", "git": "true"})


def test_a_database_is_provisioned_and_filled_before_the_jobs_start(person, target):
    feeding = Swallowing(1)  # as pg_restore ends when it could pass over errors
    target.on("POST /providers/postgres/resources", {"env": {**PG, "FLYNN_POSTGRES": "db2"}})
    target.on("POST /providers/redis/resources", {"env": {"FLYNN_REDIS": "new", "REDIS_URL": "new"}})
    target.on("GET /apps/db2/release", {"id": "r9"})
    target.on("GET /releases/r9", {"id": "r9"})
    target.on("POST /apps/a2/jobs", Upgraded(feeding))
    release = RELEASE | {"env": {"FLYNN_POSTGRES": "db", "FLYNN_REDIS": "old", "REDIS_URL": "old"}}
    done = person.flynn(
        "import", "-f", archive(person, {**FULL, "release.json": release, "postgres.dump": b"rows" * 9999})
    )
    assert (done.code, done.out) == (1, "")  # `shop` is there
    done = person.flynn(
        "import",
        "-n",
        "copy",
        "-f",
        archive(person, {**FULL, "release.json": release, "postgres.dump": b"rows" * 9999}),
    )
    assert (done.code, done.out) == (0, "Imported copy (added 1 routes, provisioned 2 resources)\n")
    assert done.err == "WARN: not imported: the data of the redis server; the new one is empty\n"
    assert feeding.content == b"rows" * 9999
    [made] = target.bodies("POST /releases")
    assert made["env"] == {**PG, "FLYNN_POSTGRES": "db2", "FLYNN_REDIS": "new", "REDIS_URL": "new"}
    [job] = target.bodies("POST /apps/a2/jobs")
    assert (job["args"][0], "--jobs 4" in job["args"][2], job["data"], job["env"]) == ("bash", True, True, PG)
    assert target.asked.index("POST /apps/a2/jobs") < target.asked.index("PUT /apps/a2/formations/r2")


def test_a_name_that_is_taken_is_told_before_anything_goes_up(person, target):
    done = person.flynn("import", "-f", archive(person, FULL))
    assert (done.code, done.err) == (1, 'error creating app: object_exists: application "shop" already exists\n')
    assert done.hint == "give the new app another name with --name"
    assert target.asked == ["GET /apps/shop"]


@pytest.mark.parametrize(
    "files",
    [
        {name: value for name, value in FULL.items() if name != "app.json"},
        {name: value for name, value in FULL.items() if not name.endswith(".layer")},
        {**FULL, "slug.tar.gz": SLUG[:-4]},
    ],
)
def test_an_archive_that_is_no_good_asks_for_nothing(person, target, files):
    done = person.flynn("import", "-n", "copy", "-f", archive(person, files))
    assert (done.code, done.out) == (1, "")
    assert target.asked == []


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("POST /artifact", "error creating artifact: x: y"),
        ("POST /releases", "error creating release: x: y"),
        ("PUT /apps/a2/release", "error setting app release: x: y"),
        ("PUT /apps/a2/formations/r2", "error creating formation: x: y"),
        ("POST /apps/a2/routes", "error creating route: x: y"),
    ],
)
def test_a_failure_in_the_middle_takes_the_new_app_away(person, target, what, why):
    target.on(what, error("x", "y", 500))
    done = person.flynn("import", "-r", "-n", "copy", "-f", archive(person, FULL))
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == ["The app copy was not imported, and is deleted again.", why]
    assert target.asked[-1] == "DELETE /apps/a2"


def test_a_provider_that_is_not_there_takes_the_new_app_away(person, target):
    release = RELEASE | {"env": {"FLYNN_REDIS": "old"}}
    done = person.flynn("import", "-n", "copy", "-f", archive(person, {**FULL, "release.json": release}))
    assert done.err.splitlines()[-1] == "error provisioning redis resource: controller: resource not found"
    assert target.asked[-1] == "DELETE /apps/a2"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_is_interrupted_takes_the_new_app_away(person, target, number):
    asked, left = threading.Event(), threading.Event()

    def hang(request):
        asked.set()
        left.wait(10)
        return NOT_FOUND

    target.on("POST /releases", hang)
    argv = ["import", "-n", "copy", "-f", archive(person, FULL)]
    process = subprocess.Popen(
        [sys.executable, "-m", "flynn_aio.cli.main", *argv], stderr=subprocess.PIPE, env=person.environ()
    )
    assert asked.wait(10)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    left.set()
    assert err == b"The app copy was not imported, and is deleted again.\n"
    assert target.asked[-1] == "DELETE /apps/a2"


def test_a_half_app_that_cannot_be_deleted_is_named(person, target):
    target.on("POST /releases", error("x", "y", 500))
    target.on("DELETE /apps/a2", error("a", "b", 500))
    done = person.flynn("import", "-n", "copy", "-f", archive(person, FULL))
    assert done.err.splitlines() == [
        "WARN: the app copy is half imported and could not be deleted: a: b",
        "hint: to delete it: flynn -a copy delete",
        "error creating release: x: y",
    ]


def test_a_failure_before_the_app_leaves_nothing_to_delete(person, target):
    target.on(f"POST {LAYER_PATH}", error("x", "y", 500))
    done = person.flynn("import", "-n", "copy", "-f", archive(person, FULL))
    assert (done.code, done.err) == (1, "error uploading layer: x: y\n")
    assert "POST /apps" not in target.asked
    target.on("POST /slug", NOT_FOUND)
    files = {**FULL, "artifacts.json": [RUNNER, PUSHED], "slug.tar.gz": SLUG}
    done = person.flynn("import", "-n", "copy", "-f", archive(person, files))
    assert done.err == "error uploading slug: the cluster's image service takes no slugs\n"


def test_an_import_comes_from_standard_input(person, target):
    path = archive(person, FULL)
    with open(path, "rb") as file:
        done = person.flynn_process("import", "-n", "copy", stdin_from=file)
    assert done.out == "Imported copy (added 1 routes, provisioned 0 resources)\n"


@pytest.mark.parametrize("name", ["shop", "shop-web", "other", ""])
def test_only_services_that_begin_with_the_old_name_are_renamed(name):
    new = {"shop": "new", "shop-web": "new-web"}.get(name, name)
    process = {"service": name, "ports": [{"service": {"name": name}}, {"port": 1}]}
    found = renamed({"web": process}, "shop", "new")["web"]
    assert (found["service"], found["ports"][0]["service"]["name"]) == (new, new)
    assert found["ports"][1] == {"port": 1}
