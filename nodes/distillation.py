"""Distillation Sampler: optimise a latent, or a picture's pixels, against a model by any distillation gradient."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..guidance.corrective.storage import ManifoldCorrective
from ..guidance.generators import Generator, Latent, Pixels
from ..guidance.methods import FLOW_TIME, METHODS, NOISE_POLICIES, Settings, plan
from ..guidance.noise import SeededNoise
from ..guidance.objectives.base import NULL, SOURCE, TARGET, WEIGHTS
from ..guidance.optimize import OPTIMIZERS, NonFiniteGradient, optimise
from ..guidance.regularizers import L2ToSource
from ..guidance.schedules import LEARNING_RATES, TIME_SCHEDULES
from . import checks, host, reports, widgets
from .sockets import CORRECTIVE, OBJECTIVE, ObjectiveSocket, objective_of
from .widgets import OWN


class DistillationSampler(io.ComfyNode):
    """The one loop of `guidance.optimize` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSDistillationSampler",
            display_name="Distillation Sampler",
            category="DreamSampler",
            description=(
                "Optimises a picture against a diffusion model by a score-distillation gradient: makes one from text, "
                "or edits the one it is given. All methods share one loop; what is left at -1 or at the method's own "
                "is as published."
            ),
            inputs=[*_main_inputs(), *_connections(), *_fine_settings(), *_manifold_corrective()],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The optimised latent.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent_image: dict,
        method: str,
        seed: int,
        source: Any = None,
        reference_latent: dict | None = None,
        objective: ObjectiveSocket | None = None,
        vae: Any = None,
        start_from: str = OWN,
        source_weight: float = 0.0,
        corrective: ManifoldCorrective | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        samples = checks.latent(model, latent_image, needs_content=False)
        conditionings = {TARGET: positive, NULL: negative, **({} if source is None else {SOURCE: source})}
        chosen = objective or ObjectiveSocket(
            method,
            METHODS[method],
            conditionings,
            reference=latent_image if reference_latent is None else reference_latent,
            reference_input="latent_image" if reference_latent is None else "reference_latent",
            corrective=corrective,
        )
        from_noise = _from_noise(start_from, chosen, samples)
        from_nothing = from_noise or chosen.method.from_grey and not samples.any()
        how = _settings(chosen, widgets.given(settings), from_nothing=bool(from_nothing))
        checks.distillation(model, chosen, how, vae)
        run = _Distillation(
            chosen=chosen,
            settings=how,
            reference=checks.reference(model, chosen, samples),
            seeds=checks.seeds(seed, latent_image, samples),
            from_noise=from_noise,
            source_weight=source_weight,
            model=model,
            vae=vae,
            curve=reports.Curve(chosen.name, how.steps),
        )
        (latent,) = host.run_method(
            run,
            model=model,
            conditionings=chosen.conditionings,
            samples=samples,
            sigmas=host.whole_range(model),
            evaluations=how.steps,
            seed=seed,
            mask=checks.mask(latent_image.get("noise_mask"), samples),
        )
        return io.NodeOutput({**latent_image, "samples": latent}, ui={"distillation": [run.curve.whole]})


def _from_noise(start_from: str, chosen: ObjectiveSocket, samples: Tensor) -> bool:
    """Whether to begin at noise: by default where there is no picture and the method can do without."""
    if start_from == OWN:
        return not chosen.method.edits and not chosen.method.from_grey and not samples.any()
    return start_from == "noise"


def _settings(chosen: ObjectiveSocket, given: dict[str, Any], *, from_nothing: bool) -> Settings:
    """The method's own settings, which may differ for a picture, with those given instead."""
    started = {} if from_nothing else chosen.method.from_picture
    return dataclasses.replace(chosen.method.settings, **{**started, **chosen.settings, **given})


@dataclass(frozen=True)
class _Distillation:
    """A whole distillation of one batch; `curve` tells what each step did."""

    chosen: ObjectiveSocket
    settings: Settings
    reference: Tensor | None
    seeds: list[int]
    from_noise: bool
    source_weight: float
    model: Any
    vae: Any
    curve: reports.Curve

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with host.gradients(), ExitStack() as stack:
            noise = SeededNoise(self.seeds)
            generator = self._generator(run, noise, stack)
            reference = None if self.reference is None else run.to_model_scale(self.reference)
            pulls = [L2ToSource(run.latent, self.source_weight)] if self.source_weight else []
            walk = optimise(
                run.prior,
                generator,
                objective_of(self.chosen, self.settings, run, noise, reference, self.seeds[0]),
                plan=plan(self.settings, run.prior, run.latent),
                noise=noise,
                regularizers=pulls,
            )
            try:
                for step in walk:
                    self.curve.note(step)
                    run.progress(step.index, step.z, step.z)
            except NonFiniteGradient as error:
                raise reports.broken(self.chosen.name, self.settings.steps, error) from error
            with torch.no_grad():
                return (generator().clone(),)

    def _generator(self, run: host.Run, noise: SeededNoise, stack: ExitStack) -> Generator:
        start = noise.like(run.latent) if self.from_noise else run.latent
        if self.vae is None:
            return Latent(start, run.mask, kept=run.latent)
        pictures = self._pictures(run, start)
        kept = pictures if run.mask is None or not self.from_noise else self._pictures(run, run.latent)
        autoencoder = stack.enter_context(host.autoencoder(self.vae, self.model, run))

        def encode(pictures: Tensor) -> Tensor:
            return autoencoder.encode(2 * pictures - 1)

        return Pixels(pictures, encode, _for_pixels(run.mask, pictures), kept)

    def _pictures(self, run: host.Run, latent: Tensor) -> Tensor:
        return host.decoded(self.vae, run.to_host_scale(latent)).clone()


def _for_pixels(mask: Tensor | None, pictures: Tensor) -> Tensor | None:
    """A mask over latents (B, C, [1,] h, w) as one over pictures (B, 3, H, W): (B, 1, H, W)."""
    if mask is None:
        return None
    plain = mask[:, :1].reshape(len(mask), 1, *mask.shape[-2:])
    return F.interpolate(plain, pictures.shape[-2:], mode="bilinear").to(pictures)


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any image model: noise-, velocity- or flow-predicting."),
        io.Conditioning.Input("positive", tooltip="The target: what the picture should show."),
        io.Conditioning.Input("negative", tooltip="The text that guidance starts from. Empty text is published."),
        io.Latent.Input(
            "latent_image",
            tooltip="An encoded picture to edit, or an empty latent to make one from noise. Its noise mask, if it has "
            "one, limits the change. Each item of a batch is optimised by itself; vsd makes one distribution of them.",
        ),
        io.Combo.Input(
            "method",
            options=list(METHODS),
            default="bridge",
            tooltip="The gradient: bridge, vsd, csd, nfsd, sds and lmc make or change pictures; dds, flowedit and "
            "dvrf edit; full bridge is slow and exact. See the node's help for what each needs.",
        ),
        widgets.whole(
            "steps",
            "Steps of the optimiser, each one call of the model; of vsd three, of full bridge many.",
            high=100_000,
        ),
        widgets.number("learning_rate", "Size of a step.", high=1e6, step=0.001),
        widgets.number(
            "guidance_scale", "Weight of the text in the gradient; bridge: of target minus source.", high=1e4
        ),
        widgets.choice(
            "time_schedule",
            list(TIME_SCHEDULES),
            "Noise levels visited: uniform draws them at random, annealed draws them lower and lower, descending walks "
            "down as sampling does.",
        ),
        widgets.choice(
            "noise_policy",
            list(NOISE_POLICIES),
            "Noise put in: fresh draws, one fixed draw, the estimated noise of the step before (with descending: "
            "DreamSampler), or the noise that inverting the picture finds (SDI; costs 2 x ode_steps model calls more).",
        ),
        widgets.number("t_min", "Lowest noise level visited, as a share of the model's time: 0 is clean.", high=1.0),
        widgets.number("t_max", "Highest noise level visited: 1 is pure noise.", high=1.0),
        widgets.seed("Seed of the noise, the times and the start. Item i of a batch uses seed + i."),
    ]


def _connections() -> list[io.Input]:
    return [
        io.Conditioning.Input(
            "source",
            optional=True,
            tooltip="What the picture is now: bridge, csd and full bridge leave it behind, dds, flowedit and dvrf need "
            "the source picture's description, nfsd the text of bad pictures. Text-Source Descriptor makes it.",
        ),
        io.Latent.Input(
            "reference_latent",
            optional=True,
            tooltip="The source picture for dds, flowedit and dvrf; latent_image itself if nothing is connected.",
        ),
        OBJECTIVE.Input(
            "objective", optional=True, tooltip="An objective from another node; replaces method and texts."
        ),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="Optimises the picture's pixels through this VAE's encoder instead of the latent. Slower.",
        ),
    ]


def _fine_settings() -> list[io.Input]:
    return [
        widgets.choice(
            "start_from",
            ["latent", "noise"],
            "Where to begin: at latent_image, or at noise. The method's own is latent_image; if that is empty, sds, "
            "nfsd, csd, vsd and the bridges begin at noise.",
            optional=True,
        ),
        widgets.choice(
            "optimizer",
            list(OPTIMIZERS),
            "How the gradient moves the picture. adamw also lets it fade, by a hundredth of learning_rate a step, "
            "which darkens pixels: with a vae choose adam.",
            optional=True,
        ),
        widgets.choice(
            "learning_rate_schedule",
            [*LEARNING_RATES, FLOW_TIME],
            "How learning_rate goes over the steps. flow time, with descending and sgd, makes an ODE solver of the "
            "optimiser (flowedit).",
            optional=True,
        ),
        widgets.choice(
            "weighting",
            list(WEIGHTS),
            "Weight of the gradient by noise level: 1-alpha_bar stresses layout, uniform treats all alike, snr turns "
            "noise into distance of pictures.",
            optional=True,
        ),
        widgets.number("eta", "Share of fresh noise in estimated or inverted noise.", high=1.0, optional=True),
        widgets.number(
            "source_guidance_scale",
            "Guidance of the second prediction in dds, flowedit and dvrf; w2 of csd.",
            high=1e4,
            optional=True,
        ),
        io.Float.Input(
            "source_weight",
            default=0.0,
            min=0.0,
            max=1e4,
            step=0.001,
            round=False,
            optional=True,
            tooltip="Pull back towards latent_image (squared distance). For edits by lmc 0.005 to 0.05: 0.1 is "
            "published, of a loss that is then divided by the guidance scale.",
        ),
        widgets.number(
            "first_stage",
            "Share of the steps that bridge and full bridge begin with sds, and in which lmc looks at a picture larger "
            "than the corrective's patches as a whole, before it looks at patches of it.",
            high=1.0,
            optional=True,
        ),
        widgets.whole("ode_steps", "Steps each way of full bridge, and of inverted noise.", high=1000, optional=True),
        widgets.whole("lora_rank", "vsd: rank of the LoRA that follows the pictures.", high=512, optional=True),
        widgets.number("lora_learning_rate", "vsd: the LoRA's learning rate.", high=1.0, step=1e-5, optional=True),
    ]


def _manifold_corrective() -> list[io.Input]:
    return [
        CORRECTIVE.Input(
            "corrective",
            optional=True,
            tooltip="lmc: the model's own manifold corrective, from Load or Train Manifold Corrective.",
        ),
        io.Boolean.Input(
            "diversity",
            default=False,
            optional=True,
            tooltip="lmc: keep the noise of the text's part of the gradient for the whole run, so that each seed gives "
            "a picture of its own.",
        ),
    ]
