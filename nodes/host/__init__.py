"""The host boundary: the only folder that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a prior, progress, trainable copies, an encoder with gradients)
from inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from .correctives import (
    base_of,
    corrective_file,
    corrective_names,
    family,
    new_corrective_file,
    noise_schedule,
    read_corrective,
    read_corrective_file,
    read_state,
    unfinished_training,
    write_corrective,
    write_state,
)
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
from .text import blocked, show_on_node, tell_page, tokens
from .vae import HostAutoencoder, autoencoder, decoded

__all__ = [
    "SCHEDULERS",
    "HostAutoencoder",
    "Method",
    "PosteriorGradient",
    "Previews",
    "Run",
    "autoencoder",
    "base_of",
    "blocked",
    "corrective_file",
    "corrective_names",
    "decoded",
    "device",
    "distilled_guidance",
    "empty_latent",
    "family",
    "fitted_latent",
    "gradients",
    "input_svg",
    "input_svg_names",
    "latent_channels",
    "latent_has_frames",
    "lora_particles",
    "model_path",
    "new_corrective_file",
    "noise_schedule",
    "ordinary",
    "path_of",
    "read_corrective",
    "read_corrective_file",
    "read_state",
    "run_method",
    "schedule",
    "show_on_node",
    "svg_files",
    "svg_previews",
    "svg_value",
    "tell_page",
    "tokens",
    "unfinished_training",
    "whole_range",
    "with_progress",
    "write_corrective",
    "write_state",
]
