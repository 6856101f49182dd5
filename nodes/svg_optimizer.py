"""SVG Optimizer: make, trace, edit and restore vector drawings against a model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..drawings.drawing import Drawing
from ..drawings.styles import ART_STYLES
from ..drawings.tasks import DEFAULTS
from ..drawings.tracing import ANYWHERE, PLACES, Tracing
from ..guidance.distillation.schedules import NOISE_POLICIES, TIME_SCHEDULES
from ..svg.document import Document
from ..svg.markup.writer import write
from . import host, widgets
from .sockets import MEASUREMENT, OBJECTIVE
from .svg_request import FIT_STEPS, Request
from .widgets import UNSET

log = logging.getLogger("dreamsampler")

LAZY = ("model", "vae", "positive", "negative", "measurement", "objective", "source")
"""Inputs that are of no use without steps of distillation; of those a measurement can be traced itself."""


class SVGOptimizer(io.ComfyNode):
    """The loop of `guidance.optimize` with drawings as what is optimised."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSSVGOptimizer",
            display_name="SVG Optimizer",
            category="DreamSampler",
            description=(
                "Makes, traces, edits or restores a vector drawing with a diffusion model; what is connected decides. "
                "Nothing: a drawing from the text. svg: that drawing, edited. measurement: what was measured, restored "
                "as a drawing. image: a drawing traced from it, refined by the text unless steps is 0."
            ),
            inputs=[*_main_inputs(), *_connections(), *_fine_settings()],
            outputs=[
                io.SVG.Output(display_name="svg", tooltip="The drawings, for Save SVG or SVG to Image."),
                io.Image.Output(display_name="image", tooltip="The drawings as pictures, canvas_size large."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, steps: int, **connected: Any) -> list[str]:
        """Without steps of distillation, nothing is worked out but what is traced."""
        traced = ("measurement",) if connected.get("image") is None else ()
        return [name for name in (LAZY if steps else traced) if name in connected and connected[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        ask = Request(**inputs)
        show = host.Previews(ask.beginning.steps + ask.steps)
        distillation = ask.distillation(show) if ask.steps else None
        with _kept_when_cancelled(show) as hold:
            drawings = ask.beginning.drawings(ask.generators, show, hold)
            if distillation is not None:
                host.run_in_sampler(
                    dataclasses.replace(distillation, drawings=drawings),
                    model=ask.model,
                    conditionings=distillation.chosen.conditionings,
                    samples=ask.samples,
                    sigmas=host.whole_range(ask.model),
                    evaluations=None,
                    seed=ask.seed,
                )
        documents = [drawing.document() for drawing in drawings]
        files = _written(documents)
        curve = {"distillation": [distillation.curve.whole]} if distillation and distillation.curve else {}
        return io.NodeOutput(
            host.svg_value(files), ask.images(documents), ui={"images": host.svg_previews(files), **curve}
        )


def _written(documents: Iterable[Document]) -> list[bytes]:
    return [write(document).encode() for document in documents]


@contextmanager
def _kept_when_cancelled(show: host.Previews) -> Iterator[Callable[[Sequence[Drawing]], None]]:
    """Gives a function to be told the drawings so far: if the user cancels, they are shown, and kept for a while."""
    so_far: list[Drawing] = []

    def hold(drawings: Sequence[Drawing]) -> None:
        so_far[:] = drawings

    try:
        yield hold
    except host.Cancelled:
        show.show_last()
        shown = host.svg_previews(_written(drawing.document() for drawing in so_far))
        for each in shown:
            log.info("SVG Optimizer was cancelled. The drawing so far is %s in the temporary folder.", each["filename"])
        raise


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", optional=True, lazy=True, tooltip="Any image model; not needed if steps is 0."),
        io.Vae.Input("vae", optional=True, lazy=True, tooltip="The VAE that belongs to the model."),
        io.Conditioning.Input(
            "positive", optional=True, lazy=True, tooltip="What the drawing should show, with words of its style."
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            lazy=True,
            tooltip="The text that guidance starts from. Empty text is published.",
        ),
        io.Combo.Input(
            "style",
            options=list(ART_STYLES),
            default="iconography",
            tooltip="What new drawings are made of: closed shapes (iconography), squares (pixel art), black lines "
            "(sketch), brush strokes (painting) or triangles (low-poly). Drawings on input svg keep their shapes.",
        ),
        io.Int.Input(
            "paths",
            default=UNSET,
            min=UNSET,
            max=10_000,
            tooltip="How many paths a new drawing has. -1: the style's own, 128 for iconography. Drawings on input "
            "svg keep theirs.",
        ),
        io.Int.Input(
            "steps",
            default=DEFAULTS["draw"].loop.steps,
            min=0,
            max=100_000,
            tooltip="Steps of distillation, each one call of the model. 1000 is published. 0 only traces image, or "
            "measurement, and needs no model.",
        ),
        widgets.number(
            "guidance_scale",
            "Weight of the text; 100 is published. With a measurement 7.5 keeps more.",
            high=1e4,
            step=0.5,
        ),
        io.Int.Input(
            "canvas_size",
            default=512,
            min=16,
            max=4096,
            step=8,
            tooltip="Longer side, in pixels, of what the model sees and of the output image: a size the model knows. "
            "A measurement brings its own. The SVG itself can be drawn at any size.",
        ),
        widgets.seed("Seed of where paths start, of noise and times. Item i of a batch uses seed + i."),
    ]


def _connections() -> list[io.Input]:
    return [
        io.SVG.Input("svg", optional=True, tooltip="A drawing to edit, or to start from."),
        io.Image.Input(
            "image",
            optional=True,
            tooltip="A picture that is traced first: a photo, or a picture sampled from the same text.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            lazy=True,
            tooltip="A small, blurred or damaged picture, from Measurement: the drawing is made to explain it. With "
            "steps 0 that is all.",
        ),
        OBJECTIVE.Input(
            "objective",
            optional=True,
            lazy=True,
            tooltip="An objective from another node, instead of sds, or of pds with an svg; it brings its own texts.",
        ),
        io.Conditioning.Input(
            "source", optional=True, lazy=True, tooltip="With an svg: what that drawing shows now. Helps to keep it."
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
            tooltip="With an image or a measurement: steps of fitting after each group of paths. 500 is published; 50 "
            "is often enough.",
        ),
        io.Int.Input(
            "fit_groups",
            default=Tracing.groups,
            min=1,
            max=1000,
            optional=True,
            tooltip="With an image or a measurement: in how many groups paths are added, large regions first.",
        ),
        io.Combo.Input(
            "fit_places",
            options=[*PLACES, ANYWHERE],
            default=Tracing.places,
            optional=True,
            tooltip="With an image or a measurement: where paths start, in the largest regions that are wrong "
            "(component-wise, LIVE), at pixels that are most wrong and far apart (sparse), or anywhere, all at once; a "
            "measurement is then not traced first, as published.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1.0,
            min=0.0,
            max=1000.0,
            step=0.05,
            round=False,
            optional=True,
            tooltip="Multiplies the published rates of points, colours and widths.",
        ),
        widgets.choice(
            "time_schedule",
            TIME_SCHEDULES,
            "Noise levels visited: uniform draws them at random (drawing, editing), descending walks down "
            "(restoration).",
            optional=True,
        ),
        widgets.choice(
            "noise_policy",
            NOISE_POLICIES,
            "Noise put in: fresh draws at every step, one fixed draw, the estimated noise of the step before, which "
            "needs a low guidance_scale, or the noise that inverting the picture finds.",
            optional=True,
        ),
        widgets.number("t_min", "Lowest noise level visited: 0 is clean.", high=1.0, optional=True),
        widgets.number("t_max", "Highest noise level visited: 1 is pure noise.", high=1.0, optional=True),
        widgets.choice(
            "views",
            ["on", "off"],
            "Whether the model sees random parts of the drawing in random perspective. The method's own is on for new "
            "drawings, off for edits and restoration.",
            optional=True,
        ),
        widgets.number(
            "crossing_weight", "Keeps outlines from crossing themselves; 0.01 is published.", high=1e3, optional=True
        ),
        widgets.number(
            "sds_weight", "With a measurement: weight of the text, 1 to 2.4 as published.", high=1e4, optional=True
        ),
        widgets.number(
            "data_weight", "With a measurement: weight of explaining it, 3 to 4 as published.", high=1e4, optional=True
        ),
    ]
