"""`flynn cluster migrate-domain`: move the cluster to another domain, and what this computer knows of it along.

Source: `cli.md` §5.1, `controller-api.md` §12; Flynn `cli/cluster.go`, `runClusterMigrateDomain`.
"""

from typing import Any
from urllib.parse import urlsplit

from . import git, rc
from .client import Client
from .events import Events, Expired
from .failure import Failure
from .rc import Cluster
from .render import quoted
from .session import Session
from .talk import confirm, show, tell
from .usage import Args

MIGRATION_S = 120.0


def migrate_domain(args: Args, session: Session, *, flynn: str) -> None:
    """Ask, migrate, wait, and rewrite the cluster's entry, its CA file and git's configuration.

    Args:
        flynn: the command git calls for passwords.
    """
    client, cluster = session.client, session.cluster
    old = (client.get("/apps/controller/release").get("env") or {}).get("DEFAULT_ROUTE_DOMAIN", "")
    new = args.text("<domain>")
    if not confirm(f"Migrate cluster domain from {quoted(old)} to {quoted(new)}?"):
        show("Aborted")
        return
    show("Migrating cluster domain (this can take up to 2m0s)...")
    migration = _migrate(client, old, new)
    show(f"Changed cluster domain from {quoted(old)} to {quoted(migration['domain'])}")
    _follow(session, cluster, moved(cluster, old, migration), migration["tls_cert"]["ca_cert"], flynn)
    show("Updated local CLI configuration")
    if cluster.git_url:
        tell(
            f"Git remotes still lead to git.{old}. To change one, in its repository: "
            f"flynn -a <app> remote add {git.DEFAULT_REMOTE}"
        )


def _migrate(client: Client, old: str, new: str) -> dict[str, Any]:
    """Have the cluster migrated; return the migration as it ended.

    Raises:
        Failure: it did not come to its end; the cluster is where it was.
    """
    with Events(client, {"object_types": "domain_migration"}) as events:
        wish = client.put("/domain", {"id": "", "old_domain": old, "domain": new})
        try:
            for event in events.until(MIGRATION_S):
                data = event.get("data") or {}
                migration: dict[str, Any] = data.get("domain_migration") or {}
                if migration.get("id") != wish["id"]:
                    continue
                if data.get("error"):
                    show(data["error"])
                    raise Failure(f"the cluster is still at {old}", hint="it can be tried again")
                if migration.get("finished_at"):
                    return migration
        except Expired:
            pass
    raise Failure(
        "timed out waiting for domain migration to complete",
        hint="it may go on: 'flynn-aio credentials' on the server says where the cluster is then",
    )


def moved(cluster: Cluster, old: str, migration: dict[str, Any]) -> Cluster:
    """Return a cluster's entry after a migration. URLs of elsewhere, and unset ones, stay. Pure."""
    port = urlsplit(cluster.controller_url).port
    suffix = f":{port}" if port else ""
    before = rc.cluster_at(f"{old}{suffix}", cluster.name, cluster.key)
    after = rc.cluster_at(f"{migration['domain']}{suffix}", cluster.name, cluster.key)
    return cluster._replace(
        controller_url=after.controller_url,
        git_url=after.git_url if cluster.git_url == before.git_url else cluster.git_url,
        image_url=after.image_url if cluster.image_url == before.image_url else cluster.image_url,
        docker_push_url=cluster.docker_push_url and f"https://docker.{migration['domain']}{suffix}",
        tls_pin=migration["tls_cert"]["pin"],
    )


def _follow(session: Session, before: Cluster, after: Cluster, ca_cert: str, flynn: str) -> None:
    """Write down where the cluster is now."""
    clusters = tuple(after if each == before else each for each in session.config.clusters)
    rc.write(session.rc_path, session.config._replace(clusters=clusters))
    ca_path = rc.ca_path(session.environ, after.name)
    try:
        ca_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        ca_path.write_text(ca_cert)
    except OSError as exc:
        raise Failure(f"Error writing CA certificate: {exc}") from exc
    if after.git_url:
        git.configure(after.git_url, ca_path, flynn)
        if before.git_url != after.git_url:
            git.forget(before.git_url)
