"""The router: bring a request to a healthy backend, and its answer back.

Words used here:

- *route*: which requests belong to which service; the *table* is all of them, compiled.
- *target*: where a route leads; *backend*: an instance of a service as the router sees it.
- *door*: a host of the appliance itself, served in this process; it wins over routes.
- *head*: start line and fields of a request or response; *framing*: where its body ends.
- *exchange*: one request on its way and its answer; the *visitor* is the client's end of it.
- *wire*: a connection as bytes; *tunnel*: two wires joined, after an upgrade or for a TCP route.
- *front*: the listening sockets; *draining*: finish what has begun, begin nothing.

The pure modules decide: `table`, `balance`, `sticky`, `headers`, `framing`, `h1`, `h2`, `exchange`,
`pages`. The others wait: `wire`, `pool`, `forward` with `upload`, `client` (HTTP/1.1) and `multiplex` (HTTP/2),
each a `visitor`; `tunnel`, `tcp`, `tls`, `listener`, `router`.

Source: `router.md`; Flynn `router/`.
"""

from .listener import Front, ListenError, Listeners, inherited
from .pool import Dial
from .router import CertificateError, Router, open_front, open_router

__all__ = [
    "CertificateError",
    "Dial",
    "Front",
    "ListenError",
    "Listeners",
    "Router",
    "inherited",
    "open_front",
    "open_router",
]
