"""Images made of layers: the layers people push, for as long as some artifact names them.

Words used here:

- *layer*: a tar of files, known by the SHA-256 of its bytes; a directory of ours holds it.
- *upload*: a layer on its way in; it has no name until it is whole, right and on the disk.
- *held*: pushed or asked for a short while ago, so an artifact that names it may be on its way.
- *sweep*: removing the layers and images nobody needs any more.
"""

from .janitor import open_layers
from .layers import LayerError, Layers

__all__ = ["LayerError", "Layers", "open_layers"]
