"""The rows of `drawings`: images traced, degraded images restored, drawings edited and recolored, text to SVG."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

import matplotlib
import numpy as np
import torch
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import Tracer, TracingSettings
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.pds import PosteriorForm
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.sockets import ObjectiveSocket
from dreamsampler.svg.markup.parser import parse
from kornia.metrics import ssim
from PIL import Image
from torch import Tensor

from tools.reference import host_access, in_process, world

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.icon_sets import sample, squared  # noqa: E402

from .editing import ATTRIBUTES, SEED, Edit, edits, measured

SIDE, PATHS, BATCH = 240, 64, 4
Row = dict[str, Any]
Variants = dict[str, dict[str, Any]]
"""Settings of SVG Optimizer, by the label of their row."""
MEASUREMENTS: dict[str, dict[str, Any]] = {
    "blurred, sigma 5": {"operator": "gaussian blur", "scale": 4, "kernel_size": 31, "sigma": 5.0},
    "8 times smaller": {"operator": "super-resolution", "scale": 8, "kernel_size": 31, "sigma": 5.0},
}
REGIONS: Row = {"fit_places": "trace", "clean": "on"}
RESTORED_FIRST: Variants = {
    "restored, then traced": {"steps": 0},
    "restored, traced, then by prompt and measurement": {},
    "restored, traced, then by prompt and measurement, fresh noise": {"noise_policy": "fresh"},
    "restored, then as regions": {"steps": 0, **REGIONS},
    "restored, as regions, then by prompt and measurement": REGIONS,
}
AT_ONCE: Variants = {
    "by prompt and measurement": {},
    "by measurement alone": {"sds_weight": 0.0},
    "by measurement alone, without a model": {"steps": 0, "fit_steps": 100},
    "as regions, by prompt and measurement": REGIONS,
    "as regions, by measurement alone, without a model": {"steps": 0, "fit_steps": 100, **REGIONS},
}
OTHERWISE: Variants = {
    "by prompt and measurement, fresh noise": {"noise_policy": "fresh"},
    "by prompt and measurement, fresh noise, 16 paths": {"noise_policy": "fresh", "paths": 16},
    "the same, s = 100": {"noise_policy": "fresh", "paths": 16, "guidance_scale": 100.0},
    "by measurement alone, 16 paths": {"sds_weight": 0.0, "paths": 16},
    "the same, without a model": {"steps": 0, "fit_steps": 100, "paths": 16},
    "from paths anywhere, fresh noise, s = 100": {
        "fit_places": "anywhere",
        "noise_policy": "fresh",
        "guidance_scale": 100.0,
    },
    "from paths anywhere, by measurement alone": {"fit_places": "anywhere", "sds_weight": 0.0},
}
STUDIED = "blurred, sigma 5"
"""The degradation that `OTHERWISE` is measured for."""
OF_ICONS: Variants = {
    "restored, then traced": {"steps": 0},
    "restored, then as regions": {"steps": 0, **REGIONS},
}
OF_ICONS_AT_ONCE: Variants = {
    "by model and measurement": {},
    "by measurement alone, without a model": {"steps": 0, "fit_steps": 100},
    "as regions, by measurement alone, without a model": {"steps": 0, "fit_steps": 100, **REGIONS},
}
COUNTS = {"fit": 1, "restore": 8, "icons": 8, "edit": 8, "recolor": 16, "text": 32}
"""Images of each part: of "fit" one for each row, of "edit" sources, which are edited in every attribute."""
ICON_SETS = ("twemoji", "fluent-emoji-flat")
RECOLORED: Variants = {"colors only": {"move": "colors"}, "all moves": {}}
WRITTEN: Variants = {
    "regions, at most 32": {"clean": "on", "steps": 0, "fit_steps": 100, "fit_places": "trace"},
    "regions, refined by SDS at guidance 7.5": {
        "clean": "on",
        "fit_steps": 100,
        "fit_places": "trace",
        "guidance_scale": 7.5,
    },
    "LIVE, 32 paths": {"steps": 0, "fit_steps": 100},
}
EDITS = (("PDS", 7.5), ("DDS", 7.5), ("SDS", 7.5), ("PDS", 100.0), ("PDS, RescaleCFG 0.7", 100.0))
"""Methods and guidance scales."""
RESCALED = ", RescaleCFG 0.7"
EDITS_OF_REGIONS = (("PDS", 7.5),)
"""The same for drawings traced by regions."""
Made = tuple[Row, Tensor]
"""A row of figures, and the images (B, 3, H, W) they were measured on."""


class Studio:
    """The reference model, its scorer, and SVG Optimizer."""

    def __init__(self, steps: int, counts: Mapping[str, int]):
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.reference.run_autoencoder_in_bfloat16()
        host_access.import_extra_nodes()
        self.steps, self.counts = steps, counts
        self.nothing = self.reference.conditioning([""])

    def drawn(self, positive: Any = None, **inputs: Any) -> tuple[Any, Tensor]:
        """The outputs of SVG Optimizer: the drawings, and their images (B, 3, SIZE, SIZE)."""
        return self.reference.vectorized(positive, **{"paths": 48, "steps": self.steps, "seed": SEED, **inputs})

    def cases(self, part_name: str) -> int:
        """How many images or edits each row of a part rests on."""
        return self.counts[part_name] * (len(ATTRIBUTES) if part_name == "edit" else 1)

    # Fits

    def fits(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        for name, image in images().items():
            for placement in ("component-wise", "sparse", "scattered"):
                for groups, steps in ((8, 25), (8, 100)):
                    label = f"{name}, {placement}, {groups} x {steps} steps"
                    yield label, lambda i=image, p=placement, g=groups, s=steps: self.fit(i, p, g, s)

    def fit(self, image: Tensor, placement: str, groups: int, steps: int) -> Made:
        style, generators = ART_STYLES["iconography"], [torch.Generator().manual_seed(SEED)]
        scattered = placement == "scattered"
        settings = {} if scattered else {"groups": groups, "placement": placement}
        tracer = Tracer(image, TracingSettings(steps=groups * steps if scattered else steps, **settings))
        began = time.process_time()
        if scattered:
            canvas = image.shape[-2], image.shape[-1]
            traced = tracer.fit([style.random_drawing(PATHS, canvas, generators[0], image)])
        else:
            traced = tracer.trace(style, PATHS, generators)
        *_, last = traced
        row = {"psnr": in_process.psnr(last.images, image)[0].item(), "cpu seconds": time.process_time() - began}
        return row, last.images

    # Restorations

    def restorations(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        sources = scenes(self.counts["restore"])
        truth, prompts = in_process.render(sources), [world.describe(scene) for scene in sources]
        for degradation in MEASUREMENTS:
            at_once = {**AT_ONCE, **OTHERWISE} if degradation == STUDIED else AT_ONCE
            for label, work in self.ways(degradation, truth, prompts, RESTORED_FIRST, at_once):
                yield label, lambda w=work: self.with_attributes(w(), sources)

    def of_icons(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        truth = icons(self.counts["icons"])
        for degradation in MEASUREMENTS:
            yield from self.ways(degradation, truth, [""] * len(truth), OF_ICONS, OF_ICONS_AT_ONCE)

    def ways(
        self, degradation: str, truth: Tensor, prompts: list[str], first: Variants, at_once: Variants
    ) -> Iterator[tuple[str, Callable[[], Made]]]:
        """Degraded images as drawings: restored as images `first`, or drawn `at_once`."""
        restored = partial(self.restored, MEASUREMENTS[degradation], truth, prompts)
        yield (
            f"{degradation}: as degraded",
            partial(restored, lambda measurement, observed, prompts: enlarged(observed)),
        )
        for way, how in first.items():
            yield f"{degradation}: {way}", partial(restored, partial(self.restored_first, how))
        for way, how in at_once.items():
            yield f"{degradation}: {way}", partial(restored, partial(self.directly, how))

    @torch.inference_mode()
    def restored(self, degradation: Row, truth: Tensor, prompts: list[str], restore: Callable[..., Tensor]) -> Made:
        made = []
        for start in range(0, len(truth), BATCH):
            some = slice(start, start + BATCH)
            settings = {**degradation, "noise_std": 0.0, "simulate": True, "seed": SEED}
            measurement, observed = MeasurementNode.execute(truth[some].movedim(1, -1), **settings).args
            made.append(restore(measurement, observed, prompts[some]))
        images = torch.cat(made)
        row = {
            "psnr": in_process.psnr(images, truth).mean().item(),
            "ssim": ssim(images, truth, 7).mean().item(),
        }
        return row, images

    def with_attributes(self, made: Made, sources: list[world.Scene]) -> Made:
        """The same, with the fraction of images that still show the right color and shape."""
        row, images = made
        seen = self.scorer.read(images)
        colors = [found["colour"] == scene.things[0].color for found, scene in zip(seen, sources)]
        shapes = [found["shape"] == scene.things[0].shape for found, scene in zip(seen, sources)]
        return {**row, "colour": float(np.mean(colors)), "shape": float(np.mean(shapes))}, images

    def directly(self, how: Row, measurement: Any, observed: Tensor, prompts: list[str]) -> Tensor:
        positive = self.reference.conditioning(prompts)
        return self.drawn(positive=positive, measurement=measurement, **how)[1]

    def restored_first(self, how: Row, measurement: Any, observed: Tensor, prompts: list[str]) -> Tensor:
        """Restored as an image with the fastest settings of Proximal DreamSampler, then traced."""
        positive = self.reference.conditioning(prompts)
        latent = self.reference.latent(enlarged(observed))
        *_, image = ProximalDreamSampler.execute(
            self.reference.model, positive, self.nothing, latent, steps=50, gamma=1.0, gamma_schedule="alpha_bar",
            eta=1.0, renoise="unconditional", start_from="inversion", scheduler="normal", seed=SEED,
            vae=self.reference.vae, measurement=measurement, consistency="consistency only",
        ).args  # fmt: skip
        return self.drawn(positive, image=image, measurement=measurement, **how)[1]

    # Edits

    def edited(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        jobs = edits(self.counts["edit"])
        traces: list[tuple[str, Row, Any]] = [("", {}, EDITS), ("regions, ", REGIONS, EDITS_OF_REGIONS)]
        for name, how, methods in traces:
            unedited = partial(
                self.scored, "traced", 0.0, jobs, how, lambda svg, *_: in_process.rasterize(svg, world.SIZE)
            )
            yield f"{name}traced sources", unedited
            for method, guidance in methods:
                edit = partial(self.edit, method, guidance)
                yield f"{name}{method}, guidance {guidance:g}", partial(self.scored, method, guidance, jobs, how, edit)

    @torch.inference_mode()
    def scored(self, method: str, guidance: float, jobs: list[Edit], how: Row, edit: Callable[..., Tensor]) -> Made:
        made = []
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            sources = in_process.render([job.source for job in some])
            svg, image = self.drawn(image=sources.movedim(1, -1), steps=0, **how)
            target = self.reference.conditioning([job.prompt("full") for job in some])
            source = self.reference.conditioning([job.source_prompt("full") for job in some])
            made.append(edit(svg, image, target, source))
        images = torch.cat(made)
        point = measured((method, guidance, "full"), jobs, images, self.scorer)
        return {"edits": len(jobs), "accuracy": point.accuracy, "psnr": point.psnr, "ssim": point.structure}, images

    # Recolorings

    def recolored(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        jobs = recolorings(self.counts["recolor"])
        for label, how in RECOLORED.items():
            yield label, lambda h=how: self.scored_recolorings(h, jobs)

    @torch.inference_mode()
    def scored_recolorings(self, how: Row, jobs: list[Edit]) -> Made:
        """Edit the colors of drawings; besides the figures of edits, in how many every point stayed where it was."""
        made, kept = [], []
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            sources = in_process.render([job.source for job in some])
            svg, _ = self.drawn(image=sources.movedim(1, -1), steps=0, fit_steps=50, fit_places="trace")
            target = self.reference.conditioning([job.prompt("full") for job in some])
            source = self.reference.conditioning([job.source_prompt("full") for job in some])
            edited, image = self.drawn(target, svg=svg, source=source, guidance_scale=7.5, **how)
            made.append(image)
            kept += [outlines(before) == outlines(after) for before, after in zip(svg.data, edited.data, strict=True)]
        images = torch.cat(made)
        point = measured(("PDS", 7.5, "full"), jobs, images, self.scorer)
        return {"accuracy": point.accuracy, "psnr": point.psnr, "same points": float(np.mean(kept))}, images

    # Text

    def written(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        yield "sampled images", lambda: self.with_attributes(({}, self.sampled), self.captions)
        for label, how in WRITTEN.items():
            yield label, lambda h=how: self.drawn_from_text(h)

    @property
    def captions(self) -> list[world.Scene]:
        """The scenes to draw from text."""
        return scenes(self.counts["text"])

    @cached_property
    def sampled(self) -> Tensor:
        """An image for each caption."""
        positive = self.reference.conditioning([world.describe(scene) for scene in self.captions])
        cells = world.SIZE // 8
        latent = {"samples": host.empty_latent(self.reference.model, self.counts["text"], cells, cells)}
        with torch.inference_mode():
            return self.reference.decoded(
                self.reference.ksampled(positive, self.nothing, latent, steps=30, cfg=7.5, seed=SEED)
            )

    @torch.inference_mode()
    def drawn_from_text(self, how: Row) -> Made:
        images, files, sampled = [], [], self.sampled
        for start in range(0, self.counts["text"], BATCH):
            some = sampled[start : start + BATCH]
            prompts = [world.describe(scene) for scene in self.captions[start : start + BATCH]]
            settings = {"image": some.movedim(1, -1), "paths": 32, **how}
            svg, image = self.drawn(self.reference.conditioning(prompts), **settings)
            images.append(image)
            files += [stream.getvalue() for stream in svg.data]
        shapes = [list(parse(file).document.shapes()) for file in files]
        opaque = [bool(shape.fill and shape.fill.opacity == 1) for each in shapes for shape in each]
        row = {
            "paths": float(np.mean([len(each) for each in shapes])),
            "opaque": float(np.mean(opaque)),
            "bytes": float(np.mean([len(file) for file in files])),
        }
        found, made = self.with_attributes(({}, torch.cat(images)), self.captions)
        return {**found, **row}, made

    def edit(self, method: str, guidance: float, svg: Any, image: Tensor, target: Any, source: Any) -> Tensor:
        posteriors: dict[str, tuple[PosteriorForm, float]] = {"PDS": ("official", 1.0), "DDS": ("exact", 0.0)}
        behind = {"model": self.reference.rescaled(0.7).model} if method.endswith(RESCALED) else {}
        method = method.removesuffix(RESCALED)
        if method == "SDS":
            objective = ObjectiveSocket(METHODS["sds"], {"positive": target, "negative": self.nothing})
        else:
            asked = self.reference.latent(image), source, target, self.nothing, guidance, *posteriors[method]
            objective = PosteriorLatentMatch.execute(*asked).args[0]
        return self.drawn(
            svg=svg, positive=target, source=source, objective=objective, guidance_scale=guidance, **behind
        )[1]


def recolorings(count: int) -> list[Edit]:
    return [edit for edit in edits(count) if edit.attribute == "colour"]


def outlines(file: Any) -> list[Any]:
    """The points of all shapes of an SVG file."""
    return [shape.contours for shape in parse(file.getvalue()).document.shapes()]


def scenes(count: int) -> list[world.Scene]:
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(count)]


def icons(count: int) -> Tensor:
    """Images of emoji (count, 3, SIZE, SIZE), the same number from each set."""
    files = [squared(file) for name in ICON_SETS for file in sample(name, count // len(ICON_SETS)).values()]
    return torch.cat([in_process.rasterize(host.svg_value([file.encode()]), world.SIZE) for file in files])


def images() -> dict[str, Tensor]:
    """Images (1, 3, SIDE, SIDE) in [0, 1]: matplotlib's photograph, and the drawing that ComfyUI ships."""
    photograph = Image.open(str(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"))).crop(
        (0, 0, 512, 512)
    )
    drawing = Image.open(Path(host_access.host_nodes().__file__).parent / "input" / "example.png")
    return {"photograph": tensor(photograph), "drawing": tensor(drawing)}


def tensor(image: Image.Image) -> Tensor:
    rows = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    return torch.from_numpy(rows / 255).movedim(-1, 0)[None]


def enlarged(observed: Tensor) -> Tensor:
    """An IMAGE (B, h, w, 3), enlarged to (B, 3, SIZE, SIZE)."""
    size = (world.SIZE, world.SIZE)
    return torch.nn.functional.interpolate(observed.movedim(-1, 1), size, mode="bicubic").clamp(0, 1)
