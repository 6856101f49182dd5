"""Time to rasterize drawings, forward and with the backward pass, and how it grows.

    .host/venv/bin/python -m benchmarks.rasterizer [FILE.svg ...]     writes benchmarks/results/rasterizer.{json,md,png}

Set OMP_NUM_THREADS=1 to compare with resvg and pydiffvg, which use one thread.

Drawings are closed blobs of four cubics with a radius of 20 pixels, like freshly initialized SVGs, and three icons and
logos from the npm registry; these and files are drawn with a longer side of 512. resvg draws the same in the same run,
in turn with the rasterizer: its time is that of the whole call, from text to PNG, less that of an empty drawing of the
same size. For comparison the table shows the times of pydiffvg (CPU build, 2x2 samples, one thread) on a
machine that multiplies two 768 x 768 float32 matrices in 7 to 14 ms; the same product is timed here, so that the two
machines can be compared. On a CUDA device compare with the papers of Bézier Splatting and diffvg (RTX 4090, 2048 closed
curves at 2040 x 1344).
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import resvg_py
import torch
from dreamsampler.drawings.initialization import random_closed, random_fills
from dreamsampler.svg.document import Color, Contour, Document, Fill, Point, Shape, ViewBox
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.raster.rasterizer import Rasterizer, scene_edges
from dreamsampler.svg.raster.rasterizers import rasterizer
from dreamsampler.svg.raster.scene import Scene, scene

from . import markdown
from .images import save_figure
from .provenance import CHECKOUT, RESULTS, Results

sys.path.append(str(CHECKOUT / "tests"))

from support.icon_sets import drawings  # noqa: E402

log = logging.getLogger("dreamsampler.benchmarks")
DRAWINGS = ((64, 224, 224), (256, 224, 224), (128, 512, 512), (1024, 512, 512), (2048, 1344, 2040))
PYDIFFVG = {(64, 224): (215, 873), (256, 224): (560, 2849), (128, 512): (864, 3875), (1024, 512): (2797, 13271)}
"""Milliseconds (forward, forward and backward) by (shapes, height)."""
DRAWN, GREW = "drawings", "growth"
GROWTH = ((64, 5), (64, 10), (64, 20), (64, 40), (64, 80), (256, 20), (512, 20), (1024, 20))
"""(shapes, radius) on a canvas of 512."""
RADIUS, SIDE = 20.0, 512
REAL = (("noto@1.2.9", "rocket"), ("devicon@1.2.68", "firefox"), ("skill-icons@1.2.4", "vscode-dark"))
"""npm packages of Iconify, and the names of icons."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A scene whose points and colors require gradients, and its SVG file."""

    scene: Scene
    file: str

    @classmethod
    def of(cls, document: Document, height: int, width: int, device: str, file: str | None = None) -> Drawing:
        made = scene(document, height, width, torch.empty(0, device=device))
        moved = {"points": made.points.requires_grad_(), "colors": made.colors.requires_grad_()}
        return cls(dataclasses.replace(made, **moved), write(document) if file is None else file)


def blobs(count: int, height: int, width: int, radius: float, device: str) -> Drawing:
    """Jittered circles anywhere on the canvas."""
    generator = torch.Generator().manual_seed(0)
    points = random_closed(count, height, width, generator, radius=radius)
    colors, opacities = random_fills(count, generator)
    shapes = tuple(
        Shape((Contour(tuple(Point(*p) for p in contour), True),), Fill(Color(*color), opacity))
        for contour, color, opacity in zip(points.tolist(), colors.tolist(), opacities.tolist(), strict=True)
    )
    return Drawing.of(Document(ViewBox(0, 0, width, height), shapes), height, width, device)


def of_file(file: bytes, device: str) -> Drawing:
    """A file, its longer side `SIDE`."""
    document = parse(file).document
    factor = SIDE / max(document.view_box.width, document.view_box.height)
    height, width = (round(factor * side) for side in (document.view_box.height, document.view_box.width))
    return Drawing.of(document, height, width, device, file.decode())


def measured(rasterize: Rasterizer, drawing: Drawing, repeats: int) -> dict[str, float]:
    """Median milliseconds to draw, by resvg and with the backward pass, and the pixels that edges cross."""
    made = drawing.scene
    white = made.colors.new_ones(1, 3)
    target = torch.full((3, made.height, made.width), 0.5, device=white.device)

    def forward() -> Any:
        return rasterize([made], white)[0, :3]

    @torch.no_grad()
    def drawn() -> Any:
        return forward()

    def both() -> None:
        (forward() - target).square().mean().backward()

    def by_resvg(file: str) -> float:
        return seconds(
            lambda: resvg_py.svg_to_bytes(svg_string=file, width=made.width, height=made.height, skip_system_fonts=True)
        )

    both()
    empty = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {made.width} {made.height}"/>'
    times = [(seconds(drawn), by_resvg(drawing.file) - by_resvg(empty), seconds(both)) for _ in range(repeats)]
    ours, theirs, backward = (1e3 * statistics.median(each) for each in zip(*times, strict=True))
    edges = scene_edges(made)[0][0].detach()
    return {
        "forward_ms": ours,
        "resvg_ms": theirs,
        "both_ms": backward,
        "edge_pixels": float((edges[:, 1] - edges[:, 0]).abs().sum()),
    }


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time of a call, including its work on a GPU."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def product_ms() -> float:
    """Milliseconds of a product of two 768 x 768 matrices, to compare machines."""
    a = torch.randn(768, 768)
    return 1e3 * statistics.median(seconds(lambda: a @ a) for _ in range(30))


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    figures = results.figures
    about = f"Threads: {figures['threads']}; 768 x 768 product: {figures['product_ms']:.1f} ms; {figures['device']}."
    head = [
        "shapes", "canvas", "forward, ms", "resvg, ms", "ratio", "forward and backward, ms", "pydiffvg, ms", "ratio"
    ]  # fmt: skip
    rows: list[list[str]] = []
    for row in figures["drawings"]:
        theirs, ratio, name = "", "", f", {row['file']}" if "file" in row else ""
        pydiffvg = None if "file" in row else PYDIFFVG.get((row["shapes"], row["height"]))
        if pydiffvg:
            theirs = f"{pydiffvg[0]}, {pydiffvg[1]}"
            ratio = f"{pydiffvg[0] / row['forward_ms']:.0f}, {pydiffvg[1] / row['both_ms']:.0f}"
        mine, by_resvg, both = row["forward_ms"], row["resvg_ms"], row["both_ms"]
        ours = [f"{mine:.1f}", f"{by_resvg:.1f}", f"{mine / by_resvg:.1f}", f"{both:.1f}"]
        rows.append([f"{row['shapes']}{name}", f"{row['width']} x {row['height']}", *ours, theirs, ratio])
    return f"{results.line(DRAWN)}\n\n{about}\n\n{markdown.table(head, rows)}"


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Time against the pixels that edges cross."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(6, 4))
    for name, field in (("forward", "forward_ms"), ("forward and backward", "both_ms")):
        panel.plot([r["edge_pixels"] for r in rows], [r[field] for r in rows], "o", label=name)
    for r in rows:
        label = f"{r['shapes']:.0f} x {r['radius']:.0f}"
        panel.annotate(label, (r["edge_pixels"], r["both_ms"]), (4, 3), textcoords="offset points", fontsize=7)
    panel.set(xlabel="pixels that edges cross", ylabel="ms", xlim=(0, None), ylim=(0, None))
    panel.locator_params(axis="x", nbins=5)
    panel.grid(alpha=0.3)
    panel.legend()
    figure.tight_layout()
    save_figure(figure, path)


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="more drawings to measure")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rasterizer", default="built-in", help="built-in, or diffvg if pydiffvg is installed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rasterize = rasterizer(arguments.rasterizer)
    results = Results(arguments.output / "rasterizer.json")
    for title in (DRAWN, GREW):
        results.table(title, "repetitions")
    figures = results.figures = {
        "rasterizer": arguments.rasterizer,
        "threads": torch.get_num_threads(),
        "product_ms": product_ms(),
    }
    figures["device"] = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    figures[DRAWN], figures[GREW] = [], []
    for count, height, width in DRAWINGS:
        made = blobs(count, height, width, RADIUS, arguments.device)
        row = {"shapes": count, "height": height, "width": width, **measured(rasterize, made, arguments.repeats)}
        figures[DRAWN].append(row)
        log.info("%d at %dx%d: %.1f ms, with backward %.1f ms", count, width, height, row["forward_ms"], row["both_ms"])
    for count, radius in GROWTH:
        made = blobs(count, 512, 512, radius, arguments.device)
        figures[GREW].append({"shapes": count, "radius": radius, **measured(rasterize, made, arguments.repeats)})
    real = {name: drawings(f"@iconify-json/{package}")[name].encode() for package, name in REAL}
    for name, file in {**real, **{path.stem: path.read_bytes() for path in arguments.files}}.items():
        made = of_file(file, arguments.device)
        size = {"height": made.scene.height, "width": made.scene.width}
        row = {"file": name, "shapes": len(made.scene.colors), **size}
        figures[DRAWN].append({**row, **measured(rasterize, made, arguments.repeats)})
    for title in (DRAWN, GREW):
        for row in figures[title]:
            results.measured(title, row_name(row), arguments.repeats)
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    plot(figures[GREW], results.path.with_suffix(".png"))


def row_name(row: dict[str, Any]) -> str:
    """A row in one line."""
    size = f"radius {row['radius']}" if "radius" in row else f"{row['width']} x {row['height']}"
    return ", ".join([*([row["file"]] if "file" in row else []), f"{row['shapes']} shapes", size])


if __name__ == "__main__":
    main()
