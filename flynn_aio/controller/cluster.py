"""The cluster itself: the move to another domain.

Source: `controller-api.md` §5.1; Flynn `controller/domain.go`.
"""

import trio

from ..model import Certificate, TLSCert
from ..store import changes
from .body import read_json
from .http_routes import check_pair
from .request import Parts, Reply, Request, reply
from .wire import DomainMigrationRequest


async def migrate_domain(parts: Parts, request: Request) -> Reply:
    """Wish the cluster to move to another domain; `domain_migration` events tell how it goes."""
    sent = read_json(request, DomainMigrationRequest)
    given: TLSCert | None = None
    if sent.tls_cert is not None and sent.tls_cert.cert:
        given = TLSCert(ca_cert=sent.tls_cert.ca_cert, cert=sent.tls_cert.cert, key=sent.tls_cert.key)
        if given.key:
            await trio.to_thread.run_sync(check_pair, Certificate(cert=given.cert, key=given.key))
    domain = sent.domain.lower().rstrip(".")
    return reply(
        await parts.store.transact(
            lambda tx: changes.begin_domain_migration(tx, old_domain=sent.old_domain, domain=domain, tls_cert=given)
        )
    )
