"""The host boundary: the only folder that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a prior, progress, trainable copies, an encoder with gradients)
from inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from .gradients import gradients, ordinary
from .lora import lora_particles
from .model import (
    SCHEDULERS,
    distilled_guidance,
    empty_latent,
    fitted_latent,
    latent_channels,
    latent_has_frames,
    model_path,
    path_of,
    schedule,
    whole_range,
)
from .posterior_gradient import PosteriorGradient
from .progress import Previews, device, with_progress
from .sampling import Method, Run, run_method
from .svg import input_svg, input_svg_names, svg_files, svg_previews, svg_value
from .text import blocked, show_on_node, tokens
from .vae import HostAutoencoder, autoencoder, decoded

__all__ = [
    "SCHEDULERS",
    "HostAutoencoder",
    "Method",
    "PosteriorGradient",
    "Previews",
    "Run",
    "autoencoder",
    "blocked",
    "decoded",
    "device",
    "distilled_guidance",
    "empty_latent",
    "fitted_latent",
    "gradients",
    "input_svg",
    "input_svg_names",
    "latent_channels",
    "latent_has_frames",
    "lora_particles",
    "model_path",
    "ordinary",
    "path_of",
    "run_method",
    "schedule",
    "show_on_node",
    "svg_files",
    "svg_previews",
    "svg_value",
    "tokens",
    "whole_range",
    "with_progress",
]
