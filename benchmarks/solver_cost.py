"""Conjugate gradients of data consistency at 512 x 512 pixels, as a share of a data step's model and autoencoder calls.

    .host/venv/bin/python -m benchmarks.solver_cost            writes benchmarks/results/solver_cost.json

Model and autoencoder are like those of Stable Diffusion 1.5 with random weights, the autoencoder in full size.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.restoration.measurement import DataConsistency
from dreamsampler.nodes.measurement import MeasurementNode
from torch import Tensor

from .networks import parameters
from .provenance import RESULTS, Results
from .step_cost import seconds
from .steps import BLUR, Networks

log = logging.getLogger("dreamsampler.benchmarks")
CELLS = 64
STEPS, SOLVES = 2, 15
"""How often a step, which takes a minute, and a solve are timed."""
TABLE = "conjugate gradients"
UNEQUAL = "A whole step takes about a minute, so it is timed less often than conjugate gradients."
OPERATORS: dict[str, dict[str, Any]] = {
    "inpaint": {**BLUR, "operator": "inpaint"},
    "super-resolution": {**BLUR, "operator": "super-resolution"},
    "gaussian blur": BLUR,
}


class Identity:
    """An autoencoder that does nothing."""

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def conjugate_gradients(image: Tensor, settings: dict[str, Any]) -> Callable[[], Any]:
    """The data-consistency step of an operator without its networks, on an IMAGE."""
    mask = torch.zeros(image.shape[:3])
    mask[:, 40:90, 40:90] = 1
    hole: dict[str, Any] = {"mask": mask} if settings["operator"] == "inpaint" else {}
    measurement = MeasurementNode.execute(image, simulate=True, seed=0, **settings, **hole).args[0]
    consistency = DataConsistency(measurement, Identity())
    start = image.movedim(-1, 1).flip(-1).contiguous() * 2 - 1
    return lambda: consistency.fit(start)


def median_seconds(run: Callable[[], Any], times: int) -> float:
    """The median time of a call, after one to warm up."""
    run()
    return statistics.median(seconds(run) for _ in range(times))


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    networks = Networks()
    results = Results(arguments.output / "solver_cost.json")
    results.figures["parameters"] = parameters(networks.model)
    results.table(TABLE, "repetitions", UNEQUAL)
    with torch.inference_mode():
        image = torch.rand(1, 8 * CELLS, 8 * CELLS, 3, generator=torch.Generator().manual_seed(1))
        latent = torch.randn(1, 4, CELLS, CELLS, generator=torch.Generator().manual_seed(1))

        def step() -> None:
            networks.called(2, CELLS)
            networks.vae.encode(networks.vae.decode(latent))

        found = {"step seconds": median_seconds(step, STEPS)}
        results.measured(TABLE, "step seconds", STEPS)
        for name, settings in OPERATORS.items():
            found[name] = median_seconds(conjugate_gradients(image, settings), SOLVES) / found["step seconds"]
            results.measured(TABLE, name, SOLVES)
            log.info("%s: %.4f of a step of %.1f s", name, found[name], found["step seconds"])
    results.figures[TABLE] = found
    results.write()


if __name__ == "__main__":
    main()
