"""Key: what a client shows to be let in. The key itself is nowhere in here, only its name."""

from msgspec import Struct

from .json import Time


class Key(Struct, frozen=True, kw_only=True):
    """A key of the controller as the API and its events show it.

    Attributes:
        name: what logs and people call it.
    """

    name: str
    created_at: Time
