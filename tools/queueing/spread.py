"""Spreads jobs over servers, one at a time per server. If a server is lost, its job goes to another.

So does a job that a server refuses. Meanwhile that server gets no other jobs. If another one does the job, the first is
at fault and gets no more; if all refuse it, the job is at fault and fails.

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
from datetime import datetime
from pathlib import Path
from typing import Protocol

from .jobs import Job
from .record import NotSaved, Record
from .work import Done, Failed, Outcome, Refused, Result, ServerLost, Task

MAXIMUM_LOSSES = 2
"""A job during which this many servers were lost is not tried again: it may be the cause."""

MAXIMUM_REFUSALS = 3
"""A server is given up after this many jobs in a row that every server refused."""


class Lane(Protocol):
    """The connection to one server."""

    @property
    def url(self) -> str: ...

    def submit(self, job: Job, task: Task) -> Future[Outcome]: ...

    def cancel(self, task: Task) -> None: ...


class Audience(Protocol):
    """Receives the outcomes of jobs and the loss of servers. Messages are sentences."""

    def finished(self, job: Job, files: Sequence[Path]) -> None: ...

    def failed(self, job: Job, message: str, files: Sequence[Path]) -> None: ...

    def canceled(self, job: Job) -> None: ...

    def warn(self, message: str) -> None: ...

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
        self._refusals: dict[str, dict[str, str]] = {}
        """What each server said when it refused a job, by job key and URL. Only of jobs that may still be done."""
        self._refused_in_a_row: Counter[str] = Counter()
        self._running: dict[Future[Outcome], tuple[Lane, Job, Task]] = {}

    def run(self, jobs: Sequence[Job]) -> list[Job]:
        """Run every job once. Returns those left over because no server remains. Ctrl-C cancels running jobs."""
        self._line_up(jobs)
        try:
            while self._hand_out():
                for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                    lane, job, _ = self._running.pop(future)
                    self._take_in(lane, job, future.result())
        except KeyboardInterrupt:
            self._cancel()
            raise
        return [job for job, _ in self._waiting]

    def _line_up(self, jobs: Sequence[Job]) -> None:
        """Give jobs new prompt ids, except those that an earlier run left on a server, which may have finished them."""
        for job in jobs:
            server, prompt_id = self._record.queued_at(job) or ("", "")
            if server in self._begun and _is_uuid(prompt_id):
                self._begun[server].append((job, prompt_id))
            else:
                self._waiting.append((job, str(uuid.uuid4())))

    def _hand_out(self) -> bool:
        """Give a job to every idle server while there are jobs. Returns whether anything is running."""
        busy = {lane.url for lane, _, _ in self._running.values()}
        for url, lane in self._lanes.items():
            while url not in busy and (found := self._next(url)):
                if self._start(lane, *found):
                    break
        return bool(self._running)

    def _next(self, url: str) -> tuple[Job, str] | None:
        """The next job for a server. One that has just refused a job gets only jobs that others refused."""
        is_doubted = any(url in refusals for refusals in self._refusals.values())
        if self._begun[url] and not is_doubted:
            return self._begun[url].popleft()
        for index, (job, _) in enumerate(self._waiting):
            refusals = self._refusals.get(job.key, {})
            if url not in refusals and (refusals or not is_doubted):
                found = self._waiting[index]
                del self._waiting[index]
                return found
        return None

    def _start(self, lane: Lane, job: Job, prompt_id: str) -> bool:
        """Start a job on a server. Returns False if the job could not start and counts as failed."""
        try:
            uploads = {image.upload_name: image.path.read_bytes() for image in job.images}
        except OSError as error:
            self._fail(
                job, f"{error.filename} can no longer be read ({error.strerror}). Restore it and run the command again."
            )
            return False
        task = Task(prompt_id, job.filled_in(datetime.now()), uploads)
        self._record.queued(job, lane.url, prompt_id)
        self._running[lane.submit(job, task)] = (lane, job, task)
        return True

    def _take_in(self, lane: Lane, job: Job, outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            self._finish(job, outcome)
            self._refused_in_a_row[lane.url] = 0
            for url, reason in self._refusals.pop(job.key, {}).items():
                self._drop(url, f"{url} gets no more jobs, as it refused one that {lane.url} did: {reason}")
        elif isinstance(outcome, Failed):
            self._refused_in_a_row[lane.url] = 0
            self._fail(job, outcome.message, outcome.results)
        elif isinstance(outcome, Refused):
            self._refusals.setdefault(job.key, {})[lane.url] = outcome.message
            self._waiting.appendleft((job, str(uuid.uuid4())))
        else:
            self._lose(lane, job, outcome)
        self._fail_refused_jobs()

    def _fail_refused_jobs(self) -> None:
        """Fail the waiting jobs that every server refused, and give up servers that refuse one job after the other."""
        while found := next((each for each in self._waiting if self._is_refused_by_all(each[0])), None):
            self._waiting.remove(found)
            refusals = self._refusals[found[0].key]
            self._fail(found[0], [*refusals.values()][-1])
            for url in refusals:
                self._refused_in_a_row[url] += 1
                if self._refused_in_a_row[url] == MAXIMUM_REFUSALS:
                    self._drop(url, f"{url} gets no more jobs, as it refused {MAXIMUM_REFUSALS} in a row.")

    def _is_refused_by_all(self, job: Job) -> bool:
        refusals = self._refusals.get(job.key, {})
        return bool(refusals) and refusals.keys() >= self._lanes.keys()

    def _finish(self, job: Job, outcome: Done) -> None:
        if outcome.warning:
            self._audience.warn(f"{job.label}: {outcome.warning}")
        try:
            self._audience.finished(job, self._record.done(job, outcome.results))
        except NotSaved as error:
            self._audience.failed(job, str(error), error.saved)

    def _fail(self, job: Job, message: str, results: Sequence[Result] = ()) -> None:
        self._refusals.pop(job.key, None)
        files = self._record.failed(job, message, results)
        self._audience.failed(job, message, files)

    def _lose(self, lane: Lane, job: Job, loss: ServerLost) -> None:
        """Stop using a server and give its jobs to the others."""
        self._drop(lane.url, loss.message)
        self._losses[job.key] += 1
        if self._losses[job.key] < MAXIMUM_LOSSES:
            self._waiting.appendleft((job, str(uuid.uuid4())))
        else:
            self._fail(
                job,
                f"{MAXIMUM_LOSSES} servers stopped during this job. The job may be the cause: check it on one server.",
            )

    def _drop(self, url: str, message: str) -> None:
        """Give a server no more jobs. Those that an earlier run left on it go to the others."""
        if self._lanes.pop(url, None):
            self._audience.lost(message)
            self._waiting.extendleft((job, str(uuid.uuid4())) for job, _ in self._begun.pop(url))

    def _cancel(self) -> None:
        """Cancel the running jobs and wait for them to end. Jobs that just finished are kept."""
        for lane, _, task in self._running.values():
            with suppress(OSError, http.client.HTTPException):  # the server is gone, and so is the job
                lane.cancel(task)
        for future in wait(self._running).done:
            _, job, _ = self._running.pop(future)
            if isinstance(outcome := future.result(), Done):
                self._finish(job, outcome)
            else:
                self._record.canceled(job)
                self._audience.canceled(job)


def _is_uuid(text: str) -> bool:
    """Whether it is an id that every server takes. Servers before 0.33 took any."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
