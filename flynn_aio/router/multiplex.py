"""placeholder until h2"""

from .client import Draining
from .forward import Upstreams
from .headers import Hop
from .wire import Wire


class Http2Client:
    def __init__(self, wire: Wire, hop: Hop, upstreams: Upstreams, front: Draining) -> None: ...
    async def run(self) -> None: ...
    def drain(self) -> None: ...
