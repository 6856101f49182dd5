"""Distillation inside the host's sampler: one driver for every generator, and the run of latents and pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.noise import SeededNoise
from ...guidance.distillation.generators import Generator, Latent, Pixels
from ...guidance.distillation.method import Config, Resources
from ...guidance.distillation.objective import Objective
from ...guidance.distillation.optimize import NonFiniteGradient, Plan, Step, optimize
from ...guidance.distillation.regularizers import L2ToSource, Loss, Regularizer
from .. import host
from ..sockets import ObjectiveSocket

EVENT = "dreamsampler.curve"
"""Its data: the `node` that runs, how many `steps` it makes, and the new part of its `curve`."""
BETWEEN = 0.3
"""Seconds between two events at least."""
MEASURES = ("step", "t", "gradient_norm", "loss")


class Curve:
    """What each step of a distillation did; the page is told while it grows.

    `whole` has the method's name and lists with one entry per step. Times, norms and losses are lists themselves, with
    one number for each item of the batch.
    """

    def __init__(self, method: str, steps: int):
        self.whole: dict[str, Any] = {"method": method, **{name: [] for name in MEASURES}}
        self._steps, self._told, self._when = steps, 0, -math.inf

    def note(self, step: Step) -> None:
        """Add a step."""
        norm = step.gradient_norm.cpu().double()
        values = (step.index, step.t.tolist(), norm.tolist(), (0.5 * norm.square()).tolist())
        for name, value in zip(MEASURES, values, strict=True):
            self.whole[name].append(value)
        if time.monotonic() - self._when >= BETWEEN or step.index == self._steps - 1:
            self._tell()

    def _tell(self) -> None:
        part = {name: self.whole[name][self._told :] for name in MEASURES}
        host.tell_page(EVENT, {"curve": {**part, "method": self.whole["method"]}, "steps": self._steps})
        self._told, self._when = len(self.whole["step"]), time.monotonic()


@dataclass(frozen=True)
class Distillation:
    """What every distillation has, whatever it optimizes: a method, its settings and seeds, and the curve it draws.

    `seeds` holds one seed per item of the batch; the first one also starts the LoRA of a method that trains one.
    """

    chosen: ObjectiveSocket
    config: Config
    seeds: Sequence[int]
    curve: Curve | None = None

    def objective(self, run: host.Run, noise: SeededNoise, reference: Tensor | None) -> Objective:
        """The gradient field. `reference` (B or 1, ...), in model scale, is what it compares with, if it does."""
        method, corrective = self.chosen.method, self.chosen.corrective

        def particles(rank: int, learning_rate: float) -> host.LoraParticles:
            return host.LoraParticles(run, rank, learning_rate, self.seeds[0])

        resources = Resources(noise, reference, None if corrective is None else corrective.to(run.latent), particles)
        return method.build(self.config.own, resources)

    def steps(
        self,
        run: host.Run,
        generator: Generator,
        objective: Objective,
        noise: SeededNoise,
        *,
        plan: Plan | None = None,
        regularizers: Sequence[Regularizer] = (),
        losses: Sequence[Loss] = (),
    ) -> Iterator[Step]:
        """The steps of the loop; `plan` replaces the one that the settings make. Use it within `run.with_gradients`."""
        plan = plan or self.config.loop.plan(run.prior, run.latent)
        walk = optimize(
            run.prior, generator, objective, plan=plan, noise=noise, regularizers=regularizers, losses=losses
        )
        try:
            for step in walk:
                if self.curve is not None:
                    self.curve.note(step)
                yield step
        except NonFiniteGradient as error:
            raise ValueError(self._broken(error)) from error

    def _broken(self, error: NonFiniteGradient) -> str:
        times = ", ".join(f"{t:.3f}" for t in error.t.tolist())
        return (
            f"The gradient of '{self.chosen.method.name}' became NaN or infinite at step {error.index + 1} of "
            f"{self.config.loop.steps} (t = {times}). The preview, if previews are on, shows the last good image. "
            "Lower learning_rate or guidance_scale, or load the model in a wider type (bf16 or fp32 instead of fp16)."
        )


@dataclass(frozen=True)
class ImageDistillation(Distillation):
    """The distillation of a batch of latents, or with a `vae` of their pixels.

    `reference` (B or 1, ...) is in the host's scale. `from_noise` starts at noise instead of the latent;
    `source_weight` is the weight of the squared distance from the latent.
    """

    reference: Tensor | None = None
    from_noise: bool = False
    source_weight: float = 0.0
    model: Any = None
    vae: Any = None

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, ExitStack() as stack:
            noise = SeededNoise(self.seeds)
            generator = self._generator(run, noise, stack)
            reference = None if self.reference is None else run.to_model_scale(self.reference)
            objective = self.objective(run, noise, reference)
            pulls = [L2ToSource(run.latent, self.source_weight)] if self.source_weight else []
            for step in self.steps(run, generator, objective, noise, regularizers=pulls):
                run.progress(step.index, step.z, step.z)
            with torch.no_grad():
                return (generator().clone(),)

    def _generator(self, run: host.Run, noise: SeededNoise, stack: ExitStack) -> Generator:
        start = noise.like(run.latent) if self.from_noise else run.latent
        if self.vae is None:
            return Latent(start, run.mask, kept=run.latent)
        pixels = self._decoded(run, start)
        kept = pixels if run.mask is None or not self.from_noise else self._decoded(run, run.latent)
        autoencoder = stack.enter_context(host.autoencoder(self.vae, self.model, run))

        def encode(pixels: Tensor) -> Tensor:
            return autoencoder.encode(2 * pixels - 1)

        return Pixels(pixels, encode, _for_pixels(run.mask, pixels), kept)

    def _decoded(self, run: host.Run, latent: Tensor) -> Tensor:
        return host.decoded(self.vae, run.to_host_scale(latent)).clone()


def _for_pixels(mask: Tensor | None, pixels: Tensor) -> Tensor | None:
    """A mask over latents (B, C, [1,] h, w) as one over pixels (B, 3, H, W): (B, 1, H, W)."""
    if mask is None:
        return None
    plain = mask[:, :1].reshape(len(mask), 1, *mask.shape[-2:])
    return F.interpolate(plain, pixels.shape[-2:], mode="bilinear").to(pixels)
