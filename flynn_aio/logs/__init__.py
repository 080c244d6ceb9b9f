"""Logs: the output of jobs, kept, read and followed.

Words used here:

- *record*: what conmon writes per `write()` of a job; *line*: records joined up to a newline.
- *message*: a line with where it came from, as readers get it.
- *origin*: the output of one job, or what the engine says about it (stream `init`).
- *part*: one of the files an origin is in: the present one, and what conmon left before it.
- *ring*: the newest lines of an app. They lie in the files, not in memory.
- *backlog*: the lines from before that a follower gets first.
- *sink*: a log server that is sent the lines of all apps; *sender*: who sends them.
- *firehose*: the output of all jobs, in batches; *cursor*: how much of it a sink has.
- *outlet*: how a kind of sink is reached.

Source: `logs.md`; `findings.md` §2.
"""

from .line import LogMessage
from .query import LogQuery
from .sinks import SinkSource, open_sinks
from .store import Logs, open_logs

__all__ = ["LogMessage", "LogQuery", "Logs", "SinkSource", "open_logs", "open_sinks"]
