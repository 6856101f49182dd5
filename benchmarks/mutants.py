"""Mutation testing of the pure code: do the tests notice when one operator, number or branch of it is wrong?

    .host/venv/bin/python -m benchmarks.mutants                 60 mutants; writes benchmarks/results/mutants.{json,md}
    .host/venv/bin/python -m benchmarks.mutants --count 200 --seed 7 --rooms svg splats

A mutant is the code with one small fault, drawn at random (mutations.py). The tests that run its line run on it, the
fastest first, until one fails: the mutant is killed. A mutant that no test fails survives, and is a hole in the tests
unless its results are the same. Read those that are left, and write a verdict on each into mutant_verdicts.json: with
--judge, the results that are there get the verdicts, and a later run keeps them. No file is changed: the mutant is
compiled in place of the module when a process of its own imports it.

Needs `coverage`, to find which tests run a line. They are found once for a commit, in benchmarks/work/mutants/.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import CodeType
from typing import Any

import pytest

from . import markdown
from .mutations import Mutation, mutations
from .provenance import CHECKOUT, RESULTS, Results, commit

log = logging.getLogger("dreamsampler.benchmarks")
WORK = Path(__file__).with_name("work") / "mutants"
VERDICTS = Path(__file__).with_name("mutant_verdicts.json")
"""Written by hand: why a mutant that is left does no harm, or what became of it."""
ROOMS = ("guidance", "svg", "drawings", "scenes", "splats")
TABLE = "mutants"
PYTEST = ["-q", "-pno:cacheprovider", "--import-mode=importlib", "--no-header", "--tb=no", "--show-capture=no"]
KILLED, SURVIVED, ENDLESS, NOT_RUN, BROKE = "killed", "survived", "did not end", "not run by any test", "stopped pytest"
KINDS, LEFT = (KILLED, ENDLESS, SURVIVED, NOT_RUN, BROKE), (SURVIVED, NOT_RUN, BROKE)
"""All outcomes, and those that need a verdict."""
OUTCOMES = {0: SURVIVED, 5: SURVIVED, 1: KILLED, 2: KILLED}
"""By pytest's exit code: 0 and 5 if no test failed or ran, 1 and 2 if one failed or could not be imported."""


Row = dict[str, Any]
"""A mutant in the results: its place, what it changes and what became of it."""


@dataclass(frozen=True)
class Recorded:
    """Which tests run which lines, and how long each takes."""

    of_line: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def of(self, mutation: Mutation) -> list[str]:
        """The tests that run the mutated statement, the fastest first.

        What runs once, such as a constant, runs in one test for all: then the tests that run any line of the file.
        """
        lines = self.of_line.get(mutation.file, {})
        numbers = lines if mutation.runs_once else mutation.lines
        found = {test for line in numbers for test in lines.get(line, ())}
        return sorted(found, key=lambda test: self.seconds.get(test, 0.0))


class Recorder:
    """A pytest plugin that names the running test to coverage and notes its time."""

    def __init__(self, coverage: Any):
        self.coverage, self.seconds = coverage, defaultdict[str, float](float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


def record(path: Path) -> None:
    """Run the tests of all rooms once and write which lines each of them runs."""
    from coverage import Coverage

    coverage = Coverage(data_file=None, include=[f"{CHECKOUT}/{room}/*" for room in ROOMS], config_file=False)
    recorder = Recorder(coverage)
    coverage.start()
    pytest.main([*PYTEST, *(f"tests/{room}" for room in ROOMS)], plugins=[recorder])
    coverage.stop()
    if recorder.failed:
        log.warning("left out, as they fail without a mutant: %s", ", ".join(recorder.failed))
    data = coverage.get_data()
    lines = {
        str(Path(file).relative_to(CHECKOUT)): {
            line: [test for test in tests if test and test not in recorder.failed]
            for line, tests in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"lines": lines, "seconds": recorder.seconds}), "utf-8")


def tests_of_lines() -> Recorded:
    """Recorded for this commit, or recorded now."""
    path = WORK / f"{commit(CHECKOUT)}.json"
    if not path.exists():
        log.info("running the tests once, to see which lines each of them runs")
        if in_own_process(record, path) != 0:
            raise SystemExit("The tests cannot be run. See above.")
    found = json.loads(path.read_text("utf-8"))
    lines = {file: {int(line): tests for line, tests in each.items()} for file, each in found["lines"].items()}
    return Recorded(lines, found["seconds"])


def in_own_process(work: Any, *arguments: Any, limit: float | None = None) -> int | None:
    """The exit code of `work` in a fork of this process, which has ComfyUI imported; None if it is past the limit."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def use(mutation: Mutation) -> None:
    """Compile the mutant whenever this process imports its module."""
    path, get_code = (CHECKOUT / mutation.file).resolve(), SourceFileLoader.get_code

    def mutated(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if Path(self.path).resolve() == path:
            return compile(mutation.source(), self.path, "exec", dont_inherit=True)
        return get_code(self, fullname)

    SourceFileLoader.get_code = mutated


def run_tests(mutation: Mutation, tests: list[str]) -> None:
    """Run tests on the mutant, quietly, and exit with pytest's code."""
    use(mutation)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    code = pytest.main([*PYTEST, "-x", *tests])
    os._exit(int(code))


def outcome(mutation: Mutation, tests: Recorded) -> str:
    """What becomes of a mutant."""
    chosen = tests.of(mutation)
    if not chosen:
        return NOT_RUN
    usual = sum(tests.seconds.get(test, 0.0) for test in chosen)
    code = in_own_process(run_tests, mutation, chosen, limit=60 + 5 * usual)
    if code is None:
        return ENDLESS
    return OUTCOMES.get(code, BROKE)


def drawn(rooms: Iterable[str], count: int, seed: int) -> list[Mutation]:
    """Mutations of the rooms' files, all equally likely."""
    files = sorted(path for room in rooms for path in (CHECKOUT / room).rglob("*.py"))
    every = [mutation for path in files for mutation in mutations(path, CHECKOUT)]
    return Random(seed).sample(every, min(count, len(every)))


def report(results: Results) -> str:
    """The figures as Markdown."""
    found = results.figures["mutants"]
    counts = Counter(each["outcome"] for each in found)
    rooms = sorted({each["file"].split("/")[0] for each in found}, key=ROOMS.index)
    lines = [
        "# Mutants of the pure code",
        "",
        results.line(TABLE),
        "",
    ]
    cells = []
    for room in [*rooms, "all"]:
        some = [each["outcome"] for each in found if room in ("all", each["file"].split("/")[0])]
        cells.append([room, *map(str, (len(some), *(some.count(kind) for kind in KINDS)))])
    lines.append(markdown.table(["folder", "mutants", *KINDS], cells))
    left = [each for each in found if each["outcome"] in LEFT]
    cells = []
    for each in left:
        place, verdict = f"{each['file']}:{each['line']}", each.get("verdict") or "not judged"
        cells.append([place, f"`{each['code']}`", f"`{each['mutant']}`", verdict])
    if left:
        lines.append(markdown.table(["left", "code", "mutant", "verdict"], cells))
    share = (counts[KILLED] + counts[ENDLESS]) / max(1, len(found))
    return "\n".join([*lines, f"The tests notice {100 * share:.0f}% of the mutants.", ""])


def judged(rows: list[Row]) -> list[Row]:
    """The same, with the verdict on each that is left."""
    every = json.loads(VERDICTS.read_text("utf-8"))
    verdicts = {(each["file"], each["code"], each["mutant"]): each["verdict"] for each in every}
    found = [verdicts.get((row["file"], row["code"], row["mutant"])) for row in rows]
    return [
        {**row, "verdict": verdict} if verdict and row["outcome"] in LEFT else row
        for row, verdict in zip(rows, found, strict=True)
    ]


def write(results: Results) -> None:
    """Write figures and report, with verdicts."""
    results.figures["mutants"] = judged(results.figures["mutants"])
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws others (default: %(default)s)")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS, help="folders to mutate (default: all)")
    parser.add_argument("--judge", action="store_true", help="only add the verdicts to the results that are there")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.judge:
        return write(Results(arguments.output / "mutants.json", resume=True))
    if find_spec("coverage") is None:
        raise SystemExit("The package coverage finds which tests run a line. Install it: pip install coverage")
    sys.path.insert(0, str(CHECKOUT / "tests"))
    import conftest  # noqa: F401  # makes ComfyUI importable, once for all forks

    results, tests = Results(arguments.output / "mutants.json"), tests_of_lines()
    results.table(TABLE, "mutants")
    results.figures["mutants"] = []
    for number, mutation in enumerate(drawn(arguments.rooms, arguments.count, arguments.seed), 1):
        began = time.perf_counter()
        became = outcome(mutation, tests)
        code, mutant = mutation.shown()
        seconds = time.perf_counter() - began
        log.info("%d %s:%d %s: %s -> %s (%.0f s)", number, mutation.file, mutation.line, became, code, mutant, seconds)
        row = {"file": mutation.file, "line": mutation.line, "code": code, "mutant": mutant, "outcome": became}
        results.figures["mutants"].append(row)
        results.measured(TABLE, TABLE, number)
        write(results)


if __name__ == "__main__":
    main()
