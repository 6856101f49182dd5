"""Distillation inside the host's sampler: one driver for every generator, and the run of latents and pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.noise import SeededNoise
from ...guidance.distillation.ending import sample_to_the_end
from ...guidance.distillation.generators import Generator, Latent, Pixels
from ...guidance.distillation.loop import NonFiniteGradientError, Plan, Step, optimize
from ...guidance.distillation.method import Config, Resources
from ...guidance.distillation.objective import Objective
from ...guidance.distillation.regularizers import (
    L2ToSource,
    Loss,
    MeasurementTerm,
    PixelTerm,
    Regularizer,
    beside_data,
)
from ...guidance.restoration.measurement import Measurement
from .. import checks, host
from ..sockets import ObjectiveSocket
from .thinning import thinned

EVENT = "dreamsampler.curve"
"""Its data: the `node` that runs, its total number of `steps`, and the new part of its `curve`."""
EVENT_INTERVAL = 0.3
"""Minimum time between two events, in seconds."""
COLUMNS = ("step", "t", "gradient_norm", "loss")


class Curve:
    """The measured values of a distillation, sent to the page while it runs.

    `data` holds the method's name, the settings `used` in words and, per column, a list with one entry per step.
    Entries of all columns but "step" are lists themselves, with one number per batch item.
    """

    def __init__(self, method: str, steps: int, used: str = ""):
        self.data: dict[str, Any] = {"method": method, "used": used, **{name: [] for name in COLUMNS}}
        self._steps, self._sent, self._sent_at = steps, 0, -math.inf

    def add(self, step: Step) -> None:
        """Append a step, and send what is new if it is time."""
        norm = step.gradient_norm.cpu().double()
        values = (step.index, step.t.tolist(), norm.tolist(), (0.5 * norm.square()).tolist())
        for name, value in zip(COLUMNS, values, strict=True):
            self.data[name].append(value)
        if time.monotonic() - self._sent_at >= EVENT_INTERVAL or step.index == self._steps - 1:
            self._send()

    @property
    def output(self) -> dict[str, Any]:
        """`data` at `MAX_POINTS` steps at most, for the node's output."""
        return thinned(self.data, "gradient_norm")

    @property
    def notes(self) -> list[str]:
        """A sentence if the gradient was 0 in every step."""
        if any(any(norms) for norms in self.data["gradient_norm"]):
            return []
        return [
            f"The gradient of '{self.data['method']}' was 0 in every step, so nothing changed. Source and target say "
            "the same, or the method has no weight at noise levels from t_min to t_max: widen them."
        ]

    def _send(self) -> None:
        new = {name: self.data[name][self._sent :] for name in COLUMNS}
        host.send_event(EVENT, {"curve": {**self.data, **new}, "steps": self._steps})
        self._sent, self._sent_at = len(self.data["step"]), time.monotonic()


def check_distillation(model: Any, chosen: ObjectiveSocket, config: Config, vae: Any) -> None:
    """Check that prompts, VAE, times and corrective fit the MODEL and the method. Raises ValueError."""
    host.model_path(model)
    checks.check_objective(model, chosen, config)
    checks.check_autoencoder(model, vae)
    chosen.method.check(config)
    checks.check_weighting(model, config)
    if config.n_min and vae is not None:
        raise ValueError(
            f"n_min is {config.n_min}, but the last steps can only sample a latent, not the pixels that 'vae' "
            "optimizes: disconnect 'vae', or set n_min to 0."
        )
    if "corrective" in chosen.method.needs:
        checks.check_objective_corrective(model, chosen, config.own.guidance_scale)


def for_changing_views(config: Config) -> Config:
    """The settings for views that change at every step: the noise estimated in one does not belong to the next."""
    return config.updated({"noise_policy": "fresh"}) if config.loop.noise_policy == "estimated" else config


@dataclass(frozen=True)
class Distillation:
    """What every distillation has in common: a method, its settings, seeds, and the curve to record.

    `seeds` holds one seed per batch item. The first one also initializes the LoRA of a method that trains one.
    """

    chosen: ObjectiveSocket
    config: Config
    seeds: Sequence[int]
    curve: Curve | None = None

    def objective(
        self,
        run: host.Run,
        noise: SeededNoise,
        reference: Tensor | None,
        targets: Callable[[], Sequence[str]] | None = None,
    ) -> Objective:
        """The gradient field. `reference` (B or 1, ...) in model scale is the latent that some methods compare with.

        `targets` names the target prompt of each item at the time, where items have their own.
        """
        method = self.chosen.method
        corrective = self.chosen.corrective if "corrective" in method.needs else None  # to copy it takes memory
        if corrective is not None:
            _check_patches(run, corrective.about.size)

        def particles(rank: int, learning_rate: float) -> host.LoraParticles:
            return host.LoraParticles(run, rank, learning_rate, self.seeds[0], targets)

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
        """The steps of the loop, to be taken within `run.with_gradients`. `plan` replaces the one of the settings.

        Without the last `n_min`, which `ending` takes. Raises ValueError where the gradient becomes NaN or infinite.
        """
        plan = plan or self.config.edit.plan(run.prior, run.latent)
        walk = optimize(
            run.prior, generator, objective, plan=plan, noise=noise, regularizers=regularizers, losses=losses
        )
        return self._recorded(walk)

    def ending(
        self, run: host.Run, generator: Generator, noise: SeededNoise, reference: Tensor | None
    ) -> Iterator[Step]:
        """The last `n_min` steps, which sample with the target prompt, after all of `steps` were taken."""
        ending, config = self.chosen.method.ending, self.config
        if ending is None or reference is None or not config.n_min:
            return iter(())
        walk = sample_to_the_end(
            run.prior,
            generator,
            ending(config.own),
            reference=reference,
            noise=noise,
            times=config.ending_times,
            first=config.edit.steps,
            steps=config.n_min,
        )
        return self._recorded(walk)

    def _recorded(self, walk: Iterator[Step]) -> Iterator[Step]:
        try:
            for step in walk:
                if self.curve is not None:
                    self.curve.add(step)
                yield step
        except NonFiniteGradientError as error:
            raise ValueError(self._message(error)) from error

    def _message(self, error: NonFiniteGradientError) -> str:
        times = ", ".join(f"{t:.3f}" for t in error.t.tolist())
        return (
            f"The gradient of '{self.chosen.method.name}' became NaN or infinite at step {error.index + 1} of "
            f"{self.config.loop.steps} (t = {times}). The preview, if previews are on, shows the last good image. "
            "Lower learning_rate or guidance_scale, or load the model in a wider type (bf16 or fp32 instead of fp16)."
        )


@dataclass(frozen=True, kw_only=True)
class ImageDistillation(Distillation):
    """The distillation of a batch of latents, or of their pixels with a `vae`.

    `reference` (B or 1, ...) is in the host's scale. `from_noise` starts at noise instead of the latent;
    `source_weight` is the weight of the squared distance from the latent. `measurement` pulls pixels to agree with it,
    `data_weight` times as much as the latent to its clean estimate; `pixel_weight` is that of the pixels to theirs.
    """

    reference: Tensor | None = None
    from_noise: bool = False
    source_weight: float = 0.0
    model: Any
    vae: Any = None
    measurement: Measurement | None = None
    data_weight: float = 0.0
    pixel_weight: float = 0.0

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, ExitStack() as stack:
            noise = SeededNoise(self.seeds)
            generator, losses = self._generator(run, noise, stack)
            reference = None if self.reference is None else run.to_model_scale(self.reference)
            objective = self.objective(run, noise, reference)
            pulls = [L2ToSource(run.latent, self.source_weight)] if self.source_weight else []
            plan = self.config.edit.plan(run.prior, run.latent)
            if self.measurement is not None:
                plan = replace(plan, weight=beside_data(plan.weight))
            edit = self.steps(run, generator, objective, noise, plan=plan, regularizers=pulls, losses=losses)
            for step in chain(edit, self.ending(run, generator, noise, reference)):
                run.progress(step.index, step.z, step.z)
            with torch.no_grad():
                return (generator().clone(),)

    def _generator(self, run: host.Run, noise: SeededNoise, stack: ExitStack) -> tuple[Generator, Sequence[Loss]]:
        """What is optimized, and the losses on its pixels if it has any."""
        start = noise.like(run.latent) if self.from_noise else run.latent
        if self.vae is None:
            return Latent(start, run.mask, kept=run.latent), ()
        pixels = self._decoded(run, start)
        kept = pixels if run.mask is None or not self.from_noise else self._decoded(run, run.latent)
        autoencoder = stack.enter_context(host.autoencoder(self.vae, self.model, run))

        def encode(pixels: Tensor) -> Tensor:
            return autoencoder.encode(2 * pixels - 1)

        generator = Pixels(pixels, encode, _for_pixels(run.mask, pixels), kept)
        return generator, self._losses(run, generator, autoencoder)

    def _losses(self, run: host.Run, generator: Pixels, autoencoder: host.HostAutoencoder) -> list[Loss]:
        """Terms whose weight 1 is that of the squared distance of latents, by `weighting` snr (see `beside_data`)."""
        losses, path, unit = list[Loss](), run.prior.path, run.latent[0].numel() / 2
        if self.measurement is not None:
            measurement = self.measurement.to(generator.images)
            losses.append(MeasurementTerm(generator, measurement, path, unit * self.data_weight))
        if self.pixel_weight:
            losses.append(PixelTerm(lambda: generator.images, autoencoder.decode, path, unit * self.pixel_weight))
        return losses

    def _decoded(self, run: host.Run, latent: Tensor) -> Tensor:
        return host.decoded(self.vae, run.to_host_scale(latent)).clone()


def _check_patches(run: host.Run, size: tuple[int, int]) -> None:
    """Raises ValueError where an image is optimized in patches of `size` cells, and prompts lie over the whole."""
    height, width = run.latent.shape[-2:]
    if height <= size[0] and width <= size[1]:
        return
    for name, cond in run.denoiser.conds.items():
        found = host.parts_of_whole_images(cond)
        if found:
            raise ValueError(
                f"The prompt '{name}' has {' and '.join(found)} for the whole image, but an image of {width}x{height} "
                f"latent cells is optimized in patches of {size[1]}x{size[0]}, the corrective's own size: remove it "
                "from the prompt, make the image no larger than that, or choose another method."
            )


def _for_pixels(mask: Tensor | None, pixels: Tensor) -> Tensor | None:
    """A mask over latents (B, C, [1,] h, w) at the size of pixels (B, 3, H, W): (B, 1, H, W)."""
    if mask is None:
        return None
    plain = mask[:, :1].reshape(len(mask), 1, *mask.shape[-2:])
    return F.interpolate(plain, pixels.shape[-2:], mode="bilinear").to(pixels)
