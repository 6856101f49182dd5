"""Splat Optimizer: make, edit, fit and restore 3D Gaussian splats with a diffusion model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..guidance.distillation.schedules import NOISE_POLICIES, TIME_SCHEDULES
from ..scenes.cameras import BACKGROUNDS, RANDOM, Look, among, backgrounds
from ..scenes.fitting import fit
from ..scenes.optimizer import FITTING, TrainableScene
from ..scenes.views import seen
from ..splats.renderers import BUILT_IN, NAMES
from ..splats.scene import Scene
from . import checks, host, splat_inputs, widgets
from .runs.distillation import Curve
from .runs.scene import SceneDistillation
from .runs.settings import used_settings
from .sockets import CAMERAS, CORRECTIVE, MEASUREMENT, OBJECTIVE
from .splat_request import METHOD_NAMES, Request

log = logging.getLogger("dreamsampler")

LAZY = ("model", "vae", "positive", "negative", "objective", "source", "corrective", "positive_side", "positive_back",
        "positive_overhead")  # fmt: skip
"""Inputs that only distillation uses: not evaluated if steps is 0."""
SMALLEST = 128
"""Renders are not made smaller than this when memory runs out, in pixels of the shorter side."""
RESIZE = "set render_size to that."


class SplatOptimizer(io.ComfyNode):
    """The loop of `guidance.distillation.loop` with views of a scene as the generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSSplatOptimizer",
            display_name="Splat Optimizer",
            category="DreamSampler",
            description=(
                "Makes, edits, fits or restores 3D Gaussian splats with a diffusion model. Connect nothing: text to "
                "3D; splat: edit that scene; images and cameras: fit a scene to them; measurement and cameras: restore "
                "a scene from degraded views; mesh: turn it into an object (steps 0: fit or render only, without a "
                "model)."
            ),
            search_aliases=(
                "text to 3D, 3D, gaussian splatting, 3DGS, splat edit, reconstruction, novel view, DreamFusion, "
                "DreamGaussian, sketch to 3D, score distillation"
            ),
            has_intermediate_output=True,
            advanced=(
                "learning_rate time_schedule noise_policy t_min t_max first_stage lora_rank lora_learning_rate "
                "sds_weight data_weight pixel_weight color_degree elevation_min elevation_max azimuth_min azimuth_max "
                "distance fov renderer"
            ),
            inputs=[*_main_inputs(), *_connections(), *_fine_settings(), *_cameras()],
            outputs=[
                host.SPLAT.Output(display_name="splat", tooltip="The scene, for Save Splat."),
                io.Image.Output(
                    display_name="images",
                    tooltip="The scene seen by the connected cameras, or in an orbit around it. For a video node.",
                ),
                CAMERAS.Output(display_name="cameras", tooltip="The cameras of the images."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, steps: int, **connected: Any) -> list[str]:
        """Evaluates what distillation uses only where there are steps."""
        return [name for name in (LAZY if steps else ()) if name in connected and connected[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        request = Request(**inputs)
        job = _Job(request)
        with _saved_when_cancelled(job):
            job.run()
        scene, cameras = job.scene(), request.shown_cameras
        shade = splat_inputs.shade(request.fixed_background)
        with torch.no_grad():
            images = torch.cat([seen(scene, [Look(camera, shade)], request.drawer).cpu() for camera in cameras])
        notes = job.notes + (job.curve.notes if job.curve else [])
        curve = {"distillation": [job.curve.output]} if job.curve else {}
        host.show_on_node("\n".join(notes))
        return io.NodeOutput(
            host.splat_value([scene]), images.movedim(1, -1), tuple(cameras), ui={**curve, "text": notes}
        )


class _Job:
    """A scene on its way: first fitted to what its views show, then distilled."""

    def __init__(self, request: Request):
        self.request, self.notes = request, list[str]()
        self.config = request.config() if request.steps else None
        self.fit_steps = request.fit_steps if request.fits else 0
        self.curve: Curve | None = None
        _ = request.shown_cameras, request.restoration  # what they refuse is refused before any work
        self.preview = host.Previews(self.fit_steps + request.steps)
        with host.gradients():
            self.targets = request.targets if request.fits else None
            self._trainable = TrainableScene(request.start)

    def scene(self) -> Scene:
        """The scene so far."""
        return self._trainable.scene().map(lambda values: values.detach())

    def run(self) -> None:
        """Fit, then distil."""
        self._note()
        if self.targets is not None:
            with host.gradients():
                rates = FITTING.of_size(self.request.ball.radius)
                steps = fit(
                    self._trainable,
                    self.targets,
                    self.fit_steps,
                    self.request.generator,
                    rates=rates,
                    renderer=self.request.drawer,
                )
                for step in steps:
                    self.preview(step.index + 1, step.image.clamp(0, 1))
        if self.request.steps:
            self._distill_within_memory()

    def _distill_within_memory(self) -> None:
        """Distil. Where memory runs out, begin again with what there was before, and fewer or smaller views."""
        before = self.scene().map(torch.clone)
        while True:
            try:
                return self._distill()
            except Exception as error:
                smaller = _smaller(self.request) if host.is_oom(error) else None
                if smaller is None:
                    raise
            self.request, note = smaller
            log.warning(note)
            self.notes.append(note)
            with host.gradients():
                self._trainable = TrainableScene(before)
            host.free_memory()

    def _note(self) -> None:
        """Show what is seldom meant about the distillation, before minutes of fitting."""
        if self.config is None:
            return
        request = self.request
        self.notes += request.notes(self.config)
        if request.restoration is None:
            run = request.model, request.samples, request.chosen, self.config
            self.notes += checks.notes_on_distillation(*run, views=request.named_prompts, resize=RESIZE)
        else:  # which also restores without a prompt
            self.notes += checks.notes_on_size(request.model, request.samples)
        host.show_on_node("\n".join(self.notes))

    def _distill(self) -> None:
        request, config = self.request, self.config
        assert config is not None
        restoration, weights = request.restoration, dict[str, float]()
        if restoration is not None:
            weights = {"sds_weight": restoration.sds_weight, "data_weight": restoration.data_weight}
        self.curve = Curve(request.chosen.method.name, request.steps, used_settings(config, weights, descends=False))
        background = backgrounds(request.background, request.generator)
        if request.given_cameras:
            draw = among(request.given_cameras, request.views, background, request.generator)
        else:
            side = request.view_size[0]
            draw = request.range.random(request.ball, request.views, side, background, request.generator)
        run = SceneDistillation(
            chosen=request.chosen,
            config=config,
            seeds=request.seeds,
            curve=self.curve,
            trainable=self._trainable,
            rates=request.rates,
            draw=draw,
            renderer=request.drawer,
            generator=request.generator,
            relocates=request.task != "edit",
            prompts_by_side=bool(request.side_prompts),
            restoration=request.restoration,
            pixel_weight=request.pixel_weight,
            model=request.model,
            vae=request.vae,
            preview=lambda done, image: self.preview(self.fit_steps + done, image),
        )
        host.run_in_sampler(
            run,
            model=request.model,
            conditionings=request.conditionings,
            samples=request.samples,
            sigmas=host.full_range(request.model),
            evaluations=None,
            seed=request.seed,
            notes=self.notes,
        )


def _smaller(request: Request) -> tuple[Request, str] | None:
    """The request with fewer views a step, or smaller views, and a sentence for the user; None if it cannot shrink."""
    if request.views > 1:
        name = "views"
    elif request.measurement is None and request.render_size // 2 >= SMALLEST:
        name = "render_size"
    else:
        return None
    before = getattr(request, name)
    note = f"Out of memory: starts the steps over with {name} {before // 2} in place of {before}."
    return replace(request, **{name: before // 2}), note


@contextmanager
def _saved_when_cancelled(job: _Job) -> Iterator[None]:
    """If the user cancels, the scene so far is saved to the temp folder."""
    try:
        yield
    except host.Cancelled:
        job.preview.show_last()
        name = host.temporary_splat(job.scene())
        log.info("Splat Optimizer was canceled. The scene so far is %s in ComfyUI's temp folder.", name)
        raise


def _main_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", optional=True, lazy=True, tooltip="Any image model. Not needed if steps is 0."),
        io.Vae.Input("vae", optional=True, lazy=True, tooltip="The model's VAE. Not needed if steps is 0."),
        io.Conditioning.Input(
            "positive",
            optional=True,
            lazy=True,
            tooltip="The target prompt: what the scene should show, in front of the plain background.",
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            lazy=True,
            tooltip="The unconditional (negative) prompt. The papers leave it empty.",
        ),
        io.Int.Input(
            "splats",
            default=5000,
            min=1,
            max=1_000_000,
            tooltip="Number of splats of a new scene. 1000 to 5000 on a CPU, 50000 and more on a GPU. A scene on input "
            "splat keeps its own.",
        ),
        io.Int.Input(
            "steps",
            default=1000,
            min=0,
            max=100_000,
            tooltip="Distillation steps, one model call each. Start with 300 for a first try; the papers use 10000 and "
            "more. 0 only fits a scene to images or renders a splat, without a model.",
        ),
        widgets.number(
            "guidance_scale",
            "Guidance scale.",
            high=1e4,
            step=0.5,
            note="-1 uses the papers' 100; 20 for lmc, 7.5 for vsd, 2 with a measurement.",
        ),
        io.Int.Input(
            "render_size",
            default=512,
            min=16,
            max=4096,
            step=8,
            tooltip="Longer side in pixels of what the model sees, of fitted images and of the output images. Use the "
            "model's native resolution: 512 for SD1.5, 1024 for SDXL, SD3 and Flux. A measurement sets its own size.",
        ),
        io.Int.Input(
            "views",
            default=1,
            min=1,
            max=64,
            tooltip="Views that each step looks at, spread around the object. 4 is steadier, and costs four times as "
            "much.",
        ),
        widgets.seed("Seed of splats, cameras, noise and noise levels."),
    ]


def _connections() -> list[io.Input]:
    return [
        host.SPLAT.Input("splat", optional=True, tooltip="A scene to edit, to fit further, or to render."),
        io.Image.Input(
            "images",
            optional=True,
            tooltip="Views to fit a scene to, one for each camera. With steps above 0 the fitted scene is then edited.",
        ),
        CAMERAS.Input(
            "cameras",
            optional=True,
            tooltip="The cameras of images or measurement; without these, the cameras to look through. From Load Posed "
            "Views or Orbit Cameras. Without any, cameras are drawn around the object.",
        ),
        MEASUREMENT.Input(
            "measurement",
            optional=True,
            tooltip="Degraded views, from Measurement, one for each camera: finds a scene that matches them and the "
            "prompt. With steps 0 the prompt is not used.",
        ),
        io.Mesh.Input("mesh", optional=True, tooltip="A mesh to start from, a coarse one for example."),
        OBJECTIVE.Input(
            "objective",
            optional=True,
            lazy=True,
            tooltip="An objective from another node, such as Posterior Latent Match, in place of method and prompts.",
        ),
        io.Conditioning.Input(
            "source",
            optional=True,
            lazy=True,
            tooltip="The source prompt. pds, dds: what the scene shows now. bridge, csd: what to move away from, from "
            "Text-Source Descriptor.",
        ),
        CORRECTIVE.Input("corrective", optional=True, lazy=True, tooltip="lmc: the manifold corrective of this model."),
        *(
            io.Conditioning.Input(
                f"positive_{side}",
                optional=True,
                lazy=True,
                tooltip=f'The target prompt for views {where}, such as "a photo of a fox, {words}". Keeps the object '
                "from having several faces.",
            )
            for side, where, words in (
                ("side", "from the sides", "side view"),
                ("back", "from behind", "back view"),
                ("overhead", "from above, elevation 60 and more", "overhead view"),
            )
        ),
    ]


def _fine_settings() -> list[io.Input]:
    return [
        widgets.choice(
            "method",
            METHOD_NAMES,
            "The gradient. By default sds for new scenes and restorations, pds for edits. vsd makes three model calls "
            "per step; lmc needs a corrective.",
            optional=True,
        ),
        io.Int.Input(
            "fit_steps",
            default=splat_inputs.FIT_STEPS,
            min=0,
            max=1_000_000,
            optional=True,
            tooltip="Steps that fit the scene to images or a measurement, before any distillation. One view each. 1000 "
            "for an object; 3DGS takes 30000 for photos of a place.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1.0,
            min=0.0,
            max=1000.0,
            step=0.05,
            round=False,
            optional=True,
            tooltip="Multiplies the learning rates of the distillation. 0.5 to 2.",
        ),
        widgets.choice(
            "time_schedule",
            TIME_SCHEDULES,
            "Which noise levels the steps visit: uniform draws them at random (default), annealed draws them lower and "
            "lower, descending goes straight down (default for restoration).",
            optional=True,
        ),
        widgets.choice(
            "noise_policy",
            NOISE_POLICIES,
            "Which noise is added. fresh: a new draw at every step (default); fixed: one draw; inverted: the noise "
            "found by inverting the view. estimated belongs to the camera of the step before: leave it.",
            optional=True,
        ),
        widgets.number("t_min", "Lowest noise level visited: 0 is clean.", high=1.0, optional=True),
        widgets.number(
            "t_max",
            "Highest noise level visited: 1 is pure noise.",
            high=1.0,
            optional=True,
            note="-1 uses the method's value, 0.5 with a measurement.",
        ),
        widgets.number(
            "first_stage",
            "bridge: fraction of steps spent in the initial SDS stage. lmc: fraction that sees downscaled views.",
            high=1.0,
            optional=True,
        ),
        widgets.whole("lora_rank", "vsd: rank of the LoRA trained on the current views.", high=512, optional=True),
        widgets.number("lora_learning_rate", "vsd: learning rate of that LoRA.", high=1.0, step=1e-5, optional=True),
        *widgets.restoration_weights(),
        io.Float.Input(
            "pixel_weight",
            default=0.0,
            min=0.0,
            max=1e4,
            step=0.01,
            round=False,
            optional=True,
            tooltip="Weight of the pull of the view's pixels to the decoded clean estimate, for finer detail. The VAE "
            "also decodes at every step. 0 is off; with a measurement try that of sds_weight.",
        ),
        io.Combo.Input(
            "background",
            options=[*BACKGROUNDS, RANDOM],
            default="white",
            optional=True,
            tooltip="The color behind the scene. Name it in the prompt. random draws a new one for each view, which "
            "keeps new scenes from painting a background. With images or a measurement: the color behind the object "
            "in them.",
        ),
        io.Int.Input(
            "color_degree",
            default=0,
            min=0,
            max=3,
            optional=True,
            tooltip="How colors of a new scene depend on the direction they are seen from: 0 not at all, 3 most, for "
            "gloss. 0 for prompts, 1 to 3 for images of real objects.",
        ),
    ]


def _cameras() -> list[io.Input]:
    def angle(name: str, default: float, most: float, tooltip: str) -> io.Input:
        return io.Float.Input(
            name, default=default, min=-most, max=most, step=1.0, round=False, optional=True, tooltip=tooltip
        )

    return [
        angle("elevation_min", -10.0, 90.0, "Random cameras: lowest elevation in degrees. 0 is level, 90 from above."),
        angle("elevation_max", 45.0, 90.0, "Random cameras: highest elevation in degrees."),
        angle("azimuth_min", -180.0, 360.0, "Random cameras: leftmost azimuth in degrees. 0 sees the front."),
        angle("azimuth_max", 180.0, 360.0, "Random cameras: rightmost azimuth in degrees."),
        widgets.number(
            "distance",
            "Distance of random cameras and of the orbit, in world units.",
            high=1e6,
            optional=True,
            note="-1 uses four times the radius of the object; a new one has the radius 0.5.",
        ),
        io.Float.Input(
            "fov",
            default=49.1,
            min=1.0,
            max=170.0,
            step=0.1,
            round=False,
            optional=True,
            tooltip="Angle of view of random cameras and of the orbit, in degrees.",
        ),
        io.Int.Input(
            "frames",
            default=24,
            min=1,
            max=1000,
            optional=True,
            tooltip="Number of output images around the scene, if no cameras are connected.",
        ),
        io.Combo.Input(
            "renderer",
            options=list(NAMES),
            default=BUILT_IN,
            optional=True,
            tooltip="What draws the splats. built-in works everywhere. gsplat is faster on large scenes, and needs "
            "CUDA and the Python package gsplat.",
        ),
    ]
