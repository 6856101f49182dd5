"""Score distillation via DDIM inversion (SDI)."""

from __future__ import annotations

from dataclasses import dataclass

from ..method import LoopSettings, Method, register
from .sds import SDS


@dataclass(frozen=True)
class SDISettings:
    """The guidance scale of the paper (Lukoianov et al., 2024). The gradient is that of SDS; the noise is inverted."""

    guidance_scale: float = 7.5


LOOP = LoopSettings(
    steps=50,
    learning_rate=0.05,
    optimizer="adam",
    weighting="uniform",
    time_schedule="descending",
    noise_policy="inverted",
    eta=0.3,
    inversion_steps=5,
)
"""The paper's times, and its noise at the guidance of its inversion. The rest is ours, for images in 600 model
evaluations; so is the start at the empty latent: inverted from noise, the image hides the prompt."""

register(Method("sdi", lambda s, _: SDS(s.guidance_scale), SDISettings(), LOOP, from_zeros=True, order=14))
