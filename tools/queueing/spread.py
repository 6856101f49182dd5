"""Spreads jobs over servers: one at a time each, and a lost server's job goes to the others.

All decisions, and all writing to the record, are made in one place, by the thread that calls `Spread.run`. Lanes only
carry tasks to servers and outcomes back.
"""

from __future__ import annotations

import http.client
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .jobs import Job
from .record import Record
from .work import Done, Failed, Outcome, ServerLost, Task

MAXIMUM_LOSSES = 2
"""A job at which this many servers ended is not given to another: it may be what ends them."""


class Lane(Protocol):
    """A way to one server."""

    @property
    def url(self) -> str: ...

    def submit(self, job: Job, task: Task) -> Future[Outcome]: ...

    def cancel(self, task: Task) -> None: ...


class Audience(Protocol):
    """Is told what becomes of jobs and servers."""

    def finished(self, job: Job, files: Sequence[Path]) -> None: ...

    def failed(self, job: Job, message: str) -> None: ...

    def lost(self, message: str) -> None: ...


class Spread:
    """Runs jobs on the servers at the end of ``lanes``."""

    def __init__(self, lanes: Sequence[Lane], record: Record, audience: Audience):
        self._lanes = {lane.url: lane for lane in lanes}
        self._record = record
        self._audience = audience
        self._waiting: deque[tuple[Job, str]] = deque()
        self._begun: dict[str, deque[tuple[Job, str]]] = {url: deque() for url in self._lanes}
        self._losses: Counter[str] = Counter()
        self._running: dict[Future[Outcome], tuple[Lane, Job, Task]] = {}

    def run(self, jobs: Sequence[Job]) -> int:
        """Run every job once and return how many are left over because no server is. Ctrl-C cancels what runs."""
        self._line_up(jobs)
        try:
            while self._hand_out():
                for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                    lane, job, _ = self._running.pop(future)
                    self._take_in(lane, job, future.result())
        except KeyboardInterrupt:
            self._cancel()
            raise
        return len(self._waiting)

    def _line_up(self, jobs: Sequence[Job]) -> None:
        """Jobs with new prompt ids, but for those that an earlier run left at a server, which may have done them."""
        for job in jobs:
            server, prompt_id = self._record.queued_at(job) or ("", "")
            if server in self._begun:
                self._begun[server].append((job, prompt_id))
            else:
                self._waiting.append((job, str(uuid.uuid4())))

    def _hand_out(self) -> bool:
        """Give every idle server a job, as far as there are any. Returns whether anything runs."""
        busy = {lane.url for lane, _, _ in self._running.values()}
        for url, lane in self._lanes.items():
            while url not in busy and (line := self._begun[url] or self._waiting):
                if self._start(lane, *line.popleft()):
                    break
        return bool(self._running)

    def _start(self, lane: Lane, job: Job, prompt_id: str) -> bool:
        """Start a job on a server. Returns False if that is impossible, and the job has failed."""
        try:
            pictures = {picture.upload_name: picture.path.read_bytes() for picture in job.pictures}
        except OSError as error:
            self._fail(job, f"{error.filename} can no longer be read ({error.strerror}).")
            return False
        task = Task(prompt_id, job.prompt, pictures)
        self._record.queued(job, lane.url, prompt_id)
        self._running[lane.submit(job, task)] = (lane, job, task)
        return True

    def _take_in(self, lane: Lane, job: Job, outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            self._audience.finished(job, self._record.done(job, outcome.results))
        elif isinstance(outcome, Failed):
            self._fail(job, outcome.message)
        else:
            self._lose(lane, job, outcome)

    def _fail(self, job: Job, message: str) -> None:
        self._record.failed(job, message)
        self._audience.failed(job, message)

    def _lose(self, lane: Lane, job: Job, loss: ServerLost) -> None:
        """Leave a server, and its jobs to the others."""
        self._audience.lost(loss.message)
        del self._lanes[lane.url]
        self._waiting.extendleft((other, str(uuid.uuid4())) for other, _ in self._begun.pop(lane.url))
        self._losses[job.key] += 1
        if self._losses[job.key] < MAXIMUM_LOSSES:
            self._waiting.appendleft((job, str(uuid.uuid4())))
        else:
            self._fail(job, f"{MAXIMUM_LOSSES} servers ended during this job, which may be why.")

    def _cancel(self) -> None:
        """End what runs on the servers, and wait until it has ended. What just came to its own end is kept."""
        for lane, _, task in self._running.values():
            with suppress(OSError, http.client.HTTPException):  # that server is away, and so is the job
                lane.cancel(task)
        for future in wait(self._running).done:
            _, job, _ = self._running.pop(future)
            if isinstance(outcome := future.result(), Done):
                self._audience.finished(job, self._record.done(job, outcome.results))
            else:
                self._record.cancelled(job)
