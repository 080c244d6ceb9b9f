"""Questions to the store. Each is a plain function of a database, run by `Store.read` in one snapshot.

Lists are newest first unless said otherwise. Deleted apps and releases are not seen, but what
refers to them (jobs, events) stays. A module is named after its noun, and here, at the door,
such a name is the function: ``queries.jobs(db, app_id)``.
"""

from .apps import app, app_deletions, apps, apps_json, is_builtin
from .artifacts import artifact, artifact_at, artifacts
from .cluster import (
    DEFAULT_DOMAIN,
    backup,
    cluster_value,
    domain,
    domain_certificates,
    domain_migration,
    key_hashes,
    keys,
    latest_backup,
    running_backups,
    unfinished_domain_migration,
)
from .deployments import deployment, deployments, unfinished_deployment
from .desired import DeploymentInProgress, Desired, desired, desired_by_app, scheduled_apps
from .events import event, event_before_newest, events, newest_event, next_events
from .formations import (
    active_formations,
    deleted_formation,
    expanded_formation,
    expanded_formations,
    find_formation,
    formation,
    formations,
    pending_scale_requests,
    wanted_jobs,
)
from .in_use import live_slugs, new_slugs, unused_artifacts, used_images, used_layers
from .jobs import JobRecord, active_jobs, job, job_facts, job_record, jobs, placed_jobs
from .releases import app_releases, current_release, release, releases
from .resources import (
    Provisioning,
    app_resources,
    own_resources,
    provider,
    providers,
    provisionings,
    resource,
    resources,
)
from .routes import route, routes
from .sinks import sink, sinks
from .volumes import destroyed_volumes, existing_volumes, known_volumes, volume, volumes

__all__ = [
    "DEFAULT_DOMAIN",
    "DeploymentInProgress",
    "Desired",
    "JobRecord",
    "Provisioning",
    "active_formations",
    "active_jobs",
    "app",
    "app_deletions",
    "app_releases",
    "app_resources",
    "apps",
    "apps_json",
    "artifact",
    "artifact_at",
    "artifacts",
    "backup",
    "cluster_value",
    "current_release",
    "deleted_formation",
    "deployment",
    "deployments",
    "desired",
    "desired_by_app",
    "destroyed_volumes",
    "domain",
    "domain_certificates",
    "domain_migration",
    "event",
    "event_before_newest",
    "events",
    "existing_volumes",
    "expanded_formation",
    "expanded_formations",
    "find_formation",
    "formation",
    "formations",
    "is_builtin",
    "job",
    "job_facts",
    "job_record",
    "jobs",
    "key_hashes",
    "keys",
    "known_volumes",
    "latest_backup",
    "live_slugs",
    "new_slugs",
    "newest_event",
    "next_events",
    "own_resources",
    "pending_scale_requests",
    "placed_jobs",
    "provider",
    "providers",
    "provisionings",
    "release",
    "releases",
    "resource",
    "resources",
    "route",
    "routes",
    "running_backups",
    "scheduled_apps",
    "sink",
    "sinks",
    "unfinished_deployment",
    "unfinished_domain_migration",
    "unused_artifacts",
    "used_images",
    "used_layers",
    "volume",
    "volumes",
    "wanted_jobs",
]
