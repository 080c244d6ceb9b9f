"""discoverd: who answers for a service right now.

Words used here:

- *service*: a name that is resolved, such as ``hello-web``; *instance*: one address answering for it.
- *leader*: the oldest live instance of a service.
- *endpoint*: a port of a job that is to become an instance.
- *check*: how an endpoint shows that it is alive; *probe*: doing it once.
- *snapshot*: all services and verdicts at one moment.
- *recursor*: a resolver of the host, which answers names that are not ours.

Instances are rebuilt at every boot from the jobs in the store: what is registered is what answered.
It decides nothing about jobs; it says which are up, and which should be killed.

Source: `discovery.md`; Flynn `discoverd/`.
"""

from .dns_answer import instances_named, is_ours
from .services import open_discoverd, open_monitor
from .snapshot import Services, Snapshot

__all__ = ["Services", "Snapshot", "instances_named", "is_ours", "open_discoverd", "open_monitor"]
