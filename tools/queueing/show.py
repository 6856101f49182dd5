"""Shows progress: bars on a terminal, and one line per result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from comfy_client import ComfyClient, Progress, Prompt
from tqdm import tqdm

from .jobs import Job
from .overrides import title_of

if TYPE_CHECKING:
    from typing_extensions import Self


class Show:
    """One bar for all jobs, and one per server with the steps of the running node. Bars appear only on a terminal.

    The path of each result goes to stdout, everything else to stderr.
    """

    def __init__(self, addresses: Sequence[str], *, done: int, total: int):
        self.failures = 0
        urls = [ComfyClient(address).url for address in addresses]
        self._jobs = tqdm(total=total, initial=done, unit="job", desc="jobs", disable=None, position=0)
        self._steps = {
            url: tqdm(
                total=1, desc=url.partition("://")[2], disable=None, position=place, leave=False, bar_format=_STEPS
            )
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
        bar = self._steps[url]
        bar.total, bar.n = progress.maximum, progress.value
        bar.set_postfix_str(f"{job.label}: {_title(job.prompt, progress.node_id)}")

    def finished(self, job: Job, files: Sequence[Path]) -> None:
        del job
        for file in files:
            tqdm.write(str(file), file=sys.stdout)
        self._jobs.update()

    def failed(self, job: Job, message: str) -> None:
        self.failures += 1
        tqdm.write(f"error: {job.label}: {message}", file=sys.stderr)
        self._jobs.update()

    def lost(self, message: str) -> None:
        tqdm.write(f"warning: {message}", file=sys.stderr)


def _title(prompt: Prompt, node_id: str) -> str:
    """The title of a running node. A node that another expanded into has that node's id before its first dot."""
    known = node_id if node_id in prompt else str(node_id).partition(".")[0]
    return title_of(prompt, known) if known in prompt else str(node_id)


_STEPS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
