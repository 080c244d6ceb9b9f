"""`/runner/init` starts what a slug says, and reads Procfile and `.release` without a YAML library."""

import subprocess

import pytest

from flynn_aio.receive.procfile import parse_procfile
from flynn_aio.receive.shipped import shipped

from .workshop import Project, Workshop, open_workshop

# -- the reader of mappings, which needs no container --------------------------------------------


def read_mapping(text):
    """Return what `mapping.awk` reads, as (section, key, value); ``None`` when it refuses."""
    script = shipped("stacks/debian-12/runner/mapping.awk")
    done = subprocess.run(["awk", "-f", str(script)], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        assert done.stderr.startswith("line ")
        return None
    return [tuple(line.replace("\x01", "\n").split("\t", 2)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        "web: gunicorn app:app --bind 0.0.0.0:$PORT\n",
        "web: a\nworker: b\nclock: c",
        "# comment\n\nweb: run --x # a comment\r\n",
        "web: 'it''s quoted'\n",
        'web: "say \\"hi\\" \\\\ there"  # comment\n',
        "'my-web': run\n",
        '"web": run\n',
        "web: >\n  first\n  second\nworker: b\n",
        "web: |\n  first\n  second\n",
        "web:    spaces   inside   \n",
        "---\nweb: run a:b http://x/#frag\n",
        "web: 123\nworker: true\n",
        "",
    ],
)
def test_it_reads_procfiles_as_yaml_does(text):
    expected = {name: command.rstrip("\n") for name, command in parse_procfile(text.encode()).items()}
    assert {key: value for _, key, value in read_mapping(text)} == expected


@pytest.mark.parametrize("text", ["hello\n", "- web\n", "web: 'open\n", "  web: run\n", "[web]\n"])
def test_it_refuses_what_is_no_mapping(text):
    assert read_mapping(text) is None


def test_it_reads_what_buildpacks_print():
    text = '---\nconfig_vars:\n  A: b\n  URL: "x#y"\naddons:\n- postgres\ndefault_process_types:\n  web: run it\n'
    assert read_mapping(text) == [
        ("config_vars", "A", "b"),
        ("config_vars", "URL", "x#y"),
        ("default_process_types", "web", "run it"),
    ]
    assert read_mapping("--- {}\n") in (None, [])
    assert read_mapping("---\nconfig_vars: {}\ndefault_process_types: {}\naddons: []\n") == []


# -- in a container ------------------------------------------------------------------------------


@pytest.fixture
async def workshop(tmp_path, tmp_path_factory):
    async with open_workshop(tmp_path, tmp_path_factory.getbasetemp() / "downloads") as workshop:
        yield workshop


@pytest.fixture
def slug(workshop: Workshop) -> Project:
    """A slug made by hand."""
    project = workshop.project()
    project.slug = "slug"
    project.source = project.app
    project.app.mkdir(parents=True)
    return project


@pytest.mark.podman
@pytest.mark.slow
async def test_arguments_arrive_word_for_word(slug: Project):
    assert (await slug.run("bash", "-c", "echo 'foo bar'")).stdout == "foo bar\n"
    assert (await slug.run("printf", "%s|", "a b", "$HOME", "c'd", "")).stdout == "a b|$HOME|c'd||"
    done = await slug.run(
        "bash", "-c", "id -u; pwd; echo $HOME; echo out >/dev/stdout; (echo err >/dev/stderr); exit 7"
    )
    assert (done.code, done.stdout, done.stderr) == (7, "5000\n/app\n/app\nout\n", "err\n")


@pytest.mark.podman
@pytest.mark.slow
async def test_the_profile_sets_the_scene_and_may_print(slug: Project):
    slug.write(
        __profile__d___a__sh="echo from a; export A=1\n",
        __profile__d___b__sh="export B=$A$A; cd /tmp; false\n",
        __profile="export C=$B$B\n",
        __release="---\nconfig_vars:\n  D: default\n  GIVEN: default\n  NOT-A-NAME: x\n",
    )
    done = await slug.run("bash", "-c", "echo $A $B $C $D $GIVEN $PWD", env={"GIVEN": "by the release"})
    assert done.stdout == "from a\n1 11 1111 default by the release /app\n"


@pytest.mark.podman
@pytest.mark.slow
async def test_start_takes_the_procfile_before_the_defaults(slug: Project):
    slug.write(__release='---\ndefault_process_types:\n  web: "echo default on $PORT"\n  worker: echo worker\n')
    assert (await slug.run("start", "web")).stdout == "default on 8080\n"
    slug.write(Procfile="web: echo 'procfile on' $PORT; exit 3\nmany: |\n  echo one\n  echo two\n")
    done = await slug.run("start", "web")
    assert (done.code, done.stdout) == (3, "procfile on 8080\n")
    assert (await slug.run("start", "many")).stdout == "one\ntwo\n"
    done = await slug.run("start", "worker")
    assert done.code == 1
    assert "no process type 'worker': add it to the Procfile" in done.stderr
