"""Make every result from nothing: each benchmark in turn, in a process of its own.

    .host/venv/bin/python -m benchmarks.everything                       all of them
    .host/venv/bin/python -m benchmarks.everything edit_front drawings   some of them
    OMP_NUM_THREADS=1 .host/venv/bin/python -m benchmarks.everything --at-once 2    two at a time, a thread for each
    .host/venv/bin/python -m benchmarks.everything --list                of which commits the results are

The figures of a release rest on one commit: run this in a clean clone. A run that was interrupted goes on in the
benchmark it stopped in, or begins that again if it does not resume; one that failed does not stop the others. Those of
time and memory need a quiet machine: they come last and one by one. `families` and `step_cost` also need the other
ComfyUI that --comfyui names, `svg_conformance` the clone of resvg that --resvg names. Logs are in
benchmarks/work/everything/. How many cases each result rests on is said in `JOBS` alone. Write the documents that quote
the results afterwards, with `benchmarks.documents`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from tools.devhost import add_options

from .provenance import CHECKOUT, KEY, RESULTS, commit
from .provenance import WORK as FINISHED

WORK = FINISHED / "everything"
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Job:
    """A benchmark with arguments, and the result files (without suffix) that it writes.

    `counts` are the most cases that a row rests on, by result file and table; other rows of a table rest on as many,
    or the table says why not. `needs` names what the options of `OPTIONS` bring, `quiet` is whether it measures time or
    memory.
    """

    module: str
    arguments: str
    writes: str
    counts: Counts
    needs: str = ""
    quiet: bool = False

    @property
    def name(self) -> str:
        """The module, and the part of it if it is run in parts."""
        parts = takewhile(lambda word: not word.startswith("--"), self.arguments.split())
        return "_".join([self.module, *parts])

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


OPTIONS = {"another ComfyUI": ("comfyui", "python"), "a clone of resvg": ("resvg",)}
"""What a job may need, and the options that name it, of which the first has no default."""
ATTRIBUTES = 4
"""Edits of a source: one in each attribute."""
VERSIONS = ""
"""The name of tables that are each of one version of ComfyUI."""


def one(module: str, option: str, count: int, *tables: str, each: int = 1, quiet: bool = False) -> Job:
    """A benchmark with one result file, whose rows rest on `each` of the `count` cases that an option sets."""
    return Job(module, f"{option} {count}", module, {module: dict.fromkeys(tables, each * count)}, quiet=quiet)


def front(module: str, sources: int, *others: str) -> Job:
    """Edits of held-out images."""
    return one(module, "--sources", sources, "points", *others, each=ATTRIBUTES)


def corrective(sources: int) -> Job:
    """Edits of held-out images by LMC-SDS, and what else is measured of it."""
    edits = ATTRIBUTES * sources
    most = {"spectra": min(edits, 32), "synthesis": min(edits, 32), "diversity": min(edits, 4), "cost": min(edits, 8)}
    counts = {"corrective": {"points": edits}, "corrective_other": most}
    return Job("corrective", f"--sources {sources}", "corrective corrective_other", counts)


def variants(part: str, prompts: int, file: str, table: str) -> Job:
    """A table of text to image with one thing changed."""
    return Job("text_to_image_variants", f"{part} --prompts {prompts}", file, {file: {table: prompts}})


def restoration(images: int) -> Job:
    """All restorations, of the first held-out images."""
    tables = [
        "Inpainting", "Two prompts in two holes", "Restoration: super-resolution, 4",
        "Restoration: super-resolution, 8", "Restoration: gaussian blur, sigma 2", "Restoration: motion blur, 15",
        "Restoration: JPEG, quality 10", "Restoration: JPEG, quality 30", "Restoration: a quarter of the width",
        "Restoration: blur of unknown sigma 3", "Last step", "Last step: a hole", "Choices of consistency: a hole",
        "Choices of consistency: super-resolution, 4",
    ]  # fmt: skip
    counts = {"batches": 8, **dict.fromkeys(tables, images)}
    return Job("restoration", f"--images {images}", "restoration", {"restoration": counts})


def drawings(**images: int) -> Job:
    """Drawings: the number of images of each part."""
    options = " ".join(f"{part}={count}" for part, count in images.items())
    counts = {"fit": 1, **images, "edit": ATTRIBUTES * images["edit"]}
    sheets = "drawings_edit drawings_icons drawings_restore"
    return Job("drawings", f"--counts {options}", f"drawings {sheets}", {"drawings": counts})


SCENES = {
    "scenes_generate": {"From text": 8},
    "scenes_edit": {"Edits of the color": 6},
    "scenes_restore": {"Restorations from 16 degraded views": 3},
    "scenes_fit": {"Fits to 8 views, on 8 others": 8},
}


JOBS = (
    one("translator", "--count", 64, "methods", each=4),
    front("edit_front", 64),
    front("evaluation_front", 32),
    front("region_front", 16, "overlaps"),
    front("posterior_front", 32),
    restoration(16),
    one("text_to_image", "--prompts", 64, "methods"),
    variants("noise", 16, "renoise", "noise of dreamsampler"),
    variants("few", 16, "few_evaluations", "methods at 600 model evaluations"),
    variants("guidance", 16, "guidance", "sds at 600 model evaluations"),
    variants("bridge", 16, "bridge_stages", "share of steps in the second stage"),
    corrective(8),
    one("illusions", "--cases", 16, "methods"),
    Job("scenes", "", " ".join(SCENES), SCENES),
    drawings(restore=8, icons=8, edit=8, recolor=16, text=32),
    Job("wiener", "", "wiener", {"wiener": {"points": 32}}),
    Job("tracing", "", "tracing tracing_small", {"tracing": {"images": 1, "small icons": 7}}),
    Job("svg_support", "", "svg_support", {"svg_support": {"represented": 1000, "rendered": 200}}),
    Job("svg_conformance", "", "svg_conformance", {"svg_conformance": {"files": 306}}, needs="a clone of resvg"),
    Job("gradient_memory", "", "gradient_memory", {"gradient_memory": {"memory": 1}}),
    Job("families", "", "families", {"families": {VERSIONS: 9}}, needs="another ComfyUI"),
    one("mutants", "--count", 60, "mutants"),
    one("endurance", "--runs", 300, "runs", quiet=True),
    Job("distillation_memory", "", "distillation_memory", {"distillation_memory": {"memory": 3}}, quiet=True),
    Job("rasterizer_memory", "", "rasterizer_memory", {"rasterizer_memory": {"memory": 1}}, quiet=True),
    one("splats", "--repeats", 3, "splats", quiet=True),
    one("rasterizer", "--repeats", 9, "drawings", "growth", quiet=True),
    Job("solver_cost", "", "solver_cost", {"solver_cost": {"conjugate gradients": 15}}, quiet=True),
    replace(one("step_cost", "--pairs", 5, VERSIONS, quiet=True), needs="another ComfyUI"),
)
"""The longest first, those that need a quiet machine last."""


def begin(job: Job, head: str) -> None:
    """Remove results of another commit, which a benchmark that resumes would keep."""
    if job.commits() - {head}:
        for file in job.files:
            file.unlink()


def run(job: Job, head: str, brought: Mapping[str, list[str]]) -> bool:
    """Run a benchmark to its end. Returns whether it got there."""
    begin(job, head)
    started, log = time.monotonic(), WORK / f"{job.name}.log"
    arguments = [*job.arguments.split(), *brought.get(job.needs, [])]
    with log.open("a") as lines:
        command = [sys.executable, "-m", f"benchmarks.{job.module}", *arguments]
        code = subprocess.run(command, cwd=CHECKOUT, stdout=lines, stderr=lines).returncode
    if code:
        print(f"{job.name}: failed with exit code {code}. See {log}.", flush=True)
        return False
    job.done.write_text(head)
    print(f"{job.name}: {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
    return True


def described(head: str) -> Iterator[str]:
    """A line for each job: its name, and of which commits its results are."""
    for job in JOBS:
        commits = ", ".join(sorted(each[:7] for each in job.commits())) or "no results"
        yield f"{job.name:32} {'done' if job.is_done(head) else commits}"


def main() -> int:
    """Run the jobs that are not done. Returns 1 if one of them failed; the others run all the same."""
    names = list(dict.fromkeys(name for job in JOBS for name in (job.module, job.name)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="job", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--list", action="store_true", help="only say of which commits the results are")
    parser.add_argument("--at-once", type=int, default=1, help="how many that need no quiet machine run together")
    add_options(parser)
    parser.add_argument("--resvg", type=Path, metavar="CHECKOUT", help="a clone of resvg, for svg_conformance")
    arguments = parser.parse_args()
    if unknown := set(arguments.jobs) - set(names):
        parser.error(f"There is no {', '.join(sorted(unknown))}. Choose from {', '.join(names)}.")
    head = commit(CHECKOUT)
    if arguments.list:
        print("\n".join(described(head)))
        return 0
    claim_work(head, parser.error)
    brought = {
        what: [f"--{name}={path}" for name in names if (path := getattr(arguments, name))]
        for what, names in OPTIONS.items()
    }
    chosen = [job for job in JOBS if {job.module, job.name} & set(arguments.jobs or names)]
    jobs = [job for job in chosen if not job.is_done(head)]
    for job in [job for job in jobs if job.needs and not brought[job.needs]]:
        option = OPTIONS[job.needs][0]
        print(f"{job.name}: left out, as it needs {job.needs}: name it with --{option}.", flush=True)
        jobs.remove(job)
    with ThreadPoolExecutor(arguments.at_once) as pool:
        ended = list(pool.map(lambda job: run(job, head, brought), [job for job in jobs if not job.quiet]))
    ended += [run(job, head, brought) for job in jobs if job.quiet]
    return int(not all(ended))


def claim_work(head: str, refuse: Callable[[str], Any]) -> None:
    """Refuse to mix with the finished batches of another commit, and mark the work folder as that of this one."""
    claimed = WORK / "commit"
    if FINISHED.exists() and any(FINISHED.iterdir()) and not (claimed.exists() and claimed.read_text() == head):
        refuse(f"{FINISHED} may hold batches of another commit. Delete it.")
    WORK.mkdir(parents=True, exist_ok=True)
    claimed.write_text(head)


if __name__ == "__main__":
    sys.exit(main())
