"""Touched: which apps each commit was about, as the database itself tells.

On the one connection that writes, every table with a column `app` has triggers, and so have the apps. A
change can neither forget to say what it touched nor say it for nothing: what is rolled back was not said.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from sqlite_utils import Database

from ..model import AppID

REMEMBERED = 4096
"""Apps whose last change is known; whoever is further behind is told to read everything. About 1 MB."""


class Touched:
    """The apps that were touched last, each with the number of the commit that did it."""

    def __init__(self) -> None:
        self._commits: OrderedDict[AppID, int] = OrderedDict()
        self._forgotten = 0

    def note(self, apps: Collection[AppID], commit: int) -> None:
        """Keep that a commit, later than all before it, was about these apps."""
        for app in apps:
            self._commits[app] = commit
            self._commits.move_to_end(app)
        while len(self._commits) > REMEMBERED:
            _, self._forgotten = self._commits.popitem(last=False)

    def since(self, commit: int) -> Mapping[AppID, int] | None:
        """Return the apps touched after a commit, each with the last one that did; ``None`` when not all are known."""
        if commit < self._forgotten:
            return None
        found: dict[AppID, int] = {}
        for app, at in reversed(self._commits.items()):
            if at <= commit:
                break
            found[app] = at
        return found


def follow_tables(db: Database, touch: Callable[[AppID], None]) -> None:
    """Call `touch` for every row that is written on this connection and belongs to an app."""

    def touched(app: AppID | None) -> None:
        if app:
            touch(app)

    db.conn.create_function("touch", 1, touched)
    for table in db.table_names():
        column = "id" if table == "apps" else "app"
        if column in {each.name for each in db[table].columns}:
            for change, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                calls = " ".join(f"SELECT touch({row}.{column});" for row in rows)
                db.conn.execute(
                    f"CREATE TEMP TRIGGER touch_{table}_{change} AFTER {change} ON main.{table} BEGIN {calls} END"
                )
