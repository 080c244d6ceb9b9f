"""The nouns of Flynn as frozen values, with their rules.

Words used here:

- *app*: a name with settings and a current release.
- *artifact*: something immutable a release is made of: an image or a slug.
- *layer*: a tar of files, known by its SHA-256; an image made of layers has a *manifest* that names them.
- *release*: artifacts, environment and process types, frozen together.
- *process type*: how one kind of process of a release is run.
- *formation*: how many of each process type of a release are wanted.
- *job*: one run of one process. A *one-off* job belongs to no formation.
- *deployment*: the move from one release to the next, by a *strategy*; a *failure* says why it did not come off.
- *volume*: a directory that outlives the job it is attached to.
- *route*: which requests belong to which *service*; an *instance* answers for a service.
- *sink*: a log server that is sent the lines of all apps.
- *resource*: what a *provider* made for apps: a database, say.
- *event*: what happened to a noun.
- *cluster*: all of this; it has a *domain*, moves to another by a *migration*, and is saved as a *backup*.
- *key*: what a client shows to be let in; only its name is ever seen again.

The nouns are msgspec structs whose attribute names are Flynn's wire names and whose field order
and defaults are Flynn's order and omission: the same definition is the API's JSON, the store's JSON
column and the value the code works with, so the three cannot drift apart. Fields without a default
are the ones the wire never omits. No Trio, no files, no clock.

Source: `controller-api.md` §3, read from Flynn `controller/types`.
"""

from .app import (
    CRITICAL_META,
    DEFAULT_DEPLOY_TIMEOUT_S,
    GC_DEFAULT,
    GC_META,
    SYSTEM_META,
    App,
    AppDeletion,
    AppDeletionEvent,
    Strategy,
)
from .artifact import IMAGE_SCHEME, SLUG_SCHEME, SYSTEM_IMAGE_META, Artifact
from .cluster import (
    AppGarbageCollection,
    AppGarbageCollectionEvent,
    BackupStatus,
    ClusterBackup,
    DomainMigration,
    DomainMigrationEvent,
    TLSCert,
    is_below,
    is_domain,
)
from .deployment import Deployment, DeploymentEvent, DeploymentStatus, DeploymentStep
from .event import Event
from .failure import Evidence, Failure, FailurePhase, NextStep, Probes, Serving
from .formation import DeprecatedScale, ExpandedFormation, Formation, ScaleRequest, ScaleState
from .ids import (
    APP_NAME_MAX,
    HOST_ID,
    AppID,
    ArtifactID,
    DeploymentID,
    EventID,
    JobID,
    ProviderID,
    ReleaseID,
    ResourceID,
    RouteID,
    ScaleRequestID,
    SinkID,
    VolumeID,
    as_uuid,
    bare_job_id,
    full_job_id,
    is_app_name,
)
from .image import (
    BLOBSTORE_META,
    BLOBSTORE_URL,
    LAYER_TYPE,
    LAYER_URL_TEMPLATE,
    MANIFEST_TYPE,
    ImageEntrypoint,
    ImageLayer,
    ImageManifest,
    ImagePlatform,
    ImageRootfs,
    blobs,
    image_artifact,
    image_layers,
    is_layer_id,
)
from .job import Job, JobState, NewJob, PlacedJob
from .json import Time, convert, decode, encode, plain
from .key import Key
from .release import (
    DEFAULT_RESOURCES,
    MIB,
    SLUGBUILDER_TYPE,
    CheckType,
    HealthCheck,
    Port,
    PortService,
    ProcessType,
    Release,
    ResourceSpec,
    VolumeReq,
    filled,
    memory_text,
    numbered,
    with_default_resources,
)
from .resource import DATABASE_PROVIDERS, Provider, Resource, ResourceReq
from .route import Certificate, Route, RouteType, parent_ref
from .service import (
    APP_META,
    APP_NAME_META,
    JOB_META,
    RELEASE_META,
    TYPE_META,
    Instance,
    instance_id,
    is_web,
    web_service,
)
from .signals import signal_number
from .sink import DEFAULT_SYSLOG_PORT, Sink, SinkKind, SyslogConfig, SyslogFormat, SyslogScheme, syslog_config
from .system import CA_ENV, CERT_ENV, DOMAIN_ENV, SSH_ENV, SYSTEM_APPS, WHERE_ELSE, SystemApp
from .template import JobFacts, Template, parse_template
from .volume import Volume, VolumeState, VolumeType

__all__ = [
    "APP_META",
    "APP_NAME_MAX",
    "APP_NAME_META",
    "BLOBSTORE_META",
    "BLOBSTORE_URL",
    "CA_ENV",
    "CERT_ENV",
    "CRITICAL_META",
    "DATABASE_PROVIDERS",
    "DEFAULT_DEPLOY_TIMEOUT_S",
    "DEFAULT_RESOURCES",
    "DEFAULT_SYSLOG_PORT",
    "DOMAIN_ENV",
    "GC_DEFAULT",
    "GC_META",
    "HOST_ID",
    "IMAGE_SCHEME",
    "JOB_META",
    "LAYER_TYPE",
    "LAYER_URL_TEMPLATE",
    "MANIFEST_TYPE",
    "MIB",
    "RELEASE_META",
    "SLUGBUILDER_TYPE",
    "SLUG_SCHEME",
    "SSH_ENV",
    "SYSTEM_APPS",
    "SYSTEM_IMAGE_META",
    "SYSTEM_META",
    "TYPE_META",
    "WHERE_ELSE",
    "App",
    "AppDeletion",
    "AppDeletionEvent",
    "AppGarbageCollection",
    "AppGarbageCollectionEvent",
    "AppID",
    "Artifact",
    "ArtifactID",
    "BackupStatus",
    "Certificate",
    "CheckType",
    "ClusterBackup",
    "Deployment",
    "DeploymentEvent",
    "DeploymentID",
    "DeploymentStatus",
    "DeploymentStep",
    "DeprecatedScale",
    "DomainMigration",
    "DomainMigrationEvent",
    "Event",
    "EventID",
    "Evidence",
    "ExpandedFormation",
    "Failure",
    "FailurePhase",
    "Formation",
    "HealthCheck",
    "ImageEntrypoint",
    "ImageLayer",
    "ImageManifest",
    "ImagePlatform",
    "ImageRootfs",
    "Instance",
    "Job",
    "JobFacts",
    "JobID",
    "JobState",
    "Key",
    "NewJob",
    "NextStep",
    "PlacedJob",
    "Port",
    "PortService",
    "Probes",
    "ProcessType",
    "Provider",
    "ProviderID",
    "Release",
    "ReleaseID",
    "Resource",
    "ResourceID",
    "ResourceReq",
    "ResourceSpec",
    "Route",
    "RouteID",
    "RouteType",
    "ScaleRequest",
    "ScaleRequestID",
    "ScaleState",
    "Serving",
    "Sink",
    "SinkID",
    "SinkKind",
    "Strategy",
    "SyslogConfig",
    "SyslogFormat",
    "SyslogScheme",
    "SystemApp",
    "TLSCert",
    "Template",
    "Time",
    "Volume",
    "VolumeID",
    "VolumeReq",
    "VolumeState",
    "VolumeType",
    "as_uuid",
    "bare_job_id",
    "blobs",
    "convert",
    "decode",
    "encode",
    "filled",
    "full_job_id",
    "image_artifact",
    "image_layers",
    "instance_id",
    "is_app_name",
    "is_below",
    "is_domain",
    "is_layer_id",
    "is_web",
    "memory_text",
    "numbered",
    "parent_ref",
    "parse_template",
    "plain",
    "signal_number",
    "syslog_config",
    "web_service",
    "with_default_resources",
]
