"""The host boundary: the only folder that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a prior, progress, trainable copies, an encoder with gradients)
from inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from .fingerprint import fingerprint, model_fingerprint
from .gradients import gradients, ordinary
from .lora import lora_particles
from .model import (
    SCHEDULERS,
    base_of,
    distilled_guidance,
    empty_latent,
    family,
    fitted_latent,
    latent_channels,
    latent_has_frames,
    model_path,
    noise_schedule,
    path_of,
    schedule,
    whole_range,
)
from .posterior_gradient import PosteriorGradient, data_fit
from .progress import Cancelled, Previews, device, with_progress
from .replacements import Replacement, register_replacements
from .sampling import Method, Run, run_method
from .shelf import CORRECTIVES, TRANSLATORS, translator_targets
from .svg import input_svg, input_svg_names, svg_files, svg_previews, svg_value
from .text import blocked, show_on_node, tell_page, tokens
from .unfinished import read_state, unfinished_training, write_state
from .vae import HostAutoencoder, autoencoder, decoded

__all__ = [
    "CORRECTIVES",
    "SCHEDULERS",
    "TRANSLATORS",
    "Cancelled",
    "HostAutoencoder",
    "Method",
    "PosteriorGradient",
    "Previews",
    "Replacement",
    "Run",
    "autoencoder",
    "base_of",
    "blocked",
    "data_fit",
    "decoded",
    "device",
    "distilled_guidance",
    "empty_latent",
    "family",
    "fingerprint",
    "fitted_latent",
    "gradients",
    "input_svg",
    "input_svg_names",
    "latent_channels",
    "latent_has_frames",
    "lora_particles",
    "model_fingerprint",
    "model_path",
    "noise_schedule",
    "ordinary",
    "path_of",
    "read_state",
    "register_replacements",
    "run_method",
    "schedule",
    "show_on_node",
    "svg_files",
    "svg_previews",
    "svg_value",
    "tell_page",
    "tokens",
    "translator_targets",
    "unfinished_training",
    "whole_range",
    "with_progress",
    "write_state",
]
