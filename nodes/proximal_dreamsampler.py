"""Proximal DreamSampler: edit an image with a prompt, or restore a degraded one."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..guidance.core.denoiser import NULL, TARGET
from ..guidance.editing.proximal import GammaSchedule, ProximalSettings, Renoise
from ..guidance.restoration.blending import spliced
from ..guidance.restoration.measurement import Measurement
from ..guidance.restoration.proximal import DataSteps
from . import checks, host, widgets
from .runs.edit import INVERSIONS, Edit, Inversion, StartFrom
from .runs.region import REGIONS, Region, found_mask
from .runs.restoration import Consistency, Restoration
from .sockets import MEASUREMENT


class ProximalDreamSampler(io.ComfyNode):
    """DreamSampler's Algorithm 3, with a measurement its Algorithm 4, as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSProximalDreamSampler",
            display_name="Proximal DreamSampler",
            category="DreamSampler",
            description=(
                "Edits an image with a prompt and keeps everything else; the source image needs no description. "
                "Inverts the image to noise, then samples it back and pulls every clean estimate toward the prompt. "
                "With a measurement it restores a degraded image."
            ),
            search_aliases=(
                "img2img edit, image edit, prompt edit, inversion, DDIM inversion, unsampler, DDPM inversion, "
                "inpaint, super resolution, deblur, colorize, restore, DPS, diffusion posterior sampling, inverse "
                "problem"
            ),
            essentials_category="Image Tools",
            has_intermediate_output=True,
            advanced="renoise consistency data_every data_until dps_weight projection inversion",
            inputs=[*_main_inputs(), *_edit_settings(), *_connections(), *_measurement_settings()],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The edited latent."),
                io.Latent.Output(
                    display_name="inverted_noise",
                    tooltip="The latent at the highest noise level, from which it was sampled.",
                ),
                io.Image.Output(
                    display_name="image",
                    tooltip="The decoded image, made to agree with the measurement if there is one. Needs a vae.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent_image: dict,
        steps: int,
        gamma: float,
        gamma_schedule: GammaSchedule,
        eta: float,
        renoise: Renoise,
        start_from: StartFrom,
        scheduler: str,
        seed: int,
        mask: Tensor | None = None,
        skip: float = 0.0,
        vae: Any = None,
        measurement: Measurement | None = None,
        consistency: Consistency = "both",
        data_every: int = DataSteps.every,
        data_until: float = DataSteps.until,
        dps_weight: float = 1.0,
        projection: bool = True,
        source_image: Tensor | None = None,
        region: Region = "off",
        inversion: Inversion = "ddim",
    ) -> io.NodeOutput:
        prompts = {TARGET: positive, NULL: negative}
        checks.check_prompts(model, prompts)
        need_image = {
            "start_from to noise": start_from != "noise",
            "region to off": region == "find",
        }
        changes = [change for change, needed in need_image.items() if needed]
        otherwise = f"set {' and '.join(changes)}"
        samples = checks.checked_latent(model, latent_image, needs_content=bool(changes), otherwise=otherwise)
        edited = _checked_mask(mask, latent_image, samples)
        seeds = checks.item_seeds(seed, latent_image, samples)
        host.model_path(model)
        checks.check_autoencoder(model, vae)
        if source_image is not None:
            masked = edited is not None or region == "find"
            checks.check_source_image(source_image, vae, samples, measurement, masked=masked)
        sigmas = checks.after_skip(skip, host.schedule(model, scheduler, steps))
        settings = ProximalSettings(gamma, gamma_schedule, eta, renoise)
        algorithm: Edit | Restoration = Edit(settings, start_from, seeds, inversion)
        if measurement is not None:
            checks.check_measurement(measurement, vae, samples)
            checks.check_restoration(start_from, region)
            checks.check_consistency(consistency, eta, measurement)
            data_steps = DataSteps(data_every, data_until)
            algorithm = Restoration(
                settings, start_from, seeds, model, vae, measurement, consistency, data_steps, dps_weight, inversion
            )
        if measurement is None:
            scale = gamma if start_from == "stochastic inversion" else 0.0
            algorithm.notes.extend(checks.notes_on_edit(model, samples, positive, negative, edited, scale))
        else:  # which also restores without a prompt, and everywhere
            algorithm.notes.extend(checks.notes_on_size(model, samples))
        host.show_on_node("\n".join(algorithm.notes))
        if region == "find":
            edited = found_mask(model, positive, negative, samples, seeds, within=edited, notes=algorithm.notes)
        latents = host.run_in_sampler(
            algorithm,
            model=model,
            conditionings=prompts,
            samples=samples,
            sigmas=sigmas,
            evaluations=(1 if start_from == "noise" else 2) * (len(sigmas) - 1),
            seed=seed,
            mask=edited,
            notes=algorithm.notes,
        )
        outputs = [host.sampled_latent(latent_image, latent) for latent in latents]
        if isinstance(algorithm, Restoration):
            measurement = algorithm.fitted
            algorithm.notes.extend(filter(None, [measurement.operator.findings]))
        image = _decode(vae, latents[0], measurement if projection else None, algorithm.notes)
        if source_image is not None and edited is not None:
            image = _kept(image, source_image[..., :3].movedim(-1, 1), edited)
        host.show_on_node("\n".join(algorithm.notes))
        return io.NodeOutput(*outputs, image, ui={"text": list(algorithm.notes)})


def _checked_mask(mask: Tensor | None, latent_image: dict, samples: Tensor) -> Tensor | None:
    """The mask, or else the latent's own noise mask. A connected mask has pixels to change in at least one image."""
    if mask is None:
        return checks.checked_noise_mask(latent_image, samples)
    checks.check_mask_not_empty(mask.reshape(1, -1, mask.shape[-1]))
    return checks.checked_mask(mask, samples)


def _kept(images: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """The edited `images` (B, H, W, 3) with the `source` (B or 1, 3, H, W) outside a `mask` (B or 1, 1, [1,] H, W)."""
    edited = images.movedim(-1, 1)
    mask = F.interpolate(mask.reshape(len(mask), 1, *mask.shape[-2:]), edited.shape[-2:], mode="bilinear")
    return spliced(edited, source.to(edited).expand_as(edited), mask.to(edited)).clamp(0, 1).movedim(1, -1)


def _decode(vae: Any, latent: Tensor, measurement: Measurement | None, notes: list[str]) -> Any:
    """The latent as an IMAGE, projected onto the measurement if there is one."""
    if vae is None:
        return host.blocked("Proximal DreamSampler has no VAE to decode with: connect one to its input 'vae'.")
    images = host.decoded(vae, latent)
    if measurement is not None:
        images = _project(measurement, images, notes)
    return images.movedim(1, -1)


def _project(measurement: Measurement, images: Tensor, notes: list[str]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] that agree with the measurement.

    Blurs are projected in hundreds of iterations, so it is done where the models run.
    """

    def project(device: torch.device) -> Tensor:
        moved = images.to(device)
        return ((measurement.to(moved).projected(2 * moved - 1) + 1) / 2).to(images)

    on_cpu = "Out of memory: the result is made to agree with the measurement on the CPU, which takes longer."
    ways = [("", partial(project, host.device())), (on_cpu, partial(project, images.device))]
    return host.OomFallback(ways, notes)()


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any image model (eps- or v-prediction, or flow matching)."),
        io.Conditioning.Input(
            "positive", tooltip="The target prompt: what the image should show. Naming the change is enough."
        ),
        io.Conditioning.Input(
            "negative",
            tooltip="Prompt used for the inversion and as the unconditional branch. The paper leaves it empty.",
        ),
        io.Latent.Input("latent_image", tooltip="The encoded image to edit. Batch items are edited independently."),
        io.Int.Input(
            "steps",
            default=50,
            min=1,
            max=10000,
            tooltip="Number of noise levels for inversion and sampling; each costs one model evaluation for the "
            "inversion and two for sampling. More steps strengthen the edit; below 25 the inversion loses detail. The "
            "paper uses 200.",
        ),
    ]


def _edit_settings() -> list[io.Input]:
    return [
        io.Float.Input(
            "gamma",
            default=0.3,
            min=0.0,
            max=100.0,
            step=0.01,
            tooltip="Strength of the edit. 0 returns the source, 0.1 to 0.5 edits and keeps the rest, higher changes "
            "more. The paper uses 0.1 to 0.3.",
        ),
        io.Combo.Input(
            "gamma_schedule",
            options=["alpha_bar", "constant"],
            default="alpha_bar",
            tooltip="alpha_bar applies the prompt late, once the layout is fixed (the paper's choice). constant "
            "applies it from the start and can change shapes.",
        ),
        io.Float.Input(
            "eta",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Share of fresh noise per step. 0 (DDIM) preserves the source best; 1 is ancestral sampling. Use "
            "1 with a measurement.",
        ),
        io.Combo.Input(
            "renoise",
            options=["unconditional", "guided"],
            default="unconditional",
            tooltip="Which noise prediction to re-noise with: unconditional (the authors' code) or guided (the paper; "
            "equals plain CFG).",
        ),
        io.Combo.Input(
            "start_from",
            options=["inversion", "noise", "stochastic inversion"],
            default="inversion",
            tooltip="inversion edits the image. noise samples a new image from the seed. stochastic inversion (DDPM "
            "inversion) edits with noise from the seed; gamma is then a guidance scale: set gamma_schedule to "
            "constant, gamma to 5 to 15 and skip to 0.36.",
        ),
        io.Combo.Input(
            "scheduler",
            options=host.schedulers(),
            default="normal",
            tooltip="ComfyUI's noise schedule, used for both inversion and sampling.",
        ),
        widgets.seed(
            "Seed of the noise. Has no effect with start_from inversion and eta 0, except in the hole of a "
            "measurement. Each image of a batch has its own noise."
        ),
    ]


def _connections() -> list[io.Input]:
    return [
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Where to edit: 1 edits, 0 keeps the source exactly, in between blends. Any resolution. Defaults "
            "to the noise mask of latent_image. With a measurement: where the prompt applies; defaults to the hole.",
        ),
        io.Float.Input(
            "skip",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Fraction of the steps to skip at the noisy end. Higher preserves more of the layout and is "
            "faster. For stochastic inversion the paper uses 0.36.",
        ),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="The model's VAE. Required with a measurement and for the output image.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            tooltip="The degraded image to restore, from Measurement. For inpainting the paper uses 200 steps, gamma 1 "
            "and eta 1.",
        ),
    ]


def _measurement_settings() -> list[io.Input]:
    return [
        io.Combo.Input(
            "consistency",
            options=["both", "consistency only", "dps only", "ding", "few steps"],
            default="both",
            optional=True,
            tooltip="With a measurement: how data consistency is enforced. both (the paper): data fitting and DPS "
            "gradients. consistency only: data fitting, fast, little memory. dps only: DPS gradients. ding: fills a "
            "hole in 25 steps without gradients. few steps: fits all data in every step; any operator, 8 to 25 steps.",
        ),
        io.Int.Input(
            "data_every",
            default=DataSteps.every,
            min=1,
            max=1000,
            optional=True,
            tooltip="With a measurement: apply a data-consistency step (and the prompt) every N steps; other steps are "
            "DPS gradient steps. The paper uses 3.",
        ),
        io.Float.Input(
            "data_until",
            default=DataSteps.until,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="With a measurement: fraction of the steps after which only gradient steps follow. The authors' "
            "code uses 0.85.",
        ),
        io.Float.Input(
            "dps_weight",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.05,
            optional=True,
            tooltip="With a measurement: weight of the DPS gradient at any size. Start with 1, the authors' "
            "value for 200 steps at 512 x 512; 0.3 to 3.",
        ),
        io.Boolean.Input(
            "projection",
            default=True,
            optional=True,
            tooltip="With a measurement: makes the output image agree with it as closely as its noise allows, and "
            "returns known pixels of an inpainting unchanged. The tolerance was tuned for blurs on the small reference "
            "model.",
        ),
        io.Image.Input(
            "source_image",
            optional=True,
            tooltip="The image before VAE Encode. With a mask and a VAE, the output image then has its own pixels "
            "outside the mask, exactly, and the edit is leveled to them.",
        ),
        io.Combo.Input(
            "region",
            options=list(REGIONS),
            default="off",
            optional=True,
            tooltip="find edits only where positive changes this image, as Find Edit Region finds it. Describe the "
            "source image in negative, and raise gamma to 2 to 4. Costs 24 model evaluations. A mask narrows the "
            "region.",
        ),
        io.Combo.Input(
            "inversion",
            options=list(INVERSIONS),
            default="ddim",
            optional=True,
            tooltip="With start_from inversion: ddim is the paper's. fixed point keeps more of the source at the same "
            "cost: with 10 steps as much as ddim with 50. half the steps needs half the evaluations; from 20 steps.",
        ),
    ]
