"""Peak memory of Distillation Sampler's methods.

    .host/venv/bin/python -m benchmarks.distillation_memory     writes benchmarks/results/distillation_memory.json

The model has over 100 M random weights. The peak is that of a separate process beyond what it held after the same run
on a small latent: the median of three. KSampler calls the model with 2 predictions per image, so "ksampler 2" has the
batch of a method with 4 predictions. Linux only.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from .memory import growth
from .networks import parameters
from .provenance import RESULTS, Results
from .steps import CELLS, SECOND_STAGE, Networks

log = logging.getLogger("dreamsampler.benchmarks")
RUNS = ("ksampler 1", "sds", "bridge", "vsd", "nfsd", "csd", "ksampler 2", "dds", "pds")
PROCESSES = 3


def peak_memory(run: str) -> float:
    """MiB that a run takes at its peak, in a separate process, beyond what the process held before."""
    command = [sys.executable, "-m", "benchmarks.distillation_memory", "--peak-of", run]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(run: str) -> None:
    """The inside of `peak_memory`."""
    with torch.inference_mode():
        networks = Networks()
        whole = networks.latent
        networks.latent = {"samples": whole["samples"][..., : CELLS // 4, : CELLS // 4]}
        perform(run, networks)  # so that imports at first use are not counted
        networks.latent = whole
        print(growth(lambda: perform(run, networks)) / 2**20)


def perform(run: str, networks: Networks) -> None:
    """A run by its name in `RUNS`."""
    match run.split():
        case ["ksampler", images]:
            networks.ksampled(4.0, int(images))
        case ["pds"]:
            networks.pds()
        case _:
            networks.distilled(**(SECOND_STAGE if run == "bridge" else {"method": run}))


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        return print_peak(arguments.peak_of)
    results = Results(arguments.output / "distillation_memory.json")
    results.table("memory", "processes")
    results.figures["parameters"] = parameters(Networks().model)
    found = [{run: peak_memory(run) for run in RUNS} for _ in range(PROCESSES)]
    results.figures["peak_memory_mib"] = {run: statistics.median(each[run] for each in found) for run in RUNS}
    for run in RUNS:
        results.measured("memory", run, PROCESSES)
    log.info("%s", results.figures)
    results.write()


if __name__ == "__main__":
    main()
