"""DreamSampler's general form (Algorithm 2): distillation that samples."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.denoiser import predict_guided
from ...core.prior import Prior
from ...editing.proximal import Renoise
from ..method import LoopSettings, Method, register
from ..objective import Direction, Sample, guided_eps_hat


@dataclass(frozen=True)
class DreamSampler:
    """DreamSampler (Kim et al., 2024), Algorithm 2: `eps_hat^s(y) - eps`, and the noise of the next step.

    `guidance_scale` is s. `renoise` selects the prediction that the noise policy "estimated" adds at the next step:
    "guided" (the paper) is `eps_hat^s(y)`, "unconditional" (the authors' code for edits) is `eps_hat()`. One model call
    of 2, of 1 if guided by scale 1.
    """

    guidance_scale: float
    renoise: Renoise

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        x, sigma = sample.noised(prior.path), sample.sigma
        if self.renoise == "guided":
            guided = guided_eps_hat(prior, x, sigma, self.guidance_scale)
            return Direction(guided - sample.eps, guided)
        clean = predict_guided(prior.denoise, x, sigma, self.guidance_scale)
        null, guided = (prior.path.eps_hat(x, z0_hat, sigma) for z0_hat in clean)
        return Direction(guided - sample.eps, null)


@dataclass(frozen=True)
class DreamSamplerSettings:
    """Guidance and `renoise` are ours: those of the paper, 100 and "guided", lose the prompt (docs/figures.md)."""

    guidance_scale: float = 7.5
    renoise: Renoise = "unconditional"


LOOP = LoopSettings(
    steps=200,
    learning_rate=0.05,
    optimizer="adam",
    weighting="uniform",
    time_schedule="descending",
    noise_policy="estimated",
    eta=1.0,
)
"""The paper's steps, weight, times and noise; learning rate, optimizer and eta are ours."""

register(
    Method(
        "dreamsampler",
        lambda s, _: DreamSampler(s.guidance_scale, s.renoise),
        DreamSamplerSettings(),
        LOOP,
        without_null={"guidance_scale": 1.0, "renoise": "guided"},
        order=13,
    )
)
