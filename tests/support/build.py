"""Builders: an app with a release, in one line."""

from flynn_aio.model import SYSTEM_APPS, App, Artifact, HealthCheck, Port, PortService, ProcessType, Release, TLSCert
from flynn_aio.store import Store, changes

DOMAIN = "flynn.test"


def web_process(service: str = "", *, check: bool = True, args: list[str] | None = None) -> ProcessType:
    """Return a web process type: one port 8080, registered under `service` when it is given."""
    registered = PortService(name=service, create=True, check=HealthCheck(type="tcp") if check else None)
    port = Port(port=8080, proto="tcp", service=registered if service else None)
    return ProcessType(args=args or ["serve"], ports=[port], service=service)


async def make_app(store: Store, name: str = "hello") -> App:
    return await store.transact(lambda tx: changes.create_app(tx, App(name=name, meta={}), route_domain=DOMAIN))


async def make_release(store: Store, app: App, processes: dict[str, ProcessType] | None = None, **env: str) -> Release:
    """Create a release of an image artifact; its default process type is `web` on `<app>-web`."""
    processes = {"web": web_process(f"{app.name}-web")} if processes is None else processes

    def change(tx):
        artifact = changes.create_artifact(tx, Artifact(type="flynn", uri="image:localhost/test/app:1"))
        wanted = Release(app_id=app.id, artifacts=[artifact.id], env=env, processes=processes)
        return changes.create_release(tx, wanted)

    return await store.transact(change)


def keep_system_apps(tx) -> None:
    """Make the system apps as a first boot does; the certificate's key reads ``secret``."""
    image = changes.create_artifact(tx, Artifact(type="flynn", uri="image:localhost/flynn-aio/runner:1"))
    env = changes.cluster_env(DOMAIN, TLSCert(ca_cert="CA", cert="LEAF", pin="pin", key="secret"))
    for name, part in SYSTEM_APPS.items():
        changes.keep_system_app(tx, part, env=env.get(name, {}), artifacts=[image.id])
