"""Asking providers for resources, and giving resources back.

Words used here:

- *provider*: something with a URL that makes databases and their like, in a job of ours or anywhere else.
- *resource*: what it made; *external id*: its own name of that.
- *provision*: have one made. *deprovision*: have it removed.
- *place*: where a URL leads, and how to ask there.
"""

from .call import ProviderError, Providers
from .place import Place
from .protocol import Provisioned

__all__ = ["Place", "ProviderError", "Providers", "Provisioned"]
