"""Running jobs: a protocol, the Podman driver behind it, and a faithful fake.

Words used here:

- *engine*: the thing that runs jobs on this machine.
- *job spec*: all an engine must know to run one job.
- *job status*: what the engine sees of a job; an ended job stays listed until it is removed.
- *volume*: a directory that outlives jobs; one live job at a time has it.
- *attachment*: the live streams of a job: what it prints, what it reads, its terminal.
- *bell*: rings when some status may have changed; whoever hears it looks at all of them.
- *service*: Podman's API process, ours, in a session of its own; containers do not depend on it.
- *conmon*: Podman's keeper of one container: it holds the pipes, writes the log and the exit file.
- *sweep*: putting away what a killed service left half done.
"""

from .doctor import Finding, probe_host
from .fake import FakeEngine, open_fake_engine
from .fake_process import Behaviour, Process, Program, exits, fails_to_start, ignore_sigterm, listens, run_forever
from .init_log import OOM_TEXT, log_record, write_init_line
from .lifecycle import Removed, open_engine, shut_down
from .limits import limits_refusal, open_files_at_most
from .privileges import refusal
from .protocol import (
    Attachment,
    Engine,
    JobSpec,
    JobStatus,
    Mount,
    Output,
    Partition,
    RunState,
    Stream,
    VolumeMount,
)
from .spec import INIT_SUFFIX, formation_spec, log_file_name, one_off_spec, parse_log_file_name, ports_of

__all__ = [
    "INIT_SUFFIX",
    "OOM_TEXT",
    "Attachment",
    "Behaviour",
    "Engine",
    "FakeEngine",
    "Finding",
    "JobSpec",
    "JobStatus",
    "Mount",
    "Output",
    "Partition",
    "Process",
    "Program",
    "Removed",
    "RunState",
    "Stream",
    "VolumeMount",
    "exits",
    "fails_to_start",
    "formation_spec",
    "ignore_sigterm",
    "limits_refusal",
    "listens",
    "log_file_name",
    "log_record",
    "one_off_spec",
    "open_engine",
    "open_fake_engine",
    "open_files_at_most",
    "parse_log_file_name",
    "ports_of",
    "probe_host",
    "refusal",
    "run_forever",
    "shut_down",
    "write_init_line",
]
