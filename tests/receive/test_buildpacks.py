"""The three buildpacks, in the real stack on a real Podman; what is slow is made once and kept as images."""

import subprocess
import time

import pytest

from .workshop import EXAMPLES, Workshop, fetch, open_workshop

pytestmark = [pytest.mark.podman, pytest.mark.slow]


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
async def workshop(tmp_path, downloads):
    async with open_workshop(tmp_path, downloads) as workshop:
        yield workshop


async def built(project):
    """Build, and show the output when it fails."""
    done = await project.build()
    assert done.code == 0, done.text
    return done


# -- the examples ------------------------------------------------------------------------------


async def test_python_hello_is_built_served_and_quick_the_second_time(workshop: Workshop):
    project = workshop.project("python-hello")
    found = await project.detect()
    assert (found.code, found.stdout) == (0, "python\tPython app detected\n")

    first = await built(project)
    assert "-----> Using Python 3.11" in first.stdout
    assert "-----> Installing requirements with pip" in first.stdout
    assert "       gunicorn-23.0.0" in first.stdout
    async with project.serve("web", language="python", env={"GREETING": "Servus"}) as address:
        answer = await fetch(address)
        assert "200 OK" in answer
        assert "Servus from Flynn on port 8080" in answer
        assert "GREETING=Servus" in await fetch(address, "/env")

    project.write(app__py=(EXAMPLES / "python-hello/app.py").read_text().replace("Hello", "Moin"))
    began = time.monotonic()
    second = await built(project)
    assert "-----> Using the 2 packages of the last build" in second.stdout
    assert "pip" not in second.stdout
    assert time.monotonic() - began < 10
    async with project.serve("web", language="python") as address:
        assert "Moin from Flynn" in await fetch(address)


async def test_nodejs_hello_is_built_served_and_quick_the_second_time(workshop: Workshop):
    project = workshop.project("nodejs-hello")
    first = await built(project)
    assert "-----> Using Node.js 18" in first.stdout
    assert "-----> Installing packages with npm ci" in first.stdout
    async with project.serve("web", language="nodejs", env={"GREETING": "Servus"}) as address:
        assert "Servus from Flynn on port 8080" in await fetch(address)
    second = await built(project)
    assert "-----> Using the packages of the last build" in second.stdout

    (project.source / "Procfile").unlink()
    third = await built(project)
    assert third.code == 0
    async with project.serve("web", language="nodejs") as address:
        assert "Hello from Flynn on port 8080" in await fetch(address)


async def test_static_hello_is_served(workshop: Workshop):
    project = workshop.project("static-hello")
    done = await built(project)
    assert done.stdout == "-----> Serving site with nginx\n"
    async with project.serve("web", language="static") as address:
        assert "Hello, Flynn!" in await fetch(address)
        assert "text/css" in await fetch(address, "/style.css")
        assert "404 Not Found" in await fetch(address, "/missing")
        assert "404 Not Found" in await fetch(address, "/Staticfile")


# -- detect ------------------------------------------------------------------------------------


async def test_a_tree_nobody_knows_is_refused(workshop: Workshop):
    project = workshop.project()
    project.write(data__bin="x" * 3_000_000)
    done = await project.detect()
    assert (done.code, done.stdout, done.stderr) == (1, "", "Unable to select a buildpack\n")


async def test_slugignore_takes_files_away_before_anything_looks(workshop: Workshop):
    project = workshop.project()
    project.write(
        __slugignore="# not needed\n\n/docs\n*.psd\nwith space.txt\nsrc/**/*.tmp\nnothing-like-it\r\n",
        docs___a__md="",
        picture__psd="",
        src___deep___x__tmp="",
        src___keep__py="",
        requirements__txt="",
    )
    project.write(**{"with space__txt": ""})
    done = await project.detect()
    assert done.stderr == "-----> Deleting 4 files matching .slugignore patterns.\n"
    left = {str(path.relative_to(project.app)) for path in project.app.rglob("*") if path.is_file()}
    assert left == {".slugignore", "src/keep.py", "requirements.txt"}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"Staticfile": "", "package__json": "{}"}, "static"),
        ({"index__html": "", "package__json": "{}"}, "nodejs"),
        ({"index__html": "", "requirements__txt": ""}, "python"),
        ({"package__json": "{}", "requirements__txt": ""}, "nodejs"),
        ({"pyproject__toml": ""}, "python"),
        ({"index__html": ""}, "static"),
    ],
)
async def test_the_first_buildpack_in_order_wins(workshop: Workshop, files, name):
    project = workshop.project()
    project.write(**files)
    assert (await project.detect()).stdout.partition("\t")[0] == name


INLINE_BUILDPACK = {
    "bin/detect": "#!/bin/sh\necho Inline\n",
    "bin/compile": (
        "#!/bin/bash\n"
        'echo "cached: $(cat "$2/count" 2>/dev/null)"\n'
        'echo 1 >"$2/count"\n'
        'echo "FOO is $(cat "$3/FOO")"\n'
        'echo "export FROM_FIRST=yes" >"$(dirname "$0")/../export"\n'
        'echo "before: $FROM_FIRST; commit $SOURCE_VERSION"\n'
    ),
    "bin/release": "#!/bin/sh\nprintf -- '---\\nconfig_vars:\\n  COLOUR: blue\\n'\n",
}


def make_buildpack(folder, files=INLINE_BUILDPACK):
    """Make a git repository of a buildpack, which a tar can carry to where a build may fetch it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "buildpack"]):
        subprocess.run([*git, *command], check=True)
    return folder


async def test_a_buildpack_of_the_app_s_own_sees_cache_env_dir_and_commit(workshop: Workshop):
    project = workshop.project()
    make_buildpack(project.source / "pack")
    project.env = {"BUILDPACK_URL": "file:///app/pack", "FOO": "bar"}
    first = await built(project)
    assert first.stdout.splitlines() == [
        "-----> Fetching custom buildpack",
        "cached: ",
        "FOO is bar",
        f"before: ; commit {'0' * 40}",
    ]
    assert (await project.run("bash", "-c", "echo $COLOUR")).stdout == "blue\n"
    (project.cache.parent / "custom").rename(project.cache.parent / "old")
    assert "cached: 1\n" in (await built(project)).stdout


async def test_a_buildpack_that_cannot_be_fetched_says_so(workshop: Workshop):
    project = workshop.project()
    project.env = {"BUILDPACK_URL": "file:///app/nowhere#main"}
    done = await project.build()
    assert done.code == 1
    assert "ERROR: cannot fetch the buildpack file:///app/nowhere#main" in done.stderr


async def test_a_version_a_buildpack_does_not_have_is_not_taken_for_another(workshop: Workshop):
    project = workshop.project()
    make_buildpack(project.source / "pack")
    project.env = {"BUILDPACK_URL": "file:///app/pack#v2", "FOO": "bar"}
    done = await project.build()
    assert done.code == 1
    assert "ERROR: cannot fetch the buildpack file:///app/pack#v2" in done.stderr


async def test_several_buildpacks_run_in_order_and_see_exports(workshop: Workshop):
    project = workshop.project()
    make_buildpack(project.source / "one")
    make_buildpack(project.source / "two")
    project.write(__buildpacks="file:///app/one\n# and\nfile:///app/two\n")
    project.env = {"FOO": "bar"}
    done = await built(project)
    assert [line for line in done.stdout.splitlines() if line.startswith(("----->", "before"))] == [
        "-----> Fetching buildpack file:///app/one",
        "-----> Inline app detected",
        f"before: ; commit {'0' * 40}",
        "-----> Fetching buildpack file:///app/two",
        "-----> Inline app detected",
        f"before: yes; commit {'0' * 40}",
    ]


# -- python ------------------------------------------------------------------------------------


async def test_a_python_the_stack_has_not_is_refused_with_what_to_write(workshop: Workshop):
    project = workshop.project()
    project.write(requirements__txt="", runtime__txt="python-3.9.1\n")
    done = await project.build()
    assert done.code == 1
    assert "runtime.txt asks for Python 3.9.1, and the stack debian-12 has Python 3.11" in done.stderr
    assert "Write 3.11 into runtime.txt" in done.stderr

    project.write(runtime__txt="# the series counts\npython-3.11.99\n")
    assert "asks for Python 3.11.99; the stack has 3.11" in (await built(project)).stdout


async def test_a_requirement_that_does_not_exist_fails_the_build_and_keeps_the_cache(workshop: Workshop):
    project = workshop.project()
    project.write(requirements__txt="./no-such-package\n")
    done = await project.build()
    assert done.code == 1
    assert "pip could not install the app's packages" in done.stderr
    assert not (project.cache / "python").exists()


async def test_a_project_is_installed_and_its_web_server_found(workshop: Workshop):
    project = workshop.project()
    project.write(
        pyproject__toml=(
            '[project]\nname = "greeter"\nversion = "1.0"\ndependencies = ["gunicorn==23.0.0"]\n'
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            '[tool.setuptools]\npackages = ["greeter"]\n'
        ),
        wsgi__py=(
            "import greeter\n"
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    return [b'from a project']\n"
        ),
    )
    (project.source / "greeter").mkdir()
    (project.source / "greeter" / "__init__.py").write_text("")
    assert "Installing the project and its dependencies" in (await built(project)).stdout
    assert 'web: "gunicorn wsgi:app --bind 0.0.0.0:$PORT"' in (project.app / ".release").read_text()
    async with project.serve("web", language="python") as address:
        assert "from a project" in await fetch(address)


async def test_a_python_app_without_a_web_server_is_told_about_procfiles(workshop: Workshop):
    project = workshop.project()
    project.write(pyproject__toml="[tool.ruff]\n", app__py="print('hello')\n")
    done = await built(project)
    assert "pyproject.toml names no project" in done.stdout
    assert "There is no Procfile, and no web server that we know how to start" in done.stdout
    assert (project.app / ".release").read_text() == "---\n"


# -- nodejs ------------------------------------------------------------------------------------


async def test_another_node_is_fetched_when_engines_asks_for_it(workshop: Workshop):
    project = workshop.project()
    project.write(
        package__json='{"engines": {"node": "20.x"}, "scripts": {"start": "node --version"}, "dependencies": {}}'
    )
    first = await built(project)
    assert "-----> Fetching Node.js 20.x" in first.stdout
    assert "-----> Using Node.js 20." in first.stdout
    ran = await project.run("start", "web", language="nodejs")
    assert ran.stdout.splitlines()[-1].startswith("v20.")
    assert "Fetching" not in (await built(project)).stdout


async def test_a_node_nobody_has_is_refused(workshop: Workshop):
    project = workshop.project()
    project.write(package__json='{"engines": {"node": "0.0.7"}}')
    done = await project.build()
    assert done.code == 1
    assert "Node.js 0.0.7, which engines.node in package.json asks for, cannot be fetched." in done.stderr


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"package__json": "{}", "yarn__lock": ""}, "yarn.lock belongs to a package manager"),
        ({"package__json": "{"}, "package.json is not JSON:"),
        ({"package__json": '{"scripts": {"build": "exit 3"}}'}, "npm run build failed"),
        ({"package__json": '{"dependencies": {"x": "file:./nowhere"}}', "package-lock__json": "{}"}, "npm could not"),
    ],
)
async def test_what_node_cannot_do_says_so(workshop: Workshop, files, says):
    project = workshop.project()
    project.write(**files)
    done = await project.build()
    assert done.code == 1
    assert f" !     {says}" in done.stderr


# -- static ------------------------------------------------------------------------------------


async def test_a_plain_folder_is_a_site_whose_own_files_stay_hidden(workshop: Workshop):
    project = workshop.project()
    project.write(
        index__html="Hello, Flynn!",
        sub___index__html="below",
        __secret="hidden",
        Staticfile="pushstate: enabled\n",
    )
    await built(project)
    async with project.serve("web", language="static") as address:
        assert "Hello, Flynn!" in await fetch(address)
        assert "below" in await fetch(address, "/sub/")
        assert "Hello, Flynn!" in await fetch(address, "/some/state")
        assert "404 Not Found" in await fetch(address, "/.secret")
        assert "404 Not Found" in await fetch(address, "/.release")


@pytest.mark.parametrize(
    ("staticfile", "says"),
    [
        ("root: ../etc\n", "is not a folder of the app"),
        ("root: dist\n", "the folder 'dist', which root names, does not exist"),
        ("- root\n", "the Staticfile is not a list of NAME: VALUE lines"),
    ],
)
async def test_a_wrong_staticfile_says_what_is_wrong(workshop: Workshop, staticfile, says):
    project = workshop.project()
    project.write(Staticfile=staticfile)
    done = await project.build()
    assert done.code == 1
    assert says in done.stderr
