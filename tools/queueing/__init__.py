"""Queues workflows on ComfyUI servers, shares jobs among them and records the results: see `tools/queue.py`.

Data flows one way. A `workflow` file becomes a prompt through the server's node `definitions` and the `graph` read from
the `saved` file. `overrides` change that prompt, `jobs` pair it with one image each, `work` runs one job on one server,
`spread` hands jobs to servers and Ray workers, and `record` keeps the results.
"""
