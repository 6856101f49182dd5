"""Lanes to a server: a thread of this process, or a worker on a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import comfy_client
from comfy_client import ComfyClient, Progress

from .errors import QueueingError
from .jobs import Job
from .spread import Lane
from .work import Outcome, Task, run_task

ProgressOf = Callable[[str, Job, Progress], None]
"""Called with each step on a server: its URL, the job and the progress of a node."""


class _ServerLane:
    """Base of both lanes. ``url`` identifies the server; the address may also hold a password."""

    def __init__(self, address: str):
        self._address = address
        self._client = ComfyClient(address)
        self.url = self._client.url

    def cancel(self, task: Task) -> None:
        self._client.cancel(task.prompt_id)


class ThreadLane(_ServerLane):
    """Runs tasks in a thread of this process."""

    def __init__(self, address: str, threads: ThreadPoolExecutor, on_progress: ProgressOf):
        super().__init__(address)
        self._threads = threads
        self._on_progress = on_progress

    def submit(self, job: Job, task: Task) -> Future[Outcome]:
        return self._threads.submit(run_task, self._address, task, partial(self._on_progress, self.url, job))


class RayLane(_ServerLane):
    """Runs tasks on a Ray cluster, which chooses the machine."""

    def __init__(self, address: str, remote: Any):
        super().__init__(address)
        self._remote = remote

    def submit(self, job: Job, task: Task) -> Future[Outcome]:
        del job
        return self._remote.remote(self._address, task).future()


@contextmanager
def thread_lanes(addresses: Sequence[str], on_progress: ProgressOf) -> Iterator[list[Lane]]:
    """One thread per server."""
    with ThreadPoolExecutor(len(addresses)) as threads:
        yield [ThreadLane(address, threads, on_progress) for address in addresses]


@contextmanager
def ray_lanes(addresses: Sequence[str]) -> Iterator[list[Lane]]:
    """Workers of the Ray cluster at RAY_ADDRESS, or of a local one. They must be able to reach the servers.

    Besides this project's files, which are sent to them, workers need only aiohttp.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise QueueingError(f"--ray needs Ray, which cannot be imported ({error}). Run: pip install ray") from error
    _check_cluster(os.environ.get("RAY_ADDRESS", ""))
    code = {"py_modules": [str(Path(__file__).parent), str(Path(comfy_client.__file__))]}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, runtime_env=code)
        # Tasks wait for servers and hardly compute: reserve no CPU. Repeating a task whose worker died is safe.
        settings = {"num_cpus": 0, "scheduling_strategy": "SPREAD", "max_retries": -1}
        remote = ray.remote(**settings)(run_task)
        yield [RayLane(address, remote) for address in addresses]
    except (RayError, ConnectionError) as error:
        raise QueueingError(f"Ray failed: {str(error).strip().splitlines()[0]}") from error
    finally:
        ray.shutdown()


def _check_cluster(address: str) -> None:
    """Refuse an unreachable cluster: Ray itself would wait for minutes. Names such as "auto" are left to Ray."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        try:
            socket.create_connection((parts.hostname, parts.port), timeout=10).close()
        except OSError as error:
            problem = f"The Ray cluster at RAY_ADDRESS, {address}, does not answer ({error})."
            raise QueueingError(f"{problem} Start it, or unset RAY_ADDRESS.") from error
