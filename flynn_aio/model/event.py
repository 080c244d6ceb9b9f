"""Event: what happened to a noun, for people and programs that follow along."""

from msgspec import Raw, Struct

from .ids import AppID, EventID
from .json import Time


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event as the API shows it; `data` is the noun's JSON at that moment.

    Attributes:
        id: grows by commit order, without gaps a reader could fall into.
    """

    id: EventID = EventID(0)
    app: AppID | None = None
    object_type: str = ""
    object_id: str = ""
    data: Raw = Raw(b"null")
    created_at: Time | None = None
