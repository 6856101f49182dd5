"""A method run inside the host's sampling, so that all that belongs to a MODEL is in force."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...guidance.prior import Prior
from .denoiser import HostDenoiser
from .gradients import ordinary
from .model import clock_of, path_of


@dataclass(frozen=True)
class Run:
    """What a method gets: everything in the model's own scale and on its device.

    `latent` (B, ...) is the clean latent, `mask` broadcasts over it or is None, `sigmas` (n + 1,) falls to 0.
    `progress(step, clean_estimate, state)` shows a preview, moves the progress bar and is where a cancelled run stops.
    `to_model_scale` brings another LATENT's tensor to where `latent` is, `to_host_scale` takes it back.
    """

    prior: Prior
    denoiser: HostDenoiser
    sigmas: Tensor
    latent: Tensor
    mask: Tensor | None
    progress: Callable[[int, Tensor, Tensor], None]
    to_model_scale: Callable[[Tensor], Tensor]
    to_host_scale: Callable[[Tensor], Tensor]

    @property
    def levels(self) -> int:
        """How many steps the schedule has."""
        return len(self.sigmas) - 1


Method = Callable[[Run], tuple[Tensor, ...]]
"""A method returns one or more latents (B, ...) in the model's scale; the first is what the host's guider returns."""


def run_method(
    method: Method,
    *,
    model: Any,
    conditionings: dict[str, Any],
    samples: Tensor,
    sigmas: Tensor,
    evaluations: int | None,
    seed: int,
    mask: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Run `method` on a MODEL with named CONDITIONINGs and return its latents in the host's convention.

    `samples` (B, C, H, W) or (B, C, 1, H, W) is a LATENT's tensor; `mask` (B or 1, 1, ..., H, W) may have any
    resolution; `evaluations` is how many steps the method reports, None if it shows its progress itself.
    """
    if samples.ndim == 5:
        for name, conditioning in conditionings.items():
            _one_mask_for_all(name, conditioning)
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(conditionings)
    sampler = _MethodSampler(method, evaluations or 0)
    guider.sample(
        torch.zeros(samples.shape),
        samples,
        sampler,
        sigmas,
        denoise_mask=mask,
        callback=latent_preview.prepare_callback(model, evaluations) if evaluations else None,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return sampler.outputs


def _one_mask_for_all(name: str, conditioning: Any) -> None:
    """On latents with frames the host takes the masks of a conditioning for those of frames, not of pictures."""
    if any(len(values["mask"]) > 1 for _, values in conditioning if getattr(values.get("mask"), "ndim", 0) == 3):
        raise ValueError(
            f"The conditioning on input '{name}' has a mask for each picture of the batch, which models whose latents "
            "have frames (Qwen-Image, Wan) take for the frames of a video. Give it one mask for all pictures, or queue "
            "the pictures one by one."
        )


class _MethodSampler(comfy.samplers.Sampler):
    """A host sampler that runs a method and keeps all of its latents, of which the host's guider returns the first."""

    def __init__(self, method: Method, evaluations: int):
        self.method, self.evaluations = method, evaluations
        self.outputs: tuple[Tensor, ...] = ()

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image: Any = None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        model = model_wrap.inner_model
        scaling = _ordinary_format(model.latent_format)
        denoiser = HostDenoiser(model, model_wrap.conds, extra_args["model_options"])
        run = Run(
            prior=Prior(denoiser, path_of(model.model_sampling), clock_of(model.model_sampling)),
            denoiser=denoiser,
            sigmas=sigmas,
            latent=ordinary(latent_image),
            mask=None if denoise_mask is None else ordinary(denoise_mask),
            progress=lambda step, clean, state: callback(step, clean, state, self.evaluations) if callback else None,
            to_model_scale=lambda samples: scaling.process_in(samples.to(latent_image)),
            to_host_scale=scaling.process_out,
        )
        results = self.method(run)
        to_host = comfy.model_management.intermediate_device()
        self.outputs = tuple(run.to_host_scale(x.to(torch.float32)).to(to_host) for x in results)
        return results[0]


def _ordinary_format(latent_format: Any) -> Any:
    """A model's scaling of latents, by tensors that autograd accepts."""
    own = copy.copy(latent_format)
    for name, value in vars(latent_format).items():
        if isinstance(value, Tensor):
            setattr(own, name, ordinary(value))
    return own
