"""The developer's `flynn`, spoken over HTTP only.

Words used here:

- *command*: a function `(args, session)`; its docstring is its help text and its grammar.
- *session*: one run of `flynn`: the cluster and app it is about, and the client for them.
- *cluster*: an entry of `~/.flynnrc`: where a controller is, its key, its certificate's pin.
- *door*: how to reach a cluster's controller; a *wire* is one socket to it.
- *failure*: an end that a person should read about; exit code 1.

This door imports nothing: `flynn version` passes through it. Whoever sets up a person's account uses
`cli.rc` (`Cluster`, `cluster_at`, `add_cluster`, `path`, `ca_path`) and `cli.git` (`configure`), which know files
and git and nothing else.

Source: `cli.md`, read from Flynn `cli`.
"""

__all__: list[str] = []
