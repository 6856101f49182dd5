"""The host boundary: the only folder that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a prior, progress, trainable copies, an encoder with gradients)
from inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from .fingerprint import fingerprint, model_fingerprint
from .gradients import gradients, ordinary
from .lora import LoraParticles
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
from .model_files import CORRECTIVES, TRANSLATORS, translator_targets
from .posterior_gradient import PosteriorGradient, data_fit
from .progress import Cancelled, Previews, device, with_progress
from .replacements import Replacement, register_replacements
from .sampling import Algorithm, Run, run_in_sampler
from .svg import input_svg, input_svg_names, svg_files, svg_previews, svg_value
from .text import blocked, show_on_node, tell_page, tokens
from .training_state import read_state, unfinished_training, write_state
from .vae import HostAutoencoder, autoencoder, decoded

__all__ = [
    "CORRECTIVES",
    "SCHEDULERS",
    "TRANSLATORS",
    "Cancelled",
    "HostAutoencoder",
    "LoraParticles",
    "Algorithm",
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
    "model_fingerprint",
    "model_path",
    "noise_schedule",
    "ordinary",
    "path_of",
    "read_state",
    "register_replacements",
    "run_in_sampler",
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
