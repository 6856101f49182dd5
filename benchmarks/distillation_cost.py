"""Overhead of a step of Distillation Sampler beyond its model calls, and its memory.

    .host/venv/bin/python -m benchmarks.distillation_cost            writes benchmarks/results/distillation_cost.json

The model has over 100 M random weights. The baseline of a step is one bare model call with the method's batch; vsd, and
lmc with a corrective of the paper's width, are compared with sds. Runs alternate; a ratio is the median over pairs.
Memory is the peak of a separate process beyond what it held after the same run on a small latent: the median of three.
KSampler calls the model with 2 predictions per image, so "ksampler 2" has the batch of a method with 4 predictions.
Figures already in the JSON are kept; delete the file to start over. Memory is measured on Linux only.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.networks.corrective.network import Architecture, initial_network
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.runs.corrective_training import about_corrective
from torch import Tensor

from tools.reference import in_process

from .cost import paired, parameters, random_model
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
TEXT_WIDTH, TOKENS, STEPS = 768, 77, 6
SECOND_STAGE = {"method": "bridge", "first_stage": 0.0}
PEAKS = ("ksampler 1", "sds", "bridge", "vsd", "nfsd", "csd", "ksampler 2", "dds", "pds")
PROCESSES, MEMORY = 3, "peak_memory_mib"
Run = Callable[[], None]


class Bench:
    """A large random model, its conditionings and a latent."""

    def __init__(self) -> None:
        self.reference = in_process.Reference(random_model(), None, None)
        generator = torch.Generator().manual_seed(1)
        encoded = torch.randn(3, 1, TOKENS, TEXT_WIDTH, generator=generator)
        self.positive, self.negative, self.source = ([[each, {}]] for each in encoded)
        self.latent = {"samples": torch.randn(1, 4, 32, 32, generator=generator)}

    def distil(self, **inputs: Any) -> None:
        """`STEPS` steps of the node."""
        self.reference.distilled(
            self.positive, self.negative, self.latent, source=self.source, seed=0, steps=STEPS, **inputs
        )

    def pds(self) -> None:
        """`STEPS` steps of the node with Posterior Latent Match."""
        conditionings = self.source, self.positive, self.negative
        objective = PosteriorLatentMatch.execute(self.latent, *conditionings, 7.5, "official", 1.0).args[0]
        self.distil(method="sds", objective=objective)

    def corrective(self) -> ManifoldCorrective:
        """A corrective of the model with random weights."""
        height, width = self.latent["samples"].shape[-2:]
        about = about_corrective(self.reference.model, size=(height, width), statistics="as printed", steps=1, loss=1.0)
        made = initial_network(Architecture(about.channels), torch.Generator().manual_seed(0))
        return ManifoldCorrective(made, about)

    def bare(self, batch: int) -> None:
        """`STEPS` bare model calls."""
        samples: Tensor = self.latent["samples"]
        x, sigma = samples.repeat(batch, 1, 1, 1), torch.full((batch,), 2.0)
        encoded = torch.randn(batch, TOKENS, TEXT_WIDTH)
        for _ in range(STEPS):
            self.reference.model.model.apply_model(x, sigma, c_crossattn=encoded)

    def sample(self, batch: int) -> None:
        """`STEPS` steps of ComfyUI's KSampler, two predictions per image and step."""
        latent = {"samples": self.latent["samples"].repeat(batch, 1, 1, 1)}
        self.reference.ksampled(self.positive, self.negative, latent, steps=STEPS, cfg=4.0, seed=0)


def peak_memory(run: str) -> float:
    """MiB that a run takes at its peak, in a separate process, beyond what the process held before."""
    command = [sys.executable, "-m", "benchmarks.distillation_cost", "--peak-of", run]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(run: str) -> None:
    """The inside of `peak_memory`."""
    with torch.inference_mode():
        bench = Bench()
        whole = bench.latent
        bench.latent = {"samples": whole["samples"][..., :8, :8]}
        perform(run, bench)  # so that imports at first use are not counted
        bench.latent = whole
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # loading took more than sampling will: forget that peak
        perform(run, bench)
    print(resident("VmHWM") - before)


def perform(run: str, bench: Bench) -> None:
    """A run by its name in `PEAKS`."""
    match run.split():
        case ["ksampler", batch]:
            bench.sample(int(batch))
        case ["pds"]:
            bench.pds()
        case _:
            bench.distil(**(SECOND_STAGE if run == "bridge" else {"method": run}))


def resident(field: str) -> float:
    """Resident memory of this process in MiB: now (VmRSS) or at its peak (VmHWM). Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        return print_peak(arguments.peak_of)
    results = Results(arguments.output / "distillation_cost.json", resume=True)
    results.table("time", "pairs")
    results.table("memory", "processes")
    for name, measure in {**timed(arguments.pairs), MEMORY: peaks}.items():
        if name not in results.figures:
            results.figures[name] = found = measure()
            log.info("%s: %s", name, found)
            if name == MEMORY:
                for run in found:
                    results.measured("memory", run, PROCESSES)
            elif name != "parameters":
                results.measured("time", name, arguments.pairs)
            results.write()


def timed(pairs: int) -> dict[str, Callable[[], Any]]:
    """What measures the time of each method relative to its baseline."""
    with torch.inference_mode():
        bench = Bench()
    batches = {"sds": 2, "nfsd": 3, "csd": 3, "dds": 4, "flowedit": 4}
    runs: dict[str, tuple[Run, Run]] = {
        name: (partial(bench.distil, method=name), partial(bench.bare, batch)) for name, batch in batches.items()
    }
    runs["bridge"] = partial(bench.distil, **SECOND_STAGE), partial(bench.bare, 2)
    runs["pds"] = bench.pds, partial(bench.bare, 4)
    sds = partial(bench.distil, method="sds")
    runs["lmc"] = partial(bench.distil, method="lmc", corrective=bench.corrective()), sds
    runs["vsd"] = partial(bench.distil, method="vsd"), sds

    def ratio(name: str) -> dict[str, Any]:
        with torch.inference_mode():
            return paired(*runs[name], pairs)

    return {"parameters": lambda: parameters(bench.reference.model), **{n: partial(ratio, n) for n in runs}}


def peaks() -> dict[str, float]:
    """The peak of every run: the median of several alternating processes."""
    found = [{run: peak_memory(run) for run in PEAKS} for _ in range(PROCESSES)]
    return {run: sorted(each[run] for each in found)[PROCESSES // 2] for run in PEAKS}


if __name__ == "__main__":
    main()
