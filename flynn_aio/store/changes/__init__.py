"""One function per change, run inside a transaction: ``await store.transact(lambda tx: changes.f(tx, …))``.

Each checks its input against what is stored, writes rows, and emits the events Flynn's clients
wait for. A change that raises has written nothing.
"""

from .apps import create_app, delete_app, fail_app_deletion, update_app
from .backups import begin_backup, end_interrupted_backups, finish_backup
from .cluster import set_cluster_value
from .deployments import create_deployment, finish_deployment, note_deployment_step, tell_deployment_job
from .domain import (
    begin_domain_migration,
    cluster_env,
    finish_domain_migration,
    keep_domain_certificate,
    switch_domain,
)
from .formations import (
    cancel_scale_request,
    complete_scale_request,
    create_scale_request,
    delete_formation,
    drop_formation,
    put_formation,
    set_formation,
)
from .garbage import collect_releases
from .initial import scale_initially, take_back_initial_scale, take_back_initial_scales
from .jobs import put_job, record_job, stop_job
from .keys import add_key, remove_key
from .releases import create_artifact, create_release, delete_release, set_app_release
from .resources import (
    add_resource_app,
    begin_app_deletion,
    begin_provisioning,
    create_provider,
    create_resource,
    delete_provider,
    delete_resource,
    end_app_deletion,
    end_provisioning,
    orphan_provisioning,
    remove_resource_app,
)
from .routes import create_route, delete_route, update_route
from .sinks import create_sink, delete_sink
from .system import keep_own_route, keep_system_app
from .volumes import create_volume, decommission_volume, note_created_volumes, put_volume

__all__ = [
    "add_key",
    "add_resource_app",
    "begin_app_deletion",
    "begin_backup",
    "begin_domain_migration",
    "begin_provisioning",
    "cancel_scale_request",
    "cluster_env",
    "collect_releases",
    "complete_scale_request",
    "create_app",
    "create_artifact",
    "create_deployment",
    "create_provider",
    "create_release",
    "create_resource",
    "create_route",
    "create_scale_request",
    "create_sink",
    "create_volume",
    "decommission_volume",
    "delete_app",
    "delete_formation",
    "delete_provider",
    "delete_release",
    "delete_resource",
    "delete_route",
    "delete_sink",
    "drop_formation",
    "end_app_deletion",
    "end_interrupted_backups",
    "end_provisioning",
    "fail_app_deletion",
    "finish_backup",
    "finish_deployment",
    "finish_domain_migration",
    "keep_domain_certificate",
    "keep_own_route",
    "keep_system_app",
    "note_created_volumes",
    "note_deployment_step",
    "orphan_provisioning",
    "put_formation",
    "put_job",
    "put_volume",
    "record_job",
    "remove_key",
    "remove_resource_app",
    "scale_initially",
    "set_app_release",
    "set_cluster_value",
    "set_formation",
    "stop_job",
    "switch_domain",
    "take_back_initial_scale",
    "take_back_initial_scales",
    "tell_deployment_job",
    "update_app",
    "update_route",
]
