"""The host boundary: the only file that knows comfy's internals.

It hands the pure methods of `guidance` what they need (a denoiser, the model's noising path, a schedule, progress) from
inside the host's own sampling life-cycle, so that LoRAs, ControlNets, hooks, masks on conditioning, offloading,
previews and cancelling work as they do for the host's samplers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ..guidance.denoiser import Denoiser
from ..guidance.path import FLOW, SCALED, Path

SCHEDULERS: list[str] = list(comfy.samplers.SCHEDULER_NAMES)
"""The host's noise schedules, for a combo."""


@dataclass(frozen=True)
class Run:
    """What a method gets: everything in the model's own scale and on its device.

    `latent` (B, ...) is the clean latent, `mask` broadcasts over it or is None, `sigmas` (n + 1,) falls to 0.
    `progress(step, clean_estimate, state)` shows a preview, moves the progress bar and is where a cancelled run stops.
    """

    denoise: Denoiser
    path: Path
    sigmas: Tensor
    latent: Tensor
    mask: Tensor | None
    progress: Callable[[int, Tensor, Tensor], None]

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
    evaluations: int,
    seed: int,
    mask: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Run `method` on a MODEL with named CONDITIONINGs and return its latents in the host's convention.

    `samples` (B, C, H, W) or (B, C, 1, H, W) is a LATENT's tensor; `mask` (B or 1, 1, ..., H, W) may have any
    resolution; `evaluations` is how many steps the method reports.
    """
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(conditionings)
    sampler = _MethodSampler(method, evaluations)
    guider.sample(
        torch.zeros(samples.shape),
        samples,
        sampler,
        sigmas,
        denoise_mask=mask,
        callback=latent_preview.prepare_callback(model, evaluations),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return sampler.outputs


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
        run = Run(
            denoise=_HostDenoiser(model, model_wrap.conds, extra_args["model_options"]),
            path=path_of(model.model_sampling),
            sigmas=sigmas,
            latent=latent_image,
            mask=denoise_mask,
            progress=lambda step, clean, state: callback(step, clean, state, self.evaluations) if callback else None,
        )
        results = self.method(run)
        to_host = comfy.model_management.intermediate_device()
        self.outputs = tuple(model.process_latent_out(x.to(torch.float32)).to(to_host) for x in results)
        return results[0]


class _HostDenoiser:
    """The host's model as a `Denoiser`: one batched call for all conditionings, or several where memory is short."""

    def __init__(self, model: Any, conds: dict[str, list], model_options: dict):
        self.model, self.conds, self.model_options = model, conds, model_options

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        conds = [self.conds[name] for name in names]
        levels = sigma.expand(x.shape[0])
        if "sampler_calc_cond_batch_function" in self.model_options:
            arguments = {
                "conds": conds,
                "input": x,
                "sigma": levels,
                "model": self.model,
                "model_options": self.model_options,
            }
            return self.model_options["sampler_calc_cond_batch_function"](arguments)
        return comfy.samplers.calc_cond_batch(self.model, conds, x, levels, self.model_options)


def path_of(model_sampling: Any) -> Path:
    """The noising path of a model. Raises ValueError for a family whose path is not known."""
    if isinstance(model_sampling, comfy.model_sampling.CONST):
        return FLOW
    known = isinstance(model_sampling, comfy.model_sampling.EPS)
    if known and not isinstance(model_sampling, comfy.model_sampling.IMG_TO_IMG):
        return SCALED
    kind = " / ".join(c.__name__ for c in type(model_sampling).__mro__[1:3])
    raise ValueError(
        f"The model's noise parametrisation ({kind}) is not supported. Use a noise-, velocity- or flow-predicting "
        "image model such as SD1.5, SDXL, SD3 or Flux."
    )


def model_path(model: Any) -> Path:
    """The noising path of a MODEL, patches such as ModelSamplingSD3 included."""
    return path_of(model.get_model_object("model_sampling"))


def schedule(model: Any, scheduler: str, steps: int) -> Tensor:
    """The host's noise levels for a MODEL: (n + 1,) falling to 0, n about `steps` as the scheduler sees fit.

    A level that the scheduler repeats is left out. Raises ValueError where it gives no falling levels, as some do for a
    single step.
    """
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    sigmas = sigmas.unique_consecutive()
    if len(sigmas) < 2 or not (sigmas.diff() < 0).all() or sigmas[-1] != 0:
        raise ValueError(
            f"The scheduler '{scheduler}' has no falling noise levels for steps = {steps} with this model: choose more "
            "steps, or another scheduler."
        )
    return sigmas


def fitted_latent(model: Any, samples: Tensor) -> Tensor:
    """A LATENT's tensor with the MODEL's channels, where it is empty, and frame dimension, where it has one."""
    return comfy.sample.fix_empty_latent_channels(model, samples)


def latent_channels(model: Any) -> int:
    """How many latent channels the MODEL works on."""
    return model.get_model_object("latent_format").latent_channels


def latent_has_frames(model: Any) -> bool:
    """Whether the MODEL works on 5-D latents, (B, C, frames, H, W)."""
    return model.get_model_object("latent_format").latent_dimensions == 3


def distilled_guidance(model: Any) -> bool:
    """Whether the MODEL was distilled to take its guidance scale as an input, as Flux dev was."""
    return bool(model.model.model_config.unet_config.get("guidance_embed", False))
