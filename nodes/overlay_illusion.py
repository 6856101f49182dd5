"""Overlay Illusion: sheets that show another image when they are turned, rearranged or laid on top of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.core.noise import item_seeds
from ..guidance.distillation.compositions import ARRANGEMENTS, TURNS, Arrangement, Look, conditionings_of_views
from ..guidance.distillation.method import Config
from ..guidance.distillation.objectives import LISTED, METHODS
from . import checks, host, widgets
from .runs.distillation import Curve, check_distillation, for_changing_views
from .runs.illusion import IllusionDistillation
from .runs.settings import used_settings
from .sockets import OBJECTIVE, ObjectiveSocket
from .widgets import UNSET

MOST_VIEWS = max(len(arrangement.views) for arrangement in ARRANGEMENTS.values())
NEEDS_AN_IMAGE = frozenset({"reference", "corrective"})
"""What the methods need that cannot start from blank sheets."""
FROM_SCRATCH = [name for name in LISTED if not (METHODS[name].edits or METHODS[name].needs & NEEDS_AN_IMAGE)]
"""The methods that make images from nothing."""
METHOD, STEPS, LEARNING_RATE = "sds", 300, 0.02
SETTINGS = {"optimizer": "adam", "learning_rate": LEARNING_RATE, "learning_rate_schedule": "cosine to 0.03"}
"""The loop of sheets. Rates that fall average noise out."""
RESIZE = "set size to that."


class OverlayIllusion(io.ComfyNode):
    """The loop of `guidance.distillation.loop` with composed views as the generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSOverlayIllusion",
            display_name="Overlay Illusion",
            category="DreamSampler",
            description=(
                "Makes images that show something else when they are flipped, turned or cut up, and transparencies "
                "that show another image when they are laid on top of each other. Every view has its own prompt."
            ),
            search_aliases=(
                "illusion, optical illusion, ambigram, visual anagram, flip illusion, jigsaw, puzzle, overlay, "
                "transparency, hidden image, Diffusion Illusions, score distillation, SDS"
            ),
            has_intermediate_output=True,
            advanced="learning_rate views_per_step light",
            inputs=[*_main_inputs(), *_conditionings(), *_fine_settings()],
            outputs=[
                io.Image.Output(display_name="sheets", tooltip="The sheets to print, as a batch: bottom sheet first."),
                io.Image.Output(display_name="views", tooltip="What each view shows, in the order of the prompts."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        negative: Any,
        arrangement: str,
        size: int,
        steps: int,
        guidance_scale: float,
        method: str,
        seed: int,
        objective: ObjectiveSocket | None = None,
        learning_rate: float = UNSET,
        views_per_step: str = "all",
        light: float = UNSET,
        start_sheets: Tensor | None = None,
        **prompts: Any,
    ) -> io.NodeOutput:
        arranged, notes = ARRANGEMENTS[arrangement], list[str]()
        targets = _prompts_of_views("conditioning", arrangement, prompts, notes)
        sources = _prompts_of_views("source", arrangement, prompts, notes, otherwise=negative)
        kinds = {TARGET: targets, NULL: [negative] * len(targets), SOURCE: sources}
        chosen = _chosen(objective, method, conditionings_of_views(kinds))
        config = _config(chosen, steps=steps, guidance_scale=guidance_scale, learning_rate=learning_rate)
        _check(model, vae, chosen, config, negative, targets, sources)
        _check_size(size, vae, arranged)
        cell = vae.spacial_compression_encode()
        turns = TURNS[views_per_step](len(arranged.views), seed)
        taken = len(turns(0))
        samples = host.empty_latent(model, taken, size // cell, size // cell)
        named = _named(targets, negative, sources)
        notes += checks.notes_on_distillation(model, samples, chosen, config, views=named, resize=RESIZE)
        host.show_on_node("\n".join(notes))
        light = arranged.light if light == UNSET else light
        curve = Curve(chosen.method.name, steps, used_settings(config, {} if light == 1 else {"light": light}))
        preview = host.Previews(steps)
        run = IllusionDistillation(
            chosen=chosen,
            config=config,
            seeds=item_seeds(seed, range(taken)),
            curve=curve,
            arrangement=arranged,
            size=size,
            look=Look(seed, light),
            turns=turns,
            shift=cell // 2,
            start=_start(start_sheets, arranged.sheets, size),
            model=model,
            vae=vae,
            preview=preview,
            notes=notes,
        )
        try:
            host.run_in_sampler(
                run,
                model=model,
                conditionings=chosen.conditionings,
                samples=samples,
                sigmas=host.full_range(model),
                evaluations=None,
                seed=seed,
                notes=notes,
            )
        except host.Cancelled:
            preview.show_last()
            raise
        notes += curve.notes
        host.show_on_node("\n".join(notes))
        sheets, views = (images.movedim(1, -1) for images in (run.result.sheets, run.result.views))
        return io.NodeOutput(sheets, views, ui={"distillation": [curve.output], "text": notes})


def _chosen(objective: ObjectiveSocket | None, method: str, prompts: dict[str, Any]) -> ObjectiveSocket:
    """The method, or that of an objective's node with its settings, and the prompts of the views."""
    if objective is None:
        return ObjectiveSocket(METHODS[method], prompts)
    return replace(objective, conditionings=prompts)


def _config(chosen: ObjectiveSocket, **widgets: float) -> Config:
    """The paper's settings with the loop of sheets, those of the objective's node and those of the widgets."""
    config = for_changing_views(chosen.method.config().updated({**SETTINGS, **chosen.settings}))
    return checks.with_settings(config, widgets)


def _prompts_of_views(
    kind: str, arrangement: str, prompts: dict[str, Any], notes: list[str], *, otherwise: Any = None
) -> list[Any]:
    """The CONDITIONINGs on the inputs `kind`_1, `kind`_2, ..., one for each view, or `otherwise` if there are none.

    Raises ValueError where one is missing; a note names those that are not used.
    """
    count = len(ARRANGEMENTS[arrangement].views)
    names = [f"{kind}_{number}" for number in range(1, MOST_VIEWS + 1)]
    connected = [name for name in names if prompts.get(name) is not None]
    if otherwise is not None and not connected:
        return [otherwise] * count
    missing = [name for name in names[:count] if name not in connected]
    if missing:
        only = "" if otherwise is None else f", or none of '{kind}_1' to '{kind}_{count}'"
        raise ValueError(
            f"The arrangement '{arrangement}' has {count} views, and each needs a prompt of its own: connect "
            f"{_listed(missing)}{only}, or choose another arrangement."
        )
    unused = [name for name in connected if name not in names[:count]]
    if unused:
        notes.append(f"The arrangement '{arrangement}' has {count} views, so {_listed(unused)} has no effect.")
    return [prompts[name] for name in names[:count]]


def _listed(names: Sequence[str]) -> str:
    *others, last = (f"'{name}'" for name in names)
    return f"{', '.join(others)} and {last}" if others else last


def _check(
    model: Any, vae: Any, chosen: ObjectiveSocket, config: Config, negative: Any, targets: list[Any], sources: list[Any]
) -> None:
    """Check prompts under the names of their inputs, and all that a distillation checks."""
    inputs = {"negative": negative, "source": negative}
    for kind, values in (("conditioning", targets), ("source", sources)):
        inputs |= {f"{kind}_{number}": value for number, value in enumerate(values, start=1) if value is not negative}
    check_distillation(model, replace(chosen, conditionings=inputs), config, vae)


def _named(targets: list[Any], negative: Any, sources: list[Any]) -> list[checks.Prompts]:
    """The prompts of each view with the names of their inputs."""
    return [
        {TARGET: (f"conditioning_{view}", target), NULL: ("negative", negative), SOURCE: (f"source_{view}", source)}
        for view, (target, source) in enumerate(zip(targets, sources, strict=True), start=1)
    ]


def _check_size(size: int, vae: Any, arrangement: Arrangement) -> None:
    """Check that latent cells and pieces divide the side of the sheets."""
    step = math.lcm(vae.spacial_compression_encode(), arrangement.cells)
    if size < step or size % step:
        below = max(size // step, 1) * step
        raise ValueError(
            f"size is {size}, but this VAE and arrangement need multiples of {step} pixels: set it to {below}, or to "
            f"{below + step}."
        )


def _start(sheets: Tensor | None, count: int, size: int) -> Tensor | None:
    """An IMAGE batch as sheets (count, 3, size, size) in [0, 1]. Raises ValueError for another number of images."""
    if sheets is None:
        return None
    images = checks.color_channels(sheets).movedim(-1, 1)
    if len(images) not in (1, count):
        raise ValueError(
            f"Input 'start_sheets' holds {len(images)} images, but the arrangement has {count} sheets: connect one "
            "image for all sheets, or one for each."
        )
    resized = F.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    return resized.expand(count, -1, -1, -1)


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any image model (eps- or v-prediction, or flow matching)."),
        io.Vae.Input("vae", tooltip="The model's VAE: the model sees every view through its encoder."),
        io.Conditioning.Input(
            "negative", tooltip="The unconditional (negative) prompt, shared by all views. The papers leave it empty."
        ),
        io.Combo.Input(
            "arrangement",
            options=list(ARRANGEMENTS),
            default="flip",
            tooltip="How sheets make views. One sheet, 2 prompts: flip (upside down, mirrored), rotate 90, rotate 180, "
            "jigsaw (16 pieces in another order). Stacked transparencies: rotation overlay (2 sheets, the upper one "
            "turned by 0, 90, 180 and 270 degrees: 4 prompts), hidden overlay (4 sheets with a prompt each, and a "
            "fifth prompt for the stack), hidden overlay of 2 (2 sheets: 3 prompts).",
        ),
        io.Int.Input(
            "size",
            default=512,
            min=16,
            max=4096,
            step=8,
            tooltip="Side of the square sheets in pixels. Use the model's native resolution: 512 for SD1.5, 1024 for "
            "SDXL, SD3 and Flux.",
        ),
        io.Int.Input(
            "steps",
            default=STEPS,
            min=1,
            max=100_000,
            tooltip="Optimizer steps. Each calls the model once with a batch of all its views; vsd calls it three "
            "times. 150 for a first try, 1000 for the best result.",
        ),
        widgets.number(
            "guidance_scale", "Guidance scale of the gradient; bridge: weight of target minus source.", high=1e4
        ),
        io.Combo.Input(
            "method",
            options=FROM_SCRATCH,
            default=METHOD,
            tooltip="The gradient, as in Distillation Sampler.",
        ),
        widgets.seed("Seed of the noise, the noise levels and the jigsaw's order. Each view has its own noise."),
    ]


VIEWS = (
    "the sheet as it is. rotation overlay: the stack with the upper sheet upright.",
    "the sheet flipped, turned or cut up. rotation overlay: the upper sheet turned by 90 degrees. hidden overlay: the "
    "second sheet.",
    "rotation overlay: the upper sheet turned by 180 degrees. hidden overlay: the third sheet. hidden overlay of 2: "
    "the stack.",
    "rotation overlay: the upper sheet turned by 270 degrees. hidden overlay: the fourth sheet.",
    "hidden overlay: the stack.",
)
"""What the prompt of each input describes."""


def _conditionings() -> list[io.Input]:
    return [
        io.Conditioning.Input(f"conditioning_{i}", optional=i > 2, tooltip=f"Prompt {i}, of {what}")
        for i, what in enumerate(VIEWS, start=1)
    ]


def _fine_settings() -> list[io.Input]:
    return [
        OBJECTIVE.Input(
            "objective",
            optional=True,
            tooltip="An objective from another node, such as Posterior Latent Match, in place of method. It keeps its "
            "settings and compares with start_sheets; the prompts are those of this node.",
        ),
        widgets.number(
            "learning_rate",
            "Learning rate of the sheets, which falls over the run. 0.005 to 0.05.",
            high=1e3,
            step=0.001,
            optional=True,
            note=f"-1 uses {LEARNING_RATE:g}.",
        ),
        io.Combo.Input(
            "views_per_step",
            options=list(TURNS),
            default="all",
            optional=True,
            tooltip="Views that a step takes: all, or one (in turn, random), which costs less time and memory per step "
            "and needs as many more steps.",
        ),
        widgets.number(
            "light",
            "Brightness of the light behind stacked sheets, as a multiple of white paper. A stack is darker than each "
            "of its sheets.",
            high=100.0,
            step=0.1,
            optional=True,
            note="-1 uses 2, for hidden overlay 3.",
        ),
        io.Image.Input(
            "start_sheets",
            optional=True,
            tooltip="Sheets to start from instead of gray ones: the output sheets of an earlier run, to continue it, "
            "or an image to edit.",
        ),
        *(
            io.Conditioning.Input(
                f"source_{number}",
                optional=True,
                tooltip=f"The source prompt of view {number} for bridge, full bridge, csd and nfsd, from Text-Source "
                "Descriptor. Without source prompts, negative takes their place.",
            )
            for number in range(1, MOST_VIEWS + 1)
        ),
    ]
