"""`flynn pg`, `mysql`, `mongodb`, `redis`: what runs where, and dumps through real pipes and files."""

import pytest

from flynn_aio.cli.pg import restore_command

from .fake_controller import NOT_FOUND, Upgraded
from .nouns import NEW, release
from .test_run import data, exit_frame, read_frame

JOBS = "POST /apps/shop/jobs"
PG = {"PGHOST": "h", "PGUSER": "u", "PGPASSWORD": "p", "PGDATABASE": "d"}
MYSQL = {"MYSQL_HOST": "h", "MYSQL_USER": "u", "MYSQL_PWD": "p", "MYSQL_DATABASE": "d"}
MONGO = {"MONGO_HOST": "h", "MONGO_USER": "u", "MONGO_PWD": "p", "MONGO_DATABASE": "d"}
ENV = {
    **PG,
    **MYSQL,
    **MONGO,
    "FLYNN_POSTGRES": "db",
    "FLYNN_MYSQL": "db",
    "FLYNN_MONGO": "db",
    "FLYNN_REDIS": "redis-1",
    "REDIS_PASSWORD": "p",
    "UNRELATED": "x",
}
PAGER = {
    "PAGER": "less",
    "LESS": "--ignore-case --LONG-PROMPT --SILENT --tabs=4 --quit-if-one-screen --no-init --quit-at-eof",
}
FOUND = ["GET /apps/shop/release", "GET /apps/db/release"]
RUN = [f"GET /releases/{NEW}", JOBS]
MISSING = "controller: resource not found"
LIMITS = ["-n", "public", "--clean", "--if-exists", "--no-owner", "--no-acl"]
REDIS_ACCESS = ["-h", "redis-1.discoverd", "-a", "p"]
MONGO_ACCESS = ["--host", "h", "-u", "u", "-p", "p"]
PARALLEL = (
    "set -o pipefail; cat > /data/temp.dump && pg_restore -d d -n public --clean --if-exists --no-owner --no-acl "
    "--jobs 8 /data/temp.dump"
)


def printing(content: bytes, code: int = 0):
    """A job that prints this and exits, whatever comes in."""

    def talk(handler):
        handler.wfile.write(data(1, content) + data(2, b"a notice\n") + exit_frame(code))

    return Upgraded(talk)


class Swallowing:
    """A job that reads all of its input, keeps it as `content`, and exits with `code`."""

    def __init__(self, code: int = 0) -> None:
        self.content = b""
        self.code = code

    def __call__(self, handler):
        while piece := read_frame(handler)[1]:
            self.content += piece
        handler.wfile.write(exit_frame(self.code))


@pytest.fixture
def shop(controller):
    tools = release(NEW, meta={})
    controller.on("GET /apps/shop/release", release(env=ENV))
    controller.on("GET /apps/db/release", tools)
    controller.on("GET /apps/redis-1/release", tools)
    controller.on(f"GET /releases/{NEW}", tools)
    controller.on("GET /.well-known/status", {"data": {"status": "healthy", "version": "dev"}})
    controller.on(JOBS, printing(b""))
    return controller


@pytest.mark.parametrize(
    ("argv", "args", "env", "more"),
    [
        (["pg", "psql", "--", "-c", "SELECT 1"], ["psql", "-c", "SELECT 1"], {**PG, **PAGER}, {}),
        (["pg", "dump"], ["pg_dump", "--format=custom", "--no-owner", "--no-acl"], PG, {}),
        (["pg", "restore"], ["pg_restore", "-d", "d", *LIMITS], PG, {}),
        (["mysql", "console"], ["mysql", "-u", "u", "-D", "d"], {**MYSQL, **PAGER}, {}),
        (["mysql", "console", "--", "-e", "x"], ["mysql", "-u", "u", "-D", "d", "-e", "x"], {**MYSQL, **PAGER}, {}),
        (["mysql", "dump"], ["mysqldump", "-h", "h", "-u", "u", "d"], MYSQL, {}),
        (["mysql", "restore"], ["mysql", "-u", "u", "-D", "d"], MYSQL, {}),
        (["mongodb", "mongo", "--", "x"], ["mongo", *MONGO_ACCESS, "d", "x"], {**MONGO, **PAGER}, {}),
        (["mongodb", "dump"], ["/bin/dump-flynn-mongodb", *MONGO_ACCESS, "--db", "d"], MONGO, {}),
        (["mongodb", "restore"], ["/bin/restore-flynn-mongodb", *MONGO_ACCESS, "--db", "d"], MONGO, {"data": True}),
        (["redis", "redis-cli", "--", "PING"], ["redis-cli", *REDIS_ACCESS, "PING"], PAGER, {}),
        (["redis", "dump"], ["/bin/dump-flynn-redis", *REDIS_ACCESS], None, {}),
        (["redis", "restore"], ["/bin/restore-flynn-redis", *REDIS_ACCESS], None, {}),
    ],
)
def test_what_runs(person, shop, argv, args, env, more):
    done = person.flynn_process(*argv)
    assert (done.code, done.err) == (0, "a notice\n")
    found = ["GET /apps/shop/release", "GET /apps/redis-1/release"] if argv[0] == "redis" else FOUND
    assert shop.asked == [*found, *RUN]
    expected = {"release": NEW, "args": args, "disable_log": True, **({"env": env} if env else {}), **more}
    assert shop.bodies(JOBS) == [expected]


def test_tools_that_were_pushed_are_run_by_their_runner(person, shop):
    shop.on(f"GET /releases/{NEW}", release(NEW))
    person.flynn_process("pg", "psql")
    assert shop.bodies(JOBS)[0]["args"] == ["/runner/init", "psql"]


@pytest.mark.parametrize(
    ("version", "parallel"), [("dev", True), ("v20170101.0", True), ("v20161018.0", True), ("v20160101.0", False)]
)
def test_several_jobs_need_a_cluster_with_space_for_the_dump(person, shop, version, parallel):
    shop.on("GET /.well-known/status", {"data": {"status": "healthy", "version": version}})
    done = person.flynn_process("pg", "restore", "-j", "8")
    assert shop.asked == [*FOUND, "GET /.well-known/status", *RUN]
    [job] = shop.bodies(JOBS)
    if parallel:
        assert (job["args"], job["data"]) == (["bash", "-c", PARALLEL], True)
    else:
        assert done.err.startswith("WARN: cluster versions prior to v20161018.0 don't support the --jobs argument")
        assert job["args"] == ["pg_restore", "-d", "d", *LIMITS]


def test_the_name_of_a_database_is_no_shell_command():
    assert "-d 'x; reboot' " in restore_command("x; reboot", 2)[2]


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1000", "٣"])
def test_a_number_of_jobs_is_one(person, shop, jobs):
    done = person.flynn("pg", "restore", f"--jobs={jobs}")
    assert (done.code, done.err) == (1, f"invalid number of jobs: {jobs}\n")


@pytest.mark.parametrize(
    ("env", "argv", "err"),
    [
        ({}, ["pg", "psql"], "No postgres database found. Provision one with `flynn resource add postgres`"),
        ({}, ["mysql", "dump"], "No mysql database found. Provision one with `flynn resource add mysql`"),
        ({}, ["mongodb", "dump"], "No mongodb database found. Provision one with `flynn resource add mongodb`"),
        ({}, ["redis", "dump"], "No redis server found. Provision one with `flynn resource add redis`"),
        (
            {"FLYNN_POSTGRES": "gone"},
            ["pg", "psql"],
            f"error getting postgres release: {MISSING}",
        ),
        ({"FLYNN_POSTGRES": "db", "PGUSER": "u"}, ["pg", "psql"], "missing PGHOST in app environment"),
        (
            {"FLYNN_MYSQL": "db", **MYSQL, "MYSQL_PWD": ""},
            ["mysql", "dump"],
            "missing MYSQL_PWD in app environment",
        ),
        (None, ["pg", "psql"], f"error getting app release: {MISSING}"),
    ],
)
def test_what_is_missing_is_named(person, shop, env, argv, err):
    shop.on("GET /apps/shop/release", NOT_FOUND if env is None else release(env=env))
    done = person.flynn(*argv)
    assert (done.code, done.out, done.err) == (1, "", err + "\n")
    assert done.hint


def test_the_exit_code_is_the_tool_s(person, shop):
    shop.on(JOBS, printing(b"", code=3))
    assert person.flynn_process("pg", "psql").code == 3
    shop.on(JOBS, Upgraded(Swallowing(code=1)))
    assert person.flynn_process("pg", "restore").code == 1


def test_a_dump_goes_to_standard_output(person, shop):
    shop.on(JOBS, printing(b"PGDMP" * 20_000))
    done = person.flynn_process("pg", "dump")
    assert (done.code, done.out) == (0, "PGDMP" * 20_000)


def test_a_dump_becomes_a_file_once_it_is_complete(person, shop):
    target = person.home / "db.dump"
    target.write_text("the last one")
    shop.on(JOBS, printing(b"half of i", code=1))
    assert person.flynn_process("pg", "dump", "-f", str(target)).code == 1
    assert target.read_text() == "the last one"
    shop.on(JOBS, printing(b"PGDMP"))
    done = person.flynn_process("pg", "dump", "-q", "-f", str(target))
    assert (done.code, done.out) == (0, "")
    assert target.read_text() == "PGDMP"
    assert [path.name for path in person.home.glob("db.*")] == ["db.dump"]


def test_a_dump_follows_a_link_and_writes_a_device(person, shop):
    link, target = person.home / "latest", person.home / "db.dump"
    link.symlink_to(target)
    shop.on(JOBS, printing(b"PGDMP"))
    assert person.flynn_process("pg", "dump", "-f", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text() == "PGDMP"
    assert person.flynn_process("pg", "dump", "-f", "/dev/stdout").out == "PGDMP"


def test_a_file_that_cannot_be_opened_is_named_before_anything_runs(person, shop):
    nowhere = person.home / "nowhere" / "db.dump"
    done = person.flynn_process("pg", "dump", "-f", str(nowhere))
    assert (done.code, done.err) == (1, f"error writing {nowhere}: no such file or directory\n")
    done = person.flynn_process("pg", "restore", "-f", str(nowhere))
    assert (done.code, done.err) == (1, f"open {nowhere}: no such file or directory\n")
    assert JOBS not in shop.asked


def test_a_restore_reads_standard_input_or_a_file(person, shop):
    piped, filed = Swallowing(), Swallowing()
    shop.on(JOBS, Upgraded(piped), Upgraded(filed))
    content = "PGDMP\n" * 20_000
    source = person.home / "db.dump"
    source.write_text(content)
    assert person.flynn_process("pg", "restore", stdin=content).code == 0
    assert person.flynn_process("pg", "restore", "-f", str(source)).code == 0
    assert piped.content == filed.content == content.encode()


def test_a_full_disk_behind_a_dump_is_said_with_its_name(person, shop):
    shop.on(JOBS, printing(b"PGDMP"))
    done = person.flynn_process("pg", "dump", "-f", "/dev/full")
    assert (done.code, done.err.splitlines()[-1]) == (1, "error writing /dev/full: no space left on device")
