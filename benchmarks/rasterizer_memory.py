"""Memory and time to rasterize drawings of many or large layers, each in a process of its own.

    .host/venv/bin/python -m benchmarks.rasterizer_memory     writes benchmarks/results/rasterizer_memory.{json,md}

Memory is what the process grows by at its peak while it draws, beside the drawing itself (Linux only). Drawn at once,
all but the one with gradient paints, which was not measured, took 3.6 to more than 10 GB.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import random
import subprocess
import sys
from pathlib import Path

import torch
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import Scene, scene

from . import markdown
from .memory import growth
from .provenance import RESULTS, Results
from .rasterizer import seconds

log = logging.getLogger("dreamsampler.benchmarks")
TABLE = "memory"
FORWARD, BOTH = "forward", "both"


def rectangles(_: random.Random) -> str:
    return '<rect width="2048" height="2048" fill="red" opacity=".1"/>' * 50


def circles(chance: random.Random) -> str:
    places = ((chance.uniform(0, 512), chance.uniform(0, 512), chance.uniform(20, 200)) for _ in range(3000))
    return "".join(
        f'<circle cx="{x}" cy="{y}" r="{r}" fill="none" stroke="red" stroke-width="4"/>' for x, y, r in places
    )


def triangles(chance: random.Random) -> str:
    def far() -> float:
        return chance.uniform(-1e8, 1e8)

    return "".join(f'<path d="M256 256L{far()} {far()}L{far()} {far()}z" opacity=".1"/>' for _ in range(5000))


def painted(chance: random.Random) -> str:
    stops = "".join(f'<stop offset="{n / 998}" stop-color="#{n:03x}"/>' for n in range(999))
    sizes = ((chance.uniform(20, 512), chance.uniform(20, 512)) for _ in range(500))
    shapes = "".join(f'<rect width="{x}" height="{y}" fill="url(#g)" opacity=".1"/>' for x, y in sizes)
    return f'<linearGradient id="g">{stops}</linearGradient>{shapes}'


def lines(chance: random.Random) -> str:
    points = (f"{chance.uniform(0, 2048):.2f} {chance.uniform(0, 2048):.2f}" for _ in range(100_000))
    return f'<path fill-rule="evenodd" d="M{"L".join(points)}z"/>'


def paths(chance: random.Random) -> str:
    places = ((chance.uniform(0, 2048), chance.uniform(0, 2048), chance.uniform(20, 400)) for _ in range(8192))
    return "".join(f'<circle cx="{x}" cy="{y}" r="{r}" opacity=".1"/>' for x, y, r in places)


CASES = {
    "50 rectangles as large as the canvas": (2048, rectangles),
    "3000 stroked circles": (512, circles),
    "5000 triangles that reach to 1e8": (512, triangles),
    "500 rectangles with a gradient of 999 stops": (512, painted),
    "a path of 100,000 long lines": (2048, lines),
    "8192 circles with a radius of 20 to 400": (2048, paths),
}


def made(name: str) -> Scene:
    """The scene of a case."""
    side, body = CASES[name]
    return of_body(side, body(random.Random(0)))


def of_body(side: int, body: str) -> Scene:
    """The scene of a square SVG file with some content."""
    view = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}"'
    return scene(parse(f"<svg {view}>{body}</svg>".encode()).document, side, side)


def measure(name: str, kind: str) -> None:
    """Print the gigabytes and seconds of a case."""
    given = made(name)
    if kind == BOTH:
        given = dataclasses.replace(given, points=given.points.requires_grad_(), colors=given.colors.requires_grad_())

    def draw() -> None:
        image = rasterize([given], torch.ones(1, 3))
        if kind == BOTH:
            image.square().mean().backward()

    rasterize([of_body(64, '<circle r="9"/>')], torch.ones(1, 3))  # so that imports at first use are not counted
    took: list[float] = []
    print(growth(lambda: took.append(seconds(draw))) / 2**30, *took)


def report(results: Results) -> str:
    """The figures as Markdown."""
    rows = (
        [
            name,
            f"{row['side']}",
            f"{row['forward_gb']:.2f}, {row['both_gb']:.2f}",
            f"{row['forward_s']:.0f}, {row['both_s']:.0f}",
        ]
        for name, row in results.figures.items()
    )
    head = ["drawing", "canvas", "GiB: forward, with backward", "seconds: forward, with backward"]
    return f"{results.line(TABLE)}\n\n{markdown.table(head, rows)}"


def main() -> None:
    """Measure each case in child processes and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "KIND"), help="measure one case in this process")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.case:
        measure(*arguments.case)
        return
    results = Results(arguments.output / "rasterizer_memory.json")
    results.table(TABLE, "runs")
    for name, (side, _) in CASES.items():
        row: dict[str, float] = {"side": side}
        for kind in (FORWARD, BOTH):
            command = [sys.executable, "-m", "benchmarks.rasterizer_memory", "--case", name, kind]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row[f"{kind}_gb"], row[f"{kind}_s"] = map(float, output.split()[-2:])
        log.info("%s: %s", name, row)
        results.figures[name] = row
        results.measured(TABLE, name, 1)
        results.write()
        results.path.with_suffix(".md").write_text(report(results), "utf-8")


if __name__ == "__main__":
    main()
