"""Runs an algorithm inside the host's sampler, so that everything attached to a MODEL applies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...guidance.core.path import NoisePath
from ...guidance.core.prior import Prior
from .denoiser import HostDenoiser, PatchedDenoiser
from .gradients import gradients, ordinary, ordinary_attributes
from .model import clock_of, model_path, without_caches
from .patches import GUIDANCE_PATCHES, note_on_guidance, note_on_masks
from .text import show_on_node

log = logging.getLogger("dreamsampler")


@dataclass(frozen=True)
class Run:
    """The input of an algorithm, in the model's scale and on its device.

    Attributes:
        prior: the model as a prior.
        denoiser: the same model with the host's own features.
        sigmas: (n + 1,) noise levels, falling to 0.
        latent: (B, ...) clean latent.
        mask: broadcasts over `latent`, or None.
        progress: `progress(step, clean_estimate, state)` shows a preview, moves the progress bar, and raises the host's
            exception if the user has canceled.
        latent_format: the host's scaling of latents.
    """

    prior: Prior
    denoiser: HostDenoiser
    sigmas: Tensor
    latent: Tensor
    mask: Tensor | None
    progress: Callable[[int, Tensor, Tensor], None]
    latent_format: Any

    @property
    def levels(self) -> int:
        """The number of steps of the schedule."""
        return len(self.sigmas) - 1

    def to_model_scale(self, samples: Tensor) -> Tensor:
        """A LATENT's tensor, in the scale and on the device of `latent`."""
        return self.latent_format.process_in(samples.to(self.latent))

    def to_host_scale(self, latent: Tensor) -> Tensor:
        """A latent in model scale as a LATENT's tensor."""
        return self.latent_format.process_out(latent)

    @contextmanager
    def with_gradients(self) -> Iterator[Run]:
        """Leave inference mode; gives the same run with tensors that autograd accepts."""
        with gradients():
            yield replace(
                self,
                latent=ordinary(self.latent),
                mask=None if self.mask is None else ordinary(self.mask),
                latent_format=ordinary_attributes(self.latent_format),
            )


Algorithm = Callable[[Run], tuple[Tensor, ...]]
"""Runs inside the host's sampler and returns latents (B, ...) in the model's scale."""


def run_in_sampler(
    algorithm: Algorithm,
    *,
    model: Any,
    conditionings: dict[str, Any],
    samples: Tensor,
    sigmas: Tensor,
    evaluations: int | None,
    seed: int,
    mask: Tensor | None = None,
    notes: list[str] | None = None,
) -> tuple[Tensor, ...]:
    """Run `algorithm` on a MODEL with named CONDITIONINGs, and return its latents in the host's scale.

    Args:
        algorithm: gets a `Run`.
        conditionings: CONDITIONINGs by the names that the algorithm uses.
        samples: (B, C, H, W) or (B, C, 1, H, W), a LATENT's tensor.
        sigmas: (n + 1,) noise levels, falling to 0.
        evaluations: how many times the algorithm reports progress, None if it shows its progress itself.
        seed: passed on to the host's sampler. The algorithm draws its own noise.
        mask: (B or 1, 1, ..., H, W) of any resolution, 1 where the latent may change.
        notes: collects sentences about what is attached to the MODEL and has no effect. They are shown on the node.

    Raises:
        ValueError: a CONDITIONING has several masks, and the latents have frames.
    """
    if samples.ndim == 5:
        for name, conditioning in conditionings.items():
            _check_single_mask(name, conditioning)
    model, found = without_caches(model)
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(conditionings)
    sampler = _AlgorithmSampler(algorithm, model_path(model), evaluations or 0)
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
    found += sampler.notes
    if found:
        for note in found:
            log.warning(note)
        if notes is not None:
            notes.extend(note for note in found if note not in notes)
        show_on_node("\n".join(found if notes is None else notes))
    return sampler.outputs


def _check_single_mask(name: str, conditioning: Any) -> None:
    """On latents with frames, the host applies the masks of a conditioning to frames instead of batch items."""
    if any(len(values["mask"]) > 1 for _, values in conditioning if getattr(values.get("mask"), "ndim", 0) == 3):
        raise ValueError(
            f"The conditioning on input '{name}' has one mask per image, but ComfyUI gives them to the "
            "frames or layers of each latent, not to the images, with models whose latents have these (Qwen-Image, "
            "Wan). Connect one mask for the whole batch, or queue the images one by one."
        )


class _AlgorithmSampler(comfy.samplers.Sampler):
    """A host sampler that runs an algorithm and keeps all of its latents; the host's guider returns only the first."""

    def __init__(self, algorithm: Algorithm, path: NoisePath, evaluations: int):
        self.algorithm, self.path, self.evaluations = algorithm, path, evaluations
        self.outputs: tuple[Tensor, ...] = ()
        self.notes: list[str] = []

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
        options = extra_args["model_options"]
        patched = any(options.get(kind) for kind in GUIDANCE_PATCHES)
        denoiser = (PatchedDenoiser if patched else HostDenoiser)(model, model_wrap.conds, options)

        def progress(step: int, clean: Tensor, state: Tensor) -> None:
            if callback:
                callback(step, clean, state, self.evaluations)
            # Newer hosts skip updates that follow each other closely, so cancel here too.
            comfy.model_management.throw_exception_if_processing_interrupted()

        run = Run(
            prior=Prior(denoiser, self.path, clock_of(model.model_sampling)),
            denoiser=denoiser,
            sigmas=sigmas,
            latent=latent_image,
            mask=denoise_mask,
            progress=progress,
            latent_format=model.latent_format,
        )
        results = self.algorithm(run)
        if "denoise_mask_function" in options:
            self.notes.append(note_on_masks(options))
        if isinstance(denoiser, PatchedDenoiser) and not denoiser.guided_calls:
            self.notes.append(note_on_guidance(options))
        to_host = comfy.model_management.intermediate_device()
        self.outputs = tuple(run.to_host_scale(x.to(torch.float32)).to(to_host) for x in results)
        return results[0]
