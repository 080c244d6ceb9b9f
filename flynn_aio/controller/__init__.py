"""Flynn's API: an ASGI application over store, engine and logs, and the doors to it.

Words used here:

- *door*: what one host name of the appliance leads to: `controller`, `git`, `images`.
- *dial*: a function that returns a new in-process connection to a door.
- *endpoint*: one row of the table in `routes`: method, path, handler, key rule.
- *handler*: an async function of the `Parts` of the appliance and one `Request`.
- *wire*: what clients send, as structs of its own; *shape*: what an endpoint takes and gives.
- *stream*: an answer without an end in sight: events, logs. One that *catches up* begins with what there is.
- *one-off job*: a job a person runs; *detached*, or *attached* with its streams in the client's hands.
- *session*: an attached job and its client, and the frames of `flynn-attach/0` between them.
"""

from .connection import ASGIApp
from .controller import Controller, Dial, Door, open_controller
from .request import Status

__all__ = ["ASGIApp", "Controller", "Dial", "Door", "Status", "open_controller"]
