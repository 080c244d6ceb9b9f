"""The whole way of a push, with a real git client."""

import os
import signal
from functools import partial

import pytest
import trio

from flynn_aio.engine import Stream
from flynn_aio.model import (
    MIB,
    SLUGBUILDER_TYPE,
    Failure,
    FailurePhase,
    NextStep,
    Probes,
    ProcessType,
    Release,
    ResourceSpec,
    Time,
    full_job_id,
)
from flynn_aio.store import changes, queries

from ..support.build import make_app
from ..support.git import eventually
from .conftest import KEY, mounted, open_place, say

PYTHON_APP = {"requirements__txt": "", "Procfile": "web: python app.py\n", "app__py": "print('hello')\n"}
DEPLOYED = "=====> Application deployed"


async def said_by_either(first, second, text):
    async def said():
        return text in first.text + second.text

    await eventually(said)


async def _nothing_left(place):
    return not await place.engine.jobs() and not place.leftovers


async def _no_formations(place):
    return not await place.store.read(lambda db: queries.formations(db, place.app.id))


async def test_a_first_push_becomes_a_release_with_a_running_web_process(place):
    commit = await place.client.commit(**PYTHON_APP)
    said = await place.client.push()

    assert said.code == 0, said.text
    size = said.lines[6]
    assert said.lines == [
        "-----> Building hello...",
        "-----> Python app detected",
        "-----> Installing requirements with pip",
        "-----> Discovering process types",
        "       Procfile declares types -> web",
        "-----> Uploading slug to blobstore",
        size,
        "-----> Creating release...",
        "=====> Scaling initial release to web=1",
        "-----> Waiting for initial web job to start...",
        "=====> Initial web job started",
        DEPLOYED,
    ]
    assert size.startswith("-----> Compiled slug size is ")
    assert "remote: \x1b[1G\x1b[K-----> Building" in said.text
    assert "[new branch]      master -> master" in said.text
    release = await place.release()
    assert release.meta == {"git": "true", "git.commit": commit, "slugrunner.stack": "debian-12"}
    assert release.processes["web"].args == ["/runner/init", "start", "web"]
    assert release.processes["web"].service == "hello-web"
    slug = await place.store.read(lambda db: place.slug(release, db))
    assert (slug / "app.py").read_text() == "print('hello')\n"
    assert place.leftovers == []
    assert await place.engine.jobs() == []


async def test_a_second_push_replaces_the_code_and_keeps_what_was_configured(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    first = await place.release()
    commit = await place.client.commit(Procfile="web: python app.py\nworker: python work.py\n")
    said = await place.client.push()

    assert said.code == 0, said.text
    assert "=====> Scaling initial release to web=1" not in said.lines
    assert said.lines[-1] == DEPLOYED
    second = await place.release()
    assert second.id != first.id
    assert list(second.processes) == ["web", "worker"]
    assert second.meta["git.commit"] == commit
    formation = await place.store.read(lambda db: queries.formation(db, place.app.id, second.id))
    assert formation.processes == {"web": 1}
    assert len(place.slugs) == 2


async def test_an_empty_commit_deploys_again_and_nothing_new_does_not(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    await place.client.commit("empty")
    assert (await place.client.push()).lines[-1] == DEPLOYED
    assert len(await place.releases()) == 2

    said = await place.client.push()
    assert said.code == 0
    assert "Everything up-to-date" in said.text
    assert len(await place.releases()) == 2


@pytest.mark.parametrize("refspecs", [("master:foo",), ("master:refs/tags/v1",)])
async def test_a_push_without_the_branch_that_is_deployed_is_refused(place, refspecs):
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push(*refspecs)

    assert said.code == 1
    assert "ERROR: The push must include a change to the master branch to be deployed." in said.lines
    assert await place.client.remote_refs() == {}
    assert place.engine.started == []


async def test_deleting_the_branch_is_refused(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    said = await place.client.push(":master")

    assert said.code == 1
    assert "The push must include a change to the master branch" in said.text
    assert "refs/heads/master" in await place.client.remote_refs()


async def test_another_branch_may_be_deployed_as_master_and_others_may_come_along(place):
    await place.client.git("checkout", "-q", "-b", "feature")
    commit = await place.client.commit(**PYTHON_APP)
    said = await place.client.push("feature:master", "feature:feature")

    assert said.code == 0, said.text
    assert (await place.release()).meta["git.commit"] == commit
    assert await place.client.remote_refs() == {
        "HEAD": commit,
        "refs/heads/feature": commit,
        "refs/heads/master": commit,
    }


async def test_main_is_as_good_as_master(place, tmp_path):
    commit = await place.client.commit(**PYTHON_APP)
    assert (await place.client.push("master:main")).lines[-1] == DEPLOYED

    assert (await place.client.git("clone", "-q", place.url(), str(tmp_path / "clone"))).text == ""
    assert (await place.client.git("rev-parse", "HEAD", cwd=tmp_path / "clone")).text.strip() == commit


async def test_the_deployed_history_can_be_cloned_and_fetched(place, tmp_path):
    first = await place.client.commit(**PYTHON_APP)
    await place.client.push()
    clone = tmp_path / "clone"
    assert (await place.client.git("clone", "-q", place.url(), str(clone))).code == 0
    assert (clone / "app.py").exists()
    second = await place.client.commit("more")
    await place.client.push()
    assert (await place.client.git("pull", "-q", cwd=clone)).code == 0
    assert (await place.client.git("log", "--format=%H", cwd=clone)).text.split() == [second, first]


async def test_a_failed_build_leaves_the_branch_and_the_same_commit_can_be_pushed_again(place):
    async def fail(process):
        await say(process, "no such package: flaks", Stream.STDERR)
        return 3

    commit = await place.client.commit(**PYTHON_APP)
    place.builder.compile = fail
    said = await place.client.push()

    assert said.code == 1
    assert said.lines[-4:] == [
        "no such package: flaks",
        "ERROR: Build failed: exit status 3",
        "       Phase build: what it printed above says why. Mend it and push again.",
        "       hello has nothing running, as before.",
    ]
    assert "pre-receive hook declined" in said.text
    assert await place.client.remote_refs() == {}
    assert place.slugs == []
    assert place.leftovers == []

    place.builder.compile = None
    assert (await place.client.push()).lines[-1] == DEPLOYED
    assert (await place.client.remote_refs())["refs/heads/master"] == commit


async def test_after_a_failed_build_the_old_release_is_said_to_serve(place):
    commit = await place.client.commit(**PYTHON_APP)
    await place.client.push()
    release = await place.release()
    await place.client.commit(Procfile="- web\n- worker\n")
    said = await place.client.push()

    assert said.code == 1
    assert said.lines[-2:] == [
        "ERROR: Build failed: Procfile is not a mapping of process types to commands; "
        "write one `TYPE: COMMAND` per line, such as `web: python app.py`",
        f"       Release {release.id} (commit {commit[:7]}) still serves hello.",
    ]
    assert await place.release() == release
    assert (await place.client.remote_refs())["refs/heads/master"] == commit


async def test_a_repository_without_a_known_language_is_refused(place):
    await place.client.commit(README="words\n")
    said = await place.client.push()

    assert said.code == 1
    assert "Unable to select a buildpack" in said.lines
    assert said.lines[-3:] == [
        "ERROR: Build failed: no buildpack takes this repository",
        "       Built in are nodejs, python, static. To take another one: "
        "flynn -a hello env set BUILDPACK_URL=<git URL of a buildpack>; then push again.",
        "       hello has nothing running, as before.",
    ]
    assert place.leftovers == []
    assert place.slugs == []


@pytest.mark.parametrize("key", ["wrong", ""])
async def test_a_wrong_key_is_refused(place, key):
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push(url=place.url(key=key))
    assert said.code == 128
    assert "Authentication failed" in said.text or "could not read" in said.text


async def test_an_unknown_app_is_said_to_be_unknown(place):
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push(url=place.url("nobody"))
    assert said.code == 128
    assert "remote: unknown app" in said.text
    assert "not found" in said.text


async def test_a_recreated_app_starts_with_an_empty_repository(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    await place.store.transact(lambda tx: changes.delete_app(tx, place.app.id))
    again = await make_app(place.store)

    assert await place.client.remote_refs() == {}
    said = await place.client.push()
    assert said.lines[-1] == DEPLOYED
    assert (await place.release(again.id)).app_id == again.id


async def test_a_directory_named_like_gits_own_is_built_like_any_other(place):
    await place.client.commit(**PYTHON_APP, config_S_app__yml="a: 1", objects_S_x="1", HEAD="mine")
    assert (await place.client.push()).lines[-1] == DEPLOYED
    slug = await place.store.read(queries.live_slugs)
    [slug] = [place.settings.slug_dir / name for name in slug]
    assert sorted(path.name for path in slug.iterdir()) == sorted(
        [".release", "HEAD", "Procfile", "app.py", "config", "objects", "requirements.txt"]
    )


async def test_files_a_download_would_leave_out_are_built(place):
    await place.client.commit(**PYTHON_APP, __gitattributes="data.txt export-ignore\n", data__txt="needed")
    await place.client.push()
    assert "data.txt" in place.builder.tars[0]


async def test_the_build_sees_what_it_should_and_nothing_else(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    release = await place.release()
    env = {"FOO": "bar", "MULTI": "a\nb", "../../escape": "no"}
    changed = Release(
        app_id=place.app.id,
        artifacts=release.artifacts,
        env=env,
        meta=release.meta,
        processes={
            **release.processes,
            SLUGBUILDER_TYPE: ProcessType(resources={"memory": ResourceSpec(request=2048 * MIB, limit=2048 * MIB)}),
        },
    )

    def set_release(tx):
        made = changes.create_release(tx, changed)
        changes.set_app_release(tx, place.app.id, made.id)

    await place.store.transact(set_release)
    seen = {}

    async def look(process):
        directory = mounted(process, "/env")
        seen.update({path.name: path.read_text() for path in directory.iterdir()})
        return 0

    place.builder.compile = look
    commit = await place.client.commit("more")
    said = await place.client.push()
    assert said.code == 0, said.text
    spec = place.engine.started[-1]
    assert seen == {"FOO": "bar", "MULTI": "a\nb"}
    assert spec.env["SOURCE_VERSION"] == commit
    assert spec.env["STACK"] == "debian-12"
    assert "FOO" not in spec.env
    assert KEY not in spec.env.values()
    assert (spec.user, spec.partition, spec.log, spec.type) == ("5000:5000", "background", False, "slugbuilder")
    assert spec.memory_bytes == 2147483648
    assert SLUGBUILDER_TYPE in (await place.release()).processes


async def test_a_build_without_variables_has_no_env_dir(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    assert {mount.target for mount in place.engine.started[-1].mounts} == {"/app", "/cache", "/buildpacks"}


async def test_the_cache_is_kept_when_a_build_succeeds_and_only_then(place):
    seen = []

    async def use_cache(process):
        cache = mounted(process, "/cache")
        seen.append(sorted(path.name for path in cache.iterdir()))
        (cache / f"from-{len(seen)}").write_text("x")
        return 1 if len(seen) == 2 else 0

    place.builder.compile = use_cache
    await place.client.commit(**PYTHON_APP)
    assert (await place.client.push()).code == 0
    await place.client.commit("fails")
    assert (await place.client.push()).code == 1
    assert (await place.client.push()).code == 0
    assert seen == [[], ["from-1"], ["from-1"]]
    assert sorted(os.listdir(place.settings.cache_dir / "apps" / place.app.id)) == ["from-1", "from-3"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_pusher_who_leaves_ends_the_build(place, number):
    async def hang(process):
        await say(process, "hanging...")
        await trio.sleep_forever()

    await place.client.commit(**PYTHON_APP)
    place.builder.compile = hang
    async with place.client.pushing() as push:
        await push.wait_for("hanging...")
        assert "slugbuilder" in [job.type for job in await place.engine.jobs()]
        os.killpg(push.process.pid, number)
        await push.wait()
        await eventually(partial(_nothing_left, place))
    assert place.slugs == []
    assert await place.client.remote_refs() == {}
    assert await place.releases() == []

    place.builder.compile = None
    assert (await place.client.push()).lines[-1] == DEPLOYED


async def test_output_reaches_the_pusher_while_the_build_runs(place):
    go_on = trio.Event()

    async def slow(process):
        await say(process, "first line")
        await go_on.wait()
        return 0

    await place.client.commit(**PYTHON_APP)
    place.builder.compile = slow
    async with place.client.pushing() as push:
        await push.wait_for("first line")
        go_on.set()
        assert await push.wait() == 0
    assert DEPLOYED in push.text


async def test_a_second_push_to_the_app_waits_and_is_refused_when_the_branch_has_moved(place):
    go_on = trio.Event()

    async def slow(process):
        await go_on.wait()
        return 0

    await place.client.commit(**PYTHON_APP)
    place.builder.compile = slow
    other = await place.client_for("other")
    await other.commit(**PYTHON_APP, other="1")
    async with place.client.pushing() as first, other.pushing() as second:
        await said_by_either(first, second, "Waiting")
        go_on.set()
        codes = [await push.wait() for push in (first, second)]
    winner, loser = (first, second) if codes == [0, 1] else (second, first)
    assert sorted(codes) == [0, 1]
    assert DEPLOYED in winner.text
    assert "-----> Waiting for 1 other push to hello to finish..." in loser.text
    assert "ERROR: master has moved while this push waited" in loser.text
    assert len(await place.releases()) == 1
    assert place.leftovers == []


async def test_builds_of_different_apps_wait_in_line_and_are_told_their_position(place):
    go_on = trio.Event()

    async def slow(process):
        await go_on.wait()
        return 0

    await make_app(place.store, "second")
    place.builder.compile = slow
    await place.client.commit(**PYTHON_APP)
    other = await place.client_for("other", "second")
    await other.commit(**PYTHON_APP)
    async with place.client.pushing() as first, other.pushing() as second:
        await said_by_either(first, second, "Waiting for 1 build in front of this one...")
        await place.builder.compiling.wait()
        assert len(await place.engine.jobs()) == 1
        go_on.set()
        assert [await push.wait() for push in (first, second)] == [0, 0]


async def test_a_first_web_process_that_exits_takes_the_push_back(tmp_path, store, clock):
    async def why(job, *, waited_s):
        return Failure(
            error="",
            phase=FailurePhase.START,
            explanation=["its process ended with exit status 7", "told PORT=8080, opened 3000: use the PORT variable"],
            job=full_job_id(job),
            exit_status=7,
            probes=[
                Probes(at=Time.parse("2026-11-23T12:00:01Z"), error="connection refused on ip:8080", count=31),
                Probes(at=Time.parse("2026-11-23T12:00:04Z")),
            ],
            log=["Traceback:", "KeyError: 'PORT'"],
            try_next=[
                NextStep(purpose="allow more time", command="flynn -a hello deployment timeout 240"),
                NextStep(purpose="see more", command=f"flynn -a hello log -j {full_job_id(job)}"),
            ],
        )

    async with open_place(tmp_path, store, clock, why=why) as place:
        place.scheduler.web = "crash"
        await place.client.commit(**PYTHON_APP)
        said = await place.client.push()

        assert said.code == 1
        job = (await store.read(lambda db: queries.jobs(db, place.app.id)))[0]
        start = said.lines.index("-----> Waiting for initial web job to start...") + 1
        assert said.lines[start:] == [
            "ERROR: Initial web job failed to start: exit status 7",
            "       Phase start: its process ended with exit status 7",
            "       told PORT=8080, opened 3000: use the PORT variable",
            "       What its health check met:",
            "         12:00:01 UTC  connection refused on ip:8080, 31 times",
            "         12:00:04 UTC  it answered",
            f"       The last lines of {job.id} (exit status 7):",
            "         Traceback:",
            "         KeyError: 'PORT'",
            "-----> WARN: scaling initial release down to web=0 due to error",
            "       hello has nothing running now.",
            "       To allow more time: flynn -a hello deployment timeout 240",
            f"       To see more: flynn -a hello log -j {job.id}; then mend it and push again.",
        ]
        assert await place.client.remote_refs() == {}
        release = await place.release()  # it stays the app's
        assert await store.read(lambda db: queries.find_formation(db, place.app.id, release.id)) is None
        place.scheduler.web = "up"
        assert (await place.client.push()).lines[-1] == DEPLOYED


async def test_a_first_web_process_that_never_listens_is_given_up(place):
    place.scheduler.web = "hang"
    await place.store.transact(lambda tx: changes.update_app(tx, place.app.id, deploy_timeout=1))
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push()
    assert said.code == 1
    assert (
        "ERROR: Initial web job failed to start: nothing answered on port 8080 ($PORT) within 1 seconds" in said.lines
    )
    assert "       To allow more time: flynn -a hello deployment timeout 2; then mend it and push again." in said.lines


async def test_a_pusher_who_leaves_during_the_first_start_takes_the_scaling_back(place):
    place.scheduler.web = "hang"
    await place.client.commit(**PYTHON_APP)
    async with place.client.pushing() as push:
        await push.wait_for("-----> Waiting for initial web job to start...")
        os.killpg(push.process.pid, signal.SIGINT)
        await push.wait()
        await eventually(partial(_no_formations, place))
    assert await place.client.remote_refs() == {}


async def test_a_failed_deployment_says_why_and_what_still_serves(place):
    commit = await place.client.commit(**PYTHON_APP)
    await place.client.push()
    release = await place.release()
    place.scheduler.deploy_error = "web job failed to start: got down job event"
    await place.client.commit("worse")
    said = await place.client.push()

    assert said.code == 1
    assert "ERROR: Deploy failed: web job failed to start: got down job event" in said.lines
    assert f"       Release {release.id} (commit {commit[:7]}) still serves hello." in said.lines
    assert (await place.client.remote_refs())["refs/heads/master"] == commit
    assert (await place.release()).id == release.id


async def test_a_deployment_in_progress_refuses_the_push_and_leaves_no_slug(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    slugs = place.slugs

    async def begin(process):
        release = await place.release()
        copy = Release(app_id=place.app.id, artifacts=release.artifacts, processes=release.processes)
        place.scheduler._act = lambda tx, event: None

        def change(tx):
            return changes.create_deployment(tx, place.app.id, changes.create_release(tx, copy).id)

        await place.store.transact(change)
        return 0

    place.builder.compile = begin
    await place.client.commit("more")
    said = await place.client.push()
    assert said.code == 1
    reason = "Cannot create deploy, there is already one in progress for this app."
    assert f"ERROR: Deploy failed: {reason}" in said.lines
    assert said.lines[-1].endswith("still serves hello.")
    assert place.slugs == slugs


async def test_an_app_that_is_deleted_during_its_build_refuses_the_push(place):
    async def delete(process):
        await place.store.transact(lambda tx: changes.delete_app(tx, place.app.id))
        return 0

    place.builder.compile = delete
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push()
    assert said.code == 1
    assert "does not exist" in said.text
    assert place.slugs == []


async def test_a_build_that_takes_too_long_is_ended(tmp_path, store, clock):
    async def hang(process):
        await trio.sleep_forever()

    async with open_place(tmp_path, store, clock, time_limit_s=0.3) as place:
        place.builder.compile = hang
        await place.client.commit(**PYTHON_APP)
        said = await place.client.push()
        assert said.code == 1
        assert any(line.startswith("ERROR: Build failed: it took longer than the limit of") for line in said.lines)
        assert await place.engine.jobs() == []
        assert place.leftovers == []


async def test_a_build_out_of_memory_is_told_how_to_get_more(place):
    async def devour(process):
        place.engine.run_out_of_memory(process.spec.id)
        await trio.sleep_forever()

    place.builder.compile = devour
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push()
    assert "ERROR: Build failed: out of memory: it needs more than its limit of 1GB" in said.lines
    assert "       To give it more: flynn -a hello limit set slugbuilder memory=2GB" in said.lines


async def test_an_engine_that_does_not_answer_is_said_to_be_the_cause(place):
    await place.client.commit(**PYTHON_APP)
    with place.engine.outage("podman is gone"):
        said = await place.client.push()
    assert said.code == 1
    assert any("podman is gone" in line for line in said.lines)
    assert place.leftovers == []


async def test_an_unknown_stack_is_refused_before_anything_is_built(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    release = await place.release()
    wanted = Release(app_id=place.app.id, artifacts=release.artifacts, env={"FLYNN_STACK": "cedar-14"})

    def set_release(tx):
        changes.set_app_release(tx, place.app.id, changes.create_release(tx, wanted).id)

    await place.store.transact(set_release)
    await place.client.commit("more")
    said = await place.client.push()
    assert said.code == 1
    assert any('Unknown FLYNN_STACK "cedar-14"' in line for line in said.lines)


async def test_default_process_types_come_from_the_buildpack(place):
    place.builder.release = "---\ndefault_process_types:\n  web: gunicorn app:app\n"
    await place.client.commit(requirements__txt="", app__py="")
    said = await place.client.push()
    assert "       Default process types for Python -> web" in said.lines
    assert list((await place.release()).processes) == ["web"]


async def test_an_app_without_process_types_is_deployed(place):
    await place.client.commit(requirements__txt="")
    said = await place.client.push()
    assert said.code == 0, said.text
    assert said.lines[-1] == DEPLOYED
    assert (await place.release()).processes == {}


@pytest.mark.parametrize("trap", ["symlink", "fifo", "huge"])
async def test_a_procfile_that_is_a_trap_is_refused(place, trap):
    async def lay(process):
        procfile = mounted(process, "/app") / "Procfile"
        procfile.unlink()
        if trap == "symlink":
            procfile.symlink_to("/etc/passwd")
        elif trap == "fifo":
            os.mkfifo(procfile)
        else:
            procfile.write_bytes(b"#" * 100_000)
        return 0

    place.builder.compile = lay
    await place.client.commit(**PYTHON_APP)
    said = await place.client.push()
    assert said.code == 1
    assert any(line.startswith("ERROR: Build failed: Procfile is ") for line in said.lines)
    assert place.slugs == []


async def test_a_large_push_streams_through(place):
    await place.client.git("config", "core.compression", "0")  # the client's own time is not the subject
    await place.client.commit(**PYTHON_APP, big__bin=os.urandom(20 * MIB))
    before = _resident()
    peak = 0

    async def watch():
        nonlocal peak
        while True:
            peak = max(peak, _resident())
            await trio.sleep(0.002)

    async def read_flat(process):
        """Like the real one, which does not hold the tree either."""
        if process.spec.args[1] == "detect":
            while await process.read():
                pass
            (mounted(process, "/app") / "requirements.txt").touch()
            await say(process, "python\tPython app detected")
        return 0

    place.engine.script(read_flat, type="slugbuilder")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        said = await place.client.push()
        nursery.cancel_scope.cancel()
    assert said.code == 0, said.text
    assert peak - before < 10 * MIB


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
