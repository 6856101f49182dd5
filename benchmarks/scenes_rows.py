"""The rows of `scenes` that need the reference model: scenes from text, edited by text, and restored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from dreamsampler.guidance.prompts.descriptors import describe
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.splat_optimizer import SplatOptimizer
from dreamsampler.scenes.cameras import Ball, CameraRange, Look
from dreamsampler.scenes.losses import ssim
from dreamsampler.scenes.views import seen
from dreamsampler.splats.camera import Camera
from dreamsampler.splats.harmonics import from_colors
from dreamsampler.splats.initialization import on_mesh
from dreamsampler.splats.rasterizer import render
from dreamsampler.splats.scene import Scene
from torch import Tensor

from tools.reference import corrective, in_process, world

from . import markdown

SIZE, SPLATS, HELD_OUT = world.SIZE, 1000, 16
GRAYS = {"white": 1.0, "black": 0.0}
"""The backgrounds of both the reference world and the node."""


@dataclass(frozen=True)
class Object:
    """An object of the world: the shape that its views show, its color, and the background behind it."""

    shape: str
    color: str
    background: str

    @property
    def prompt(self) -> str:
        return f"a {self.color} {self.shape} on a plain {self.background} background"

    @property
    def shade(self) -> Tensor:
        return torch.full((3,), GRAYS[self.background])

    def flat(self) -> list[world.Scene]:
        """Real images that the prompt describes, as many as views are held out."""
        rng, named = Random(0), {"shape": self.shape, "colour": self.color, "background": self.background}
        scenes = [world.sample_scene(rng, clean=True, objects=1) for _ in range(HELD_OUT)]
        for attribute, value in {**named, "pattern": "plain"}.items():
            scenes = [world.with_attribute(scene, attribute, value) for scene in scenes]
        return scenes

    def solid(self) -> Scene:
        """A ball, cone or cylinder of splats in the color of the object."""
        vertices, faces = _solid(self.shape)
        generator = torch.Generator().manual_seed(0)
        scene = on_mesh(vertices, faces, SPLATS, generator)
        colors = torch.tensor(world.PALETTE[self.color]).expand(SPLATS, 3)
        return replace(scene, opacity_logits=torch.full((SPLATS,), 3.0), harmonics=from_colors(colors))


def _solid(shape: str) -> tuple[Tensor, Tensor]:
    """A mesh around the y axis whose profile is that of a shape: rings of 24 vertices from top to bottom."""
    profiles = {
        "circle": [(0.36 * math.sin(math.pi * i / 12), -0.36 * math.cos(math.pi * i / 12)) for i in range(13)],
        "triangle": [(0.0, -0.36), (0.4, 0.32), (0.0, 0.32)],
        "square": [(0.0, -0.3), (0.3, -0.3), (0.3, 0.3), (0.0, 0.3)],
    }
    rings = profiles[shape]
    turns = [2 * math.pi * i / 24 for i in range(24)]
    vertices = torch.tensor([(r * math.cos(a), y, r * math.sin(a)) for r, y in rings for a in turns])
    faces = [
        face
        for ring in range(len(rings) - 1)
        for i in range(24)
        for at, right in [(24 * ring + i, 24 * ring + (i + 1) % 24)]
        for face in [(at, right, at + 24), (right, right + 24, at + 24)]
    ]
    return vertices, torch.tensor(faces)


def around(count: int, elevations: tuple[float, float], first: float = 0.0) -> list[Camera]:
    """Cameras evenly around an object, with elevations spread over a range."""
    cameras, (low, high) = CameraRange(), elevations
    return [
        cameras.camera(Ball(), first + 360 * i / count, low + (high - low) * (i * 0.618 % 1), SIZE)
        for i in range(count)
    ]


def images_of(scene: Scene, cameras: list[Camera], shade: Tensor) -> Tensor:
    """Views (V, 3, H, W) of a scene before a background."""
    with torch.no_grad():
        return seen(scene, [Look(camera, shade) for camera in cameras])


def silhouettes(scene: Scene, cameras: list[Camera]) -> Tensor:
    """The alpha (V, 1, H, W) of views."""
    with torch.no_grad():
        return torch.stack([render(scene, camera).alpha for camera in cameras])


def psnr(images: Tensor, targets: Tensor) -> float:
    """The mean over images of the peak signal-to-noise ratio in dB."""
    return float(-10 * (images - targets).square().flatten(1).mean(1).clamp(min=1e-9).log10().mean())


def chroma(images: Tensor) -> float:
    """Mean of max - min over the channels of images (N, 3, H, W). Unlike saturation it is 0 in near black, where splats
    leave faint traces."""
    return float((images.amax(1) - images.amin(1)).mean())


class Bench:
    """The reference model, its scorer, and the node."""

    def __init__(self) -> None:
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.reference.run_autoencoder_in_bfloat16()
        self.negative = self.reference.conditioning([""])

    def run(self, prompt: str, **inputs: Any) -> tuple[Scene, float]:
        """The scene of Splat Optimizer, and the seconds of CPU time that it took."""
        model = {"model": self.reference.model, "vae": self.reference.vae, "negative": self.negative}
        settings = {"splats": SPLATS, "guidance_scale": -1.0, "render_size": SIZE, "views": 1, "seed": 0, "frames": 1}
        positive = {"positive": self.reference.conditioning([prompt])}
        start = time.process_time()
        splat = SplatOptimizer.execute(**{**model, **positive, **settings, **inputs}).args[0]
        return host.splat_scenes("splat", splat)[0], time.process_time() - start

    def read(self, images: Tensor, **wanted: str) -> dict[str, float]:
        """How many of the views show each wanted attribute, in [0, 1]."""
        found = self.scorer.read(images)
        return {name: sum(each[name] == value for each in found) / len(found) for name, value in wanted.items()}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


# Parts

Row = Callable[[Bench, Object], tuple[dict[str, float], Tensor]]
"""Measures an object; also returns a strip of views (3, H, W) to show."""

WANTED = [
    Object("circle", "red", "white"), Object("circle", "green", "black"), Object("triangle", "green", "black"),
    Object("triangle", "purple", "white"), Object("square", "blue", "white"), Object("square", "yellow", "black"),
    Object("heart", "red", "black"), Object("heart", "orange", "white"),
]  # fmt: skip
EDITED = [
    (Object("circle", "red", "white"), "blue"), (Object("circle", "yellow", "black"), "green"),
    (Object("triangle", "green", "black"), "orange"), (Object("triangle", "blue", "white"), "red"),
    (Object("square", "purple", "white"), "green"), (Object("square", "orange", "black"), "blue"),
]  # fmt: skip
STRIP = [0, 3, 6, 9, 12, 15]
"""The views in a strip."""


def strip(images: Tensor) -> Tensor:
    return torch.cat(list(images[STRIP]), -1)


def generated(**settings: Any) -> Row:
    """Text to 3D: how often views show color and shape.

    Depth is the smallest silhouette, from the sides and above, as a share of the largest: near 0 for a billboard.
    Chroma is relative to real images of the prompt.
    """

    def measure(bench: Bench, wanted: Object) -> tuple[dict[str, float], Tensor]:
        inputs = {"steps": 200, **settings}
        if inputs.get("method") == "lmc":
            inputs["corrective"] = host.CORRECTIVES.read_file(corrective.CORRECTIVE)
        prompts = describe(wanted.prompt, "sds artifacts")
        if inputs.get("method") == "bridge":
            inputs["source"] = bench.reference.conditioning([prompts.source])
        prompt = prompts.target if "source" in inputs else wanted.prompt
        scene, seconds = bench.run(prompt, background=wanted.background, **inputs)
        views = images_of(scene, around(HELD_OUT, (0.0, 20.0)), wanted.shade)
        areas = (silhouettes(scene, [*around(8, (0.0, 0.0)), *around(1, (89.0, 89.0))]) > 0.5).float().mean((1, 2, 3))
        read = bench.read(views, colour=wanted.color, shape=wanted.shape, background=wanted.background)
        depth = float(areas.min() / areas.max())
        relative = chroma(views) / chroma(in_process.render(wanted.flat()))
        return {**read, "depth": depth, "chroma": relative, "seconds": seconds}, strip(views)

    return measure


def edited(**settings: Any) -> Row:
    """An edit of the color: how often views show the new one and the old shape, and how far the silhouette moved."""
    targets = dict(EDITED)

    def measure(bench: Bench, source: Object) -> tuple[dict[str, float], Tensor]:
        target, before = replace(source, color=targets[source]), source.solid()
        prompts = {"source": bench.reference.conditioning([source.prompt]), "background": source.background}
        inputs = {"splat": host.splat_value([before]), "steps": 150, **prompts, **settings}
        scene, seconds = bench.run(target.prompt, **inputs) if inputs["steps"] else (before, 0.0)
        cameras = around(HELD_OUT, (0.0, 20.0))
        views = images_of(scene, cameras, source.shade)
        kept = psnr(silhouettes(scene, cameras), silhouettes(before, cameras))
        read = bench.read(views, colour=target.color, shape=target.shape, background=source.background)
        return {**read, "silhouette": kept, "seconds": seconds}, strip(views)

    return measure


def restored(fit_steps: int, steps: int, *, beside_data: bool = True, **settings: Any) -> Callable[[str], Row]:
    """A restoration from 16 views that an operator degrades: how close views held out are to the sharp ones.

    `fit_steps` see the data alone, `steps` the text as well, `beside_data` or without.
    """

    def of_operator(operator: str) -> Row:
        def measure(bench: Bench, wanted: Object) -> tuple[dict[str, float], Tensor]:
            sharp, cameras = wanted.solid(), tuple(around(16, (-10.0, 40.0)))
            views = images_of(sharp, list(cameras), wanted.shade).movedim(1, -1)
            given = {"scale": 4, "kernel_size": 5, "sigma": 10.0, "noise_std": 0.0, "simulate": True, "seed": 0}
            measurement = MeasurementNode.execute(views, operator, **given).args[0]
            inputs = {"cameras": cameras, "background": wanted.background}
            restoration = {"measurement": measurement, "fit_steps": fit_steps, "steps": steps if beside_data else 0}
            scene, seconds = bench.run(wanted.prompt, **inputs, **restoration, **settings)
            if not beside_data:
                edit = {"splat": host.splat_value([scene]), "method": "sds", "guidance_scale": 2.0, "t_max": 0.5}
                scene, more = bench.run(wanted.prompt, **inputs, **edit, time_schedule="descending", steps=steps)
                seconds += more
            others = around(8, (-5.0, 35.0), first=11.0)
            found, true = (images_of(each, others, wanted.shade) for each in (scene, sharp))
            figures = {"psnr": psnr(found, true), "ssim": float(ssim(found, true)), "seconds": seconds}
            return figures, torch.cat(list(found[:6]), -1)

        return measure

    return of_operator


@dataclass(frozen=True)
class Part:
    """One table: its title, its rows, and the objects that each is measured on."""

    title: str
    rows: dict[str, Row]
    objects: list[Object]


def parts() -> dict[str, Part]:
    """The parts, by the word on the command line."""
    plans = {
        "data": restored(300, 0),
        "data, twice as long": restored(600, 0),
        "data, then text and data": restored(300, 150),
        "data, then text and data, guidance 7.5": restored(300, 150, guidance_scale=7.5),
        "data, then text": restored(300, 150, beside_data=False),
    }
    restorations = {
        f"{name}, {how}": plan(operator)
        for name, operator in (("blurred", "gaussian blur"), ("4 times smaller", "super-resolution"))
        for how, plan in plans.items()
    }
    solids = [Object("circle", "red", "white"), Object("triangle", "green", "black"), Object("square", "blue", "white")]
    return {
        "generate": Part(
            "From text",
            {
                "sds": generated(), "sds, guidance 30": generated(guidance_scale=30.0),
                "bridge": generated(method="bridge"),
                "lmc": generated(method="lmc"),
                "vsd, 100 steps": generated(method="vsd", steps=100),
            },
            WANTED,
        ),
        "edit": Part(
            "Edits of the color",
            {
                "unedited": edited(steps=0), "pds": edited(), "pds, guidance 30": edited(guidance_scale=30.0),
                "dds": edited(method="dds"),
                "sds": edited(method="sds"), "sds, guidance 30": edited(method="sds", guidance_scale=30.0),
            },
            [source for source, _ in EDITED],
        ),
        "restore": Part("Restorations from 16 degraded views", restorations, solids),
    }  # fmt: skip


# Tables

UNITS = {
    "fitted": "fitted views, dB",
    "psnr": "PSNR, dB",
    "silhouette": "silhouette, dB",
    "seconds": "CPU seconds",
    "ssim": "SSIM",
    "colour": "color",
}
SHARES = ("colour", "shape", "background", "depth")
DIGITS = {"ssim": 3, "chroma": 2}


def table(methods: dict[str, dict[str, float]]) -> str:
    """The rows as Markdown."""
    names = list(next(iter(methods.values())))

    def cell(name: str, value: float) -> str:
        return f"{100 * value:.0f} %" if name in SHARES else f"{value:.{DIGITS.get(name, 1)}f}"

    rows = ([row, *(cell(name, figures[name]) for name in names)] for row, figures in methods.items())
    return markdown.table(["", *(UNITS.get(name, name) for name in names)], rows)
