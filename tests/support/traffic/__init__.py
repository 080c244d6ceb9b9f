"""Traffic for an appliance while it is changed, and what became of each request of it.

Words used here:

- *kind*: a way to ask: `keep-alive`, `fresh`, `post`, `drip`, `http2`, `websocket`, some over TLS as well.
- *token*: names one request or session; the answer must contain it.
- *lost*: not answered whole, in time and with 200, by a job of the app.
- *change*: what a person does to the app meanwhile: deploys, scales, kills.

`python -m tests.support.traffic` is the load: a process of its own, so that neither is in the other's way. `load`
starts it, `changes` makes the changes, and explains what was lost by what happened then. `app` is what is asked.
"""
