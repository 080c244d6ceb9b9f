"""`flynn docker push` on real Podman: an image goes up, serves, is pushed again, and leaves nothing behind.

The stories share one appliance and, in order, two apps whose images have layers in common. Upstream's TestDockerPush,
TestConvertWhiteouts, TestTabsInEnv, TestReleaseDelete and TestReleaseDeleteImageLayers are told here.
"""

import os
import subprocess

import pytest

from ..support.appliance import until
from ..support.images import ensure_test_image

pytestmark = [pytest.mark.podman, pytest.mark.slow]

CONTAINERFILE = """\
FROM {base}
RUN mkdir /www /opaque && echo foo > /foo.txt && touch /opaque/file.txt
RUN rm /foo.txt && rm -rf /opaque && mkdir /opaque
RUN echo {who} > /www/index.html
ENV TAB="test\ttest" GREETING=image
WORKDIR /www
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["exec httpd -f -v -p $PORT -h /www"]
"""


def build(place, who: str) -> str:
    """Build an image; all its layers but one are the same for everybody."""
    image = f"localhost/flynn-aio-test/push-{who}:{os.getpid()}"
    context = place / who
    context.mkdir()
    (context / "Containerfile").write_text(CONTAINERFILE.format(base=ensure_test_image(), who=who))
    subprocess.run(
        ["podman", "build", "--quiet", "--layers", "--network=none", "--tag", image, str(context)],
        check=True,
        capture_output=True,
    )
    return image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    built = {who: build(place, who) for who in ("one", "two")}
    yield built
    subprocess.run(["podman", "rmi", *built.values()], check=True, capture_output=True)


def layers(appliance):
    return set(os.listdir(appliance.data_dir / "layers"))


def podman_images(appliance):
    command = ("podman", "images", "--format", "{{.Repository}}:{{.Tag}}")
    tries = (appliance.run(*command, check=False) for _ in range(5))  # Podman's list fails when an image goes meanwhile
    listed = next(done.stdout.split() for done in tries if done.returncode == 0)
    return [name for name in listed if f"flynn-{appliance.appliance_id}/" in name]


def test_an_image_goes_up_and_serves(appliance, images):
    appliance.flynn("create", "-r", "", "one")
    said = appliance.flynn("-a", "one", "docker", "push", images["one"]).stderr.splitlines()
    assert said[0] == f"deploying Docker image: {images['one']}"
    assert said[1] == f"exporting image with 'podman save {images['one']}'"
    assert {line.removeprefix("uploading layer ") for line in said[2:-1]} == layers(appliance)
    assert said[-1] == "Docker image deployed, scale it with 'flynn scale app=N'"
    appliance.flynn("-a", "one", "scale", "app=1")
    answer = appliance.fetch_until("one.flynn.localhost", "one")
    assert answer.status == 200
    assert len(podman_images(appliance)) == 1


def run(appliance, app, script):
    """What a shell script prints in a one-off job; the image's entrypoint is left aside."""
    return appliance.flynn("-a", app, "run", "sh", "-c", script).stdout


def test_what_the_image_says_is_how_it_runs(appliance):
    assert run(appliance, "one", 'printf %s "$TAB"; pwd') == "test\ttest/www\n"
    assert run(appliance, "one", "test -e /foo.txt || echo gone; ls /opaque; id -u") == "gone\n0\n"
    assert "one-web" in appliance.flynn("-a", "one", "release", "show", "--json").stdout
    found = run(appliance, "one", "wget -qO- http://one-web.discoverd:8080/")
    assert found == "one\n"


def test_a_second_push_sends_nothing_and_keeps_what_was_set(appliance, images):
    appliance.flynn("-a", "one", "env", "set", "GREETING=mine", "MORE=1")
    before = {name: os.stat(appliance.data_dir / "layers" / name / "layer.tar").st_ino for name in layers(appliance)}
    appliance.flynn("-a", "one", "docker", "push", images["one"])
    after = {name: os.stat(appliance.data_dir / "layers" / name / "layer.tar").st_ino for name in layers(appliance)}
    assert after == before
    assert run(appliance, "one", "echo $GREETING $MORE") == "mine 1\n"
    assert appliance.fetch("one.flynn.localhost").status == 200


def test_a_deleted_release_takes_its_files_along(appliance, images):
    shared = layers(appliance)
    appliance.flynn("-a", "one", "docker", "push", images["two"])
    appliance.fetch_until("one.flynn.localhost", "two")
    [own] = layers(appliance) - shared
    [release] = appliance.flynn("-a", "one", "release", "-q").stdout.split()[:1]
    appliance.flynn("-a", "one", "release", "rollback", "-y")
    appliance.fetch_until("one.flynn.localhost", "one")
    said = appliance.flynn("-a", "one", "release", "delete", "-y", release).stderr
    assert said == f"Deleted release {release} (deleted 2 files)\n"  # the manifest, and the one layer that was its own
    assert until(lambda: own not in layers(appliance))
    assert layers(appliance) == shared


def test_an_app_takes_only_its_own_layers_along_and_they_can_come_again(appliance, images):
    own_and_shared = layers(appliance)
    appliance.flynn("create", "-r", "", "two")
    appliance.flynn("-a", "two", "docker", "push", images["two"])
    both = layers(appliance)
    appliance.flynn("-a", "one", "delete", "-y", "-r", "")
    assert until(lambda: len(layers(appliance)) == len(both) - 1)
    assert not own_and_shared <= layers(appliance)
    appliance.flynn("-a", "two", "delete", "-y", "-r", "")
    assert until(lambda: not layers(appliance))
    assert until(lambda: not podman_images(appliance), within_s=60)  # its last job takes its time to end

    appliance.flynn("create", "-r", "", "three")
    appliance.flynn("-a", "three", "docker", "push", images["one"])
    assert run(appliance, "three", "cat /www/index.html") == "one\n"
    appliance.flynn("-a", "three", "delete", "-y", "-r", "")
