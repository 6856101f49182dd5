"""The host boundary: the only folder that knows ComfyUI's internals.

It gives the pure methods of `guidance` what they need (a prior, progress, trainable copies, a differentiable encoder)
from inside the host's own sampler, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading, previews and
canceling work as with the host's samplers.
"""

from .conds import parts_of_whole_images
from .files import UnwritableFileError
from .fingerprint import fingerprint, model_fingerprint
from .gradients import gradients, ordinary
from .links import link_fits
from .lora import LoraParticles
from .model import (
    distilled_guidance,
    empty_latent,
    family,
    fitted_latent,
    full_range,
    image_size,
    is_distilled,
    keeps_latent_shape,
    latent_channels,
    latent_has_frames,
    model_path,
    noise_schedule,
    sampled_latent,
    schedule,
    schedulers,
    signal_at,
    size_far_from,
    weights_digest,
)
from .model_files import CORRECTIVES, TRANSLATORS, listed_translations
from .names import did_you_mean, nearest
from .oom_fallback import OomFallback, free_memory, free_ram, is_cpu_oom, is_oom
from .posed_views import checked_views, posed_image, posed_view_folders, posed_views_file, posed_views_versions
from .posterior_gradient import PosteriorGradient, check_gradients, data_fit
from .progress import Cancelled, Previews, device, with_progress
from .replacements import Replacement, register_replacements
from .samples import offer_samples
from .sampling import Algorithm, Run, run_in_sampler
from .splat_files import (
    check_prefix,
    input_splat,
    input_splat_names,
    input_splat_versions,
    read_input_splat,
    save_splats,
)
from .splats import SPLAT, splat_scenes, splat_value, temporary_splat
from .svg import (
    input_svg,
    input_svg_names,
    input_svg_versions,
    read_input_svg,
    svg_files,
    svg_previews,
    svg_value,
)
from .text import blocked, send_event, show_on_node, tokenize
from .training_state import read_state, remove_old_states, set_aside, training_state_path, write_state
from .vae import FrugalEncoder, HostAutoencoder, autoencoder, decoded

__all__ = [
    "CORRECTIVES",
    "SPLAT",
    "TRANSLATORS",
    "Algorithm",
    "Cancelled",
    "FrugalEncoder",
    "HostAutoencoder",
    "LoraParticles",
    "OomFallback",
    "PosteriorGradient",
    "Previews",
    "Replacement",
    "Run",
    "UnwritableFileError",
    "autoencoder",
    "blocked",
    "check_gradients",
    "check_prefix",
    "checked_views",
    "data_fit",
    "decoded",
    "device",
    "did_you_mean",
    "distilled_guidance",
    "empty_latent",
    "family",
    "fingerprint",
    "fitted_latent",
    "free_memory",
    "free_ram",
    "full_range",
    "gradients",
    "image_size",
    "is_distilled",
    "input_splat",
    "input_splat_names",
    "input_splat_versions",
    "input_svg",
    "input_svg_names",
    "input_svg_versions",
    "is_cpu_oom",
    "is_oom",
    "keeps_latent_shape",
    "latent_channels",
    "latent_has_frames",
    "link_fits",
    "listed_translations",
    "model_fingerprint",
    "model_path",
    "nearest",
    "noise_schedule",
    "offer_samples",
    "ordinary",
    "parts_of_whole_images",
    "posed_image",
    "posed_view_folders",
    "posed_views_file",
    "posed_views_versions",
    "read_input_splat",
    "read_input_svg",
    "read_state",
    "register_replacements",
    "remove_old_states",
    "run_in_sampler",
    "sampled_latent",
    "signal_at",
    "save_splats",
    "schedule",
    "schedulers",
    "send_event",
    "set_aside",
    "show_on_node",
    "size_far_from",
    "splat_scenes",
    "splat_value",
    "svg_files",
    "svg_previews",
    "svg_value",
    "temporary_splat",
    "tokenize",
    "training_state_path",
    "weights_digest",
    "with_progress",
    "write_state",
]
