"""How much is read at a time; a list that may be long is read in pages."""

EVENTS_PAGE = 500
EVENTS_PAGE_BYTES = 1024 * 1024
"""Events read at a time, for a list or a reader that replays: so many, or those whose data fills so many bytes."""
JOBS_PAGE = 1000
"""Jobs read at a time; one is a few hundred bytes."""
