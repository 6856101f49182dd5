"""Result files: figures, and for each row of their tables its number of cases and the runs that measured it.

A run is one start of a benchmark: the commit, the date (UTC), the software and the machine. Rows that a resumed
benchmark finds in its file keep the runs that measured them. Runs with a commit and a date only are older than this
module: their commit is the one that added the figures.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).resolve().with_name("results")
WORK = Path(__file__).resolve().with_name("work")
"""Where benchmarks keep images, networks and finished batches, which are of one commit."""
CHECKOUT = Path(__file__).resolve().parents[1]
KEY = "provenance"
Run = dict[str, Any]


def commit(checkout: Path) -> str:
    """The commit of a checkout, with "-dirty" if tracked or new files differ from it; results do not count."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(checkout), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):  # no git, or an archive without history
        return "unknown"


def device_name() -> str:
    """The GPU, or the CPU if there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", cpus.read_text(), re.MULTILINE) if cpus.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def comfyui_version() -> str:
    """The version of the importable ComfyUI, or "" if there is none."""
    try:
        import comfyui_version as found
    except ModuleNotFoundError:
        return ""
    return found.__version__


@cache
def this_run() -> Run:
    """What is running now. Cached, so that the commit is the one at the start, whatever changes in the hours after."""
    return {
        "commit": commit(CHECKOUT),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "comfyui": comfyui_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


@dataclass(frozen=True)
class Row:
    """How many cases a row rests on, and the runs that measured them."""

    count: int
    runs: tuple[Run, ...]


@dataclass
class Table:
    """The rows of a table, what `count` counts, and why counts differ, if they do."""

    counted: str
    unequal: str = ""
    rows: dict[str, Row] = field(default_factory=dict)

    def counts(self) -> list[int]:
        """The different counts, ascending."""
        return sorted({row.count for row in self.rows.values()})

    def line(self) -> str:
        """Counts and commits in one sentence, and why counts differ."""
        least, *_, most = self.counts() * 2
        span = f"{least}" if least == most else f"{least} to {most}"
        runs = [run for row in self.rows.values() for run in row.runs]
        commits = list(dict.fromkeys(short(run["commit"]) for run in sorted(runs, key=lambda run: run["date"])))
        first, last = (pick(run["date"] for run in runs)[:10] for pick in (min, max))
        when = first if first == last else f"{first} to {last}"
        counted = self.counted.removesuffix("s") if most == 1 else self.counted
        told = f"{span} {counted} per row; commit{'s' * (len(commits) > 1)} {', '.join(commits)} ({when})."
        return told + (f" {self.unequal}" if least != most else "")


def short(commit: str) -> str:
    """A commit as documents name it."""
    name, dash, rest = commit.partition("-")
    return name[:7] + dash + rest


class Results:
    """A result file. Change `figures` and call `measured` for each new row, then `write`.

    Figures and rows already in the file are read if `resume` is set; without it the file starts empty.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path, self.run = path, this_run()
        self.figures: dict[str, Any] = json.loads(path.read_text("utf-8")) if resume and path.exists() else {}
        found = self.figures.pop(KEY, {"runs": [], "tables": {}})
        runs = found["runs"]
        self.tables = {
            title: Table(
                table["counted"],
                table.get("unequal", ""),
                {name: Row(row["count"], tuple(runs[i] for i in row["runs"])) for name, row in table["rows"].items()},
            )
            for title, table in found["tables"].items()
        }

    def begin(self, case: dict[str, Any]) -> None:
        """Note what all figures have in common, and forget those of a file that differs in it."""
        if any(self.figures.get(name) != value for name, value in case.items()):
            self.figures, self.tables = dict(case), {}

    def table(self, title: str, counted: str, unequal: str = "") -> Table:
        """A table of the file, new or known; `unequal` says why counts differ, where they may."""
        table = self.tables.setdefault(title, Table(counted))
        table.counted, table.unequal = counted, unequal
        return table

    def count(self, title: str, name: str) -> int:
        """How many cases a row of the file rests on; 0 if it is not there."""
        table = self.tables.get(title)
        return table.rows[name].count if table and name in table.rows else 0

    def measured(self, title: str, name: str, count: int, runs: Iterable[Run] = ()) -> None:
        """Note a row that this run measured, or `runs`."""
        self.tables[title].rows[name] = Row(count, tuple(runs) or (self.run,))

    def write(self, *, compact: bool = False) -> None:
        """Write figures and provenance. A compact file has one line for each top-level figure."""
        content = {KEY: self._provenance(), **self.figures}
        if compact:
            each = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items())
            text = "{\n" + ",\n".join(each) + "\n}"
        else:
            text = re.sub(
                r'\{\s+"count": (\d+),\s+"runs": \[([\d,\s]+)\]\s+\}',
                lambda found: f'{{"count": {found[1]}, "runs": [{re.sub(chr(92) + "s+", " ", found[2]).strip()}]}}',
                json.dumps(content, indent=1),
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text + "\n", "utf-8")

    def line(self, title: str) -> str:
        """Counts and commits of a table in one sentence."""
        return self.tables[title].line()

    def _provenance(self) -> dict[str, Any]:
        every = [run for table in self.tables.values() for row in table.rows.values() for run in row.runs]
        runs = [run for i, run in enumerate(every) if run not in every[:i]]
        runs.sort(key=lambda run: run["date"])
        tables: dict[str, Any] = {}
        for title, table in self.tables.items():
            rows = {
                name: {"count": row.count, "runs": [runs.index(run) for run in row.runs]}
                for name, row in table.rows.items()
            }
            why = {"unequal": table.unequal} if table.unequal and len(table.counts()) > 1 else {}
            tables[title] = {"counted": table.counted, **why, "rows": rows}
        return {"runs": runs, "tables": tables}


def work_folder(name: str, output: Path) -> Path:
    """Where a benchmark that writes to `output` keeps what it has finished: trials do not mix with the results."""
    return (WORK if output.resolve() == RESULTS else output / "work") / name


def stamp(file: Path) -> None:
    """Note beside a file of the work folder that this run made it."""
    _stamp_of(file).write_text(json.dumps(this_run()) + "\n", "utf-8")


def restamp(file: Path, run: Run) -> None:
    """Note beside a file of the work folder which run made it."""
    _stamp_of(file).write_text(json.dumps(run) + "\n", "utf-8")


def stamped(file: Path) -> Run:
    """The run that made a file of the work folder; of a file without a note only the date is known."""
    found = _stamp_of(file)
    if found.exists():
        return json.loads(found.read_text("utf-8"))
    made = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    return {"commit": "unknown", "date": made.isoformat(timespec="seconds")}


def _stamp_of(file: Path) -> Path:
    return file.with_name(file.name + ".run")
