"""Spreads jobs over servers, one at a time per server. If a server is lost, its job goes to another.

The thread that calls `Spread.run` makes all decisions and writes the record. Lanes only carry tasks to servers and
outcomes back.
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
"""A job during which this many servers were lost is not tried again: it may be the cause."""


class Lane(Protocol):
    """The connection to one server."""

    @property
    def url(self) -> str: ...

    def submit(self, job: Job, task: Task) -> Future[Outcome]: ...

    def cancel(self, task: Task) -> None: ...


class Audience(Protocol):
    """Receives the outcomes of jobs and the loss of servers."""

    def finished(self, job: Job, files: Sequence[Path]) -> None: ...

    def failed(self, job: Job, message: str) -> None: ...

    def lost(self, message: str) -> None: ...


class Spread:
    """Runs jobs on the servers of ``lanes``."""

    def __init__(self, lanes: Sequence[Lane], record: Record, audience: Audience):
        self._lanes = {lane.url: lane for lane in lanes}
        self._record = record
        self._audience = audience
        self._waiting: deque[tuple[Job, str]] = deque()
        self._begun: dict[str, deque[tuple[Job, str]]] = {url: deque() for url in self._lanes}
        self._losses: Counter[str] = Counter()
        self._running: dict[Future[Outcome], tuple[Lane, Job, Task]] = {}

    def run(self, jobs: Sequence[Job]) -> int:
        """Run every job once. Returns how many are left over because no server remains. Ctrl-C cancels running jobs."""
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
        """Give jobs new prompt ids, except those that an earlier run left on a server, which may have finished them."""
        for job in jobs:
            server, prompt_id = self._record.queued_at(job) or ("", "")
            if server in self._begun:
                self._begun[server].append((job, prompt_id))
            else:
                self._waiting.append((job, str(uuid.uuid4())))

    def _hand_out(self) -> bool:
        """Give a job to every idle server while there are jobs. Returns whether anything is running."""
        busy = {lane.url for lane, _, _ in self._running.values()}
        for url, lane in self._lanes.items():
            while url not in busy and (line := self._begun[url] or self._waiting):
                if self._start(lane, *line.popleft()):
                    break
        return bool(self._running)

    def _start(self, lane: Lane, job: Job, prompt_id: str) -> bool:
        """Start a job on a server. Returns False if the job could not start and counts as failed."""
        try:
            uploads = {image.upload_name: image.path.read_bytes() for image in job.images}
        except OSError as error:
            self._fail(
                job, f"{error.filename} can no longer be read ({error.strerror}). Restore it and run the command again."
            )
            return False
        task = Task(prompt_id, job.prompt, uploads)
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
        """Stop using a server and give its jobs to the others."""
        self._audience.lost(loss.message)
        del self._lanes[lane.url]
        self._waiting.extendleft((other, str(uuid.uuid4())) for other, _ in self._begun.pop(lane.url))
        self._losses[job.key] += 1
        if self._losses[job.key] < MAXIMUM_LOSSES:
            self._waiting.appendleft((job, str(uuid.uuid4())))
        else:
            self._fail(
                job,
                f"{MAXIMUM_LOSSES} servers stopped during this job. The job may be the cause: check it on one server.",
            )

    def _cancel(self) -> None:
        """Cancel the running jobs and wait for them to end. Jobs that just finished are kept."""
        for lane, _, task in self._running.values():
            with suppress(OSError, http.client.HTTPException):  # the server is gone, and so is the job
                lane.cancel(task)
        for future in wait(self._running).done:
            _, job, _ = self._running.pop(future)
            if isinstance(outcome := future.result(), Done):
                self._audience.finished(job, self._record.done(job, outcome.results))
            else:
                self._record.canceled(job)
