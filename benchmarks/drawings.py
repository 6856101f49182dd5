"""Vector drawings: pictures traced, damaged pictures restored as drawings, drawings edited by text.

    .host/venv/bin/python -m benchmarks.drawings [fit] [restore] [icons] [edit]
                                                writes benchmarks/results/drawings.{json,md} and drawings_*.png

- fit: 64 paths to pictures of 240 x 240 pixels, by where paths start.
- restore: held-out pictures of the reference world, blurred or made 8 times smaller, as drawings: by the text and the
  measurement together (DreamSampler, eq. 21), by the measurement alone, and by Proximal DreamSampler and then tracing.
- icons: emoji, damaged in the same ways; the model knows none, and the text is empty.
- edit: traced drawings of the reference world, each edited in one attribute, by SDS, DDS and PDS.

Rows already in the JSON are kept, so a run that was cut goes on where it stopped, and parts can be run side by side;
delete the file to start over. Pictures are kept in benchmarks/work/drawings/. The autoencoder computes in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import matplotlib
import numpy as np
import torch
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import Tracer, Tracing
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.pds import PosteriorForm
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.sockets import ObjectiveSocket
from kornia.metrics import ssim
from PIL import Image
from torch import Tensor

from tools.reference import host_access, in_process, world

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.icon_sets import sample, squared  # noqa: E402

from .editing import SEED, Edit, edits, measured
from .text_to_image import sheet

log = logging.getLogger("dreamsampler.benchmarks")
RESULTS = Path(__file__).with_name("results")
WORK = Path(__file__).with_name("work") / "drawings"
SIDE, PATHS, BATCH = 240, 64, 4
Row = dict[str, Any]
Variants = dict[str, dict[str, Any]]
"""Settings of SVG Optimizer by what they do."""
MEASUREMENTS: dict[str, dict[str, Any]] = {
    "blurred, sigma 5": {"operator": "gaussian blur", "scale": 4, "kernel_size": 31, "sigma": 5.0},
    "8 times smaller": {"operator": "super-resolution", "scale": 8, "kernel_size": 31, "sigma": 5.0},
}
RESTORED_FIRST: Variants = {
    "restored, then traced": {"steps": 0},
    "restored, traced, then by text and measurement": {},
    "restored, traced, then by text and measurement, fresh noise": {"noise_policy": "fresh"},
}
AT_ONCE: Variants = {
    "by text and measurement": {},
    "by measurement alone": {"sds_weight": 0.0},
    "by measurement alone, without a model": {"steps": 0, "fit_steps": 100},
}
OTHERWISE: Variants = {
    "by text and measurement, fresh noise": {"noise_policy": "fresh"},
    "by text and measurement, fresh noise, 16 paths": {"noise_policy": "fresh", "paths": 16},
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
"""The damage that is also drawn otherwise."""
OF_ICONS: Variants = {"restored, then traced": {"steps": 0}}
OF_ICONS_AT_ONCE: Variants = {
    "by model and measurement": {},
    "by measurement alone, without a model": {"steps": 0, "fit_steps": 100},
}
ICON_SETS = ("twemoji", "fluent-emoji-flat")
EDITS = (("PDS", 7.5), ("DDS", 7.5), ("SDS", 7.5), ("PDS", 100.0))
"""Methods and guidance."""
Made = tuple[Row, Tensor]
"""Figures, and the pictures (B, 3, H, W) they are of."""


class Studio:
    """The reference model and the node."""

    def __init__(self, steps: int, count: int):
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.reference.narrow_autoencoder()
        host_access.import_svg()
        self.steps, self.count = steps, count
        self.nothing = self.reference.conditioning([""])

    def drawn(self, positive: Any = None, **inputs: Any) -> tuple[Any, Tensor]:
        """SVG Optimizer's drawings and their pictures (B, 3, SIZE, SIZE)."""
        return self.reference.vectorised(positive, **{"paths": 48, "steps": self.steps, "seed": SEED, **inputs})

    # Fits

    def fits(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        for name, picture in pictures().items():
            for places in ("component-wise", "sparse", "scattered"):
                for groups, steps in ((8, 25), (8, 100)):
                    label = f"{name}, {places}, {groups} x {steps} steps"
                    yield label, lambda p=picture, w=places, g=groups, s=steps: self.fit(p, w, g, s)

    def fit(self, picture: Tensor, places: str, groups: int, steps: int) -> Made:
        style, generators = ART_STYLES["iconography"], [torch.Generator().manual_seed(SEED)]
        scattered = places == "scattered"
        how = {} if scattered else {"groups": groups, "places": places}
        tracer = Tracer(picture, Tracing(steps=groups * steps if scattered else steps, **how))
        began = time.process_time()
        if scattered:
            canvas = picture.shape[-2], picture.shape[-1]
            fits = tracer.fitted([style.start(PATHS, canvas, generators[0], picture)])
        else:
            fits = tracer.traced(style, PATHS, generators)
        *_, last = fits
        row = {"psnr": in_process.psnr(last.pictures, picture)[0].item(), "cpu seconds": time.process_time() - began}
        return row, last.pictures

    # Restorations

    def restorations(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        sources = scenes(self.count)
        truth, texts = in_process.pictures(sources), [world.describe(scene) for scene in sources]
        for damage in MEASUREMENTS:
            at_once = {**AT_ONCE, **OTHERWISE} if damage == STUDIED else AT_ONCE
            for label, work in self.ways(damage, truth, texts, RESTORED_FIRST, at_once):
                yield label, lambda w=work: self.with_attributes(w(), sources)

    def of_icons(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        truth = icons(self.count)
        for damage in MEASUREMENTS:
            yield from self.ways(damage, truth, [""] * len(truth), OF_ICONS, OF_ICONS_AT_ONCE)

    def ways(
        self, damage: str, truth: Tensor, texts: list[str], first: Variants, at_once: Variants
    ) -> Iterator[tuple[str, Callable[[], Made]]]:
        """Damaged pictures as drawings, restored as pictures `first` or drawn `at_once`."""
        restored = partial(self.restored, MEASUREMENTS[damage], truth, texts)
        yield f"{damage}: as damaged", partial(restored, lambda measurement, observed, texts: enlarged(observed))
        for way, how in first.items():
            yield f"{damage}: {way}", partial(restored, partial(self.restored_first, how))
        for way, how in at_once.items():
            yield f"{damage}: {way}", partial(restored, partial(self.directly, how))

    @torch.inference_mode()
    def restored(self, damage: Row, truth: Tensor, texts: list[str], restore: Callable[..., Tensor]) -> Made:
        made = []
        for start in range(0, len(truth), BATCH):
            some = slice(start, start + BATCH)
            settings = {**damage, "noise_std": 0.0, "simulate": True, "seed": SEED}
            measurement, observed = MeasurementNode.execute(truth[some].movedim(1, -1), **settings).args
            made.append(restore(measurement, observed, texts[some]))
        pictures = torch.cat(made)
        row = {
            "psnr": in_process.psnr(pictures, truth).mean().item(),
            "ssim": ssim(pictures, truth, 7).mean().item(),
        }
        return row, pictures

    def with_attributes(self, made: Made, sources: list[world.Scene]) -> Made:
        """The same with the share of pictures that still show colour and shape."""
        row, pictures = made
        seen = self.scorer.read(pictures)
        colours = [found["colour"] == scene.things[0].colour for found, scene in zip(seen, sources)]
        shapes = [found["shape"] == scene.things[0].shape for found, scene in zip(seen, sources)]
        return {**row, "colour": float(np.mean(colours)), "shape": float(np.mean(shapes))}, pictures

    def directly(self, how: Row, measurement: Any, observed: Tensor, texts: list[str]) -> Tensor:
        positive = self.reference.conditioning(texts)
        return self.drawn(positive=positive, measurement=measurement, **how)[1]

    def restored_first(self, how: Row, measurement: Any, observed: Tensor, texts: list[str]) -> Tensor:
        """As a picture by Proximal DreamSampler's fastest way, which is then traced."""
        positive = self.reference.conditioning(texts)
        latent = self.reference.latent(enlarged(observed))
        settings = (50, 1.0, "alpha_bar", 1.0, "unconditional", "inversion", "normal", SEED)
        *_, image = ProximalDreamSampler.execute(
            self.reference.model,
            positive,
            self.nothing,
            latent,
            *settings,
            vae=self.reference.vae,
            measurement=measurement,
            consistency="consistency only",
        ).args
        return self.drawn(positive, image=image, measurement=measurement, **how)[1]

    # Edits

    def edited(self) -> Iterator[tuple[str, Callable[[], Made]]]:
        jobs = edits(self.count)
        yield (
            "traced sources",
            lambda: self.scored("traced", 0.0, jobs, lambda svg, *_: in_process.drawn(svg, world.SIZE)),
        )
        for method, guidance in EDITS:
            label = f"{method}, guidance {guidance:g}"
            yield label, lambda m=method, g=guidance: self.scored(m, g, jobs, lambda *work: self.edit(m, g, *work))

    @torch.inference_mode()
    def scored(self, method: str, guidance: float, jobs: list[Edit], edit: Callable[..., Tensor]) -> Made:
        made = []
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            sources = in_process.pictures([job.source for job in some])
            svg, image = self.drawn(image=sources.movedim(1, -1), steps=0)
            target, source = (self.reference.conditioning(list(texts)) for texts in zip(*(e.texts() for e in some)))
            made.append(edit(svg, image, target, source))
        pictures = torch.cat(made)
        point = measured(method, guidance, "full", jobs, pictures, self.scorer)
        return {"edits": len(jobs), "accuracy": point.accuracy, "psnr": point.psnr, "ssim": point.structure}, pictures

    def edit(self, method: str, guidance: float, svg: Any, image: Tensor, target: Any, source: Any) -> Tensor:
        posteriors: dict[str, tuple[PosteriorForm, float]] = {"PDS": ("official", 1.0), "DDS": ("exact", 0.0)}
        if method == "SDS":
            objective = ObjectiveSocket(METHODS["sds"], {"positive": target, "negative": self.nothing})
        else:
            asked = self.reference.latent(image), source, target, self.nothing, guidance, *posteriors[method]
            objective = PosteriorLatentMatch.execute(*asked).args[0]
        return self.drawn(svg=svg, positive=target, source=source, objective=objective, guidance_scale=guidance)[1]


def scenes(count: int) -> list[world.Scene]:
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(count)]


def icons(count: int) -> Tensor:
    """Emoji as pictures (count, 3, SIZE, SIZE), as many of each set."""
    files = [squared(file) for name in ICON_SETS for file in sample(name, count // len(ICON_SETS)).values()]
    return torch.cat([in_process.drawn(host.svg_value([file.encode()]), world.SIZE) for file in files])


def pictures() -> dict[str, Tensor]:
    """Pictures (1, 3, SIDE, SIDE) in [0, 1] that are at hand: a photograph, and the host's drawing."""
    photograph = Image.open(str(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"))).crop(
        (0, 0, 512, 512)
    )
    drawing = Image.open(Path(host_access.host_nodes().__file__).parent / "input" / "example.png")
    return {"photograph": tensor(photograph), "drawing": tensor(drawing)}


def tensor(picture: Image.Image) -> Tensor:
    rows = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    return torch.from_numpy(rows / 255).movedim(-1, 0)[None]


def enlarged(observed: Tensor) -> Tensor:
    """An IMAGE (B, h, w, 3) as pictures (B, 3, SIZE, SIZE)."""
    size = (world.SIZE, world.SIZE)
    return torch.nn.functional.interpolate(observed.movedim(-1, 1), size, mode="bicubic").clamp(0, 1)


def measure(parts: list[str], studio: Studio, path: Path) -> None:
    """Fill in rows that are not in the file yet; each is kept as soon as it is known, beside what others put there."""
    every = {"fit": studio.fits, "restore": studio.restorations, "icons": studio.of_icons, "edit": studio.edited}
    for part_name in parts:
        ways = dict(every[part_name]())
        for label, work in ways.items():
            if label in read(path).get(part_name, {}):
                continue
            row, pictures = work()
            log.info("%s, %s: %s", part_name, label, row)
            WORK.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(picture_file(part_name, label), (pictures * 255).round().byte().numpy())
            rows = read(path)
            found = {**rows.get(part_name, {}), label: row}
            write({**rows, part_name: {known: found[known] for known in ways if known in found}}, path)


def read(path: Path) -> dict[str, dict[str, Row]]:
    """Rows by label, by part."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write(rows: dict[str, dict[str, Row]], path: Path) -> None:
    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def picture_file(part_name: str, label: str) -> Path:
    return WORK / f"{part_name}_{label.replace(' ', '_')}.npz"


def draw(rows: dict[str, dict[str, Row]], count: int) -> None:
    """Sheets of what was restored and edited, below what it is of."""
    sources = {
        "restore": in_process.pictures(scenes(count)),
        "icons": icons(count),
        "edit": in_process.pictures([edit.source for edit in edits(count)]),
    }
    for part_name, of in sources.items():
        shown = [label for label in rows.get(part_name, {}) if label.partition(": ")[2] not in OTHERWISE]
        files = {label: picture_file(part_name, label) for label in shown}
        made = {label: torch.from_numpy(np.load(file)["arr_0"]) / 255 for label, file in files.items() if file.exists()}
        if made:
            sheet({"sources": of, **made}, RESULTS / f"drawings_{part_name}.png")


def table(rows: dict[str, Row]) -> str:
    columns = list(next(iter(rows.values())))
    head = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join([*head, *(f"| {n} | {' | '.join(f'{r[c]:.3g}' for c in columns)} |" for n, r in rows.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["fit", "restore", "icons", "edit"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--count", type=int, default=8)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    measure(arguments.parts, Studio(arguments.steps, arguments.count), RESULTS / "drawings.json")
    rows = read(RESULTS / "drawings.json")
    draw(rows, arguments.count)
    text = [
        "# Vector drawings",
        "Pictures of the reference model; see `benchmarks/drawings.py`. PSNR in dB, SSIM, and the share of pictures in "
        "which the scorer sees what should be there.",
        *(f"## {name}\n\n{table(found)}" for name, found in rows.items()),
    ]
    (RESULTS / "drawings.md").write_text("\n\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
