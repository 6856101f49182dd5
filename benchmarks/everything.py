"""Make every result from nothing: each benchmark in turn, in a process of its own.

    .host/venv/bin/python -m benchmarks.everything                       all of them
    .host/venv/bin/python -m benchmarks.everything edit_front drawings   some of them
    OMP_NUM_THREADS=1 .host/venv/bin/python -m benchmarks.everything --at-once 2    two at a time, a thread for each
    .host/venv/bin/python -m benchmarks.everything --list                of which commits the results are

The figures of a release rest on one commit: run this in a clean clone. A run that was interrupted goes on in the
benchmark it stopped in, or begins that again if it does not resume. Those of time and memory need a quiet machine: they
come last and one by one. `families` and `step_cost` also need the other ComfyUI that --comfyui names. Logs are in
benchmarks/work/everything/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.devhost import add_options

from .provenance import CHECKOUT, KEY, RESULTS, commit

FINISHED = Path(__file__).with_name("work")
"""Where benchmarks keep finished batches and networks, which are of one commit."""
WORK = FINISHED / "everything"


@dataclass(frozen=True)
class Job:
    """A benchmark with arguments, and the result files (without suffix) that it writes.

    `elsewhere` is whether it measures on another ComfyUI as well, `quiet` whether it measures time or memory.
    """

    module: str
    arguments: str
    writes: str
    elsewhere: bool = False
    quiet: bool = False

    @property
    def name(self) -> str:
        return self.writes.split()[0]

    @property
    def files(self) -> list[Path]:
        """The result files that there are."""
        return [file for stem in self.writes.split() for file in sorted(RESULTS.glob(f"{stem}.*"))]

    def commits(self) -> set[str]:
        """The commits that measured the rows of the results; none for a job that has not begun."""
        return {run["commit"] for file in self.files if file.suffix == ".json" for run in _runs(file)}

    @property
    def done(self) -> Path:
        """A file that holds the commit whose results are complete."""
        return WORK / f"{self.name}.done"

    def is_done(self, head: str) -> bool:
        return self.done.exists() and self.done.read_text() == head and self.commits() == {head}


def _runs(file: Path) -> list[dict[str, str]]:
    return json.loads(file.read_text("utf-8"))[KEY]["runs"]


JOBS = (
    Job("edit_front", "--sources 64", "edit_front"),
    Job("evaluation_front", "--sources 32", "evaluation_front"),
    Job("region_front", "--sources 16", "region_front"),
    Job("posterior_front", "--sources 32", "posterior_front"),
    Job("restoration", "--batches 0 1", "restoration"),
    Job("text_to_image", "--prompts 64", "text_to_image"),
    Job("text_to_image", "--prompts 16 --renoise", "renoise"),
    Job("text_to_image", "--prompts 16 --few", "few_evaluations"),
    Job("text_to_image", "--prompts 16 --guidance", "guidance"),
    Job("text_to_image", "--prompts 16 --bridge", "bridge_stages"),
    Job("corrective", "--sources 8", "corrective corrective_other"),
    Job("illusions", "--cases 16", "illusions"),
    Job("scenes", "", "scenes_generate scenes_edit scenes_restore scenes_fit"),
    Job("drawings", "", "drawings drawings_edit drawings_icons drawings_restore"),
    Job("translator", "", "translator"),
    Job("wiener", "", "wiener"),
    Job("tracing", "", "tracing tracing_small"),
    Job("svg_support", "", "svg_support"),
    Job("gradient_memory", "", "gradient_memory"),
    Job("families", "", "families", elsewhere=True),
    Job("endurance", "--runs 300", "endurance"),
    Job("mutants", "--count 60", "mutants"),
    Job("distillation_memory", "", "distillation_memory", quiet=True),
    Job("rasterizer_memory", "", "rasterizer_memory", quiet=True),
    Job("splats", "", "splats", quiet=True),
    Job("rasterizer", "", "rasterizer", quiet=True),
    Job("solver_cost", "", "solver_cost", quiet=True),
    Job("step_cost", "", "step_cost", elsewhere=True, quiet=True),
)
"""Results of the reference model first, those that need a quiet machine last."""


def begin(job: Job, head: str) -> None:
    """Remove results of another commit, which a benchmark that resumes would keep."""
    if job.commits() - {head}:
        for file in job.files:
            file.unlink()


def finish(job: Job, head: str, other: list[str]) -> float:
    """Run a benchmark to its end; the seconds it took. Raises CalledProcessError if it fails."""
    started = time.monotonic()
    arguments = [*job.arguments.split(), *(other if job.elsewhere else [])]
    with (WORK / f"{job.name}.log").open("a") as log:
        command = [sys.executable, "-m", f"benchmarks.{job.module}", *arguments]
        subprocess.run(command, cwd=CHECKOUT, stdout=log, stderr=log, check=True)
    job.done.write_text(head)
    return time.monotonic() - started


def in_turn(jobs: Sequence[Job], head: str, other: list[str]) -> None:
    """Run jobs one after the other."""
    for job in jobs:
        begin(job, head)
        print(f"{job.name}: {finish(job, head, other) / 60:.0f} minutes", flush=True)


def chains(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs by module, as jobs of one module share its work folder."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.module, []).append(job)
    return list(found.values())


def described(head: str) -> Iterator[str]:
    """A line for each job: its name, and of which commits its results are."""
    for job in JOBS:
        commits = ", ".join(sorted(each[:7] for each in job.commits())) or "no results"
        yield f"{job.name:20} {'done' if job.is_done(head) else commits}"


def main() -> None:
    """Run the jobs that are not done."""
    names = [job.name for job in JOBS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="job", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--list", action="store_true", help="only say of which commits the results are")
    parser.add_argument("--at-once", type=int, default=1, help="how many that need no quiet machine run together")
    add_options(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.jobs) - set(names):
        parser.error(f"There is no {', '.join(sorted(unknown))}. Choose from {', '.join(names)}.")
    head = commit(CHECKOUT)
    if arguments.list:
        print("\n".join(described(head)))
        return
    claim_work(head, parser.error)
    other = [f"--{name}={path}" for name in ("comfyui", "python") if (path := getattr(arguments, name))]
    jobs = [job for job in JOBS if job.name in (arguments.jobs or names) and not job.is_done(head)]
    for job in [job for job in jobs if job.elsewhere and not other]:
        print(f"{job.name}: left out, as it needs another ComfyUI: name it with --comfyui.", flush=True)
        jobs.remove(job)
    with ThreadPoolExecutor(arguments.at_once) as pool:
        list(pool.map(lambda chain: in_turn(chain, head, other), chains([job for job in jobs if not job.quiet])))
    in_turn([job for job in jobs if job.quiet], head, other)


def claim_work(head: str, refuse: Callable[[str], Any]) -> None:
    """Refuse to mix with the finished batches of another commit, and mark the work folder as that of this one."""
    claimed = WORK / "commit"
    if FINISHED.exists() and any(FINISHED.iterdir()) and not (claimed.exists() and claimed.read_text() == head):
        refuse(f"{FINISHED} may hold batches of another commit. Delete it.")
    WORK.mkdir(parents=True, exist_ok=True)
    claimed.write_text(head)


if __name__ == "__main__":
    main()
