"""The whole control plane on a virtual clock, under random operations and faults, from one seed.

Words used here:

- *machine*: what outlives a crash of ours: the database file, the engine with its jobs, the clock on the wall.
- *control plane*: store, discoverd's checks, router and scheduler, as the appliance has them, without a socket.
- *gate*: where each commit and each call to the engine passes, and can be slowed, refused, or be the last thing we do.
- *operation*: what a user does; *fault*: what the world does. A *step* is one of either, or of a visitor.
- *promise*: what an acknowledged operation has made true, until another one changes it.
- *history*: what was done and what became of it. A seed has one history.
- *rest*: all faults have ended, and nobody does anything; then things must become exactly as they are wanted.

`python -m tests.simulation --help`, or `make simulate`.
"""
