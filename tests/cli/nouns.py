"""The nouns of one app as the controller shows them, for all tests of commands."""

from datetime import UTC, datetime, timedelta
from typing import Any

APP_ID = "a204c8eb-cfbc-4438-973b-5d2f02d8afbd"
OLD = "430e0be5-0000-4000-8000-000000000001"
NEW = "859a36d1-0000-4000-8000-000000000002"
SHORT = "2026-11-23T04:01:05.536513Z"

APP = {
    "id": APP_ID,
    "name": "shop",
    "meta": {"gc.max_inactive_slug_releases": "10", "owner": "ops"},
    "strategy": "all-at-once",
    "deploy_timeout": 120,
    "created_at": SHORT,
    "updated_at": SHORT,
}


def release(release_id: str = OLD, **more: Any) -> dict[str, Any]:
    return {
        "id": release_id,
        "app_id": APP_ID,
        "artifacts": ["aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"],
        "env": {"FOO": "bar", "EMPTY": ""},
        "meta": {"git": "true", "git.commit": "0123abc"},
        "processes": {
            "web": {"args": ["/runner/init", "start", "web"], "env": {"FOO": "for web"}},
            "worker": {"args": ["/runner/init", "start", "worker"]},
        },
        "created_at": SHORT,
        "artifact": "aaaaaaaa-0000-4000-8000-000000000001",
        **more,
    }


def since(**span: float) -> str:
    """Return the time that long ago, and a quarter of a second, as the controller writes it."""
    moment = datetime.now(UTC) - timedelta(**span) - timedelta(seconds=0.25)
    return moment.isoformat().removesuffix("+00:00") + "Z"
