"""First boot: what is made, what is kept, what is refused."""

import base64
import fcntl
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from flynn_aio.bootstrap import (
    BootError,
    claimed,
    cluster_key,
    key_file,
    lock_file,
    prepare_certificates,
    prepare_domain,
    prepare_files,
    prepare_rows,
    prepare_system_apps,
    running_pid,
)
from flynn_aio.certificates import LEAF_LIFE, ensure_certificates, pin
from flynn_aio.clock import SystemClock
from flynn_aio.config import load
from flynn_aio.errors import Conflict, Unauthorized
from flynn_aio.model import SYSTEM_APPS, SYSTEM_META, App, Route, RouteType
from flynn_aio.store import Desired, EventFilter, Keyring, changes, queries

from .support.build import make_app

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return load(environ={}, flags={"appliance.data_dir": str(tmp_path / "data"), "appliance.domain": "flynn.test"})


@pytest.fixture
def claimed_settings(settings):
    with claimed(settings.data_dir):
        yield settings


def test_a_data_directory_has_one_appliance(settings):
    with claimed(settings.data_dir):
        assert running_pid(settings.data_dir) == os.getpid()
        with pytest.raises(BootError, match=rf"already running on .* \(pid {os.getpid()}\)"):
            with claimed(settings.data_dir):
                pass
    assert running_pid(settings.data_dir) is None
    with claimed(settings.data_dir):
        pass


def test_who_only_looks_keeps_nobody_from_claiming(settings):
    with claimed(settings.data_dir):
        pass
    with lock_file(settings.data_dir).open() as looking, ThreadPoolExecutor() as threads:
        fcntl.flock(looking, fcntl.LOCK_SH)  # what `running_pid` does, held for longer

        def claim():
            with claimed(settings.data_dir):
                return running_pid(settings.data_dir)

        pid = threads.submit(claim)
        time.sleep(0.1)
        fcntl.flock(looking, fcntl.LOCK_UN)
        assert pid.result() == os.getpid()


def test_a_claim_ends_with_its_process(settings):
    code = (
        "import sys, os, signal; from pathlib import Path; from flynn_aio.bootstrap import claimed\n"
        "with claimed(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(settings.data_dir)], check=False)
    assert done.returncode == -9
    assert running_pid(settings.data_dir) is None


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BootError, match="name another one with --data-dir"):
        with claimed(tmp_path / "file" / "data"):
            pass


def test_a_directory_full_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(BootError, match=r"other things in it \(thesis\.tex, …\); name an empty or a new directory"):
        with claimed(tmp_path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_files_are_made_once_and_keys_are_private(claimed_settings):
    prepare_files(claimed_settings)
    prepare_certificates(claimed_settings, "flynn.test", now=NOW)
    key = cluster_key(claimed_settings)
    assert len(key) == 32
    for private in (key_file(claimed_settings), *claimed_settings.data_dir.glob("keys/*.key")):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((claimed_settings.data_dir / "keys").stat().st_mode) == 0o700
    leaf = (claimed_settings.data_dir / "keys" / "leaf.pem").read_bytes()
    prepare_files(claimed_settings)
    prepare_certificates(claimed_settings, "flynn.test", now=NOW)
    assert cluster_key(claimed_settings) == key
    assert (claimed_settings.data_dir / "keys" / "leaf.pem").read_bytes() == leaf


def test_what_a_crash_left_of_the_making_of_a_certificate_is_removed(claimed_settings):
    """It has a copy of the CA's key in it."""
    prepare_files(claimed_settings)
    prepare_certificates(claimed_settings, "flynn.test", now=NOW)
    keys = claimed_settings.data_dir / "keys"
    before = set(keys.iterdir())
    command = (
        "import os, sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from flynn_aio import certificates;"
        "certificates.read_certificates = lambda _: os._exit(9);"
        "certificates.issue(Path(sys.argv[1]), 'new.test', now=datetime.now(UTC))"
    )
    assert subprocess.run([sys.executable, "-c", command, str(keys)], check=False).returncode == 9
    assert set(keys.iterdir()) != before
    prepare_certificates(claimed_settings, "flynn.test", now=NOW)
    assert set(keys.iterdir()) == before


def test_the_leaf_chains_to_the_ca_and_carries_both_names(tmp_path):
    assert ensure_certificates(tmp_path, "flynn.test", now=datetime.now(UTC))
    shown = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", "-verify_hostname", "app.flynn.test",
         tmp_path / "leaf.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    der = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "leaf.pem", "-noout", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert (
        base64.b64decode(pin((tmp_path / "leaf.pem").read_text())).hex()
        == der.split("=")[1].strip().replace(":", "").lower()
    )


@pytest.mark.parametrize("broken", ["leaf.pem", "leaf.key"])
def test_a_leaf_that_a_crash_left_without_its_key_is_made_again(tmp_path, broken):
    ensure_certificates(tmp_path, "flynn.test", now=NOW)
    other = tmp_path / "other"
    other.mkdir()
    ensure_certificates(other, "flynn.test", now=NOW)
    (tmp_path / broken).write_bytes((other / broken).read_bytes())
    assert ensure_certificates(tmp_path, "flynn.test", now=NOW)
    assert not ensure_certificates(tmp_path, "flynn.test", now=NOW)


@pytest.mark.parametrize("renewed", [["ca.key"], ["ca.key", "ca.pem"]])
def test_a_ca_that_a_crash_left_half_renewed_is_made_whole(tmp_path, renewed):
    ensure_certificates(tmp_path, "flynn.test", now=NOW)
    other = tmp_path / "other"
    other.mkdir()
    ensure_certificates(other, "flynn.test", now=NOW)
    for name in renewed:
        (tmp_path / name).write_bytes((other / name).read_bytes())
    ensure_certificates(tmp_path, "flynn.test", now=NOW)
    chain = ["openssl", "verify", "-no_check_time", "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"]
    assert subprocess.run(chain, capture_output=True, check=False).returncode == 0
    assert not ensure_certificates(tmp_path, "flynn.test", now=NOW)


@pytest.mark.parametrize("damaged", ["ca.pem", "ca.key", "leaf.pem", "leaf.key"])
def test_a_damaged_certificate_or_key_is_made_again(tmp_path, damaged):
    ensure_certificates(tmp_path, "flynn.test", now=NOW)
    (tmp_path / damaged).write_text("garbage")
    assert ensure_certificates(tmp_path, "flynn.test", now=NOW)
    assert not ensure_certificates(tmp_path, "flynn.test", now=NOW)


def test_a_later_boot_does_not_load_the_library_that_makes_certificates(tmp_path):
    ensure_certificates(tmp_path, "localhost", now=NOW)
    code = (
        "import sys; from datetime import datetime; from pathlib import Path; from flynn_aio import certificates\n"
        "now = datetime.fromisoformat(sys.argv[2])\n"
        "assert not certificates.ensure_certificates(Path(sys.argv[1]), 'localhost', now=now)\n"
        "assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, NOW.isoformat()], check=True)


def test_certificates_are_renewed_in_time_and_for_another_domain(tmp_path):
    ensure_certificates(tmp_path, "flynn.test", now=NOW)
    ca = (tmp_path / "ca.pem").read_bytes()
    assert ensure_certificates(tmp_path, "flynn.test", now=NOW + LEAF_LIFE - timedelta(days=59))
    assert ensure_certificates(tmp_path, "other.test", now=NOW + LEAF_LIFE - timedelta(days=59))
    assert (tmp_path / "ca.pem").read_bytes() == ca


async def opens(store, key):
    """Return the name of a key; empty when it is none."""
    try:
        return await Keyring(store, SystemClock()).authenticate(key, address="")
    except Unauthorized:
        return ""


async def boot(store, settings) -> None:
    """What a start does with rows and files, in its order."""
    prepare_files(settings)
    domain = await prepare_rows(store, settings)
    certificate = await prepare_domain(store, settings, domain, now=NOW)
    await prepare_system_apps(store, settings, domain, certificate)


async def test_first_rows_are_written_once(store, claimed_settings):
    for _ in range(2):
        await boot(store, claimed_settings)
        seen = await store.read(lambda db: queries.events(db, EventFilter()))
    assert {app.name for app in await store.read(queries.apps)} == set(SYSTEM_APPS)
    assert await opens(store, cluster_key(claimed_settings))
    assert await store.read(queries.domain) == "flynn.test"
    await boot(store, claimed_settings)
    assert await store.read(lambda db: queries.events(db, EventFilter())) == seen  # nothing differed


async def test_a_cluster_of_an_older_version_gets_releases_for_its_system_apps(store, claimed_settings):
    """Its apps were rows without a release; whoever had an app of a newly taken name keeps it."""

    def before(tx):
        for name in ("controller", "gitreceive", "router", "discoverd"):
            app = changes.create_app(tx, App(name=name, meta={SYSTEM_META: "true"}), route_domain=None)
            tx.execute("UPDATE apps SET builtin = 1 WHERE id = ?", (app.id,))  # what the migration of the tables does
        return changes.create_app(tx, App(name="status", meta={}), route_domain="flynn.test")

    users = await store.transact(before)
    await boot(store, claimed_settings)
    found = {app.name: app for app in await store.read(queries.apps)}
    assert found.keys() == SYSTEM_APPS.keys()
    assert found["status"] == users
    assert all(app.release for name, app in found.items() if name != "status")


async def test_system_apps_have_what_clients_look_for(store, claimed_settings):
    await boot(store, claimed_settings)

    def query(db):
        for name, part in SYSTEM_APPS.items():
            app = queries.app(db, name)
            release = queries.current_release(db, app.id)
            counts = queries.formation(db, app.id, release.id).processes
            assert counts == dict.fromkeys(part.types, 1), name
            [artifact] = queries.artifacts(db, release.artifacts)
            assert artifact.meta == {"flynn.system-image": "true"}
            assert app.is_system
            assert (app.meta.get("flynn-system-critical") == "true") == part.critical
            yield name, release.env

    env = await store.read(lambda db: dict(query(db)))
    keys = claimed_settings.data_dir / "keys"
    assert env["controller"] == {"DEFAULT_ROUTE_DOMAIN": "flynn.test", "CA_CERT": (keys / "ca.pem").read_text()}
    assert env["router"] == {"TLSCERT": (keys / "leaf.pem").read_text()}
    runner = await store.read(lambda db: queries.artifact(db, env["gitreceive"]["SLUGRUNNER_18_IMAGE_ID"]))
    assert "/runner:" in runner.uri
    assert await store.read(queries.desired) == Desired(formations=(), jobs=(), deployments=())  # nothing to schedule


async def test_what_a_user_set_on_a_system_app_outlives_a_start(store, claimed_settings):
    await boot(store, claimed_settings)

    def change(tx):
        app = queries.app(tx.db, "gitreceive")
        now = queries.current_release(tx.db, app.id)
        new = changes.create_release(tx, replace(now, id="", env=now.env | {"SSH_CLIENT_HOSTS": "example.com ssh-rsa"}))
        changes.create_deployment(tx, app.id, new.id)
        changes.update_app(tx, app.id, meta={"note": "mine"})
        return new

    new = await store.transact(change)
    await boot(store, claimed_settings)
    app = await store.read(lambda db: queries.app(db, "gitreceive"))
    assert app.release == new.id
    assert app.meta == {"note": "mine", "flynn-system-app": "true"}


async def test_no_key_of_the_cluster_is_in_the_database(store, claimed_settings):
    await boot(store, claimed_settings)
    dump = await store.read(lambda db: "\n".join(db.conn.iterdump()))
    assert cluster_key(claimed_settings) not in dump
    assert "AUTH_KEY" not in dump


async def test_a_new_key_file_is_accepted_beside_the_old(store, claimed_settings):
    prepare_files(claimed_settings)
    await prepare_rows(store, claimed_settings)
    old = cluster_key(claimed_settings)
    key_file(claimed_settings).unlink()
    prepare_files(claimed_settings)
    await prepare_rows(store, claimed_settings)
    assert cluster_key(claimed_settings) != old
    assert await opens(store, cluster_key(claimed_settings))


async def test_an_empty_key_file_opens_nothing(store, claimed_settings):
    prepare_files(claimed_settings)
    key_file(claimed_settings).write_text("\n")
    prepare_files(claimed_settings)
    await prepare_rows(store, claimed_settings)
    assert cluster_key(claimed_settings)
    assert not await opens(store, "")


async def test_a_cluster_does_not_change_its_domain_unasked(store, claimed_settings, tmp_path):
    prepare_files(claimed_settings)
    await prepare_rows(store, claimed_settings)
    flags = {"appliance.data_dir": str(tmp_path / "data"), "appliance.domain": "other.test"}
    with pytest.raises(BootError, match=r"is flynn\.test, not other\.test; start it with --domain flynn\.test"):
        await prepare_rows(store, load(environ={}, flags=flags))


async def test_our_own_hosts_are_taken(store, claimed_settings):
    await boot(store, claimed_settings)
    app = await make_app(store)
    route = Route(
        type=RouteType.HTTP,
        service="hello-web",
        leader=False,
        created_at=None,
        updated_at=None,
        domain="controller.flynn.test",
    )
    with pytest.raises(Conflict, match="Duplicate route"):
        await store.transact(lambda tx: changes.create_route(tx, route, app.id))
