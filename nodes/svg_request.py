"""The request that the inputs of SVG Optimizer make: its task, and the settings derived from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..drawings.augmentation import RandomViews
from ..drawings.cleaning import cleaned, in_color_layers
from ..drawings.drawing import Drawing
from ..drawings.initialization import Canvas
from ..drawings.optimizer import TRACING
from ..drawings.styles import ART_STYLES, ArtStyle
from ..drawings.tasks import DEFAULTS, MOVES, RestorationWeights, Task, restoration_weights
from ..drawings.tracing import ANYWHERE, FROM_REGIONS, TRACE, TracingSettings, tracing_size
from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.core.noise import item_seeds
from ..guidance.distillation.method import Config
from ..guidance.distillation.objectives import METHODS
from ..guidance.restoration.measurement import Measurement
from ..svg.document import Document
from ..svg.raster.rasterizer import Rasterizer, rasterize
from ..svg.raster.rasterizers import BUILT_IN, rasterizer
from ..svg.raster.scene import scene
from ..svg.resizing import resized
from . import checks, host, svg_inputs
from .runs.distillation import Curve, check_distillation, for_changing_views
from .runs.drawing import DrawingDistillation, Initialization, Moving, drawing_generators
from .runs.settings import used_settings
from .sockets import ObjectiveSocket
from .widgets import OWN, UNSET

FIT_STEPS = 50
"""Tracing steps per group: a tenth of the papers' 500. Enough for most images, and fast enough on a CPU."""

OFF = "off"
"""The choice of `clean` that leaves drawings as they are."""
NOISE_OF_ANOTHER_VIEW = (
    "noise_policy estimated adds the model's estimate of the step before, but the views that the model sees change at "
    "every step: set noise_policy to fresh, or views to off."
)


@dataclass(frozen=True)
class Request:
    """The node's inputs, checked, and what they lead to. Properties raise ValueError for inputs that do not fit.

    `view_size` is what the model sees at a time; the `canvas` is larger if it sees random views of the drawing.
    """

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
    fit_groups: int = TracingSettings.groups
    fit_places: str = TracingSettings.placement
    learning_rate: float = 1.0
    time_schedule: str = OWN
    noise_policy: str = OWN
    t_min: float = UNSET
    t_max: float = UNSET
    views: str = OWN
    crossing_weight: float = UNSET
    sds_weight: float = UNSET
    data_weight: float = UNSET
    renderer: str = BUILT_IN
    pixel_weight: float = 0.0
    clean: str = OFF
    move: str = "all"
    selected: str = ""
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if self.used_measurement is not None:
            checks.check_known(self.used_measurement, "SVG Optimizer")
        self._check_selection()
        if not self.steps:
            _check_something_to_trace(self.image, self.measurement)
            return
        prompts = {} if self.objective else {"positive": self.positive, "negative": self.negative}
        for name, value in {"model": self.model, "vae": self.vae, **prompts}.items():
            checks.check_connected(name, value, "trace an image")
        if self.views == "on":
            svg_inputs.check_views(self.chosen, self.used_measurement)

    @property
    def task(self) -> Task:
        """The task that the connected inputs select."""
        if self.used_measurement is not None:
            return "restore"
        if self.svg is not None:
            return "edit"
        return "draw" if self.image is None else "refine"

    @property
    def used_measurement(self) -> Measurement | None:
        """The measurement, which is ignored where an image is only traced."""
        return self.measurement if self.steps or self.image is None else None

    @cached_property
    def chosen(self) -> ObjectiveSocket:
        return self.objective or _default_objective(self.task, self.positive, self.negative, self.source)

    @cached_property
    def documents(self) -> list[Document] | None:
        return None if self.svg is None else svg_inputs.parse_documents(host.svg_files("svg", self.svg))

    @cached_property
    def images(self) -> Tensor | None:
        """The input images (B, 3, H, W) in [0, 1], on white."""
        return None if self.image is None else svg_inputs.images_of(self.image)

    @cached_property
    def alphas(self) -> Tensor | None:
        """The alpha (B, 1, H, W) of the input images; None if they have none."""
        return None if self.image is None else svg_inputs.alphas_of(self.image)

    @cached_property
    def seeds(self) -> list[int]:
        """One seed per drawing."""
        count = svg_inputs.checked_count(self.documents, self.images, self.used_measurement)
        return item_seeds(self.seed, range(count))

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One random generator per drawing."""
        return drawing_generators(self.seeds)

    @property
    def art_style(self) -> ArtStyle:
        return ART_STYLES[self.style]

    @property
    def notes(self) -> list[str]:
        """What the node says about its inputs."""
        notes: list[str] = []
        if self.fit_places != self._places:
            notes.append(
                f"The style '{self.style}' is made of {self.art_style.elements}, which cannot be traced at once: they "
                f"start as with fit_places {self._places}."
            )
        if self.uses_views and self.noise_policy == "estimated":
            notes.append(NOISE_OF_ANOTHER_VIEW)
        if self.source is None or not self.steps:
            return notes
        if self.objective is not None:
            return notes + checks.notes_on_unused(["source"], checks.OWN_PROMPTS)
        why = "It is the prompt of a drawing to edit, on input svg, which is not restored from a measurement."
        return notes + checks.notes_on_unused(["source"] if self.task != "edit" else [], why)

    @property
    def _places(self) -> str:
        """Where paths start: `fit_places`, or the default where the style cannot be traced."""
        if self.fit_places == TRACE and self.art_style.traced is None:
            return TracingSettings.placement
        return self.fit_places

    @property
    def from_regions(self) -> bool:
        """Whether new drawings start as the regions of an image that is not degraded."""
        is_new = self.documents is None and self.images is not None
        return is_new and self._places == TRACE and self.used_measurement is None

    @property
    def used_crossing_weight(self) -> float:
        if self.crossing_weight != UNSET:
            return self.crossing_weight
        return FROM_REGIONS.xing_weight if self._places == TRACE else self.art_style.xing_weight

    @property
    def _tracing(self) -> TracingSettings:
        if self._places == TRACE:
            # A given drawing, or the regions of a degraded image, only resemble the result: points have a way to go.
            rates = FROM_REGIONS.rates if self.from_regions else TRACING
            steps = self.fit_steps if self.art_style.descends or self.documents is not None else 0
            return dataclasses.replace(FROM_REGIONS, steps=steps, xing_weight=self.used_crossing_weight, rates=rates)
        return TracingSettings(self.fit_groups, self.fit_steps, self._places, xing_weight=self.used_crossing_weight)

    @cached_property
    def _moving(self) -> list[Moving]:
        """What changes in each of the drawings on input svg."""
        names, documents = self.selected.replace(",", " ").split(), self.documents or []
        return [
            svg_inputs.moving(number, document, MOVES[self.move], names, mask)
            for number, (document, mask) in enumerate(zip(documents, self._masks(len(documents))), start=1)
        ]

    def _masks(self, count: int) -> Sequence[Tensor | None]:
        """The mask (H, W) of each of the `count` drawings on input svg."""
        if self.mask is None:
            return [None] * count
        masks = self.mask.reshape(-1, *self.mask.shape[-2:])
        if len(masks) not in (1, count):
            raise ValueError(
                f"The mask holds {len(masks)} masks but svg holds {count} drawings: connect one mask, or one for each "
                "drawing."
            )
        return [*masks.expand(count, -1, -1)]

    @property
    def uses_views(self) -> bool:
        """Whether the model sees random views of the drawings."""
        if not self.steps or self.views != OWN:
            return bool(self.steps) and self.views == "on"
        return self.task in ("draw", "refine") and "reference" not in self.chosen.method.needs

    @property
    def cell_size(self) -> int:
        """Pixels per side of a latent cell."""
        if self.steps:
            return self.vae.spacial_compression_encode()
        return svg_inputs.DEFAULT_CELL if self.used_measurement is None else 1

    @cached_property
    def view_size(self) -> Canvas:
        """Height and width of what the model sees, and of the output image, in pixels."""
        return svg_inputs.checked_view_size(
            self.canvas_size, self.cell_size, self.documents, self.images, self.used_measurement
        )

    @cached_property
    def canvas(self) -> Canvas:
        return svg_inputs.canvas_around(self.view_size) if self.uses_views else self.view_size

    @cached_property
    def samples(self) -> Tensor:
        """One empty latent per drawing."""
        height, width = (side // self.cell_size for side in self.view_size)
        return host.empty_latent(self.model, len(self.seeds), height, width)

    @cached_property
    def rasterizer(self) -> Rasterizer:
        """The chosen renderer.

        Raises ImportError if it is not installed, and ValueError for a drawing on input svg that it cannot draw.
        """
        chosen = rasterizer(self.renderer)
        svg_inputs.check_supported(self.renderer, self.documents or (), self.canvas)
        return chosen

    @cached_property
    def initialization(self) -> Initialization:
        targets, measurement = self._tracing_targets()
        return Initialization(
            style=self.art_style,
            count=self.art_style.path_count if self.paths == UNSET else max(self.paths, 1),
            documents=self.documents,
            targets=targets,
            measurement=measurement,
            alphas=None if self.alphas is None else self._at_tracing_size(self.alphas)[:, 0],
            moving=self._moving,
            tracing=self._tracing,
            canvas=self.canvas,
            device=host.device(),
            rasterizer=self.rasterizer,
        )

    def _tracing_targets(self) -> tuple[Tensor | None, Measurement | None]:
        """The images to trace, if any, with the measurement that they are the back-projection of."""
        if self.images is not None:
            return self._at_tracing_size(self.images), None
        if self.used_measurement is None or not self._traces_measurement:
            return None, None
        return svg_inputs.back_projected_images(self.used_measurement, len(self.seeds)), self.used_measurement

    def _at_tracing_size(self, images: Tensor) -> Tensor:
        size = tracing_size(self.canvas, (images.shape[-2], images.shape[-1]))
        return svg_inputs.resized_images(images, size, len(self.seeds), sharp=self._places != TRACE)

    @property
    def _traces_measurement(self) -> bool:
        """Whether to run a tracing stage against the measurement."""
        return not self.steps or (self.documents is None and self.fit_places != ANYWHERE)

    def _check_selection(self) -> None:
        chosen = {"move": self.move != "all", "selected": bool(self.selected.strip()), "mask": self.mask is not None}
        used = [name for name, is_used in chosen.items() if is_used]
        if used and self.svg is None:
            raise ValueError(
                f"Input '{used[0]}' chooses what may change in a drawing, but none is connected to 'svg': connect one, "
                f"or {'disconnect the mask' if used[0] == 'mask' else f'reset {used[0]}'}."
            )

    def checked_distillation(self, preview: host.Previews) -> DrawingDistillation:
        """The distillation, without its drawings. Raises ValueError for inputs that do not fit."""
        config = self._config()
        check_distillation(self.model, self.chosen, config, self.vae)
        return DrawingDistillation(
            chosen=self.chosen,
            config=config,
            seeds=self.seeds,
            curve=Curve(self.chosen.method.name, self.steps, self._used(config)),
            task=self.task,
            style=self.art_style,
            reference=svg_inputs.checked_reference(self.model, self.chosen, self.samples, self.view_size),
            measurement=self.used_measurement,
            weights=self._restoration_weights(),
            crossing_weight=self.used_crossing_weight,
            pixel_weight=self.pixel_weight,
            learning_rate_factor=self.learning_rate,
            views=RandomViews(self.canvas, self.view_size, self.generators) if self.uses_views else None,
            canvas=self.canvas,
            rasterizer=self.rasterizer,
            generators=self.generators,
            from_regions=self.from_regions,
            model=self.model,
            vae=self.vae,
            preview=lambda done, image: preview(self.initialization.steps + done, image),
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
        own = for_changing_views(own) if self.uses_views else own
        names = ("guidance_scale", "time_schedule", "noise_policy", "t_min", "t_max")
        return checks.with_settings(own.updated({"steps": self.steps}), {name: getattr(self, name) for name in names})

    def _used(self, config: Config) -> str:
        """The settings of the run in words. Of the drawing's own, those that the style or the paper may set."""
        beside: dict[str, float] = {} if self.task == "edit" else {"crossing_weight": self.used_crossing_weight}
        if self.used_measurement is not None:
            weights = self._restoration_weights()
            beside |= {"sds_weight": weights.sds, "data_weight": weights.data}
        return used_settings(config, beside, descends=False)

    def _restoration_weights(self) -> RestorationWeights:
        measurement = self.used_measurement
        default = RestorationWeights(1.0, 0.0) if measurement is None else restoration_weights(measurement.operator)
        return RestorationWeights(
            default.sds if self.sds_weight == UNSET else self.sds_weight,
            default.data if self.data_weight == UNSET else self.data_weight,
        )

    def finished(self, drawings: Sequence[Drawing]) -> list[Document]:
        """The drawings as documents. New ones are cleaned up, and get the size of what the model saw of them."""
        documents = [drawing.document() for drawing in drawings]
        if self.documents is not None:
            return documents
        if self.clean != OFF:
            documents = [cleaned(document, self.canvas, strength=self.clean) for document in documents]
            documents = [in_color_layers(document, self.canvas) for document in documents]
        height, width = self.view_size
        return [resized(document, width, height) for document in documents]

    def render(self, documents: Sequence[Document]) -> Tensor:
        """The documents as an IMAGE (B, H, W, 3) of the size `view_size`, on white."""
        white = torch.ones(1, 3)
        rendered = [rasterize([scene(document, *self.view_size)], white)[:, :3] for document in documents]
        return torch.cat(rendered).movedim(1, -1).clamp(0, 1)


def _default_objective(task: Task, positive: Any, negative: Any, source: Any) -> ObjectiveSocket:
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
