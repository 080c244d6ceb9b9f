"""Tables and the steps that lead to them, in order.

Each noun has a table: the columns that questions are asked by, and `doc`, the noun's own JSON
(`flynn_aio.model`), so that a new field of a noun needs no migration. `seq` is the order of
creation: two rows of one microsecond still have one.

Rules: a step that has shipped is never edited; what changes comes as a new step below it.
"""

import sqlite3

from sqlite_utils import Database, Migrations

migrations = Migrations("flynn-aio")


@migrations()
def first_tables(db: Database) -> None:
    _run(
        db.conn,
        """
        CREATE TABLE cluster (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE keys (
            name TEXT PRIMARY KEY, hash BLOB NOT NULL, created_at TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE apps (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            deleted_at TEXT, doc TEXT NOT NULL
        );
        CREATE UNIQUE INDEX live_app_names ON apps (name) WHERE deleted_at IS NULL;

        CREATE TABLE artifacts (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, uri TEXT NOT NULL,
            doc TEXT NOT NULL, UNIQUE (type, uri)
        );

        CREATE TABLE releases (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL,
            deleted_at TEXT, doc TEXT NOT NULL
        );
        CREATE INDEX releases_of_app ON releases (app, seq);

        CREATE TABLE formations (
            seq INTEGER PRIMARY KEY, app TEXT NOT NULL, release TEXT NOT NULL, total INTEGER NOT NULL,
            doc TEXT NOT NULL, UNIQUE (app, release)
        );

        CREATE TABLE scale_requests (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, release TEXT NOT NULL,
            state TEXT NOT NULL, doc TEXT NOT NULL
        );
        CREATE INDEX pending_scale_requests ON scale_requests (app, release) WHERE state = 'pending';

        -- `address`, `started_at` and `formation` are what PlacedJob adds to the wire's Job.
        CREATE TABLE jobs (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, release TEXT NOT NULL,
            state TEXT NOT NULL, formation INTEGER NOT NULL, address TEXT NOT NULL, started_at TEXT,
            ended_at TEXT, doc TEXT NOT NULL
        );
        CREATE INDEX jobs_of_app ON jobs (app, seq);
        CREATE INDEX active_jobs ON jobs (seq) WHERE state != 'down';
        CREATE INDEX ended_jobs ON jobs (release, ended_at) WHERE state = 'down';

        -- `step` and `step_started_at` are the scheduler's own notes: what a deadline counts from.
        CREATE TABLE deployments (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, finished INTEGER NOT NULL,
            step TEXT NOT NULL, step_started_at TEXT NOT NULL, doc TEXT NOT NULL
        );
        CREATE INDEX deployments_of_app ON deployments (app, seq);
        CREATE UNIQUE INDEX unfinished_deployment ON deployments (app) WHERE NOT finished;

        CREATE TABLE routes (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, type TEXT NOT NULL,
            domain TEXT NOT NULL, path TEXT NOT NULL, port INTEGER NOT NULL, service TEXT NOT NULL,
            doc TEXT NOT NULL
        );
        CREATE UNIQUE INDEX http_routes ON routes (domain, path) WHERE type = 'http';
        CREATE UNIQUE INDEX tcp_routes ON routes (port) WHERE type = 'tcp';
        CREATE TABLE used_tcp_ports (port INTEGER PRIMARY KEY);

        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT, object_type TEXT NOT NULL,
            object_id TEXT NOT NULL, data TEXT NOT NULL, created_at TEXT NOT NULL
        );
        CREATE INDEX events_of_object ON events (object_id, id);
        CREATE INDEX events_of_app ON events (app, id);
        """,
    )


@migrations()
def sinks(db: Database) -> None:
    _run(db.conn, "CREATE TABLE sinks (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL);")


@migrations()
def volumes(db: Database) -> None:
    _run(
        db.conn,
        """
        CREATE TABLE volumes (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, job TEXT, state TEXT NOT NULL,
            updated_at TEXT NOT NULL, doc TEXT NOT NULL
        );
        CREATE INDEX volumes_of_app ON volumes (app);
        CREATE INDEX volumes_of_job ON volumes (job) WHERE state != 'destroyed';
        CREATE INDEX existing_volumes ON volumes (seq) WHERE state != 'destroyed';
        """,
    )


@migrations()
def resources(db: Database) -> None:
    _run(
        db.conn,
        """
        CREATE TABLE providers (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, doc TEXT NOT NULL
        );

        -- `doc` has no `apps`: those are the links, in their order.
        CREATE TABLE resources (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, external_id TEXT NOT NULL,
            doc TEXT NOT NULL, UNIQUE (provider, external_id)
        );
        CREATE TABLE app_resources (
            seq INTEGER PRIMARY KEY, app TEXT NOT NULL, resource TEXT NOT NULL, UNIQUE (resource, app)
        );
        CREATE INDEX resources_of_app ON app_resources (app);

        -- What was asked of a provider and is not over: a crash in between must not make it forgotten.
        CREATE TABLE provisionings (
            id TEXT PRIMARY KEY, provider TEXT NOT NULL, external_id TEXT NOT NULL, started_at TEXT NOT NULL
        ) WITHOUT ROWID;

        -- Apps whose resources are being given back; the apps follow them.
        CREATE TABLE app_deletions (app TEXT PRIMARY KEY) WITHOUT ROWID;
        """,
    )


@migrations()
def the_cluster_itself(db: Database) -> None:
    """Apps that are parts of this process, the move to another domain, backups."""
    _run(
        db.conn,
        """
        -- 1 for the system apps that are this process: nothing of them is scheduled, scaled or deleted.
        ALTER TABLE apps ADD COLUMN builtin INTEGER NOT NULL DEFAULT 0;
        UPDATE apps SET builtin = 1
            WHERE deleted_at IS NULL AND name IN ('controller', 'gitreceive', 'router', 'discoverd')
                AND json_extract(doc, '$.meta."flynn-system-app"') = 'true';

        CREATE TABLE domain_migrations (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, finished INTEGER NOT NULL, doc TEXT NOT NULL
        );
        CREATE UNIQUE INDEX unfinished_domain_migration ON domain_migrations (finished) WHERE NOT finished;

        -- What each domain the cluster has moved to or from is served with: a TLSCert.
        CREATE TABLE domain_certificates (domain TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE backups (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, doc TEXT NOT NULL
        );
        """,
    )


@migrations()
def reading_app_by_app(db: Database) -> None:
    """What the scheduler and discoverd read of one app is found without looking at the others', or at its past."""
    _run(
        db.conn,
        """
        CREATE INDEX active_jobs_of_app ON jobs (app, seq) WHERE state != 'down';
        CREATE INDEX existing_volumes_of_app ON volumes (app, seq) WHERE state != 'destroyed';
        CREATE INDEX destroyed_volumes_of_app ON volumes (app, id) WHERE state = 'destroyed';
        """,
    )


@migrations()
def initial_scales(db: Database) -> None:
    """What a first push has scaled and is still waiting for: when the push ends before it is up, it is taken back."""
    _run(
        db.conn,
        """
        CREATE TABLE initial_scales (
            app TEXT NOT NULL, release TEXT NOT NULL, type TEXT NOT NULL, PRIMARY KEY (app, release)
        ) WITHOUT ROWID;
        """,
    )


@migrations()
def evidence_on_jobs(db: Database) -> None:
    """What was seen of a job that did not serve, an Evidence: it explains the failure of its deployment later."""
    _run(db.conn, "ALTER TABLE jobs ADD COLUMN evidence TEXT NOT NULL DEFAULT '';")


def _run(conn: sqlite3.Connection, script: str) -> None:
    """Execute several statements inside the migration's transaction; `executescript` would commit it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            conn.execute(statement)
            statement = ""
