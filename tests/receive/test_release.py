from msgspec.structs import replace

from flynn_aio.model import (
    App,
    AppID,
    ArtifactID,
    HealthCheck,
    Port,
    PortService,
    ProcessType,
    Release,
    ResourceSpec,
    VolumeReq,
)
from flynn_aio.receive.release import new_release, push_meta, runner_artifact, slug_artifact

APP = App(id=AppID("a"), name="hello", meta={})
ARTIFACTS = [ArtifactID("runner"), ArtifactID("slug")]
META = push_meta(commit="c0ffee", stack="debian-12")
WEB = ProcessType(
    args=["/runner/init", "start", "web"],
    service="hello-web",
    ports=[
        Port(
            port=8080,
            proto="tcp",
            service=PortService(name="hello-web", create=True, check=HealthCheck(type="tcp")),
        )
    ],
)


def assemble(types, previous=None, **more):
    return new_release(app=APP, artifacts=ARTIFACTS, types=types, previous=previous, meta=META, **more)


def test_a_first_release_has_the_slugs_types_and_exactly_its_meta():
    assert assemble(["web", "worker"]) == Release(
        app_id=APP.id,
        artifacts=ARTIFACTS,
        meta={"git": "true", "git.commit": "c0ffee", "slugrunner.stack": "debian-12"},
        processes={"web": WEB, "worker": ProcessType(args=["/runner/init", "start", "worker"])},
    )


def test_every_web_type_gets_a_service_of_its_own():
    release = assemble(["web", "new-web", "webhook"])
    assert [release.processes[name].service for name in ("web", "new-web", "webhook")] == [
        "hello-web",
        "hello-new-web",
        "",
    ]


def test_what_was_configured_on_a_type_stays():
    configured = replace(
        WEB,
        args=["old"],
        env={"A": "1"},
        ports=[replace(WEB.ports[0], port=9090)],
        resources={"memory": ResourceSpec(request=1, limit=2)},
        volumes=[VolumeReq(path="/data")],
    )
    release = assemble(["web"], Release(processes={"web": configured}))
    assert release.processes["web"] == replace(configured, args=["/runner/init", "start", "web"])


def test_ports_without_a_service_keep_their_numbers_and_get_one():
    before = Release(processes={"web": ProcessType(ports=[Port(port=9090, proto="tcp"), Port(port=9091, proto="tcp")])})
    first, second = assemble(["web"], before).processes["web"].ports
    assert (first.port, first.service.name, second.port, second.service) == (9090, "hello-web", 9091, None)


def test_types_that_vanished_go_and_the_limits_of_builds_stay():
    limits = ProcessType(resources={"memory": ResourceSpec(request=1, limit=2)})
    before = Release(processes={"gone": ProcessType(), "slugbuilder": limits}, env={"A": "1"}, meta={"mine": "x"})
    release = assemble(["worker"], before, env={"B": "2"})
    assert list(release.processes) == ["worker", "slugbuilder"]
    assert release.processes["slugbuilder"] == limits
    assert release.env == {"A": "1", "B": "2"}
    assert release.meta == {"mine": "x", **META}


def test_artifacts_name_an_image_and_a_slug():
    assert runner_artifact("localhost/runner:1").image == "localhost/runner:1"
    slug = slug_artifact("5d0f", size=7, types=["web"])
    assert (slug.slug, slug.size) == ("5d0f", 7)
    assert {name: entry["args"] for name, entry in slug.manifest["entrypoints"].items()} == {
        "web": ["/runner/init", "start", "web"],
        "_default": ["/runner/init", "bash"],
    }
