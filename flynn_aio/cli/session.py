"""One run of `flynn`: which cluster and which app it is about, and the client that speaks to it.

Everything is found out when it is first asked for, and once: `flynn version` reads no file and starts no git.

Source: `cli.md` §2; Flynn `cli/main.go`.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from .failure import ADD_LINE, Failure

if TYPE_CHECKING:
    from pathlib import Path

    from .client import Client
    from .rc import Cluster, Config


class Session:
    """What the global options, the environment, `~/.flynnrc` and git say together.

    Args:
        app: `-a`, or empty.
        cluster: `-c`, or empty.
        environ: the environment.
    """

    def __init__(self, *, app: str, cluster: str, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._wanted_app = app
        self._wanted_cluster = cluster or environ.get("FLYNN_CLUSTER", "")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def rc_path(self) -> "Path":
        from . import rc

        return rc.path(self.environ)

    @cached_property
    def config(self) -> "Config":
        from . import rc

        return rc.read(self.rc_path)

    @property
    def candidates(self) -> "tuple[Cluster, ...]":
        """The clusters whose git remotes count: only the chosen one, when one was chosen."""
        wanted = self._wanted_cluster
        return tuple(each for each in self.config.clusters if not wanted or each.name == wanted)

    @property
    def asked_for_app(self) -> bool:
        """Whether the command was about an app at all."""
        return "app" in self.__dict__

    @property
    def asked_last(self) -> str:
        """What the controller was asked last, as errors name it; empty when it was not asked anything."""
        return self.client.asked_last if "client" in self.__dict__ else ""

    @cached_property
    def app(self) -> str:
        """The app this is about: an id or a name.

        Raises:
            Failure: nothing says which.
        """
        found = self._found
        if isinstance(found, Failure):
            raise found
        return found[0]

    @cached_property
    def cluster(self) -> "Cluster":
        """The cluster this is about.

        Raises:
            Failure: there is none, or none of that name.
        """
        found = self._found
        if not isinstance(found, Failure) and found[1] is not None:
            return found[1]
        if not self.config.clusters:
            raise Failure("no clusters configured", hint=ADD_LINE)
        name = self._wanted_cluster or self.config.default
        cluster = self.config.named(name) if name else self.config.clusters[0]
        if cluster is None:
            from .render import quoted
            from .similar import did_you_mean

            guess = did_you_mean(name, (each.name for each in self.config.clusters))
            raise Failure(f"unknown cluster {quoted(name)}", hint=guess or "'flynn cluster' lists the known ones")
        return cluster

    @cached_property
    def client(self) -> "Client":
        from .client import Client

        if self.cluster.oauth_url:
            raise Failure(
                f"cluster {self.cluster.name} wants OAuth, which is not available yet",
                hint="add it with a key: 'flynn cluster add -f <name> <domain> <key>'",
            )
        return Client(self.cluster)

    @cached_property
    def _found(self) -> "tuple[str, Cluster | None] | Failure":
        """The app, with its cluster if a git remote said so; or why there is none."""
        from . import git

        if not self._wanted_app:
            named = self.environ.get("FLYNN_APP", "")
            if named:
                return named, None
        try:
            if self._wanted_app:
                remote = git.app_of_remote(self._wanted_app, self.candidates)
            else:
                remote = git.app_here(self.candidates)
        except Failure as failure:
            return (self._wanted_app, None) if self._wanted_app else failure
        return remote.name, remote.cluster
