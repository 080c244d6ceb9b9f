"""Moving to another domain: the certificate, the order of the steps, and restarts in the middle."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from flynn_aio.certificates import ensure_certificates, fault_of, issue, pin, publish_certificates, read_certificates
from flynn_aio.domain import open_migrations
from flynn_aio.errors import Conflict, ValidationError
from flynn_aio.model import App, Certificate, DomainMigrationEvent, Route, RouteType, TLSCert, decode
from flynn_aio.store import EventFilter, changes, queries

from .support.certs import Authority

OLD, NEW = "old.test", "new.test"
NOW = datetime.now(UTC)


@dataclass
class Cluster:
    """A store at the old domain, its certificate files, and what the router was told."""

    store: object
    clock: object
    keys: Path
    refreshed: list[str] = field(default_factory=list)

    async def wish(self, *, old=OLD, new=NEW, tls_cert=None):
        return await self.store.transact(
            lambda tx: changes.begin_domain_migration(tx, old_domain=old, domain=new, tls_cert=tls_cert)
        )

    async def refresh(self):
        self.refreshed.append(await self.store.read(queries.domain))

    @asynccontextmanager
    async def moving(self):
        async with open_migrations(self.store, self.clock, keys=self.keys, refresh=self.refresh):
            yield

    async def move(self, **wish):
        """Wish, and wait for the end; return the events of it."""
        wanted = EventFilter(object_types=frozenset({"domain_migration"}))
        async with self.moving(), self.store.subscribe(wanted) as events:
            await self.wish(**wish)
            return [await self._event(events) for _ in range(2)]

    async def _event(self, events):
        with trio.fail_after(20):
            return decode(bytes((await events.receive()).data), DomainMigrationEvent)

    async def domains(self, app="hello"):
        return [route.domain for route in await self.store.read(lambda db: queries.routes(db, queries.app(db, app).id))]


@pytest.fixture
async def cluster(store, clock, tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    ensure_certificates(keys, OLD, now=NOW)

    def rows(tx):
        changes.set_cluster_value(tx, queries.DEFAULT_DOMAIN, OLD)
        changes.keep_domain_certificate(tx, OLD, read_certificates(keys))
        changes.create_app(tx, App(name="hello", meta={}), route_domain=OLD)

    await store.transact(rows)
    return Cluster(store, RealTime(), keys)


class RealTime:
    """Certificates are looked at by OpenSSL, which knows what time it is."""

    def now(self):
        return datetime.now(UTC)


async def test_domain_migration_events_tell_of_its_beginning_and_its_end(cluster):
    """TestDomainMigration: initial event with the old certificate, final one with the new, another key."""
    first, last = (event.domain_migration for event in await cluster.move())
    assert (first.old_domain, first.domain, first.tls_cert, first.finished_at) == (OLD, NEW, None, None)
    assert first.created_at is not None
    assert first.old_tls_cert.pin != last.tls_cert.pin
    assert first.old_tls_cert.key != last.tls_cert.key
    assert (last.id, last.created_at) == (first.id, first.created_at)
    assert last.finished_at is not None
    assert last.tls_cert == read_certificates(cluster.keys)
    assert (cluster.keys / "domain").read_text() == f"{NEW}\n"
    assert cluster.refreshed == [NEW]  # before the end was told


async def test_domain_migration_adds_a_sibling_to_every_route_and_none_twice(cluster):
    """TestDomainMigration: two routes, the new one first; moving back leaves two."""
    own = Certificate(cert="C", key="K")

    def more(tx):
        app = queries.app(tx.db, "hello")
        route = Route(type=RouteType.HTTP, service="s", leader=False, created_at=None, updated_at=None)
        for domain, path in ((f"api.{OLD}", ""), (f"api.{OLD}", "/v1/"), (f"not{OLD}", ""), ("custom.test", "")):
            changes.create_route(tx, replace(route, domain=domain, path=path, sticky=True, certificate=own), app.id)

    await cluster.move()
    assert await cluster.domains() == [f"hello.{NEW}", f"hello.{OLD}"]
    await cluster.move(old=NEW, new=OLD)
    assert await cluster.domains() == [f"hello.{NEW}", f"hello.{OLD}"]
    await cluster.store.transact(more)
    await cluster.move()
    assert sorted(await cluster.domains()) == sorted(
        [f"hello.{NEW}", f"hello.{OLD}", *[f"api.{OLD}"] * 2, *[f"api.{NEW}"] * 2, f"not{OLD}", "custom.test"]
    )
    siblings = [route for route in await cluster.store.read(queries.routes) if route.domain == f"api.{NEW}"]
    assert [(one.path, one.sticky, one.certificate.cert) for one in siblings] == [("/v1/", True, "C"), ("/", True, "C")]


async def test_a_route_with_the_clusters_own_certificate_gets_the_new_one(cluster):
    cert = read_certificates(cluster.keys)

    def pinned(tx):
        route = Route(
            type=RouteType.HTTP,
            service="s",
            leader=False,
            created_at=None,
            updated_at=None,
            domain=f"own.{OLD}",
            certificate=Certificate(cert=cert.cert, key=cert.key),
        )
        changes.create_route(tx, route, queries.app(tx.db, "hello").id)

    await cluster.store.transact(pinned)
    await cluster.move()
    found = {route.domain: route for route in await cluster.store.read(queries.routes)}
    assert found[f"own.{NEW}"].certificate is None  # so the cluster's
    assert found[f"own.{OLD}"].certificate is not None


async def test_a_domain_is_kept_by_whoever_has_it_already(cluster):
    def taken(tx):
        app = changes.create_app(tx, App(name="other", meta={}), route_domain=None)
        route = Route(type=RouteType.HTTP, service="s", leader=False, created_at=None, updated_at=None)
        return changes.create_route(tx, replace(route, domain=f"hello.{NEW}"), app.id)

    await cluster.store.transact(taken)
    _, last = await cluster.move()
    assert last.error == ""
    assert await cluster.domains() == [f"hello.{OLD}"]
    assert await cluster.domains("other") == [f"hello.{NEW}"]


async def test_a_new_certificate_is_signed_by_the_ca_people_trust_already(cluster):
    ca = (cluster.keys / "ca.pem").read_text()
    _, last = await cluster.move()
    assert last.domain_migration.tls_cert.ca_cert == ca
    assert not ensure_certificates(cluster.keys, NEW, now=NOW)


async def test_a_given_certificate_is_used_and_kept(cluster):
    authority = Authority()
    leaf = authority.leaf(NEW, f"*.{NEW}")
    _, last = await cluster.move(tls_cert=TLSCert(ca_cert=authority.pem, cert=leaf.cert, key=leaf.key))
    assert last.domain_migration.tls_cert.pin == pin(leaf.cert)
    assert read_certificates(cluster.keys).cert == leaf.cert
    assert not ensure_certificates(cluster.keys, NEW, now=NOW)  # not ours to renew
    assert read_certificates(cluster.keys).cert == leaf.cert


async def test_a_given_certificate_may_have_text_around_it(cluster):
    """`openssl x509 -text` and others write what a certificate says in front of it."""
    authority = Authority()
    leaf = authority.leaf(NEW, f"*.{NEW}")
    given = TLSCert(ca_cert=authority.pem, cert=f"subject=CN = {NEW}\n{leaf.cert}", key=leaf.key)
    _, last = await cluster.move(tls_cert=given)
    assert (last.error, last.domain_migration.tls_cert.pin) == ("", pin(leaf.cert))


@pytest.mark.parametrize("damaged", ["ca_cert", "cert", "key"])
async def test_a_certificate_that_is_none_is_an_error_of_the_migration(cluster, damaged):
    authority = Authority()
    leaf = authority.leaf(NEW, f"*.{NEW}")
    given = TLSCert(ca_cert=authority.pem, cert=leaf.cert, key=leaf.key)
    trusted = leaf.cert.replace("CERTIFICATE", "TRUSTED CERTIFICATE")
    for text in ("garbage", trusted if damaged == "cert" else leaf.cert[:100]):
        _, last = await cluster.move(tls_cert=replace(given, **{damaged: text}))
        assert "the given certificate cannot be used" in last.error
    assert await cluster.store.read(queries.domain) == OLD


async def test_migrating_back_takes_the_old_certificate_as_the_event_gave_it(cluster):
    """TestDomainMigration sends `old_tls_cert` of the first migration back; stock's has no CA in it."""
    before = read_certificates(cluster.keys)
    first, _ = await cluster.move()
    given = first.domain_migration.old_tls_cert
    await cluster.move(old=NEW, new=OLD, tls_cert=TLSCert(cert=given.cert, key=given.key))
    assert read_certificates(cluster.keys) == before


async def test_a_certificate_for_other_names_leaves_everything_as_it_was(cluster):
    authority = Authority()
    leaf = authority.leaf("elsewhere.test")
    before = read_certificates(cluster.keys)
    _, last = await cluster.move(tls_cert=TLSCert(ca_cert=authority.pem, cert=leaf.cert, key=leaf.key))
    assert "a client that trusts its CA would not take it for new.test and *.new.test" in last.error
    assert last.domain_migration.finished_at is None
    assert await cluster.store.read(queries.domain) == OLD
    assert read_certificates(cluster.keys) == before
    assert await cluster.domains() == [f"hello.{OLD}"]
    _, last = await cluster.move()  # nothing stands in the way of the next one
    assert last.error == ""


async def test_a_certificate_that_cannot_even_be_read_ends_the_migration_and_nothing_else(cluster):
    """What raises here raises at every start again."""
    authority = Authority()
    leaf = authority.leaf("elsewhere.test", unreadable=True)
    _, last = await cluster.move(tls_cert=TLSCert(ca_cert=authority.pem, cert=leaf.cert, key=leaf.key))
    assert "moving from old.test to new.test: " in last.error
    assert await cluster.store.read(queries.domain) == OLD


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"old": "wrong.test"}, 'Can\'t migrate from "wrong.test" when currently using "old.test"'),
        ({"new": "no domain"}, "domain must be a host name in lower case, e.g. flynn.example.com"),
        ({"new": OLD}, "domain is the cluster's domain already"),
        ({"tls_cert": TLSCert(cert="x")}, "tls_cert must have `cert`, `key` and `ca_cert`, all PEM"),
    ],
)
async def test_a_migration_that_cannot_be_is_refused(cluster, wish, message):
    with pytest.raises(ValidationError) as refused:
        await cluster.wish(**wish)
    assert refused.value.message == message


async def test_there_is_one_migration_at_a_time(cluster):
    await cluster.wish()
    with pytest.raises(Conflict, match=r"a migration to new\.test is under way"):
        await cluster.wish(new="third.test")


async def test_a_migration_goes_on_after_a_restart(cluster):
    """Whatever was done of it: nothing, or all but the files and the end."""
    wish = await cluster.wish()
    cert = issue(cluster.keys, NEW, now=NOW)
    await cluster.store.transact(lambda tx: changes.switch_domain(tx, wish.id, cert))
    async with cluster.store.subscribe(EventFilter(object_id=wish.id), past=True) as events, cluster.moving():
        await cluster._event(events)
        last = await cluster._event(events)
    assert last.domain_migration.finished_at is not None
    assert await cluster.domains() == [f"hello.{NEW}", f"hello.{OLD}"]
    assert read_certificates(cluster.keys) == last.domain_migration.tls_cert
    assert fault_of(read_certificates(cluster.keys), cluster.keys, NEW, now=NOW) == ""


def test_a_ca_that_is_not_ours_has_no_key_of_ours_beside_it(tmp_path):
    ensure_certificates(tmp_path, OLD, now=NOW)
    publish_certificates(tmp_path, NEW, issue(tmp_path, NEW, now=NOW))
    assert (tmp_path / "ca.key").exists()
    authority = Authority()
    leaf = authority.leaf(NEW, f"*.{NEW}")
    publish_certificates(tmp_path, NEW, TLSCert(ca_cert=authority.pem, cert=leaf.cert, key=leaf.key))
    assert not (tmp_path / "ca.key").exists()
