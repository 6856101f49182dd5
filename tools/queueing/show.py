"""Shows progress, as bars or lines, and results, as paths or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from comfy_client import ComfyClient, Progress, Prompt, printable
from tqdm import tqdm

from .jobs import Job
from .overrides import title_of

if TYPE_CHECKING:
    from typing_extensions import Self

SILENCE_SECONDS = 10
"""How often the running node of a server is named where there are no bars."""


class Show:
    """Shows jobs as they end, and the steps of running nodes.

    On a terminal there is one bar for all jobs and one per server; elsewhere there are lines, at most one per server
    every few seconds. The paths of results go to stdout, or one JSON object per job; everything else to stderr.
    """

    def __init__(self, addresses: Sequence[str], *, done: int, total: int, as_json: bool = False):
        self.failures = 0
        self._as_json = as_json
        self._ended, self._total = done, total
        self._has_bars = sys.stderr.isatty()
        self._said: dict[str, float] = {}
        urls = [ComfyClient(address).url for address in addresses]
        self._jobs = tqdm(total=total, initial=done, unit="job", desc="jobs", disable=None, position=0)
        self._steps = {
            url: tqdm(total=1, desc=_host(url), disable=None, position=place, leave=False, bar_format=_STEPS)
            for place, url in enumerate(urls, start=1)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for bar in (*self._steps.values(), self._jobs):
            bar.close()

    def progress(self, url: str, job: Job, progress: Progress) -> None:
        """Called from the thread of the server's lane."""
        doing = f"{printable(job.label)}: {_title(job.prompt, progress.node_id)}"
        if not self._has_bars:
            now = time.monotonic()
            if now - self._said.setdefault(url, now) >= SILENCE_SECONDS:
                self._said[url] = now
                self._say(f"{_host(url)}: {doing} {progress.value}/{progress.maximum}")
            return
        bar = self._steps[url]
        bar.total, bar.n = progress.maximum, progress.value
        bar.set_postfix_str(doing)

    def finished(self, job: Job, files: Sequence[Path]) -> None:
        if self._as_json:
            print_json(job, "done", files)
        else:
            for file in files:
                tqdm.write(str(file), file=sys.stdout)
        self._count(f"{printable(job.label)}: done")

    def failed(self, job: Job, message: str, files: Sequence[Path] = ()) -> None:
        self.failures += 1
        if self._as_json:
            print_json(job, "failed", files, message)
        self._say(f"error: {printable(job.label)}: {printable(message)}")
        self._count(f"{printable(job.label)}: failed")

    def canceled(self, job: Job) -> None:
        if self._as_json:
            print_json(job, "canceled")

    def warn(self, message: str) -> None:
        self._say(f"warning: {printable(message)}")

    lost = warn

    def _count(self, what: str) -> None:
        """Count one more job that has ended."""
        self._ended += 1
        self._jobs.update()
        if not self._has_bars:
            self._say(f"{self._ended}/{self._total} {what}")

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()


def print_json(job: Job | None, state: str, files: Sequence[Path] = (), error: str | None = None) -> None:
    """One line for machines. ``job`` is None if the error concerns the whole run."""
    about = {"job": job.label if job else None, "state": state, "files": [str(file) for file in files]}
    tqdm.write(json.dumps({**about, "error": printable(error) if error else None}), file=sys.stdout)
    sys.stdout.flush()


def _host(url: str) -> str:
    return url.partition("://")[2]


def _title(prompt: Prompt, node_id: str) -> str:
    """The title of a running node. A node that another expanded into has that node's id before its first dot."""
    known = node_id if node_id in prompt else str(node_id).partition(".")[0]
    return printable(title_of(prompt, known) if known in prompt else str(node_id))


_STEPS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
