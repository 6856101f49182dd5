"""What SVG Optimizer is asked for: the job that its connections make, and all that follows from its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..drawings.augmentation import Views
from ..drawings.styles import ART_STYLES, ArtStyle, Canvas
from ..drawings.tasks import DEFAULTS, Task, Terms, restoration_terms
from ..drawings.tracing import ANYWHERE, Tracing
from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.distillation.method import Config
from ..guidance.distillation.objectives import METHODS
from ..guidance.restoration.measurement import Measurement
from ..svg.document import Document
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from . import checks, host, svg_inputs
from .runs.distillation import Curve
from .runs.drawing import Beginning, DrawingDistillation, generators_of
from .sockets import ObjectiveSocket
from .widgets import OWN, UNSET

FIT_STEPS = 50
"""A tenth of what is published, after each group: enough for most pictures, and bearable without a GPU."""


@dataclass(frozen=True)
class Request:
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
            _check_something_to_trace(self.image, self.measurement)
            return
        texts = {"positive": self.positive, "negative": self.negative}
        for name, value in {"model": self.model, "vae": self.vae, **({} if self.objective else texts)}.items():
            _check_connected(name, value)
        if self.views == "on":
            svg_inputs.views(self.chosen, self.measured)

    @property
    def task(self) -> Task:
        """What is connected says what is to be done."""
        if self.measured is not None:
            return "restore"
        if self.svg is not None:
            return "edit"
        return "draw" if self.image is None else "refine"

    @property
    def measured(self) -> Measurement | None:
        """What drawings are held to; where a picture is only traced, that alone."""
        return self.measurement if self.steps or self.image is None else None

    @cached_property
    def chosen(self) -> ObjectiveSocket:
        return self.objective or _own_objective(self.task, self.positive, self.negative, self.source)

    @cached_property
    def documents(self) -> list[Document] | None:
        return None if self.svg is None else svg_inputs.documents(host.svg_files("svg", self.svg))

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
        return self.task in ("draw", "refine") and "reference" not in self.chosen.method.needs

    @property
    def cell(self) -> int:
        """Pixels on a side of one cell of the latents."""
        if self.steps:
            return self.vae.spacial_compression_encode()
        return svg_inputs.MODULE if self.measured is None else 1

    @cached_property
    def shown(self) -> Canvas:
        """What the model sees at a time, and how large the output image is."""
        return svg_inputs.size(self.canvas_size, self.cell, self.documents, self.pictures, self.measured)

    @cached_property
    def canvas(self) -> Canvas:
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
        if targets is None and self.measured is not None and self._fits_the_measurement:
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

    @property
    def _fits_the_measurement(self) -> bool:
        """Whether drawings are fitted to it, before the model is asked or without one."""
        return not self.steps or (self.documents is None and self.fit_places != ANYWHERE)

    def distillation(self, show: host.Previews) -> DrawingDistillation:
        """What runs once there are drawings."""
        config = self._config()
        host.model_path(self.model)
        checks.check_objective(self.model, self.chosen)
        checks.check_autoencoder(self.model, self.vae)
        self.chosen.method.check(config.loop)
        if "corrective" in self.chosen.method.needs:
            checks.check_objective_corrective(self.model, self.chosen, config.own.guidance_scale)
        return DrawingDistillation(
            chosen=self.chosen,
            config=config,
            seeds=self.seeds,
            curve=Curve(self.chosen.method.name, self.steps),
            task=self.task,
            style=self.art,
            reference=svg_inputs.reference(self.model, self.chosen, self.samples, self.shown),
            measurement=self.measured,
            terms=self._terms(),
            crossing=self.crossing,
            pace=self.learning_rate,
            views=Views(self.canvas, self.shown, self.generators) if self.viewed else None,
            canvas=self.canvas,
            generators=self.generators,
            model=self.model,
            vae=self.vae,
            show=lambda done, image: show(self.beginning.steps + done, image),
        )

    def _config(self) -> Config:
        """The task's defaults; for an objective from another node its own weights, over the task's times.

        Its learning rate follows the task's schedule, because an objective's own may require specific times.
        """
        task = DEFAULTS[self.task]
        if self.objective is None:
            own = Config(self.chosen.method.settings, task.loop).updated({"guidance_scale": task.guidance_scale})
        else:
            names = ("t_min", "t_max", "learning_rate_schedule")
            times = {name: getattr(task.loop, name) for name in names}
            own = self.objective.method.config().updated({**times, **self.objective.settings})
        names = ("steps", "guidance_scale", "time_schedule", "noise_policy", "t_min", "t_max")
        return own.updated(checks.checked_settings({name: getattr(self, name) for name in names}))

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


def _own_objective(task: Task, positive: Any, negative: Any, source: Any) -> ObjectiveSocket:
    """The task's objective; an edit starts from the source prompt, or from the unconditional one if there is none."""
    prompts = {TARGET: positive, NULL: negative}
    if task == "edit":
        prompts[SOURCE] = negative if source is None else source
    return ObjectiveSocket(METHODS[DEFAULTS[task].method], prompts)


def _check_something_to_trace(image: Tensor | None, measurement: Measurement | None) -> None:
    if image is None and measurement is None:
        raise ValueError(
            "steps is 0, which only traces an image, and no image is connected: connect one to input 'image', or a "
            "measurement, or set steps to 1 or more (the paper uses 1000)."
        )


def _check_connected(name: str, value: Any) -> None:
    """An input that only tracing can do without."""
    if value is None:
        raise ValueError(
            f"Input '{name}' is not connected, and distillation needs it: connect it, or set steps to 0 to trace an "
            "image without a model."
        )
