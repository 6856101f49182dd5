"""Time of a step of every node that calls a model, beside the bare calls of its networks, on one or two ComfyUIs.

    .host/venv/bin/python -m benchmarks.step_cost                      writes benchmarks/results/step_cost.{json,md}
    .host/venv/bin/python -m benchmarks.step_cost --comfyui FOLDER     also on the ComfyUI in this folder
    .host/venv/bin/python -m benchmarks.step_cost --only csd           one run; the others keep their figures

Every ComfyUI has a process of its own, and only one works at a time. A pair is a run and its baseline (steps.py), one
after the other; pairs of the ComfyUIs alternate. A ratio is the median over pairs, after a pair to warm up.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.devhost import CHECKOUT, Host, add_options, locate

from . import markdown
from .hosts import environment_of, other_host
from .provenance import RESULTS, Results, comfyui_version

log = logging.getLogger("dreamsampler.benchmarks")
Pair = tuple[float, float]
"""Seconds of a run and of its baseline."""


class Timer:
    """A process on a host, which times pairs by name."""

    def __init__(self, host: Host) -> None:
        self._process = subprocess.Popen(
            [str(host.python), "-m", "benchmarks.step_cost", "--time-pairs"],
            cwd=CHECKOUT, env=environment_of(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        about = self._answer()
        self.version: str = f"ComfyUI {about['version']}"
        self.beside: dict[str, str] = about["beside"]

    def pair(self, name: str) -> Pair:
        """Time a run and its baseline."""
        assert self._process.stdin is not None
        print(name, file=self._process.stdin, flush=True)
        ours, baseline = self._answer()
        return ours, baseline

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("The process that times runs ended early. Its error is above.")
        return json.loads(line)


def time_pairs() -> None:
    """The inside of a `Timer`: names on standard input, their pairs on standard output."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import torch

    from .steps import comparisons

    every = comparisons()
    about = {"version": comfyui_version(), "beside": {name: each.beside for name, each in every.items()}}
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        chosen = every[line.rstrip("\n")]
        with torch.inference_mode():
            print(json.dumps([seconds(chosen.ours), seconds(chosen.baseline)]), file=answers, flush=True)


def seconds(run: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measured(timers: list[Timer], name: str, pairs: int) -> dict[str, dict[str, Any]]:
    """The figures of a run by version: alternating pairs after one to warm up."""
    found: dict[str, list[Pair]] = {timer.version: [] for timer in timers}
    for timer in timers:
        timer.pair(name)
    for _ in range(pairs):
        for timer in timers:
            found[timer.version].append(timer.pair(name))
    return {version: summary(times) for version, times in found.items()}


def summary(times: list[Pair]) -> dict[str, Any]:
    """Median seconds and the ratios, of which the median counts."""
    ratios = sorted(ours / baseline for ours, baseline in times)
    return {
        "seconds": statistics.median(ours for ours, _ in times),
        "baseline_seconds": statistics.median(baseline for _, baseline in times),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def document(results: Results) -> str:
    """The figures as Markdown."""
    versions = list(results.tables)
    lines = [
        "# Time of a step\n",
        "Made by `benchmarks.step_cost`, on networks of the size of Stable Diffusion 1.5 with random weights. Times "
        "relative to the bare calls of the networks that the steps need: the median over pairs, and in parentheses the "
        "lowest and the highest.\n",
    ]
    rows = (
        [name, row["beside"], *(cell(row[version]) if version in row else "" for version in versions)]
        for name, row in results.figures["methods"].items()
    )
    return "\n".join(
        [
            *lines,
            markdown.table(["run", "beside", *versions], rows),
            *(f"{version}: {results.line(version)}" for version in versions),
            "",
        ]
    )


def cell(found: dict[str, Any]) -> str:
    """A ratio with its range."""
    return f"{found['ratio']:.2f} ({min(found['ratios']):.2f} to {max(found['ratios']):.2f})"


def main() -> None:
    """Measure all runs on all hosts and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="only runs whose names contain this")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--time-pairs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time_pairs:
        return time_pairs()
    hosts = [locate()]
    if other := other_host(arguments, log.info):
        hosts.append(other)
    results = Results(arguments.output / "step_cost.json", resume=True)
    timers = [Timer(host) for host in hosts]
    for timer in timers:
        results.table(timer.version, "pairs")
    runs: dict[str, Any] = results.figures.setdefault("methods", {})
    for name, beside in timers[0].beside.items():
        if arguments.only.lower() not in name.lower():
            continue
        runs[name] = {"beside": beside, **measured(timers, name, arguments.pairs)}
        for timer in timers:
            results.measured(timer.version, name, arguments.pairs)
            log.info("%s, %s: %s", name, timer.version, cell(runs[name][timer.version]))
        results.write()
    for timer in timers:
        timer.close()
    (arguments.output / "step_cost.md").write_text(document(results), "utf-8")


if __name__ == "__main__":
    main()
