"""Distillation Sampler: optimize a latent, or an image's pixels, against a model by any distillation gradient."""

from __future__ import annotations

from typing import Any, get_args

from comfy_api.latest import io
from torch import Tensor

from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.distillation.loop import OPTIMIZERS
from ..guidance.distillation.method import Config, LoopSettings, Method
from ..guidance.distillation.objective import WEIGHTS
from ..guidance.distillation.objectives import LISTED, METHODS
from ..guidance.distillation.schedules import FLOW_TIME, HUMP, LEARNING_RATES, NOISE_POLICIES, TIME_SCHEDULES
from ..guidance.editing.proximal import Renoise
from ..guidance.networks.corrective.storage import ManifoldCorrective
from ..guidance.restoration.measurement import Measurement
from . import checks, host, widgets
from .runs.distillation import Curve, ImageDistillation, check_distillation
from .runs.region import REGIONS, Region, found_mask
from .runs.settings import used_settings
from .sockets import CORRECTIVE, MEASUREMENT, OBJECTIVE, ObjectiveSocket
from .widgets import OWN, UNSET

RESTORING = {"optimizer": "adam", "weighting": "snr", "learning_rate": 0.005}
"""What differs with a measurement, for every method: the distance to the clean estimate (DreamSampler, eq. 10 of the
appendix) as the paper descends it. AdamW's decay would darken pixels, and the learning rate is one for pixels."""


class DistillationSampler(io.ComfyNode):
    """The loop of `guidance.distillation.loop` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSDistillationSampler",
            display_name="Distillation Sampler",
            category="DreamSampler",
            description=(
                "Optimizes an image against a diffusion model with a score-distillation gradient: makes one from a "
                "prompt, edits the one it is given, or restores a degraded one. Settings left at -1 or \"method's "
                "own\" use the paper's values."
            ),
            search_aliases=(
                "SDS, score distillation, score distillation sampling, DDS, delta denoising score, VSD, NFSD, CSD, "
                "bridge, ISM, SDI, LMC-SDS, DreamSampler, FlowEdit, FlowAlign, ChordEdit, DVRF, DRFS, "
                "img2img edit, text to image optimization"
            ),
            has_intermediate_output=True,
            advanced=(
                "time_schedule noise_policy t_min t_max optimizer learning_rate_schedule weighting eta "
                "source_guidance_scale first_stage ode_steps lora_rank lora_learning_rate diversity "
                "source_consistency_weight shift n_avg n_min renoise data_weight pixel_weight inversion_guidance_scale"
            ),
            inputs=[
                *_main_inputs(),
                *_connections(),
                *_fine_settings(),
                *_manifold_corrective(),
                *_flow_edits(),
                *_restoration(),
                _inversion_guidance_scale(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The optimized latent.")],
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
        region: Region = "off",
        measurement: Measurement | None = None,
        data_weight: float = UNSET,
        pixel_weight: float = 0.0,
        **settings: Any,
    ) -> io.NodeOutput:
        finds = region == "find"
        samples = checks.checked_latent(model, latent_image, needs_content=finds, otherwise="set region to off")
        conditionings = {TARGET: positive, NULL: negative, **({} if source is None else {SOURCE: source})}
        chosen = objective or ObjectiveSocket(
            METHODS[method],
            conditionings,
            reference=latent_image if reference_latent is None else reference_latent,
            reference_input="latent_image" if reference_latent is None else "reference_latent",
            corrective=corrective,
        )
        from_noise = _from_noise(start_from, chosen, samples)
        from_scratch = from_noise or chosen.method.from_zeros and not samples.any()
        config = _config(chosen, settings, from_scratch=bool(from_scratch), restores=measurement is not None)
        check_distillation(model, chosen, config, vae)
        if pixel_weight:
            checks.check_pixel_weight(pixel_weight, vae)
        if measurement is not None:
            checks.check_distilled_measurement(measurement, chosen.method, vae, samples, region)
            data_weight = checks.data_weight_of(measurement, data_weight)
        seeds = checks.item_seeds(seed, latent_image, samples)
        mask = checks.checked_noise_mask(latent_image, samples)
        reference = checks.checked_reference(model, chosen, samples)
        notes = [
            *checks.notes_on_settings(chosen, config, settings),
            *_notes_on_unused(None if objective else chosen.method, source, reference_latent, corrective),
            *checks.notes_on_unused(
                ["data_weight"] if measurement is None and data_weight != UNSET else [], "No measurement is connected."
            ),
            *checks.notes_on_distillation(model, samples, chosen, config, mask),
        ]
        host.show_on_node("\n".join(notes))
        if finds:
            target, now = chosen.conditionings[TARGET], chosen.conditionings.get(SOURCE, chosen.conditionings[NULL])
            mask = found_mask(model, target, now, samples, seeds, within=mask, notes=notes)
        weights = {} if measurement is None else {"data_weight": data_weight}
        curve = Curve(chosen.method.name, config.loop.steps, used_settings(config, weights))
        run = ImageDistillation(
            chosen=chosen,
            config=config,
            seeds=seeds,
            curve=curve,
            reference=reference,
            from_noise=from_noise,
            source_weight=source_weight,
            model=model,
            vae=vae,
            measurement=measurement,
            data_weight=data_weight,
            pixel_weight=pixel_weight,
        )
        (latent,) = host.run_in_sampler(
            run,
            model=model,
            conditionings=chosen.conditionings,
            samples=samples,
            sigmas=host.full_range(model),
            evaluations=config.loop.steps,
            seed=seed,
            mask=mask,
            notes=notes,
        )
        notes += curve.notes
        host.show_on_node("\n".join(notes))
        return io.NodeOutput(
            host.sampled_latent(latent_image, latent), ui={"distillation": [curve.output], "text": notes}
        )


def _notes_on_unused(own: Method | None, source: Any, reference: Any, corrective: Any) -> list[str]:
    """On connected inputs that are not read, by the node's `own` method or, if that is None, by an objective's.

    A source prompt often stays connected while one tries methods, so it is named beside an objective only.
    """
    connected = {"source": source, "reference_latent": reference, "corrective": corrective}
    given = [name for name, value in connected.items() if value is not None]
    if own is None:
        return checks.notes_on_unused(given, checks.OWN_PROMPTS)
    needs = {"reference_latent": "reference", "corrective": "corrective"}
    unused = [name for name in given if name in needs and needs[name] not in own.needs]
    return checks.notes_on_unused(unused, f"The method '{own.name}' does not use it.")


def _from_noise(start_from: str, chosen: ObjectiveSocket, samples: Tensor) -> bool:
    """Whether to start at noise: by default where there is no image and the method can do without."""
    if start_from == OWN:
        return not chosen.method.edits and not chosen.method.from_zeros and not samples.any()
    return start_from == "noise"


def _config(chosen: ObjectiveSocket, values: dict[str, Any], *, from_scratch: bool, restores: bool) -> Config:
    """The paper's settings, which may differ for an edit, with those of the objective's node and the widgets."""
    config = chosen.method.config(from_image=not from_scratch).updated(RESTORING if restores else {})
    return checks.with_settings(config.updated(chosen.settings), values)


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any image model (eps- or v-prediction, or flow matching)."),
        io.Conditioning.Input("positive", tooltip="The target prompt: what the image should show."),
        io.Conditioning.Input("negative", tooltip="The unconditional (negative) prompt. The papers leave it empty."),
        io.Latent.Input(
            "latent_image",
            tooltip="An encoded image to edit, or an empty latent to generate from scratch. Its noise mask, if it has "
            "one, limits the change. Batch items are optimized independently, except with vsd, which treats the "
            "batch as particles of one distribution.",
        ),
        io.Combo.Input(
            "method",
            options=LISTED,
            default="bridge",
            tooltip="The gradient. bridge, vsd, csd, nfsd, sds, ism and lmc generate or edit; dds, flowedit, dvrf, "
            "flowalign and chord (few-step models) edit; full bridge is slow and exact; sdi and dreamsampler "
            "generate, dreamsampler also restores with a measurement. The help page lists what each needs.",
        ),
        widgets.whole(
            "steps",
            "Optimizer steps. One model call per step; vsd makes three, full bridge 3 x ode_steps, ism ode_steps + 2, "
            "sdi ode_steps + 1. chord edits in the first step and refines in the others.",
            high=100_000,
        ),
        widgets.number("learning_rate", "Learning rate of the optimizer.", high=1e6, step=0.001),
        widgets.number(
            "guidance_scale", "Guidance scale of the gradient; bridge, chord: weight of target minus source.", high=1e4
        ),
        widgets.choice(
            "time_schedule",
            list(TIME_SCHEDULES),
            "Which noise levels the steps visit: uniform draws them at random, annealed draws them lower and lower, "
            "descending goes straight down, as a sampler does.",
        ),
        widgets.choice(
            "noise_policy",
            list(NOISE_POLICIES),
            "Which noise is added: a fresh draw at every step, one fixed draw, the model's own estimate from the "
            "previous step (with descending: DreamSampler), or the noise found by inverting the image (sdi; adds "
            "ode_steps model calls per step).",
        ),
        widgets.number("t_min", "Lowest noise level visited, as a share of the model's time: 0 is clean.", high=1.0),
        widgets.number("t_max", "Highest noise level visited: 1 is pure noise.", high=1.0),
        widgets.seed("Seed of the noise, the times and the starting point. Each image of a batch has its own."),
    ]


def _connections() -> list[io.Input]:
    return [
        io.Conditioning.Input(
            "source",
            optional=True,
            tooltip="What the image shows now. bridge, csd and full bridge move away from it; dds, flowedit, dvrf, "
            "flowalign and chord need a caption of the source image; nfsd needs the preset low quality of "
            "Text-Source Descriptor, which also makes the others.",
        ),
        io.Latent.Input(
            "reference_latent",
            optional=True,
            tooltip="The source image for dds, flowedit, dvrf, flowalign and chord. Defaults to latent_image.",
        ),
        OBJECTIVE.Input(
            "objective",
            optional=True,
            tooltip="An objective from another node, such as Posterior Latent Match. Replaces method and prompts.",
        ),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="Connect it to optimize the image's pixels through this VAE's encoder instead of the latent. "
            "Slower, and needs more memory.",
        ),
    ]


def _fine_settings() -> list[io.Input]:
    return [
        widgets.choice(
            "start_from",
            ["latent", "noise"],
            "Where to start: at latent_image, or at noise. By default at latent_image; if that is empty, sds, nfsd, "
            "csd, vsd, ism, dreamsampler and the bridges start at noise.",
            optional=True,
        ),
        widgets.choice(
            "optimizer",
            list(OPTIMIZERS),
            "How the gradient moves the image. adamw also decays it by a hundredth of learning_rate per step, which "
            "darkens pixels: with a vae choose adam.",
            optional=True,
        ),
        widgets.choice(
            "learning_rate_schedule",
            [*LEARNING_RATES, FLOW_TIME, HUMP],
            "Learning-rate schedule. flow time, together with descending and sgd, turns the optimizer into an ODE "
            "solver (flowedit, flowalign). hump (dvrf) moves most late in the run; its rates add up to learning_rate.",
            optional=True,
        ),
        widgets.choice(
            "weighting",
            list(WEIGHTS),
            "Weight per noise level: 1-alpha_bar favors layout, uniform is constant, snr (b/a) expresses the gradient "
            "as a difference of clean estimates. normalized makes all gradients equally long: with sgd, each step "
            "moves by learning_rate.",
            optional=True,
        ),
        widgets.number("eta", "Share of fresh noise in estimated or inverted noise.", high=1.0, optional=True),
        widgets.number(
            "source_guidance_scale",
            "dds, flowedit, dvrf: guidance scale of the source prediction. csd: weight w2 of the source prompt.",
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
            tooltip="L2 pull toward latent_image. 0.005-0.05 for lmc edits (the paper's 0.1 applies before dividing "
            "by the guidance scale).",
        ),
        widgets.number(
            "first_stage",
            "bridge, full bridge: fraction of steps spent in the initial SDS stage. lmc: fraction during which an "
            "image larger than one patch is optimized downscaled, before switching to patches.",
            high=1.0,
            optional=True,
        ),
        widgets.whole(
            "ode_steps",
            "full bridge: ODE steps each way. ism, sdi and inverted noise: inversion steps.",
            high=1000,
            optional=True,
        ),
        widgets.whole("lora_rank", "vsd: rank of the LoRA trained on the current images.", high=512, optional=True),
        widgets.number("lora_learning_rate", "vsd: learning rate of that LoRA.", high=1.0, step=1e-5, optional=True),
    ]


def _manifold_corrective() -> list[io.Input]:
    return [
        CORRECTIVE.Input(
            "corrective",
            optional=True,
            tooltip="lmc: the manifold corrective of this model, from Load or Train Manifold Corrective.",
        ),
        io.Boolean.Input(
            "diversity",
            default=False,
            optional=True,
            tooltip="lmc: reuse one noise sample for the prompt gradient during the whole run, so that different seeds "
            "give different images.",
        ),
    ]


def _flow_edits() -> list[io.Input]:
    return [
        widgets.number(
            "source_consistency_weight",
            "flowalign: weight of the pull to the source image. Higher keeps more of it.",
            high=100.0,
            step=0.001,
            optional=True,
        ),
        widgets.number(
            "shift",
            "dvrf: how far the noised edit is shifted away from the source: 0 compares as dds does, 1 as flowedit.",
            high=1.0,
            optional=True,
            note="-1 lets it grow over the steps, as in the paper.",
        ),
        io.Combo.Input(
            "region",
            options=list(REGIONS),
            default="off",
            optional=True,
            tooltip="find edits only where positive and source (without one, negative) differ in this image, as Find "
            "Edit Region finds it. Costs 24 model evaluations. A noise mask of latent_image narrows the region.",
        ),
        widgets.whole(
            "n_avg",
            "Noises that each step averages over: steadier, at n_avg times the model calls and the memory of one.",
            high=100,
            optional=True,
        ),
        widgets.whole(
            "n_min",
            "flowedit, dvrf, flowalign: how many of the last steps sample with the target prompt from the renoised "
            "edit. Sharper, and further from the source.",
            high=100_000,
            optional=True,
        ),
    ]


def _restoration() -> list[io.Input]:
    return [
        widgets.choice(
            "renoise",
            list(get_args(Renoise)[::-1]),
            "dreamsampler, with estimated noise: which noise prediction of a step the next one adds. unconditional is "
            "the authors' choice for edits; guided, the paper's, grows with guidance_scale until it hides the image.",
            optional=True,
        ),
        widgets.number(
            "data_weight",
            "With a measurement: its weight against the prompt.",
            high=1e4,
            step=0.05,
            optional=True,
            note="-1 uses the paper's 4, for blurs 1.25. Noisy measurements need less.",
        ),
        io.Float.Input(
            "pixel_weight",
            default=0.0,
            min=0.0,
            max=1e4,
            step=0.05,
            round=False,
            optional=True,
            tooltip="With a vae: pulls pixels to the decoded clean estimate too, beside the latent (DreamSampler, "
            "eq. 11 of the appendix). Costs one VAE decoding per step. 0 is off, 1 weighs pixels as much as the "
            "latent; 0.1 to 1.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            tooltip="A degraded image to restore, from Measurement. Needs the vae, because its pixels are optimized, "
            "and its encoded image on latent_image. Choose the method dreamsampler.",
        ),
    ]


def _inversion_guidance_scale() -> io.Input:
    return io.Float.Input(
        "inversion_guidance_scale",
        default=LoopSettings().inversion_guidance_scale,
        min=-1e4,
        max=1e4,
        step=0.1,
        round=False,
        optional=True,
        tooltip="Inverted noise: guidance scale of the inversion. Below 0 what the prompt asks for and the image lacks "
        "counts as noise, which the gradient then replaces. The paper's is -7.5; 0 inverts without the prompt.",
    )
