"""The host boundary: the only folder that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a prior, progress, trainable copies, an encoder with gradients)
from inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from .gradients import gradients
from .lora import lora_particles
from .model import (
    SCHEDULERS,
    distilled_guidance,
    fitted_latent,
    latent_channels,
    latent_has_frames,
    model_path,
    path_of,
    schedule,
    whole_range,
)
from .sampling import Method, Run, run_method
from .text import show_on_node, tokens
from .vae import PictureEncoder, decoded, picture_encoder

__all__ = [
    "SCHEDULERS",
    "Method",
    "PictureEncoder",
    "Run",
    "decoded",
    "distilled_guidance",
    "fitted_latent",
    "gradients",
    "latent_channels",
    "latent_has_frames",
    "lora_particles",
    "model_path",
    "path_of",
    "picture_encoder",
    "run_method",
    "schedule",
    "show_on_node",
    "tokens",
    "whole_range",
]
