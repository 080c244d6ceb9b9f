"""Domains: the cluster's own one, and those it has moved away from, which keep answering. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model import TLSCert, is_below
from .pool import Dial
from .table import Keypair


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """The cluster's domains at one moment.

    Attributes:
        current: empty while the cluster has none.
        keypairs: domain -> what is served there, where it is not the certificate the router began with.
    """

    current: str = ""
    keypairs: Mapping[str, Keypair] = field(default_factory=dict)

    @classmethod
    def of(cls, current: str, certificates: Mapping[str, TLSCert]) -> "Domains":
        keypairs = {name: Keypair(cert=found.cert, key=found.key) for name, found in certificates.items()}
        return cls(current=current, keypairs=keypairs)

    def keypair(self, host: str) -> Keypair | None:
        """Return what a host is served with that has nothing of its own: its domain's, else the current domain's."""
        below = [domain for domain in self.keypairs if is_below(host, domain)]
        return self.keypairs.get(max(below, key=len, default=self.current))

    def doors(self, dials: Mapping[str, Dial]) -> dict[str, Dial]:
        """Return the hosts of the appliance's own parts: each label below each domain."""
        return {
            f"{label}.{domain}": dial
            for domain in {self.current, *self.keypairs} - {""}
            for label, dial in dials.items()
        }
