"""The system apps: the parts of Flynn that are this process, under the names clients know them by.

They have a release and a formation like any app, so that clients find what they look for, and
nothing of them is ever scheduled: whoever reads them runs already. A name of upstream's that has no
part here has no app either: `postgres`, `mariadb`, `mongodb` and `redis` come with the databases,
`taffy` deployed from a URL, which `git push` does here, and `scheduler` and `worker` were always
process types of `controller`.

Source: `controller-api.md` §11, `resources.md` §8; Flynn `bootstrap/manifest_template.json`.
"""

from dataclasses import dataclass, field

from .app import CRITICAL_META, SYSTEM_META

DOMAIN_ENV = "DEFAULT_ROUTE_DOMAIN"
CA_ENV = "CA_CERT"
CERT_ENV = "TLSCERT"
SSH_ENV = ("SSH_CLIENT_KEY", "SSH_CLIENT_HOSTS")
"""What builds fetch private code with, from the app's own environment or `gitreceive`'s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemApp:
    """One of them.

    Attributes:
        types: its process types; there is always one of each.
        label: the host below the cluster's domain that is its own; empty when it has none.
        settable: variables of its release a user may change, since something reads them.
    """

    name: str
    types: tuple[str, ...] = ("app",)
    critical: bool = False
    label: str = ""
    settable: frozenset[str] = field(default_factory=frozenset)

    @property
    def meta(self) -> dict[str, str]:
        return {SYSTEM_META: "true"} | ({CRITICAL_META: "true"} if self.critical else {})


SYSTEM_APPS = {
    app.name: app
    for app in (
        SystemApp(name="discoverd", critical=True),
        SystemApp(name="flannel", critical=True),  # the jobs' network
        SystemApp(name="controller", types=("web", "scheduler", "worker"), critical=True, label="controller"),
        SystemApp(name="router", critical=True),
        SystemApp(name="gitreceive", label="git", settable=frozenset(SSH_ENV)),
        SystemApp(name="tarreceive", label="images"),
        SystemApp(name="blobstore", types=("web",)),  # slugs and layers
        SystemApp(name="logaggregator"),
        SystemApp(name="status", types=("web",)),
    )
}

WHERE_ELSE = {
    DOMAIN_ENV: "to move the cluster, type: flynn cluster migrate-domain DOMAIN",
    CA_ENV: "it follows the cluster's domain",
    CERT_ENV: "it follows the cluster's domain; a route may have a certificate of its own",
    "AUTH_KEY": "keys are kept as hashes; type: flynn-aio key add, list or remove",
}
"""What to do instead of setting a variable of a system app."""
