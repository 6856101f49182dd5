"""Queues workflows on ComfyUI servers, spreads jobs over them and keeps what has been done: see `tools/queue.py`.

Data goes one way: a `workflow` file becomes a prompt by the server's `definitions` and by its own `graph`, which is
read from what is `saved`; `overrides` change it, `jobs` are that prompt with one picture each, `work` does one of them
on one server, `spread` hands them to servers and Ray workers, and `record` keeps the results.
"""
