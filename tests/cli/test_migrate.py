"""`flynn cluster migrate-domain`."""

import pytest

from flynn_aio.cli.migrate import moved
from flynn_aio.cli.rc import Cluster

from .fake_controller import KEY, Reply, Stream, after, error, frame

WISH = {"id": "m1", "old_domain": "example.com", "domain": "new.test"}
CERT = {"ca_cert": "-----BEGIN CERTIFICATE-----\nNEW\n-----END CERTIFICATE-----\n", "cert": "C", "pin": "newpin="}
DONE = WISH | {"tls_cert": CERT, "finished_at": "2026-11-23T00:00:00Z"}


@pytest.fixture
def at_home(person, controller):
    """A controller that is known as if it were at `example.com`."""
    controller.on("GET /apps/controller/release", {"id": "r", "env": {"DEFAULT_ROUTE_DOMAIN": "example.com"}})
    controller.on("PUT /domain", WISH)
    entry = person.rc.read_text()
    person.rc.write_text(entry.replace("https://git.example.com", f"https://git.example.com:{controller.port}"))
    person.git("config", "--global", f"http.https://git.example.com:{controller.port}.sslCAInfo", "/old.pem")
    return controller


def events(*payloads):
    frames = [frame(at, "domain_migration", data) for at, data in enumerate(payloads, 1)]
    return Stream([after("PUT /domain"), *frames, after("never") if not payloads else b":\n"])


def test_migrate_domain_follows_the_cluster(person, at_home):
    at_home.on("GET /events", events({"domain_migration": WISH}, {"domain_migration": DONE}))
    done = person.flynn("cluster", "migrate-domain", "new.test", stdin="yes\n")
    assert done.out == (
        'Migrate cluster domain from "example.com" to "new.test"? (yes/no): '
        "Migrating cluster domain (this can take up to 2m0s)...\n"
        'Changed cluster domain from "example.com" to "new.test"\n'
        "Updated local CLI configuration\n"
    )
    assert (done.code, done.err) == (
        0,
        "Git remotes still lead to git.example.com. To change one, in its repository: "
        "flynn -a <app> remote add flynn\n",
    )
    assert at_home.bodies("PUT /domain") == [{"id": "", "old_domain": "example.com", "domain": "new.test"}]
    entry = person.rc.read_text()
    for line in (
        'Name = "one"',
        f'Key = "{KEY}"',
        'TLSPin = "newpin="',
        f'ControllerURL = "https://controller.new.test:{at_home.port}"',
    ):
        assert line in entry
    assert 'default = "one"' in entry
    ca = person.home / ".flynn" / "ca-certs" / "one.pem"
    assert ca.read_text() == CERT["ca_cert"]
    assert person.git("config", "--global", f"http.https://git.new.test:{at_home.port}.sslCAInfo") == str(ca)
    assert "example.com" not in (person.home / ".gitconfig").read_text()


def test_a_no_leaves_everything(person, at_home):
    before = person.rc.read_text()
    done = person.flynn("cluster", "migrate-domain", "new.test", stdin="no\n")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("(yes/no): Aborted\n")
    assert at_home.asked == ["GET /apps/controller/release"]
    assert person.rc.read_text() == before


def test_an_error_of_the_migration_is_a_line_and_ends_it(person, at_home):
    before = person.rc.read_text()
    at_home.on("GET /events", events({"domain_migration": WISH, "error": "the given certificate cannot be used"}))
    done = person.flynn("cluster", "migrate-domain", "new.test", stdin="yes\n")
    assert done.code == 1
    assert done.out.endswith("\nthe given certificate cannot be used\n")
    assert done.err == "the cluster is still at example.com\n"
    assert person.rc.read_text() == before


def test_a_refusal_is_shown(person, at_home):
    at_home.on("GET /events", Stream([b":\n"]))
    at_home.on("PUT /domain", error("validation_error", "domain is the cluster's domain already", 400))
    done = person.flynn("cluster", "migrate-domain", "example.com", stdin="yes\n")
    assert (done.code, done.err) == (1, "validation_error: domain is the cluster's domain already\n")


def test_a_migration_that_does_not_end_is_given_up(person, at_home, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.migrate.MIGRATION_S", 0.3)
    at_home.on("GET /events", events({"domain_migration": WISH}, {"domain_migration": DONE | {"id": "another"}}))
    done = person.flynn("cluster", "migrate-domain", "new.test", stdin="yes\n")
    assert (done.code, done.err) == (1, "timed out waiting for domain migration to complete\n")


ENTRY = Cluster(
    name="one",
    controller_url="https://controller.example.com:7443",
    git_url="https://git.example.com:7443",
    image_url="https://images.example.com:7443",
    key="k",
    tls_pin="old=",
)


def test_an_entry_keeps_its_port_and_moves_whole():
    assert moved(ENTRY, "example.com", DONE) == ENTRY._replace(
        controller_url="https://controller.new.test:7443",
        git_url="https://git.new.test:7443",
        image_url="https://images.new.test:7443",
        tls_pin="newpin=",
    )


def test_what_an_entry_has_elsewhere_or_not_at_all_stays():
    entry = ENTRY._replace(git_url="", image_url="https://images.elsewhere.test", docker_push_url="https://docker.x")
    found = moved(entry, "example.com", DONE)
    assert (found.git_url, found.image_url) == ("", "https://images.elsewhere.test")
    assert found.docker_push_url == "https://docker.new.test:7443"


def test_nobody_is_asked_when_the_cluster_does_not_answer(person, at_home):
    at_home.on("GET /apps/controller/release", Reply({}, 500))
    done = person.flynn("cluster", "migrate-domain", "new.test", stdin="yes\n")
    assert (done.code, done.out) == (1, "")
