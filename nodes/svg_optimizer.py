"""SVG Optimizer: generate, trace, edit and restore SVGs with a diffusion model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..drawings.cleaning import LIMITS
from ..drawings.drawing import Drawing
from ..drawings.styles import ART_STYLES
from ..drawings.tasks import DEFAULTS, MOVES
from ..drawings.tracing import ANYWHERE, PLACEMENTS, TRACE, TracingSettings
from ..guidance.distillation.schedules import NOISE_POLICIES, TIME_SCHEDULES
from ..svg.document import Document
from ..svg.markup.writer import write
from ..svg.raster.rasterizers import BUILT_IN, NAMES
from . import checks, host, svg_inputs, widgets
from .runs.drawing import DrawingDistillation
from .sockets import MEASUREMENT, OBJECTIVE
from .svg_request import FIT_STEPS, OFF, Request
from .widgets import UNSET

log = logging.getLogger("dreamsampler")

LAZY = ("model", "vae", "positive", "negative", "measurement", "objective", "source")
"""Inputs that only distillation uses, except that a measurement can also be traced: not evaluated if steps is 0."""


class SVGOptimizer(io.ComfyNode):
    """The loop of `guidance.distillation.loop` with drawings as the generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSSVGOptimizer",
            display_name="SVG Optimizer",
            category="DreamSampler",
            description=(
                "Generates, traces, edits or restores SVGs with a diffusion model. Connect nothing: text-to-SVG; svg: "
                "edit that SVG; measurement: restore the degraded image as an SVG; image: trace it, then refine the "
                "trace with the prompt (steps 0: trace only, without a model)."
            ),
            search_aliases=(
                "text to svg, vectorize, vectorise, trace, svg edit, VectorFusion, LIVE, icon, sketch, pixel art, "
                "low-poly, vector graphics, score distillation"
            ),
            has_intermediate_output=True,
            advanced=(
                "fit_groups fit_places learning_rate time_schedule noise_policy t_min t_max views crossing_weight "
                "sds_weight data_weight renderer pixel_weight clean move selected mask"
            ),
            inputs=[*_main_inputs(), *_connections(), *_fine_settings()],
            outputs=[
                io.SVG.Output(display_name="svg", tooltip="The SVGs, for Save SVG or SVG to Image."),
                io.Image.Output(display_name="image", tooltip="The SVGs rendered at canvas_size."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, steps: int, **connected: Any) -> list[str]:
        """Evaluates only what is needed: everything for distillation, otherwise only what is traced."""
        traced = ("measurement",) if connected.get("image") is None else ()
        return [name for name in (LAZY if steps else traced) if name in connected and connected[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        with svg_inputs.drawn_if_possible("Set canvas_size or paths lower, or connect a simpler SVG."):
            return cls._run(Request(**inputs))

    @classmethod
    def _run(cls, request: Request) -> io.NodeOutput:
        preview = host.Previews(request.initialization.steps + request.steps)
        distillation = request.checked_distillation(preview) if request.steps else None
        notes = request.notes
        with _saved_when_cancelled(preview, request) as remember:
            drawings = request.initialization.run(request.generators, preview, remember)
            if distillation is not None:
                _distill(request, dataclasses.replace(distillation, drawings=drawings), notes)
        documents = request.finished(drawings)
        files = _svg_files(documents)
        curve = {"distillation": [distillation.curve.output]} if distillation and distillation.curve else {}
        shown = {"images": host.svg_previews(files), **curve, **({"text": notes} if notes else {})}
        return io.NodeOutput(host.svg_value(files), request.render(documents), ui=shown)


def _distill(request: Request, distillation: DrawingDistillation, notes: list[str]) -> None:
    chosen, config = distillation.chosen, distillation.config
    notes.extend(checks.notes_on_distillation(request.model, request.samples, chosen, config))
    host.show_on_node("\n".join(notes))
    host.run_in_sampler(
        distillation,
        model=request.model,
        conditionings=distillation.chosen.conditionings,
        samples=request.samples,
        sigmas=host.full_range(request.model),
        evaluations=None,
        seed=request.seed,
        notes=notes,
    )
    if distillation.curve is not None:
        notes.extend(distillation.curve.notes)
    host.show_on_node("\n".join(notes))


def _svg_files(documents: Iterable[Document]) -> list[bytes]:
    return [write(document).encode() for document in documents]


@contextmanager
def _saved_when_cancelled(preview: host.Previews, request: Request) -> Iterator[Callable[[Sequence[Drawing]], None]]:
    """Gives a function to report the drawings to. If the user cancels, they are shown and saved to the temp folder."""
    latest: list[Drawing] = []

    def remember(drawings: Sequence[Drawing]) -> None:
        latest[:] = drawings

    try:
        yield remember
    except host.Cancelled:
        preview.show_last()
        for saved in host.svg_previews(_svg_files(request.finished(latest))):
            log.info(
                "SVG Optimizer was canceled. The drawing so far is %s in ComfyUI's temp folder.", saved["filename"]
            )
        raise


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", optional=True, lazy=True, tooltip="Any image model. Not needed if steps is 0."),
        io.Vae.Input("vae", optional=True, lazy=True, tooltip="The model's VAE. Not needed if steps is 0."),
        io.Conditioning.Input(
            "positive",
            optional=True,
            lazy=True,
            tooltip=f"The target prompt: what the drawing should show, plus words for its style: {_style_words()}.",
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            lazy=True,
            tooltip="The unconditional (negative) prompt. The papers leave it empty.",
        ),
        io.Combo.Input(
            "style",
            options=list(ART_STYLES),
            default="iconography",
            tooltip=f"What new drawings are made of: {_style_list()}. An SVG on input svg keeps its shapes.",
        ),
        io.Int.Input(
            "paths",
            default=UNSET,
            min=UNSET,
            max=10_000,
            tooltip="Number of paths of a new drawing. -1 uses the style's number, 128 for iconography. An SVG on "
            "input svg keeps its paths.",
        ),
        io.Int.Input(
            "steps",
            default=DEFAULTS["draw"].loop.steps,
            min=0,
            max=100_000,
            tooltip="Distillation steps, one model call each. Start with 300 for a first try; the paper uses 1000. 0 "
            "only traces the image or measurement, without a model.",
        ),
        widgets.number(
            "guidance_scale",
            "Guidance scale. Lower it to 7.5 to 30 for gentle edits.",
            high=1e4,
            step=0.5,
            note="-1 uses the papers' 100; with a measurement 7.5, which was tuned on the small reference model.",
        ),
        io.Int.Input(
            "canvas_size",
            default=512,
            min=16,
            max=4096,
            step=8,
            tooltip="Longer side in pixels of what the model sees and of the output image. Use the model's native "
            "resolution: 512 for SD1.5, 1024 for SDXL, SD3 and Flux. A measurement sets its own size. The SVG scales "
            "to any size.",
        ),
        widgets.seed("Seed of path positions, views, noise and noise levels. Each image of a batch has its own."),
    ]


def _connections() -> list[io.Input]:
    return [
        io.SVG.Input("svg", optional=True, tooltip="An SVG to edit or to start from."),
        io.Image.Input(
            "image",
            optional=True,
            tooltip="An image to trace first: a photo, or an image sampled from the same prompt.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            lazy=True,
            tooltip="A degraded image, from Measurement: finds a drawing that matches it and the prompt. With steps 0 "
            "it is only traced, without a prompt.",
        ),
        OBJECTIVE.Input(
            "objective",
            optional=True,
            lazy=True,
            tooltip="An objective from another node, such as Posterior Latent Match, in place of sds, or of pds with "
            "an svg. It brings its own prompts.",
        ),
        io.Conditioning.Input(
            "source",
            optional=True,
            lazy=True,
            tooltip="With an svg, the source prompt: what that drawing shows now. Helps preserve it.",
        ),
    ]


def _fine_settings() -> list[io.Input]:
    return [
        io.Int.Input(
            "fit_steps",
            default=FIT_STEPS,
            min=1,
            max=10_000,
            optional=True,
            tooltip="With an image or a measurement: tracing steps after each group of paths. 50 is often enough; the "
            "papers use 500.",
        ),
        io.Int.Input(
            "fit_groups",
            default=TracingSettings.groups,
            min=1,
            max=1000,
            optional=True,
            tooltip="With an image or a measurement: number of groups in which paths are added, large regions first. "
            "1 to 16.",
        ),
        io.Combo.Input(
            "fit_places",
            options=[*PLACEMENTS, ANYWHERE, TRACE],
            default=TracingSettings.placement,
            optional=True,
            tooltip="With an image or a measurement, where paths start: in the largest regions of error "
            "(component-wise, LIVE), at the pixels of largest error, spread out (sparse), or all at once at random "
            "positions (anywhere). With anywhere a measurement is not traced first, as in the paper. trace turns "
            "the image into opaque paths at once, at most as many as paths, and fits them: its regions, outlines, "
            "brush strokes or triangles, as the style has them.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1.0,
            min=0.0,
            max=1000.0,
            step=0.05,
            round=False,
            optional=True,
            tooltip="Multiplies the papers' learning rates of points, colors and widths. 0.5 to 2.",
        ),
        widgets.choice(
            "time_schedule",
            TIME_SCHEDULES,
            "Which noise levels the steps visit: uniform draws them at random (default for drawing and editing), "
            "annealed draws them lower and lower, descending goes straight down (default for restoration).",
            optional=True,
        ),
        widgets.choice(
            "noise_policy",
            NOISE_POLICIES,
            "Which noise is added. fresh: a new draw at every step (default for drawing and editing); fixed: one draw; "
            "estimated: the model's estimate from the previous step, which needs a low guidance_scale (default for "
            "restoration); inverted: the noise found by inverting the image.",
            optional=True,
        ),
        widgets.number("t_min", "Lowest noise level visited: 0 is clean.", high=1.0, optional=True),
        widgets.number("t_max", "Highest noise level visited: 1 is pure noise.", high=1.0, optional=True),
        widgets.choice(
            "views",
            ["on", "off"],
            "Shows the model random crops of the drawing in random perspective. By default on for new drawings, off "
            "for edits and restorations.",
            optional=True,
        ),
        widgets.number(
            "crossing_weight",
            "Weight of the loss that keeps outlines from crossing themselves. 0 to 0.1.",
            high=1e3,
            optional=True,
            note="-1 uses the paper's 0.01 for iconography, 0 for other styles.",
        ),
        *widgets.restoration_weights(),
        io.Combo.Input(
            "renderer",
            options=list(NAMES),
            default=BUILT_IN,
            optional=True,
            tooltip="What draws the SVG while it is optimized. built-in is exact and needs no package. diffvg, which "
            "the papers use, needs the Python package pydiffvg and cannot draw every SVG: choose it to reproduce their "
            "results.",
        ),
        io.Float.Input(
            "pixel_weight",
            default=0.0,
            min=0.0,
            max=1e4,
            step=0.05,
            round=False,
            optional=True,
            tooltip="Pulls pixels to the decoded clean estimate too, beside the latent (DreamSampler, eq. 11 of the "
            "appendix). Costs one VAE decoding per step. 0 is off, 1 weighs pixels as much as the latent; 0.1 to 1.",
        ),
        io.Combo.Input(
            "clean",
            options=[OFF, *LIMITS],
            default="on",
            optional=True,
            tooltip="Cleans up new drawings: removes hidden and tiny paths, makes opaque what looks opaque, merges "
            "near colors and simplifies outlines, as far as the image stays the same, and groups "
            "shapes by color. strong does more of it.",
        ),
        io.Combo.Input(
            "move",
            options=list(MOVES),
            default="all",
            optional=True,
            tooltip="With an svg, what may change: all (points, widths and colors), colors only, which keeps every "
            "point, shapes only, which keeps every color, or opacities too (all and opacity).",
        ),
        io.String.Input(
            "selected",
            default="",
            optional=True,
            tooltip="With an svg, the ids of the shapes and groups that may change, separated by spaces or commas; a "
            "class with a dot, as in .skin. Empty: all of them.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="With an svg, an area of the drawing: only shapes that lie in it by at least half may change.",
        ),
    ]


def _style_list() -> str:
    """What each style is made of: "closed shapes (iconography), ... or triangles (low-poly)"."""
    *others, last = (f"{style.elements} ({style.name})" for style in ART_STYLES.values())
    return f"{', '.join(others)} or {last}"


def _style_words() -> str:
    """The words to append to the prompt for each style."""
    words = (f'"{style.prompt_suffix.removeprefix(", ")}" ({style.name})' for style in ART_STYLES.values())
    return ", ".join(words)
