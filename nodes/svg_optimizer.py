"""SVG Optimizer: make, trace, edit and restore vector drawings against a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..guidance.measurement import Measurement
from ..guidance.methods import METHODS, NOISE_POLICIES, Settings
from ..guidance.objectives.base import NULL, SOURCE, TARGET
from ..guidance.schedules import TIME_SCHEDULES
from ..svg.art_styles import ART_STYLES, ArtStyle
from ..svg.augmentation import Views
from ..svg.document import Document
from ..svg.jobs import SETTINGS, Job, Terms, restoration_terms
from ..svg.markup.writer import write
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from ..svg.tracing import ANYWHERE, PLACES, Tracing
from . import checks, host, reports, svg_inputs, widgets
from .posterior import pds_method
from .sockets import MEASUREMENT, OBJECTIVE, ObjectiveSocket
from .svg_methods import Beginning, DrawingDistillation, Size, generators_of
from .widgets import OWN, UNSET

LAZY = ("model", "vae", "positive", "negative", "measurement", "objective", "source")
"""Inputs that are of no use without steps of distillation."""
FIT_STEPS = 50
"""A tenth of what is published, after each group: enough for most pictures, and bearable without a GPU."""


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
        """Without steps of distillation, nothing is worked out that only those need."""
        return [name for name in LAZY if steps and name in connected and connected[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        ask = _Ask(**inputs)
        show = host.Previews(ask.beginning.steps + ask.steps)
        distillation = ask.distillation(show) if ask.steps else None
        drawings = ask.beginning.drawings(ask.generators, show)
        if distillation is not None:
            host.run_method(
                dataclasses.replace(distillation, drawings=drawings),
                model=ask.model,
                conditionings=distillation.chosen.conditionings,
                samples=ask.samples,
                sigmas=host.whole_range(ask.model),
                evaluations=None,
                seed=ask.seed,
            )
        documents = [drawing.document() for drawing in drawings]
        files = [write(document).encode() for document in documents]
        curve = {} if distillation is None else {"distillation": [distillation.curve]}
        return io.NodeOutput(
            host.svg_value(files), ask.images(documents), ui={"images": host.svg_previews(files), **curve}
        )


@dataclass(frozen=True)
class _Ask:
    """The node's inputs, checked, and what follows from them."""

    style: str
    paths: int
    steps: int
    guidance_scale: float
    canvas_size: int
    seed: int
    model: Any = None
    vae: Any = None
    positive: Any = None
    negative: Any = None
    svg: Any = None
    image: Tensor | None = None
    measurement: Measurement | None = None
    objective: ObjectiveSocket | None = None
    source: Any = None
    fit_steps: int = FIT_STEPS
    fit_groups: int = Tracing.groups
    fit_places: str = Tracing.places
    learning_rate: float = 1.0
    time_schedule: str = OWN
    noise_policy: str = OWN
    t_min: float = UNSET
    t_max: float = UNSET
    views: str = OWN
    crossing_weight: float = UNSET
    sds_weight: float = UNSET
    data_weight: float = UNSET

    def __post_init__(self) -> None:
        if not self.steps:
            checks.something_to_trace(self.image)
            return
        texts = {"positive": self.positive, "negative": self.negative}
        for name, value in {"model": self.model, "vae": self.vae, **({} if self.objective else texts)}.items():
            checks.needed_for_steps(name, value)
        if self.views == "on":
            svg_inputs.views(self.chosen, self.measured)

    @property
    def job(self) -> Job:
        """What is connected says what is to be done."""
        if self.steps and self.measurement is not None:
            return "restore"
        if self.svg is not None:
            return "edit"
        return "draw" if self.image is None else "refine"

    @property
    def measured(self) -> Measurement | None:
        return self.measurement if self.job == "restore" else None

    @cached_property
    def chosen(self) -> ObjectiveSocket:
        return self.objective or _published(self.job, self.positive, self.negative, self.source)

    @cached_property
    def documents(self) -> list[Document] | None:
        return None if self.svg is None else svg_inputs.documents(self.svg)

    @cached_property
    def pictures(self) -> Tensor | None:
        """(B, 3, H, W) in [0, 1]."""
        return None if self.image is None else svg_inputs.pictures(self.image)

    @cached_property
    def seeds(self) -> list[int]:
        """One for each drawing."""
        count = svg_inputs.count(self.documents, self.pictures, self.measured)
        return [self.seed + n for n in range(count)]

    @cached_property
    def generators(self) -> list[torch.Generator]:
        return generators_of(self.seeds)

    @property
    def art(self) -> ArtStyle:
        return ART_STYLES[self.style]

    @property
    def crossing(self) -> float:
        return self.art.crossing if self.crossing_weight == UNSET else self.crossing_weight

    @property
    def viewed(self) -> bool:
        """Whether the model sees random views of the drawings."""
        if not self.steps or self.views != OWN:
            return bool(self.steps) and self.views == "on"
        return self.job in ("draw", "refine") and "reference" not in self.chosen.method.needs

    @property
    def cell(self) -> int:
        """Pixels on a side of one cell of the latents."""
        return self.vae.spacial_compression_encode() if self.steps else svg_inputs.MODULE

    @cached_property
    def shown(self) -> Size:
        """What the model sees at a time, and how large the output image is."""
        return svg_inputs.size(self.canvas_size, self.cell, self.documents, self.pictures, self.measured)

    @cached_property
    def canvas(self) -> Size:
        return svg_inputs.around(self.shown) if self.viewed else self.shown

    @cached_property
    def samples(self) -> Tensor:
        """An empty latent for each drawing."""
        height, width = (side // self.cell for side in self.shown)
        return host.empty_latent(self.model, len(self.seeds), height, width)

    @cached_property
    def beginning(self) -> Beginning:
        targets = None if self.pictures is None else svg_inputs.resized(self.pictures, self.canvas, len(self.seeds))
        through = None
        if targets is None and self.documents is None and self.fit_places != ANYWHERE and self.measured is not None:
            through, targets = self.measured, svg_inputs.back_projected(self.measured, len(self.seeds))
        return Beginning(
            style=self.art,
            count=self.art.count if self.paths == UNSET else max(self.paths, 1),
            documents=self.documents,
            targets=targets,
            measurement=through,
            tracing=Tracing(self.fit_groups, max(self.fit_steps, 1), self.fit_places, crossing=self.crossing),
            canvas=self.canvas,
            device=host.device(),
        )

    def distillation(self, show: host.Previews) -> DrawingDistillation:
        """What is to be run once there are drawings."""
        settings = self._settings()
        checks.distillation(self.model, self.chosen, settings, self.vae)
        return DrawingDistillation(
            drawings=(),
            job=self.job,
            style=self.art,
            chosen=self.chosen,
            settings=settings,
            reference=svg_inputs.reference(self.model, self.chosen, self.samples, self.shown),
            measurement=self.measured,
            terms=self._terms(),
            crossing=self.crossing,
            pace=self.learning_rate,
            views=Views(self.canvas, self.shown, self.generators) if self.viewed else None,
            canvas=self.canvas,
            seeds=self.seeds,
            generators=self.generators,
            model=self.model,
            vae=self.vae,
            show=lambda done, picture: show(self.beginning.steps + done, picture),
            curve=reports.empty_curve(self.chosen.name),
        )

    def _settings(self) -> Settings:
        """The job's; of an objective from another node its weights, over the job's times.

        Its learning rate goes as the job's, whose is not of a schedule that asks for certain times.
        """
        own = SETTINGS[self.job]
        if self.objective is not None:
            times = {"t_min": own.t_min, "t_max": own.t_max, "learning_rate_schedule": own.learning_rate_schedule}
            own = dataclasses.replace(self.objective.method.settings, **{**times, **self.objective.settings})
        names = ("guidance_scale", "time_schedule", "noise_policy", "t_min", "t_max")
        given = widgets.given({name: getattr(self, name) for name in names})
        return dataclasses.replace(own, steps=self.steps, **given)

    def _terms(self) -> Terms:
        own = Terms(1.0, 0.0) if self.measured is None else restoration_terms(self.measured.operator)
        return Terms(
            own.sds if self.sds_weight == UNSET else self.sds_weight,
            own.data if self.data_weight == UNSET else self.data_weight,
        )

    def images(self, documents: Sequence[Document]) -> Tensor:
        """The documents as an IMAGE (B, H, W, 3) of the size that the model saw, on white."""
        white = torch.ones(1, 3)
        drawn = [rasterize([scene(document, *self.shown)], white)[:, :3] for document in documents]
        return torch.cat(drawn).movedim(1, -1).clamp(0, 1)


def _published(job: Job, positive: Any, negative: Any, source: Any) -> ObjectiveSocket:
    """SDS for what is made; PDS for what is edited, from what `source` says, or from nothing in particular."""
    texts = {TARGET: positive, NULL: negative}
    if job == "edit":
        return ObjectiveSocket("pds", pds_method(), {**texts, SOURCE: negative if source is None else source})
    return ObjectiveSocket("sds", METHODS["sds"], texts)


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
            default=SETTINGS["draw"].steps,
            min=0,
            max=100_000,
            tooltip="Steps of distillation, each one call of the model. 1000 is published. 0 only traces image and "
            "needs no model.",
        ),
        widgets.number("guidance_scale", "Weight of the text; 100 is published.", high=1e4, step=0.5),
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
            tooltip="A small, blurred or damaged picture, from Measurement: the drawing is made to explain it.",
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
            "Noise put in: fresh draws at every step, one fixed draw, or the estimated noise of the step before, which "
            "needs a low guidance_scale.",
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
