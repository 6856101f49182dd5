"""The request that the inputs of Splat Optimizer make: its task, and the settings derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.core.noise import item_seeds
from ..guidance.distillation.compositions import conditionings_of_views
from ..guidance.distillation.method import Config
from ..guidance.distillation.objectives import METHODS
from ..guidance.networks.corrective.storage import ManifoldCorrective
from ..guidance.restoration.measurement import Measurement
from ..scenes.cameras import RANDOM, Ball, CameraRange, ball_around, ball_seen, fitted_size
from ..scenes.fitting import Targets
from ..scenes.optimizer import LearningRates
from ..scenes.tasks import DEFAULTS, SETTINGS, Task
from ..splats.camera import Camera
from ..splats.initialization import in_ball, on_mesh, with_degree
from ..splats.renderers import BUILT_IN, Renderer, renderer
from ..splats.scene import Scene
from . import checks, host, splat_inputs
from .runs.distillation import check_distillation
from .runs.scene import Restoration
from .sockets import ObjectiveSocket
from .widgets import OWN, UNSET

METHOD_NAMES = ("sds", "nfsd", "csd", "vsd", "bridge", "ism", "lmc", "dds", "pds")
"""The methods that make sense for views from ever new cameras: those without a trajectory of their own."""
SEED_OFFSET = 0x5C_E_9E_0F_5B_1A_75
"""XORed with the seed, so that splats and cameras do not reuse the noise stream."""


@dataclass(frozen=True)
class Request:
    """The node's inputs, checked, and what they lead to. Properties raise ValueError for inputs that do not fit."""

    splats: int
    steps: int
    guidance_scale: float
    render_size: int
    views: int
    seed: int
    model: Any = None
    vae: Any = None
    positive: Any = None
    negative: Any = None
    splat: Any = None
    images: Tensor | None = None
    cameras: tuple[Camera, ...] | None = None
    measurement: Measurement | None = None
    mesh: Any = None
    objective: ObjectiveSocket | None = None
    source: Any = None
    corrective: ManifoldCorrective | None = None
    positive_side: Any = None
    positive_back: Any = None
    positive_overhead: Any = None
    method: str = OWN
    fit_steps: int = splat_inputs.FIT_STEPS
    learning_rate: float = 1.0
    time_schedule: str = OWN
    noise_policy: str = OWN
    t_min: float = UNSET
    t_max: float = UNSET
    first_stage: float = UNSET
    lora_rank: int = UNSET
    lora_learning_rate: float = UNSET
    sds_weight: float = UNSET
    data_weight: float = UNSET
    pixel_weight: float = 0.0
    background: str = "white"
    color_degree: int = 0
    elevation_min: float = -10.0
    elevation_max: float = 45.0
    azimuth_min: float = -180.0
    azimuth_max: float = 180.0
    distance: float = UNSET
    fov: float = 49.1
    frames: int = 24
    renderer: str = BUILT_IN

    def __post_init__(self) -> None:
        splat_inputs.check_connections(self)
        splat_inputs.check_camera_ranges(self)
        _ = self.drawer
        if self.steps:
            prompts = {} if self.objective else {"positive": self.positive, "negative": self.negative}
            for name, value in {"model": self.model, "vae": self.vae, **prompts}.items():
                checks.check_connected(name, value, "fit images or to render a splat")

    # What to do

    @property
    def task(self) -> Task:
        """The task that the connected inputs select."""
        if self.measurement is not None:
            return "restore"
        if self.splat is not None or self.images is not None:
            return "edit"
        return "generate" if self.mesh is None else "sketch"

    @property
    def fits(self) -> bool:
        """Whether the scene is fitted to images or measurements first."""
        return self.images is not None or self.measurement is not None

    @cached_property
    def chosen(self) -> ObjectiveSocket:
        """The objective with its prompts. An edit starts from the source prompt, or from the negative without one."""
        if self.objective is not None:
            return self.objective
        name = DEFAULTS[self.task].method if self.method == OWN else self.method
        prompts = {TARGET: self.positive, NULL: self.negative}
        source = self.negative if self.source is None and "source" in METHODS[name].needs else self.source
        if source is not None:
            prompts[SOURCE] = source
        return ObjectiveSocket(METHODS[name], prompts, corrective=self.corrective)

    @property
    def side_prompts(self) -> dict[str, Any]:
        """The prompts for some sides of the object, by the names of their inputs."""
        names = ("positive_side", "positive_back", "positive_overhead")
        return {name: prompt for name in names if (prompt := getattr(self, name)) is not None}

    @property
    def named_prompts(self) -> list[checks.Prompts]:
        """The prompts with the names of their inputs: those of the front, and of each side that has its own."""
        own = checks.prompts_by_input(self.chosen)
        return [own, *({**own, TARGET: each} for each in self.side_prompts.items())]

    @property
    def conditionings(self) -> dict[str, Any]:
        """The prompts by the names that the run asks for. A side without a prompt has the front's."""
        plain = self.chosen.conditionings
        if not self.side_prompts:
            return plain
        given = (self.positive, self.positive_side, self.positive_back, self.positive_overhead)
        targets = [self.positive if each is None else each for each in given]
        return conditionings_of_views(
            {**{kind: [each] * len(targets) for kind, each in plain.items()}, TARGET: targets}
        )

    @property
    def _widgets(self) -> dict[str, Any]:
        """The settings of the method and its loop that widgets change."""
        names = "guidance_scale time_schedule noise_policy t_min t_max first_stage lora_rank lora_learning_rate"
        return {name: getattr(self, name) for name in names.split()}

    def notes(self, config: Config) -> list[str]:
        """What the node says about inputs without effect."""
        unused: list[str] = []
        if self.objective is not None:
            unused = [name for name in ("source", "corrective") if getattr(self, name) is not None]
            unused += ["method"] if self.method != OWN else []
        return [
            *checks.notes_on_settings(self.chosen, config, self._widgets),
            *checks.notes_on_unused(unused, checks.OWN_PROMPTS),
        ]

    def config(self) -> Config:
        """The settings of the task and method. Raises ValueError for inputs that do not fit the model."""
        task, method = DEFAULTS[self.task], self.chosen.method
        if self.objective is not None or self.method not in (OWN, task.method):
            own = replace(method.config(), loop=replace(task.loop, weighting=method.loop.weighting))
            own = own.updated(SETTINGS.get(method.name, {})).updated(self.chosen.settings)
        else:
            own = Config(method.settings, task.loop).updated({"guidance_scale": task.guidance_scale})
        config = checks.with_settings(own.updated({"steps": self.steps}), self._widgets)
        prompts = {**self.chosen.conditionings, **self.side_prompts}
        check_distillation(self.model, replace(self.chosen, conditionings=prompts), config, self.vae)
        return config

    @property
    def rates(self) -> LearningRates:
        """The learning rates of the distillation."""
        task = DEFAULTS[self.task]
        return task.rates.times(self.learning_rate, task.geometry).of_size(self.ball.radius)

    # Where to look from

    @cached_property
    def drawer(self) -> Renderer:
        """The chosen renderer. Raises RendererUnavailable where it cannot be used."""
        return renderer(self.renderer)

    @cached_property
    def generator(self) -> torch.Generator:
        """Draws splats, cameras and backgrounds."""
        return torch.Generator().manual_seed((self.seed ^ SEED_OFFSET) % 2**64)

    @cached_property
    def ball(self) -> Ball:
        """Where the object is."""
        if self.given_scene is not None:
            return ball_around(self.given_scene)
        return ball_seen(self.cameras) if self.cameras else Ball()

    @property
    def range(self) -> CameraRange:
        """Where random cameras stand."""
        return CameraRange(
            (self.elevation_min, self.elevation_max),
            (self.azimuth_min, self.azimuth_max),
            None if self.distance == UNSET else self.distance,
            self.fov,
        )

    @property
    def cell_size(self) -> int:
        """Pixels per side of a latent cell."""
        return self.vae.spacial_compression_encode() if self.steps else 1

    @cached_property
    def view_size(self) -> tuple[int, int]:
        """Width and height of a rendered view, in pixels."""
        if self.measurement is not None:
            return splat_inputs.checked_measured_size(self.measurement, self.cameras or (), self.cell_size)
        if self.cameras:
            return fitted_size(self.cameras[0], self.render_size, self.cell_size)
        side = max(self.cell_size, self.render_size // self.cell_size * self.cell_size)
        return side, side

    @cached_property
    def given_cameras(self) -> list[Camera] | None:
        """The connected cameras at the size of a view."""
        return None if self.cameras is None else [camera.scaled(*self.view_size) for camera in self.cameras]

    @cached_property
    def shown_cameras(self) -> list[Camera]:
        """The cameras of the output images: the connected ones, or an orbit."""
        return self.given_cameras or self.range.orbit(self.ball, self.frames, self.view_size[0])

    # What to start from

    @cached_property
    def given_scene(self) -> Scene | None:
        return None if self.splat is None else splat_inputs.single_scene(self.splat)

    @cached_property
    def start(self) -> Scene:
        """The scene to start from, on the host's device."""
        if self.given_scene is not None:
            scene = self.given_scene
        elif self.mesh is not None:
            vertices, faces, colors = splat_inputs.normalized_mesh(self.mesh, self.ball)
            scene = on_mesh(vertices, faces, self.splats, self.generator, colors=colors)
        else:
            ball = self.ball
            colors = 0.4 + 0.2 * torch.rand(self.splats, 3, generator=self.generator)
            scene = in_ball(self.splats, self.generator, radius=ball.radius, colors=colors)
            scene = replace(scene, positions=scene.positions + torch.tensor(ball.center))
        if self.given_scene is None:
            scene = with_degree(scene, self.color_degree)
        return scene.map(lambda values: values.to(host.device()))

    @property
    def fixed_background(self) -> str:
        """The background of what is fitted, and of the output images."""
        return "white" if self.background == RANDOM else self.background

    @cached_property
    def targets(self) -> Targets:
        """What the views should look like. Raises ValueError for images or measurements that do not fit the cameras."""
        assert self.given_cameras is not None
        shade = splat_inputs.shade(self.fixed_background).to(host.device())
        if self.measurement is not None:
            return Targets(self.given_cameras, shade, measurement=self.measurement.to(shade))
        assert self.images is not None
        images = splat_inputs.checked_images(self.images, self.cameras or (), self.view_size)
        return Targets(self.given_cameras, shade, host.ordinary(images.to(shade)))

    @property
    def restoration(self) -> Restoration | None:
        """What distillation restores the scene from, with the weights that the operator declares or the user sets."""
        if self.measurement is None:
            return None
        operator = self.measurement.operator
        return Restoration(
            self.measurement,
            operator.lambda_sds if self.sds_weight == UNSET else self.sds_weight,
            operator.lambda_dc if self.data_weight == UNSET else self.data_weight,
        )

    # The sampler's part

    @property
    def seeds(self) -> Sequence[int]:
        """One seed per view of a step."""
        return item_seeds(self.seed, range(self.views))

    @property
    def samples(self) -> Tensor:
        """One empty latent per view of a step."""
        width, height = (side // self.cell_size for side in self.view_size)
        return host.empty_latent(self.model, self.views, height, width)
