"""`flynn export` and `import` on real Podman: from one appliance to another, with nothing between them but a file.

Upstream's TestExportImport, TestExportBuildpackOutput and TestDockerExportImport are told here.
"""

import os
import subprocess
import tarfile

import pytest

from ..support.appliance import EXAMPLES, Appliance, repository
from ..support.images import ensure_test_image

pytestmark = [pytest.mark.podman, pytest.mark.slow]

CONTAINERFILE = """\
FROM {base}
RUN mkdir /www && echo from an image > /www/index.html
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another cluster, which knows nothing of the first."""
    one = Appliance(tmp_path_factory.mktemp("other"), subnet="100.112.0.0/24", domain="other.localhost")
    try:
        one.up()
        yield one
    finally:
        one.down()
        assert one.containers() == []


def test_a_pushed_app_moves_to_another_cluster(appliance, other):
    repo = repository(appliance.place / "page", EXAMPLES / "static-hello")
    (repo / ".profile.d").mkdir()
    (repo / ".profile.d" / "noisy.sh").write_text("echo what an export must not contain\n")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    os.symlink("run.sh", repo / "link")
    appliance.run("git", "add", ".", cwd=repo)
    appliance.run("git", "commit", "--message=more", cwd=repo)
    appliance.flynn("create", "page", cwd=repo)
    file = other.place / "page.tar"

    appliance.flynn("export", "-f", str(file), cwd=repo)
    assert names(file) == ["app.json", "routes.json"]
    appliance.flynn("env", "set", "A=1", cwd=repo)  # a release without code
    appliance.flynn("export", "-f", str(file), cwd=repo)
    assert names(file) == ["app.json", "routes.json", "release.json"]
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    served = appliance.fetch("page.flynn.localhost").text
    appliance.flynn("export", "-f", str(file), cwd=repo)
    assert names(file) == [
        *("app.json", "routes.json", "release.json", "artifacts.json", "formation.json", "slug.tar.gz"),
    ]

    done = other.flynn("import", "-f", str(file), "-n", "copy")
    assert done.stdout == "Imported copy (added 1 routes, provisioned 0 resources)\n"
    assert other.fetch_until("copy.other.localhost", served).text == served
    seen = other.flynn("-a", "copy", "run", "sh", "-c", "readlink link; stat -c %a run.sh; id -u; echo $A").stdout
    assert seen.splitlines() == ["what an export must not contain", "run.sh", "755", "5000", "1"]
    refused = other.flynn("import", "-f", str(file), "-n", "copy", check=False)
    assert "already exists" in refused.stderr
    appliance.flynn("delete", "-y", cwd=repo)
    other.flynn("-a", "copy", "delete", "-y", "-r", "")


def names(path):
    with tarfile.open(path) as tar:
        return [name.partition("/")[2] for name in tar.getnames()]


@pytest.fixture
def image(tmp_path):
    name = f"localhost/flynn-aio-test/export:{os.getpid()}"
    (tmp_path / "Containerfile").write_text(CONTAINERFILE.format(base=ensure_test_image()))
    subprocess.run(
        ["podman", "build", "--quiet", "--network=none", "--tag", name, str(tmp_path)], check=True, capture_output=True
    )
    yield name
    subprocess.run(["podman", "rmi", name], check=True, capture_output=True)


def test_an_image_moves_to_another_cluster(appliance, other, image):
    appliance.flynn("create", "-r", "", "boxed")
    appliance.flynn("-a", "boxed", "docker", "push", image)
    appliance.flynn("-a", "boxed", "scale", "app=1")
    exported = appliance.run("sh", "-c", "flynn -a boxed export > boxed.tar")
    assert (exported.stdout, exported.stderr) == ("", "")
    done = other.flynn("import", "-f", str(appliance.place / "boxed.tar"))
    assert done.stdout == "Imported boxed (added 1 routes, provisioned 0 resources)\n"
    assert other.fetch_until("boxed.other.localhost", "from an image").status == 200
    appliance.flynn("-a", "boxed", "delete", "-y", "-r", "")
    other.flynn("-a", "boxed", "delete", "-y", "-r", "")
