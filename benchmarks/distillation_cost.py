"""What a step of Distillation Sampler costs over the model evaluation it is made of, and how much memory it takes.

    .host/venv/bin/python -m benchmarks.distillation_cost            writes benchmarks/results/distillation_cost.json

The model has over 100 M random weights. The baseline of a step is one bare call of the model, batched as the method's
is; vsd, and lmc with a corrective of the published width, are compared with sds. Runs alternate; a ratio is the median
over pairs. Memory is the peak of a process of its own, less what it held before, after the same run on a small latent;
the median of three. A KSampler's call is of 2 for each picture, so "ksampler 2" is plain sampling at the batch of a
method that calls the model with 4. Figures already in the JSON are kept; delete it to start over.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.networks.corrective.network import Architecture, initialised
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.runs.corrective_training import origin
from torch import Tensor

from tools.reference import in_process

from .cost import RESULTS, paired, parameters, random_model

log = logging.getLogger("dreamsampler.benchmarks")
TEXT_WIDTH, TOKENS, STEPS = 768, 77, 6
SECOND_STAGE = {"method": "bridge", "first_stage": 0.0}
PEAKS = ("ksampler 1", "sds", "bridge", "vsd", "nfsd", "csd", "ksampler 2", "dds", "pds")
PROCESSES = 3
Run = Callable[[], None]


class Bench:
    """A large random model, its texts and a latent."""

    def __init__(self) -> None:
        self.reference = in_process.Reference(random_model(), None, None)
        generator = torch.Generator().manual_seed(1)
        texts = torch.randn(3, 1, TOKENS, TEXT_WIDTH, generator=generator)
        self.positive, self.negative, self.source = ([[text, {}]] for text in texts)
        self.latent = {"samples": torch.randn(1, 4, 32, 32, generator=generator)}

    def distil(self, **inputs: Any) -> None:
        """`STEPS` steps of the node."""
        self.reference.distilled(
            self.positive, self.negative, self.latent, source=self.source, seed=0, steps=STEPS, **inputs
        )

    def pds(self) -> None:
        """`STEPS` steps of the node, steered by Posterior Latent Match."""
        texts = self.source, self.positive, self.negative
        objective = PosteriorLatentMatch.execute(self.latent, *texts, 7.5, "official", 1.0).args[0]
        self.distil(method="sds", objective=objective)

    def corrective(self) -> ManifoldCorrective:
        """A corrective of the model with random weights."""
        height, width = self.latent["samples"].shape[-2:]
        about = origin(self.reference.model, size=(height, width), statistics="as printed", steps=1, loss=1.0)
        made = initialised(Architecture(about.channels), torch.Generator().manual_seed(0))
        return ManifoldCorrective(made, about)

    def bare(self, batch: int) -> None:
        """`STEPS` bare calls of the model."""
        samples: Tensor = self.latent["samples"]
        x, sigma = samples.repeat(batch, 1, 1, 1), torch.full((batch,), 2.0)
        text = torch.randn(batch, TOKENS, TEXT_WIDTH)
        for _ in range(STEPS):
            self.reference.model.model.apply_model(x, sigma, c_crossattn=text)

    def sample(self, batch: int) -> None:
        """`STEPS` steps of the host's KSampler, two evaluations of every picture a step."""
        latent = {"samples": self.latent["samples"].repeat(batch, 1, 1, 1)}
        self.reference.ksampled(self.positive, self.negative, latent, steps=STEPS, cfg=4.0, seed=0)


def peak_memory(run: str) -> float:
    """MiB that a run takes at its peak beyond what was there before, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.distillation_cost", "--peak-of", run]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(run: str) -> None:
    """The inside of `peak_memory`."""
    with torch.inference_mode():
        bench = Bench()
        whole = bench.latent
        bench.latent = {"samples": whole["samples"][..., :8, :8]}
        perform(run, bench)  # what is imported at its first use is no method's memory
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
    path = arguments.output / "distillation_cost.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, measure in {**timed(arguments.pairs), "peak_memory_mib": peaks}.items():
        if name not in figures:
            figures[name] = measure()
            log.info("%s: %s", name, figures[name])
            path.write_text(json.dumps(figures, indent=1) + "\n")


def timed(pairs: int) -> dict[str, Callable[[], Any]]:
    """What measures the time of each method over its baseline."""
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
    """The peak of every run, the median of several processes that take turns."""
    found = [{run: peak_memory(run) for run in PEAKS} for _ in range(PROCESSES)]
    return {run: sorted(each[run] for each in found)[PROCESSES // 2] for run in PEAKS}


if __name__ == "__main__":
    main()
