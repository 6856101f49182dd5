"""Time and memory to render Gaussian splats, forward and with the backward pass, and how both grow.

    .host/venv/bin/python -m benchmarks.splats        writes benchmarks/results/splats.{json,md,png}

The scene is a ball of random splats, seen from outside; a pair is a splat over a pixel. Memory is what a process with
one rendering and its gradients takes beyond the process before it.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from dreamsampler.splats import Camera, Scene, orbit, render
from dreamsampler.splats.initialization import in_ball
from dreamsampler.splats.projection import project
from dreamsampler.splats.rasterizer import footprints

from . import markdown
from .images import save_figure
from .memory import growth
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
SCENES = ((1_000, 0.03, 96), (4_000, 0.03, 96), (4_000, 0.03, 256), (20_000, 0.016, 256), (50_000, 0.016, 256),
          (50_000, 0.016, 512), (200_000, 0.01, 512))  # fmt: skip
"""Splats, their size in radii of the ball, and the side of the image."""
TABLE = "splats"


def to_render(count: int, size: float, side: int) -> tuple[Scene, Camera]:
    """A ball of splats whose parameters require gradients, and a camera."""
    generator = torch.Generator().manual_seed(0)
    scene = in_ball(count, generator, colors=torch.rand(count, 3, generator=generator))
    log_scales = torch.tensor(size).log() + 0.3 * torch.randn(count, 3, generator=generator)
    rotations, logits = torch.randn(count, 4, generator=generator), torch.randn(count, generator=generator)
    scene = Scene(scene.positions, log_scales, rotations, logits, scene.harmonics)
    return scene.map(lambda values: values.requires_grad_()), orbit(
        azimuth=30, elevation=20, distance=3.2, fov=40, width=side, height=side
    )


def measured(count: int, size: float, side: int, repeats: int) -> dict[str, float]:
    """Pairs, median milliseconds forward and with the backward pass, and the bytes of a process that renders."""
    scene, camera = to_render(count, size, side)
    with torch.no_grad():
        pairs = int(footprints(project(scene, camera), side, side).count.sum())
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        image = render(scene, camera).color
        middle = time.perf_counter()
        image.square().sum().backward()
        times.append((1000 * (middle - start), 1000 * (time.perf_counter() - start)))
    forward, both = (statistics.median(column) for column in zip(*times[1:], strict=True))
    command = [
        sys.executable,
        "-m",
        __spec__.name if __spec__ else "benchmarks.splats",
        "--memory",
        f"{count},{size},{side}",
    ]
    memory = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    return {"splats": count, "side": side, "pairs": pairs, "forward": forward, "both": both, "memory": memory}


def print_memory(count: int, size: float, side: int) -> None:
    """The bytes by which rendering a scene and its gradients raises the peak of this process."""
    render(*to_render(10, size, side)).color.sum().backward()
    rendered = to_render(count, size, side)
    print(growth(lambda: render(*rendered).color.sum().backward()))


def table(rows: list[dict[str, float]], line: str) -> str:
    """The rows as Markdown."""
    head = [
        "splats", "image", "million pairs", "forward, ms", "forward and backward, ms", "ns per pair", "memory, MB"
    ]  # fmt: skip
    cells = []
    for row in rows:
        pairs, side = row["pairs"], int(row["side"])
        numbers = row["forward"], row["both"], 1e6 * row["both"] / pairs, row["memory"] / 1e6
        scene = [f"{int(row['splats']):,}", f"{side} x {side}", f"{pairs / 1e6:.2f}"]
        cells.append([*scene, *(f"{number:.0f}" for number in numbers)])
    return f"{line}\n\nThreads: {torch.get_num_threads()}.\n\n{markdown.table(head, cells)}"


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Time and memory by pairs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    pairs = [row["pairs"] / 1e6 for row in rows]
    for name, title in (("forward", "forward"), ("both", "forward and backward")):
        left.loglog(pairs, [row[name] for row in rows], "o-", label=title)
    left.loglog(pairs, [rows[-1]["both"] * p / pairs[-1] for p in pairs], "k:", label="proportional to pairs")
    left.set(xlabel="million pairs", ylabel="milliseconds")
    left.legend()
    right.loglog(pairs, [row["memory"] / 1e6 for row in rows], "o-")
    right.set(xlabel="million pairs", ylabel="memory, MB")
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.tight_layout()
    save_figure(figure, path)


def main() -> None:
    """Measure, write and print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        count, size, side = arguments.memory.split(",")
        print_memory(int(count), float(size), int(side))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "splats.json"
    results = Results(path)
    results.table(TABLE, "repetitions")
    for count, size, side in SCENES:
        name = f"{count} splats, {side} x {side}"
        results.figures[name] = measured(count, size, side, arguments.repeats)
        results.measured(TABLE, name, arguments.repeats)
        log.info("%s: %s", name, results.figures[name])
    results.write()
    rows = list(results.figures.values())
    path.with_suffix(".md").write_text(table(rows, results.line(TABLE)), "utf-8")
    plot(rows, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
