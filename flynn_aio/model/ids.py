"""Names and ids, as types: an app's id is not a job's id."""

import re
from typing import NewType

AppID = NewType("AppID", str)
ReleaseID = NewType("ReleaseID", str)
ArtifactID = NewType("ArtifactID", str)
JobID = NewType("JobID", str)
"""A job's bare uuid. Users see `full_job_id` of it."""
DeploymentID = NewType("DeploymentID", str)
ScaleRequestID = NewType("ScaleRequestID", str)
RouteID = NewType("RouteID", str)
SinkID = NewType("SinkID", str)
VolumeID = NewType("VolumeID", str)
ProviderID = NewType("ProviderID", str)
ResourceID = NewType("ResourceID", str)
EventID = NewType("EventID", int)

HOST_ID = "host0"
"""The one host. Flynn splits `<host>-<uuid>` at the first `-`, so a host id has none."""

_UUID = re.compile(r"[a-f0-9]{8}-?(?:[a-f0-9]{4}-?){3}[a-f0-9]{12}")
_APP_NAME = re.compile(r"[a-z\d]+(?:-[a-z\d]+)*")
APP_NAME_MAX = 100


def as_uuid(text: str) -> str | None:
    """Return `text` as a lower-case hyphenated UUID, or ``None`` when it is not one.

    Source: Flynn `controller/utils`, `idPattern`: hyphens are optional, upper case is a name.
    """
    if not _UUID.fullmatch(text):
        return None
    bare = text.replace("-", "")
    return f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"


def is_app_name(text: str) -> bool:
    """Tell whether `text` may name an app: 1 to 100 of ``a-z``, digits and inner hyphens."""
    return len(text) <= APP_NAME_MAX and bool(_APP_NAME.fullmatch(text))


def full_job_id(job: JobID) -> str:
    """Return the id users see, ``<host>-<uuid>``."""
    return f"{HOST_ID}-{job}"


def bare_job_id(text: str) -> JobID:
    """Return the uuid of a job given as ``<host>-<uuid>`` or as the bare uuid."""
    host, dash, rest = text.partition("-")
    return JobID(rest if dash and host == HOST_ID else text)
