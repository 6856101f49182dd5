"""Overhead of data consistency in restorations, beyond model and autoencoder calls.

    .host/venv/bin/python -m benchmarks.restoration_cost            writes benchmarks/results/restoration_cost.json

Model and autoencoder are like those of Stable Diffusion 1.5 with random weights, the autoencoder in full size.

- A data step (fitted estimate and prompt), relative to one model call with a batch of 2, one decode and one encode, at
  128 x 128 pixels. At larger sizes the networks take a larger share.
- Conjugate gradients at 512 x 512 pixels, as a share of a data step at that size.
- A gradient step (DPS), relative to the plain forward and backward pass of denoiser and decoder.

Runs alternate; a ratio is the median over pairs. Both sides of a ratio decode the result once.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.restoration.measurement import DataConsistency, Measurement
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.restoration import Consistency
from torch import Tensor

from .cost import paired, parameters, random_model, seconds
from .gradient_memory import KL
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
TEXT_WIDTH, TOKENS, STEPS = 768, 77, 3
SOLVES = 3
"""Timed conjugate gradient solves per pair."""
UNEQUAL = "A whole step takes about a minute, so it is timed less often than conjugate gradients."
BLUR = {"operator": "gaussian blur", "scale": 4, "kernel_size": 31, "sigma": 3.0, "noise_std": 0.01}
OPERATORS: dict[str, dict[str, Any]] = {
    "inpaint": {**BLUR, "operator": "inpaint"},
    "super-resolution": {**BLUR, "operator": "super-resolution"},
    "gaussian blur": BLUR,
}


def random_vae() -> Any:
    """ComfyUI's VAE with the autoencoder of Stable Diffusion and random weights."""
    import comfy.ldm.models.autoencoder
    import comfy.sd

    network = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=KL, embed_dim=4)
    return comfy.sd.VAE(sd=network.state_dict())


class Bench:
    """A large random model, its autoencoder, its conditionings and a latent of `side` x `side` cells."""

    def __init__(self, side: int) -> None:
        self.model, self.vae = random_model(), random_vae()
        generator = torch.Generator().manual_seed(1)
        encoded = torch.randn(2, 1, TOKENS, TEXT_WIDTH, generator=generator)
        self.positive, self.negative = ([[each, {}]] for each in encoded)
        self.encoded = encoded.flatten(0, 1)
        self.latent = torch.randn(1, 4, side, side, generator=generator)
        self.image = torch.rand(1, 8 * side, 8 * side, 3, generator=generator)
        self.measurement = self.measured(BLUR)

    def measured(self, settings: dict[str, Any]) -> Measurement:
        mask = torch.zeros(self.image.shape[:3])
        mask[:, 40:90, 40:90] = 1
        given = {**settings, "mask": mask} if settings["operator"] == "inpaint" else settings
        return MeasurementNode.execute(self.image, simulate=True, seed=0, **given).args[0]

    def restored(self, consistency: Consistency, data_until: float) -> None:
        """`STEPS` steps of the node from noise, and its decoded image."""
        ProximalDreamSampler.execute(
            self.model, self.positive, self.negative, {"samples": self.latent}, steps=STEPS, gamma=1.0,
            gamma_schedule="alpha_bar", eta=1.0, renoise="unconditional", start_from="noise", scheduler="normal",
            seed=0, vae=self.vae, measurement=self.measurement, consistency=consistency, data_every=1,
            data_until=data_until, projection=False,
        )  # fmt: skip

    def evaluated(self) -> None:
        """`STEPS` times the model and autoencoder calls of a data step, and the result decoded."""
        for _ in range(STEPS):
            self.called()
            self.vae.encode(self.vae.decode(self.latent))
        self.vae.decode(self.latent)

    def called(self) -> None:
        x, sigma = self.latent.repeat(2, 1, 1, 1), torch.full((2,), 2.0)
        self.model.model.apply_model(x, sigma, c_crossattn=self.encoded)

    def differentiated(self) -> None:
        """`STEPS` times the forward and the backward pass of denoiser and decoder, and the result decoded."""
        network = self.vae.first_stage_model.requires_grad_(False)
        self.model.model.diffusion_model.requires_grad_(False)
        for _ in range(STEPS):
            with torch.inference_mode(False), torch.enable_grad():
                x = self.latent.clone().requires_grad_()
                z0_hat = self.model.model.apply_model(x, torch.full((1,), 2.0), c_crossattn=self.encoded[:1].clone())
                torch.autograd.grad(network.decode(z0_hat).norm(), x)
        self.vae.decode(self.latent)


def conjugate_gradients(bench: Bench, settings: dict[str, Any]) -> Callable[[], Any]:
    """The data-consistency step of an operator without its networks."""

    class Identity:
        def encode(self, images: Tensor) -> Tensor:
            return images

        def decode(self, latents: Tensor) -> Tensor:
            return latents

    consistency = DataConsistency(bench.measured(settings), Identity())
    start = bench.image.movedim(-1, 1).flip(-1).contiguous() * 2 - 1
    return lambda: consistency.fit(start)


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.output / "restoration_cost.json")
    bench = Bench(16)
    results.figures["parameters"] = parameters(bench.model)
    results.table("ratios", "pairs")
    results.table("conjugate gradients", "repetitions", UNEQUAL)
    with torch.inference_mode():
        for name, ours, baseline in (
            ("data step", lambda: bench.restored("consistency only", 1.0), bench.evaluated),
            ("gradient step", lambda: bench.restored("dps only", 0.0), bench.differentiated),
        ):
            results.figures[name] = paired(ours, baseline, arguments.pairs)
            results.measured("ratios", name, arguments.pairs)
            log.info("a %s relative to its networks' calls: %.3f", name, results.figures[name]["ratio"])
        results.figures["conjugate gradients"] = found = shares(Bench(64), arguments.pairs)
    for name in found:
        count = step_repeats(arguments.pairs) if name == "step seconds" else SOLVES * arguments.pairs
        results.measured("conjugate gradients", name, count)
    results.write()


def step_repeats(pairs: int) -> int:
    """How often a step at 512 x 512 pixels is timed."""
    return max(pairs // 2, 1)


def shares(bench: Bench, pairs: int) -> dict[str, float]:
    """Conjugate gradients as a share of a data step at 512 x 512 pixels, by operator."""

    def step() -> None:
        bench.called()
        bench.vae.encode(bench.vae.decode(bench.latent))

    step()
    whole = statistics.median(seconds(step) for _ in range(step_repeats(pairs)))
    found = {"step seconds": whole}
    for name, settings in OPERATORS.items():
        solve = conjugate_gradients(bench, settings)
        solve()
        found[name] = statistics.median(seconds(solve) for _ in range(SOLVES * pairs)) / whole
        log.info("%s: %.4f of a step of %.1f s", name, found[name], whole)
    return found


if __name__ == "__main__":
    main()
