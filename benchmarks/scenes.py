"""3D scenes of splats on the reference world: from text, edited by text, restored from degraded views, and fitted.

    .host/venv/bin/python -m benchmarks.scenes           writes benchmarks/results/scenes_*.{json,md,png}
    .host/venv/bin/python -m benchmarks.scenes edit      measures one part: generate, edit, restore or fit

The model knows flat shapes: a ball is a circle from everywhere, a cone a triangle and a cylinder a square from the
side. A scorer network reads color and shape in views that are held out. An interrupted part resumes with the row it
stopped at. The part `fit` loads meshes of the Python package pyvista as VTK renders them, 8 views to fit and 8 to judge
by; it is left out where that package is missing.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .images import save
from .provenance import RESULTS, Results, work_folder
from .scenes_fit import measure_fits
from .scenes_rows import Bench, Part, mean, parts, table
from .sheets import shown

log = logging.getLogger("dreamsampler.benchmarks")


def measure_part(name: str, part: Part, bench: Bench, output: Path) -> None:
    """Measure the rows of a part that its file lacks, and write file, table and image."""
    path, strips = output / f"scenes_{name}.json", work_folder("scenes", output) / name
    results = Results(path, resume=True)
    results.table(part.title, "scenes")
    methods: dict[str, Any] = results.figures.setdefault("methods", {})
    for row, measure in part.rows.items():
        if results.count(part.title, row) == len(part.objects):
            continue
        found = [measure(bench, each) for each in part.objects]
        methods[row] = mean([figures for figures, _ in found])
        results.measured(part.title, row, len(found))
        results.write()
        strips.mkdir(parents=True, exist_ok=True)
        shown(torch.cat([views for _, views in found], -2)).save(strips / f"{row}.png")
        log.info("%s: %s: %s", name, row, {key: round(value, 3) for key, value in methods[row].items()})
    path.with_suffix(".md").write_text(table(methods) + "\n" + results.line(part.title) + "\n", "utf-8")
    sheets = [Image.open(file) for row in part.rows if (file := strips / f"{row}.png").exists()]
    if len(sheets) == len(part.rows):
        save(_side_by_side(sheets), path.with_suffix(".png"))


def _side_by_side(sheets: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """The left half of each sheet, side by side."""
    halves = [sheet.crop((0, 0, sheet.width // 2, sheet.height)) for sheet in sheets]
    width, height = sum(half.width + gap for half in halves) - gap, max(half.height for half in halves)
    whole = Image.new("RGB", (width, height), "gray")
    left = 0
    for half in halves:
        whole.paste(half, (left, 0))
        left += half.width + gap
    return whole


def main() -> None:
    """Measure, write and print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = parts()
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(every)} and fit; all by default")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        if "fit" in (arguments.parts or ["fit"]):
            measure_fits(arguments.output)
        chosen = [name for name in every if name in (arguments.parts or every)]
        bench = Bench() if chosen else None
        for name in chosen:
            assert bench is not None
            measure_part(name, every[name], bench, arguments.output)


if __name__ == "__main__":
    main()
