"""Proximal DreamSampler: edit a picture by text and keep the rest."""

from __future__ import annotations

from typing import Any, Literal

from comfy_api.latest import io
from torch import Tensor

from ..guidance.editing.proximal import ProximalSettings
from ..guidance.restoration.measurement import Measurement
from ..guidance.restoration.proximal import DataSteps
from . import checks, host, widgets
from .runs.edit import Edit, StartFrom
from .runs.restoration import Consistency, Restoration
from .sockets import MEASUREMENT


class ProximalDreamSampler(io.ComfyNode):
    """DreamSampler's Algorithm 3 as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSProximalDreamSampler",
            display_name="Proximal DreamSampler",
            category="DreamSampler",
            description=(
                "Edits a picture by text and keeps everything else. The picture is inverted to noise without the text, "
                "then sampled back while every clean estimate is pulled towards the text. The source need not be "
                "described."
            ),
            inputs=[
                io.Model.Input("model", tooltip="Any image model: noise-, velocity- or flow-predicting."),
                io.Conditioning.Input(
                    "positive", tooltip="The target: what the picture should show. Naming what changes is enough."
                ),
                io.Conditioning.Input(
                    "negative",
                    tooltip="The text the picture is inverted under and pulled away from. Empty text is the "
                    "published choice.",
                ),
                io.Latent.Input(
                    "latent_image", tooltip="The encoded picture to edit. Batches are edited item by item."
                ),
                io.Int.Input(
                    "steps",
                    default=50,
                    min=1,
                    max=10000,
                    tooltip="Noise levels climbed and descended; each costs one model evaluation up and two down. "
                    "More steps keep the picture better. The paper uses 200.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.3,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    tooltip="Weight of the text. 0 returns the source; 0.1 to 0.5 edits and keeps; higher changes "
                    "more.",
                ),
                io.Combo.Input(
                    "gamma_schedule",
                    options=["alpha_bar", "constant"],
                    default="alpha_bar",
                    tooltip="alpha_bar lets the text act late, when the layout is fixed (published). constant acts "
                    "from the start and can change shapes.",
                ),
                io.Float.Input(
                    "eta",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of fresh noise in every step. 0 keeps the source best; 1 is ancestral sampling.",
                ),
                io.Combo.Input(
                    "renoise",
                    options=["unconditional", "guided"],
                    default="unconditional",
                    tooltip="Which prediction the estimate is noised with again: without the text (the authors' code) "
                    "or with it (the paper's text, plain classifier-free guidance).",
                ),
                io.Combo.Input(
                    "start_from",
                    options=["inversion", "noise", "stochastic inversion"],
                    default="inversion",
                    tooltip="inversion edits the picture; noise forgets it and samples a new one from the seed; "
                    "stochastic inversion edits too, with noise from the seed (DDPM inversion); its gamma is a "
                    "guidance scale: set gamma_schedule to constant, gamma to 5 to 15 and skip to 0.36.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=host.SCHEDULERS,
                    default="normal",
                    tooltip="ComfyUI's noise schedule, climbed for the inversion and descended for the edit.",
                ),
                widgets.seed(
                    "Seed of the noise; without effect with eta 0 and start_from inversion. Item i of a batch uses "
                    "seed + i."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where to edit: 1 edits, 0 keeps the source exactly, values between blend. Any resolution. "
                    "Without it the latent's own noise mask is used, if there is one. With a measurement: where the "
                    "text acts, the hole if nothing is connected.",
                ),
                io.Float.Input(
                    "skip",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Share of the steps left out at the noisy end. More keeps more of the source's layout and "
                    "takes less time; 0.36 is published for stochastic inversion.",
                ),
                *_measurement_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The edited latent."),
                io.Latent.Output(
                    display_name="inverted_noise",
                    tooltip="The state at the highest noise level that the edit started from.",
                ),
                io.Image.Output(
                    display_name="image",
                    tooltip="The decoded picture; with a measurement brought into agreement with it. Needs a vae.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
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
        gamma_schedule: Literal["alpha_bar", "constant"],
        eta: float,
        renoise: Literal["guided", "unconditional"],
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
    ) -> io.NodeOutput:
        checks.check_steps(steps)
        checks.check_prompts(model, {"positive": positive, "negative": negative})
        samples = checks.checked_latent(model, latent_image, needs_content=start_from != "noise")
        if mask is not None:
            checks.check_mask_not_empty(mask.reshape(1, -1, mask.shape[-1]))  # in one of the pictures is enough
        region = checks.checked_mask(latent_image.get("noise_mask") if mask is None else mask, samples)
        seeds = checks.item_seeds(seed, latent_image, samples)
        host.model_path(model)
        checks.check_autoencoder(model, vae)
        settings = ProximalSettings(gamma=gamma, gamma_schedule=gamma_schedule, eta=eta, renoise=renoise)
        sigmas = checks.after_skip(skip, host.schedule(model, scheduler, steps))
        if measurement is None:
            method = Edit(settings, start_from, seeds)
        else:
            checks.check_measurement(measurement, vae, samples)
            checks.check_restoration(start_from, data_every)
            data_steps = DataSteps(data_every, data_until)
            method = Restoration(
                settings, start_from, seeds, model, vae, measurement, consistency, data_steps, dps_weight
            )
        latents = host.run_in_sampler(
            method,
            model=model,
            conditionings={"positive": positive, "negative": negative},
            samples=samples,
            sigmas=sigmas,
            evaluations=(1 if start_from == "noise" else 2) * (len(sigmas) - 1),
            seed=seed,
            mask=region,
        )
        outputs = [{**latent_image, "samples": latent} for latent in latents]
        picture = _picture(vae, latents[0], measurement if projection else None)
        host.show_on_node(cls.hidden, "\n".join(method.notes))
        return io.NodeOutput(*outputs, picture, ui={"text": list(method.notes)})


def _picture(vae: Any, latent: Tensor, measurement: Measurement | None) -> Any:
    """An IMAGE of the latent, in agreement with the measurement if there is one."""
    if vae is None:
        return host.blocked("Proximal DreamSampler has no VAE to decode with: connect one to its input 'vae'.")
    pictures = host.decoded(vae, latent)
    if measurement is not None:
        pictures = (measurement.to(pictures).projected(2 * pictures - 1) + 1) / 2
    return pictures.movedim(1, -1)


def _measurement_inputs() -> list[io.Input]:
    return [
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="The VAE that belongs to the model: needed with a measurement and for the output image.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            tooltip="What is known of the picture, from Measurement: it is restored in agreement with that. Published "
            "for inpainting: 200 steps, gamma 1, eta 1.",
        ),
        io.Combo.Input(
            "consistency",
            options=["both", "consistency only", "dps only"],
            default="both",
            optional=True,
            tooltip="With a measurement, how it is kept to: by fitting decoded estimates and by gradients through the "
            "model (both, published), by fitting alone (fast, little memory), or by gradients alone.",
        ),
        io.Int.Input(
            "data_every",
            default=DataSteps.every,
            min=1,
            max=1000,
            optional=True,
            tooltip="With a measurement: every how many steps the estimate is fitted and the text acts; the gradient "
            "acts on the others. 3 is published.",
        ),
        io.Float.Input(
            "data_until",
            default=DataSteps.until,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="With a measurement: the share of the steps after which only the gradient acts. 0.85 is published.",
        ),
        io.Float.Input(
            "dps_weight",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.05,
            optional=True,
            tooltip="With a measurement: size of the gradient's steps. 1 is published.",
        ),
        io.Boolean.Input(
            "projection",
            default=True,
            optional=True,
            tooltip="With a measurement: the output image agrees with it as exactly as its noise allows; known pixels "
            "of an inpainting are returned as they were.",
        ),
    ]
