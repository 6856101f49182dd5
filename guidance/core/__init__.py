"""What all methods are built on: noising path, denoiser, prior, seeded noise, DDIM and DDPM.

Example: invert a latent `z0` and sample it back, with any `denoise` that follows the `Denoiser` protocol.

    *_, top = ddim_invert(denoise, SCALED, z0, sigmas)
    z0_again = ddim_sample(denoise, SCALED, top.x, sigmas, NULL)
"""

from .ddim import ddim_sample, ddim_step, fresh_share
from .ddpm import ddpm_invert, noised_states, posterior
from .denoiser import (
    NULL,
    SOURCE,
    TARGET,
    Denoiser,
    GuidanceOverride,
    GuidedDenoiser,
    PairedDenoiser,
    TrainableDenoiser,
    guide,
    guided_estimate,
    predict_guided,
)
from .inversion import InversionStep, ddim_invert, fixed_point_invert
from .noise import SeededNoise
from .path import FLOW, SCALED, NoisePath, flow_path
from .prior import Prior

__all__ = [
    "FLOW",
    "NULL",
    "SCALED",
    "SOURCE",
    "TARGET",
    "Denoiser",
    "GuidanceOverride",
    "GuidedDenoiser",
    "InversionStep",
    "NoisePath",
    "PairedDenoiser",
    "Prior",
    "SeededNoise",
    "TrainableDenoiser",
    "ddim_invert",
    "ddim_sample",
    "ddim_step",
    "ddpm_invert",
    "fixed_point_invert",
    "flow_path",
    "fresh_share",
    "guide",
    "guided_estimate",
    "noised_states",
    "posterior",
    "predict_guided",
]
