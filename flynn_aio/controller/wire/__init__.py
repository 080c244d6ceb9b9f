"""What clients send -> the nouns: checking, and saying which field is wrong. Pure.

Each request has a struct of its own, with only what a client may say: unknown keys are
dropped, and so is what the server owns (`created_at`, `parent_ref`, …). What needs the
database to be checked is checked by the change that writes it.

Source: `controller-api.md` §4.
"""

from .apps import AppRequest, AppUpdate, AppUpdateRequest, app_update, new_app
from .artifacts import ArtifactRequest, new_artifact
from .checks import one_of
from .cluster import DomainMigrationRequest, TLSCertRequest
from .formations import FormationRequest, ScaleRequestBody, check_counts, check_tags
from .jobs import JobRequest, new_job, recorded_job
from .releases import PortRequest, ProcessRequest, ReleaseRef, ReleaseRequest, new_release
from .resources import ProviderRequest, ResourceRequest, new_provider, new_resource, raw_config
from .routes import CertificateRequest, RouteRequest, new_route
from .sinks import SinkRequest, new_sink
from .volumes import VolumeRequest, new_volume

__all__ = [
    "AppRequest",
    "AppUpdate",
    "AppUpdateRequest",
    "ArtifactRequest",
    "CertificateRequest",
    "DomainMigrationRequest",
    "FormationRequest",
    "JobRequest",
    "PortRequest",
    "ProcessRequest",
    "ProviderRequest",
    "ReleaseRef",
    "ReleaseRequest",
    "ResourceRequest",
    "RouteRequest",
    "ScaleRequestBody",
    "SinkRequest",
    "TLSCertRequest",
    "VolumeRequest",
    "app_update",
    "check_counts",
    "check_tags",
    "new_app",
    "new_artifact",
    "new_job",
    "new_provider",
    "new_release",
    "new_resource",
    "new_route",
    "new_sink",
    "new_volume",
    "one_of",
    "raw_config",
    "recorded_job",
]
