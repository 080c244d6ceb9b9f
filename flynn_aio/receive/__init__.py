"""Turning a `git push` into a release that serves.

Words used here:

- *push*: one `git receive-pack`; it lives in its HTTP request and ends with it.
- *hook*: git's question whether a push is welcome, asked while its objects are in quarantine.
- *hand-over*: our end of the hook: what is pushed, what the pusher reads, and the answer.
- *builder job*: a container that makes a slug of a tree; process type `slugbuilder`.
- *buildpack*: what knows how to build one kind of app: `bin/detect`, `bin/compile`, `bin/release`.
- *slug*: the compiled app as a directory, mounted over `/app`; once published it never changes.
- *transfer*: a slug on its way to or from another cluster, as a tar.
- *cache*: what a buildpack keeps from one build of an app to the next.
- *stack*: the images apps are built in (*builder*) and run in (*runner*); a *recipe* is what one is made from.
- *line*: who waits behind whom: pushes to one app, builds for a place.
"""

from .http import GitHTTP
from .receive import Receive, open_receive
from .stack import Stack, StackError, StackImage, StackImages, plain_images
from .transfer import SlugTransfer

__all__ = [
    "GitHTTP",
    "Receive",
    "SlugTransfer",
    "Stack",
    "StackError",
    "StackImage",
    "StackImages",
    "open_receive",
    "plain_images",
]
