"""A database that an older version wrote."""

import sqlite3
from contextlib import closing

from sqlite_utils import Database

from flynn_aio.model import App
from flynn_aio.settings import StoreSettings
from flynn_aio.store import inline, open_store, queries, rows
from flynn_aio.store.schema import migrations

SYSTEM = {"flynn-system-app": "true"}


async def test_the_system_apps_of_an_older_version_become_parts_of_the_process(tmp_path, clock):
    """Those it made itself, and nothing that merely has the name or the flag."""
    settings = StoreSettings(path=tmp_path / "flynn.db")
    apps = [
        App(id="1", name="controller", meta=SYSTEM),
        App(id="2", name="router", meta={}),
        App(id="3", name="mine", meta=SYSTEM),
    ]
    with closing(sqlite3.connect(settings.path, isolation_level=None)) as conn:
        db = Database(conn)
        migrations.apply(db, stop_before="the_cluster_itself")
        for app in apps:
            conn.execute("INSERT INTO apps (id, name, doc) VALUES (?, ?, ?)", (app.id, app.name, rows.doc(app)))
    async with open_store(settings, clock, run_blocking=inline) as store:
        builtin = await store.read(lambda db: [app.name for app in queries.apps(db) if queries.is_builtin(db, app.id)])
    assert builtin == ["controller"]
