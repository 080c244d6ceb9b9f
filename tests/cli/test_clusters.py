"""`flynn cluster` and `flynn git-credentials`."""

import pytest

from .fake_controller import KEY, NOT_FOUND, Reply

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def add(person, *argv):
    return person.flynn("cluster", "add", "--no-git", *argv)


def test_a_person_without_clusters(person):
    assert person.flynn("cluster").out == "NAME  CONTROLLER URL  GIT URL  IMAGE URL\n"
    assert person.flynn("cluster", "default").out == "NAME  URL\n"
    done = person.flynn("apps")
    assert (done.code, done.out, done.err) == (1, "", "no clusters configured\n")


def test_adding_listing_and_the_default(person):
    assert add(person, "one", "example.com", "key").err == 'Cluster "one" added and set as default.\n'
    assert add(person, "two", "https://controller.two.test", "k").err == 'Cluster "two" added.\n'
    assert add(person, "-d", "-p", "pin=", "3", "x.test", "k").err == 'Cluster "3" added and set as default.\n'
    assert person.flynn("cluster").out == (
        "NAME  CONTROLLER URL                  GIT URL  IMAGE URL\n"
        "one   https://controller.example.com  (none)   https://images.example.com\n"
        "two   https://controller.two.test     (none)   https://images.two.test\n"
        "3     https://controller.x.test       (none)   https://images.x.test  (default)\n"
    )
    assert person.flynn("cluster", "default").out == "NAME  URL\n3     https://controller.x.test  (default)\n"
    assert person.flynn("cluster", "default", "one").err == '"one" is now the default cluster.\n'
    done = person.flynn("cluster", "default", "nope")
    assert (done.code, done.err) == (1, 'Cluster "nope" does not exist and cannot be set as default.\n')


def test_removing(person):
    add(person, "one", "one.test", "k")
    add(person, "two", "two.test", "k")
    removed = person.flynn("cluster", "remove", "one")
    assert removed.err == 'Cluster "one" removed and "two" is now the default cluster.\n'
    nothing = person.flynn("cluster", "remove", "one")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "")
    assert person.flynn("cluster", "remove", "two").err == 'Cluster "two" removed.\n'
    assert person.rc.read_text() == ""


def test_conflicts_change_nothing(person):
    add(person, "one", "one.test", "k")
    before = person.rc.read_text()
    done = add(person, "one", "other.test", "k")
    assert (done.code, done.err) == (1, 'Cluster "one" already exists in ~/.flynnrc\n')
    assert person.rc.read_text() == before
    assert add(person, "-f", "one", "other.test", "k2").err == 'Cluster "one" added and set as default.\n'


def test_git_is_told_and_forgets(person, controller, secure_controller):
    secure_controller.on("GET /ca-cert", Reply(PEM, 200, {"Content-Type": "application/x-x509-ca-cert"}))
    domain, pin = secure_controller.domain, secure_controller.pin
    done = person.flynn("cluster", "add", "-p", pin, "secure", domain, KEY)
    assert (done.code, done.err) == (0, 'Cluster "secure" added.\n')
    ca = person.home / ".flynn" / "ca-certs" / "secure.pem"
    assert ca.read_bytes() == PEM
    assert person.git("config", "--global", f"http.https://git.{domain}.sslCAInfo") == str(ca)
    helper = person.git("config", "--global", f"credential.https://git.{domain}.helper")
    assert helper.endswith("flynn git-credentials")
    assert person.flynn("cluster", "remove", "secure").code == 0
    assert domain not in (person.home / ".gitconfig").read_text()


def test_a_cluster_whose_ca_cannot_be_had_is_not_added(person, secure_controller):
    secure_controller.on("GET /ca-cert", NOT_FOUND)
    argv = ["cluster", "add", "-p", secure_controller.pin, "secure", secure_controller.domain, KEY]
    done = person.flynn(*argv)
    assert (done.code, done.err) == (1, "Error writing CA certificate: controller: resource not found\n")
    assert not person.rc.exists()
    assert not (person.home / ".gitconfig").exists()


ASKED = "protocol=https\nhost=git.example.com\n\nignored=after the empty line\n"


@pytest.mark.parametrize(
    ("operation", "stdin", "out"),
    [
        ("get", ASKED, f"protocol=https\nusername=user\nhost=git.example.com\npassword={KEY}\n"),
        (
            "get",
            ASKED.replace("\n\n", "\npath=x=y\n\n"),
            f"protocol=https\nusername=user\nhost=git.example.com\npassword={KEY}\n",
        ),
        ("get", ASKED.replace("https", "http"), ""),
        ("get", ASKED.replace("example.com", "example.org"), ""),
        ("get", "", ""),
        ("store", ASKED, ""),
    ],
)
def test_git_credentials(person, controller, operation, stdin, out):
    done = person.flynn("git-credentials", operation, stdin=stdin)
    assert (done.code, done.out, done.err) == (0, out, "")


def test_oauth_clusters_are_kept_but_cannot_be_used_yet(person):
    person.rc.write_text(
        '[[cluster]]\nName = "o"\nOAuthURL = "https://login"\nControllerURL = "https://c"\n'
        'GitURL = "https://git.example.com"\n'
    )
    assert person.flynn("apps").err == "cluster o wants OAuth, which is not available yet\n"
    assert person.flynn("git-credentials", "get", stdin=ASKED).out == ""
    assert add(person, "two", "two.test", "k").code == 0
    assert '  OAuthURL = "https://login"\n' in person.rc.read_text()


def test_git_credentials_stays_silent_over_a_broken_file(person):
    person.rc.write_text("not toml")
    done = person.flynn("git-credentials", "get", stdin=ASKED)
    assert (done.code, done.out, done.err) == (0, "", "")
