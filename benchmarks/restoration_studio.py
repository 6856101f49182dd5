"""The reference model for `restoration`, and the settings of its rows."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.proximal import DataSteps
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.restoration import Restoration
from torch import Tensor

from tools.reference import in_process

from .editing import SEED

IMAGES = 128
"""Held-out images of each table."""
BATCH, STEPS, MARGIN, CFG, NOISE_STD = 8, 50, 5, 4.0, 0.01
CONSISTENCY_STEPS, TEMPLATE_STEPS, HOST_STEPS = 80, 58, 92
"""About as many model calls as `STEPS` with gradients, 185: 50 up, 2 for each of 15 data steps and 3 for each of 35
others."""
DING_STEPS, FEW_STEPS = 25, 8
"""Steps from noise, fewer: 75 and 16 model calls."""
TEMPLATE = {"steps": TEMPLATE_STEPS, "gamma": 2.0, "data_every": 1, "consistency": "both"}
EQUAL_DING, EQUAL_FEW = 62, 92
"""Steps of `ding`, with 2 conditionings and 1 proxy each, and of `few steps`, with as many model calls as `STEPS`."""
FROM_NOISE: dict[str, Any] = {"start_from": "noise", "gamma": 2.0, "gamma_schedule": "constant", "renoise": "guided"}
DING, FEW = {**FROM_NOISE, "consistency": "ding"}, {**FROM_NOISE, "gamma": 1.0, "consistency": "few steps"}
Figures = dict[str, list[float]]
"""A row of a table: the values of its columns for each image; accuracies are 1 or 0 for images of that attribute."""


class Studio:
    """The reference model and the pack's nodes."""

    def __init__(self) -> None:
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.nothing = self.reference.conditioning([""])
        self.reference.run_autoencoder_in_bfloat16()

    def measured(self, images: Tensor, operator: str, mask: Tensor | None = None, **inputs: Any) -> tuple[Any, Tensor]:
        """A measurement of images (B, 3, H, W) in [0, 1], and the degraded images."""
        given = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.0, "simulate": True, **inputs}
        measurement, observed = MeasurementNode.execute(
            images.movedim(1, -1), operator, seed=SEED, mask=mask, **given
        ).args
        return measurement, observed.movedim(-1, 1)

    def restored(
        self,
        measurement: Any,
        observed: Tensor,
        conditioning: Any,
        notes: list[str] | None = None,
        *,
        steps: int,
        **how: Any,
    ) -> tuple[Tensor, Tensor]:
        """Decoded images without and with projection onto the measurement. `notes` gets those of the node."""
        model, latent = self.reference.model, self.reference.latent(observed)
        given = {
            "gamma": 1.0, "gamma_schedule": "alpha_bar", "renoise": "unconditional", "start_from": "inversion", **how
        }  # fmt: skip
        output = ProximalDreamSampler.execute(
            model, conditioning, self.nothing, latent, steps=steps, eta=1.0, scheduler="normal", seed=SEED,
            vae=self.reference.vae, measurement=measurement, **given,
        )  # fmt: skip
        (made, _, image), ui = output.args, output.ui
        if notes is not None and isinstance(ui, dict):
            notes += ui["text"]
        return self.reference.decoded(made), image.movedim(-1, 1)

    def walked(
        self,
        kind: type[Restoration],
        settings: ProximalSettings,
        measurement: Measurement,
        observed: Tensor,
        conditioning: Any,
    ) -> Tensor:
        """Decoded images by another algorithm than the node's, with its noise and the paper's data steps."""
        model, samples = self.reference.model, self.reference.latent(observed)["samples"]
        seeds = item_seeds(SEED, range(len(samples)))
        made, _ = host.run_in_sampler(
            kind(settings, "inversion", seeds, model, self.reference.vae, measurement, "both", DataSteps(), 1.0),
            model=model,
            conditionings={"positive": conditioning, "negative": self.nothing},
            samples=samples,
            sigmas=host.schedule(model, "normal", STEPS),
            evaluations=2 * STEPS,
            seed=SEED,
        )
        return self.reference.decoded({"samples": made})


def psnr_within(made: Tensor, images: Tensor, masks: Tensor) -> list[float]:
    """PSNR within masks (B, H, W) of images (B, 3, H, W)."""
    error = ((made - images).square().mean(1) * masks).sum((1, 2)) / masks.sum((1, 2))
    return (-10 * error.clamp(min=1e-10).log10()).tolist()


def timed(work: Callable[[], tuple[Tensor, Tensor]]) -> tuple[tuple[Tensor, Tensor], float]:
    """A result, and the seconds of the CPU it took."""
    started = process_time()
    return work(), process_time() - started
