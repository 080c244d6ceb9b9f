"""The cluster itself, in the whole process: the move to another domain."""

import ssl
from dataclasses import replace

import trio

from flynn_aio.bootstrap import cluster_domain
from flynn_aio.certificates import pin, read_certificates
from flynn_aio.up import entry

from ..support.git import eventually
from ..support.http_client import HTTPClient
from .test_in_memory import DOMAIN, engine, running, settings

__all__ = ["engine", "settings"]

NEW = "moved.localhost"


async def pin_of(world, host):
    """Return the pin of the certificate a client is shown that asks for a host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = await trio.open_tcp_stream("127.0.0.1", world.ready.https_port)
    async with trio.SSLStream(raw, context, server_hostname=host, https_compatible=True) as stream:
        await stream.do_handshake()
        return pin(ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True)))


async def ping(world, host):
    visitor = HTTPClient(world.dial, key=None)
    try:
        return await visitor.get("/ping", headers={"host": host})
    finally:
        visitor.close()


async def move(world, old, new):
    """Do what `flynn cluster migrate-domain` does; return the migration as it ended."""
    wish = (await world.api.put("/domain", {"id": "", "old_domain": old, "domain": new})).json()

    async def ended():
        found = (await world.api.get(f"/events?object_id={wish['id']}")).json()
        return found[0]["data"]["domain_migration"] if len(found) == 2 else None

    return await eventually(ended)


async def test_domain_migration_of_a_running_cluster(settings, engine):
    """TestDomainMigration: `controller.NEW` answers, the old domain still does, a restart changes nothing."""
    async with running(settings, engine) as world:
        assert (await world.api.post("/apps", {"name": "hello"})).status == 200
        old_pin = await pin_of(world, f"controller.{DOMAIN}")
        migration = await move(world, DOMAIN, NEW)
        assert (await ping(world, f"controller.{NEW}")).status == 200
        assert (await pin_of(world, f"controller.{NEW}")) == migration["tls_cert"]["pin"] != old_pin
        assert (await pin_of(world, f"git.{NEW}")) == migration["tls_cert"]["pin"]
        assert (await pin_of(world, f"hello.{NEW}")) == migration["tls_cert"]["pin"]
        for host in ("controller", "git", "hello"):  # who was here before finds everything where it was
            assert (await pin_of(world, f"{host}.{DOMAIN}")) == old_pin
        assert (await world.api.get("/apps")).status == 200
        env = (await world.api.get("/apps/controller/release")).json()["env"]
        assert env["DEFAULT_ROUTE_DOMAIN"] == NEW
        assert env["CA_CERT"] == migration["tls_cert"]["ca_cert"]
        assert (await world.api.get("/ca-cert")).body.decode() == migration["tls_cert"]["ca_cert"]
        found = [route["domain"] for route in (await world.api.get("/apps/controller/routes")).json()]
        assert found == [f"controller.{NEW}", f"controller.{DOMAIN}"]
        app = (await world.api.post("/apps", {"name": "later"})).json()
        [route] = (await world.api.get(f"/apps/{app['id']}/routes")).json()
        assert route["domain"] == f"later.{NEW}"
        assert cluster_domain(settings) == NEW
        known = entry(settings, 443)
        assert (known.domain, known.pin) == (NEW, migration["tls_cert"]["pin"])
    for started in (settings, replace(settings, domain=NEW)):  # by whom? with the old name, or the new one
        async with running(started, engine) as world:
            assert world.ready.domain == NEW
            assert (await pin_of(world, f"controller.{NEW}")) == migration["tls_cert"]["pin"]
            assert (await pin_of(world, f"controller.{DOMAIN}")) == old_pin
    async with running(settings, engine) as world:
        await move(world, NEW, DOMAIN)
        found = [route["domain"] for route in (await world.api.get("/apps/hello/routes")).json()]
        assert found == [f"hello.{NEW}", f"hello.{DOMAIN}"]
        assert read_certificates(settings.data_dir / "keys").pin == await pin_of(world, f"hello.{DOMAIN}")
