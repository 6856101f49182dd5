"""Icons, logos and photographs as drawings: what each way of tracing keeps, costs and leaves to edit.

    .host/venv/bin/python -m benchmarks.tracing         writes benchmarks/results/tracing.{json,md,png} and
                                                        tracing_small.png

Ten images of 256 x 256 pixels from packages of the npm and Python registries, which are downloaded to the user's cache:

- vtracer, imagetracerjs (if Node.js is there) and potracer (if installed; black and white only), as they come;
- LIVE with 128 paths, which SVG Optimizer's fit_places component-wise does;
- regions (fit_places trace) with as many paths as vtracer needed: as found, after 50 and 200 steps, and cleaned up.

The icons and logos also as JPEG files of 96 x 96 pixels, drawn on the same canvas and compared with their SVG files at
1024 pixels: fitted to the enlarged image, or at the image's own size.

Paths count the background. A path is opaque if nothing of it lets through what lies below, and tiny if it shows on less
than 0.5 % of the canvas. Seconds are of one CPU core; those of imagetracerjs include the start of Node.js.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py
import torch
import vtracer
from dreamsampler.drawings.cleaning import cleaned
from dreamsampler.drawings.regions import traced
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import FROM_REGIONS, Tracer, TracingSettings
from dreamsampler.svg.document import Color, Document, Shape
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import Scene, scene
from dreamsampler.svg.raster.visibility import Seen, sweep
from kornia.metrics import ssim
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.icon_sets import drawings, package, squared  # noqa: E402

from . import markdown  # noqa: E402
from .provenance import RESULTS, Results  # noqa: E402
from .sheets import sheet, shown  # noqa: E402

log = logging.getLogger("dreamsampler.benchmarks")
SIDE, STYLE = 256, ART_STYLES["iconography"]
SMALL, LARGE, QUALITY = 96, 1024, 85
"""Sides in pixels of small images and of what their drawings are compared with, and the quality of their JPEG files."""
ICONS = {
    "icons": (("flat-color-icons@1.2.3", "advertising"), ("flat-color-icons@1.2.3", "camera"),
              ("noto@1.2.9", "rocket"), ("emojione@1.2.3", "fox")),
    "logos": (("devicon@1.2.68", "firefox"), ("skill-icons@1.2.4", "vscode-dark"), ("devicon@1.2.68", "postgresql")),
}  # fmt: skip
"""npm packages of Iconify, and the names of icons."""
SMALL_ICONS = "small icons"
PHOTOGRAPHS = {
    "cat": ("scikit-image==0.26.0", "skimage/data/chelsea.png"),
    "coffee": ("scikit-image==0.26.0", "skimage/data/coffee.png"),
    "flower": ("scikit-learn==1.9.1", "sklearn/datasets/images/flower.jpg"),
}
"""Wheels, and files in them."""
IMAGETRACER = "imagetracerjs@1.2.6"
TINY = 0.005
Row = dict[str, float]
Traced = Callable[[], Document]


def images() -> Iterator[tuple[str, Tensor]]:
    """Name and image (3, SIDE, SIDE) in [0, 1] of each."""
    for name, file in files():
        yield name, _tensor(_rendered(file, SIDE))
    for name, (wheel, path) in PHOTOGRAPHS.items():
        image = Image.open(io.BytesIO(zipfile.ZipFile(_wheel(wheel)).read(path)))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        yield name, _tensor(square)


def files() -> Iterator[tuple[str, str]]:
    """Name and SVG file of each icon and logo."""
    for each in ICONS.values():
        for name, icon in each:
            yield _name(name, icon), squared(drawings(f"@iconify-json/{name}")[icon])


def _rendered(file: str, side: int) -> Image.Image:
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=file, width=side, height=side))))


def _name(package_name: str, icon: str) -> str:
    return f"{package_name.partition('@')[0]} {icon}"


def _wheel(requirement: str) -> Path:
    folder = Path.home() / ".cache" / "comfyui-dreamsampler" / "wheels"
    name = requirement.partition("==")[0].replace("-", "_")
    if not list(folder.glob(f"{name}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), requirement]
        subprocess.run(command, check=True)
    return next(folder.glob(f"{name}-*.whl"))


def _tensor(image: Image.Image) -> Tensor:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return torch.from_numpy(np.asarray(white.convert("RGB"), np.float32) / 255).movedim(-1, 0)


def _png(image: Tensor) -> bytes:
    stream = io.BytesIO()
    shown(image).save(stream, "png")
    return stream.getvalue()


# The ways


def by_vtracer(image: Tensor) -> Document:
    return parse(vtracer.convert_raw_image_to_svg(_png(image), img_format="png").encode()).document


@cache
def imagetracer() -> Path:
    """The script of imagetracerjs, downloaded and unpacked once."""
    folder = package(IMAGETRACER).parent / "imagetracerjs"
    if not folder.is_dir():
        with tarfile.open(package(IMAGETRACER)) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package" / "imagetracer_v1.2.6.js"


def by_imagetracer(image: Tensor) -> Document:
    """imagetracerjs in Node.js, with its default options."""
    pixels = torch.cat([image, torch.ones_like(image[:1])]).movedim(0, -1).mul(255).round().byte()
    script = (
        f"const tracer = require({json.dumps(str(imagetracer()))});"
        "const data = new Uint8ClampedArray(require('fs').readFileSync(0));"
        f"process.stdout.write(tracer.imagedataToSVG({{width: {SIDE}, height: {SIDE}, data}}, {{viewbox: true}}));"
    )
    command = [str(shutil.which("node")), "-e", script]
    done = subprocess.run(command, input=pixels.numpy().tobytes(), capture_output=True, check=True)
    return parse(done.stdout).document


def by_live(image: Tensor) -> Document:
    generators = [torch.Generator().manual_seed(0)]
    *_, last = Tracer(image[None], TracingSettings(groups=8, steps=50)).trace(STYLE, 128, generators)
    return last.drawings[0].document()


def descended(image: Tensor, most: int, steps: int) -> Document:
    tracer = Tracer(image[None], replace(FROM_REGIONS, steps=steps))
    *_, last = tracer.trace(STYLE, most, [torch.Generator()])
    return last.drawings[0].document()


def ways(image: Tensor) -> Iterator[tuple[str, Traced]]:
    """All ways of tracing an image, by the label of their row."""
    found = by_vtracer(image)
    most = sum(1 for _ in found.shapes())
    yield "vtracer", lambda: by_vtracer(image)
    if shutil.which("node"):
        imagetracer()  # so that it is not timed
        yield "imagetracerjs", lambda: by_imagetracer(image)
    yield "LIVE, 128 paths", lambda: by_live(image)
    yield "regions", lambda: traced(image, most)
    yield "regions + 50 steps", lambda: descended(image, most, 50)
    yield "regions + 200 steps", lambda: descended(image, most, 200)
    yield "regions + 50 steps, cleaned", lambda: cleaned(descended(image, most, 50), (SIDE, SIDE))
    yield "regions + 200 steps, cleaned", lambda: cleaned(descended(image, most, 200), (SIDE, SIDE))


# Small images


def small_image(file: str) -> Tensor:
    """An icon (3, SMALL, SMALL) in [0, 1], through a JPEG file."""
    pixels = _tensor(_rendered(file, LARGE).resize((SMALL, SMALL), Image.Resampling.BOX))
    stream = io.BytesIO()
    Image.open(io.BytesIO(_png(pixels))).save(stream, "jpeg", quality=QUALITY)
    return _tensor(Image.open(stream))


def at_own_size(image: Tensor) -> Document:
    """What SVG Optimizer does: regions of the enlarged image, fitted at the image's own size."""
    tracer = Tracer(image[None], FROM_REGIONS)
    fitted = tracer.started(STYLE, 128, (SIDE, SIDE))
    for _ in tracer.fit(fitted):
        pass
    return fitted[0].document()


def ways_of_small(image: Tensor) -> Iterator[tuple[str, Traced]]:
    """All ways of drawing a small image, by the label of their row."""
    enlarged = interpolate(image[None], (SIDE, SIDE), mode="bilinear")[0]
    yield "vtracer", lambda: by_vtracer(enlarged)
    yield "LIVE, 128 paths, fitted to the enlarged image", lambda: by_live(enlarged)
    yield "LIVE, 128 paths", lambda: by_live(image)
    yield "regions of the enlarged image", lambda: traced(enlarged, 128)
    yield "regions + 50 steps, fitted to the enlarged image", lambda: descended(enlarged, 128, FROM_REGIONS.steps)
    yield "regions + 50 steps", lambda: at_own_size(image)


def measure_small(results: Results, views: dict[str, list[Tensor]]) -> None:
    """Measure all ways on small images of all icons: means over the icons."""
    rows: dict[str, list[Row]] = {}
    for name, file in files():
        truth, image = _tensor(_rendered(file, LARGE)), small_image(file)
        views[name] = [interpolate(image[None], (SIDE, SIDE), mode="bicubic")[0].clamp(0, 1)]
        for way, trace in ways_of_small(image):
            row, view = timed(trace, truth)
            rows.setdefault(way, []).append({column: row[column] for column in ("psnr", "paths", "curves", "seconds")})
            views[name].append(interpolate(view[None], (SIDE, SIDE), mode="area")[0])
    results.figures[SMALL_ICONS] = {
        way: {column: float(np.mean([row[column] for row in each])) for column in each[0]} for way, each in rows.items()
    }
    results.table(SMALL_ICONS, "images")
    for way, each in rows.items():
        results.measured(SMALL_ICONS, way, len(each))


# Figures


def timed(trace: Traced, image: Tensor) -> tuple[Row, Tensor]:
    """The figures of a drawing, with the seconds that it took, and what it looks like."""
    began = cpu_seconds()
    document = trace()
    seconds = cpu_seconds() - began
    row, view = figures(document, image)
    return row | {"seconds": seconds}, view


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def figures(document: Document, image: Tensor) -> tuple[Row, Tensor]:
    text = write(document)
    drawing = scene(parse(text.encode()).document, image.shape[-2], image.shape[-1])
    view = rasterize([drawing], torch.ones(1, 3))[0, :3].clamp(0, 1)
    shapes = list(document.shapes())
    curves = sum(len(contour.points) // 3 for shape in shapes for contour in shape.contours)
    return {
        "psnr": -10 * float((view - image).square().mean().log10()),
        "ssim": ssim(view[None], image[None], 7).mean().item(),
        "paths": len(shapes),
        "curves": curves,
        "bytes": len(text.encode()),
        "opaque": float(np.mean([_opaque(shape) for shape in shapes])),
        "tiny": float(np.mean([area < TINY for area in areas(drawing)])),
    }, view


def _opaque(shape: Shape) -> bool:
    """Whether nothing of what a shape paints lets through what lies below."""
    paints = [part for part in (shape.fill, shape.stroke) if part]
    stops = [stop for part in paints if not isinstance(part.paint, Color) for stop in part.paint.stops]
    return all(part.opacity == 1 for part in paints) and all(stop.opacity == 1 for stop in stops)


def areas(drawing: Scene) -> list[float]:
    """The part of the canvas on which each layer shows."""
    found = [0.0] * len(drawing.colors)

    def measure(seen: Seen) -> float:
        weight = seen.coverage * seen.opacity
        for visible, _ in seen.frames:
            weight = weight * visible
        found[seen.layer] = float(weight.sum()) / (drawing.height * drawing.width)
        return 1.0

    sweep(drawing, measure)
    return found


def measure(results: Results, views: dict[str, list[Tensor]]) -> None:
    """Measure all ways on all images."""
    rows: dict[str, dict[str, Row]] = {}
    for name, image in images():
        views[name] = [image]
        for way, trace in ways(image):
            row, view = timed(trace, image)
            rows.setdefault(name, {})[way] = row
            views[name].append(view)
            log.info("%s, %s: %s", name, way, rows[name][way])
        results.figures = rows


def table(rows: dict[str, Row]) -> str:
    columns = list(next(iter(rows.values())))
    return markdown.table(
        ["", *columns], ([name, *(f"{row[column]:.4g}" for column in columns)] for name, row in rows.items())
    )


def means(results: Results) -> dict[str, dict[str, Row]]:
    """The mean row of each way, by kind of image."""
    names = {kind: [_name(*icon) for icon in each] for kind, each in ICONS.items()} | {"photographs": [*PHOTOGRAPHS]}
    found: dict[str, dict[str, Row]] = {}
    for kind, each in names.items():
        rows = [results.figures[name] for name in each]
        found[kind] = {
            way: {column: float(np.mean([row[way][column] for row in rows])) for column in rows[0][way]}
            for way in rows[0]
        }
    return found


def report(results: Results) -> str:
    """All tables as Markdown."""
    of_images = {name: rows for name, rows in results.figures.items() if name != SMALL_ICONS}
    parts = [f"## {kind}\n\n{table(rows)}" for kind, rows in {**means(results), **of_images}.items()]
    small = [f"## {SMALL_ICONS}\n", results.line(SMALL_ICONS) + "\n", table(results.figures[SMALL_ICONS])]
    return "\n".join(["# Tracing\n", results.line("images") + "\n", *parts, *small])


def show(views: dict[str, list[Tensor]], labels: list[str], path: Path) -> None:
    """All images, each with what the ways made of it beside it, at half their size."""
    sheet(views.values(), path, above=labels, font_size=18, reduced=2)


def main() -> None:
    """Trace, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results, views = Results(arguments.output / "tracing.json"), dict[str, list[Tensor]]()
    results.table("images", "images")
    measure(results, views)
    for name in results.figures:
        results.measured("images", name, 1)
    small: dict[str, list[Tensor]] = {}
    measure_small(results, small)
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    labels = ["image", *next(iter(results.figures.values()))]
    show(views, labels, results.path.with_suffix(".png"))
    show(small, ["image", *results.figures[SMALL_ICONS]], results.path.with_name("tracing_small.png"))


if __name__ == "__main__":
    main()
