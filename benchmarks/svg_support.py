"""How much of real icon sets the pack's SVG reader represents, and how the result looks.

    .host/venv/bin/python -m benchmarks.svg_support       writes benchmarks/results/svg_support.{json,md}

A sample of each set is read; a drawing is represented if the reader reports nothing left out. Some of those are
rendered 128 pixels high: "rewritten" is the difference between the source and the file the pack writes, both rendered
by resvg; "rasterized" is the difference between the pack's own rasterizer and resvg. Differences are means over RGBA,
in 1/255.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT / "tests"))

from support.icon_sets import SETS, drawings, sample, squared  # noqa: E402
from support.svg_oracle import render  # noqa: E402

from . import markdown  # noqa: E402
from .provenance import RESULTS, Results  # noqa: E402

SIDE, NAMED = 128, 3
Row = dict[str, Any]


def kind(warning: str) -> str:
    """The kind of a warning, without place and number."""
    return re.split(r": (?:\d+ times, first )?<", warning)[0].rstrip(".")


def differences(source: str) -> tuple[float, float]:
    """Of the written file from its source, and of the rasterizer from resvg, in 1/255."""
    document = parse(source).document
    theirs, written = (render(text, SIDE) for text in (source, write(document)))
    ours = rasterize([scene(document, *theirs.shape[:2])])[0].movedim(0, -1).numpy()
    return 255 * float(np.abs(written - theirs).mean()), 255 * float(np.abs(ours - theirs).mean())


def left_out(source: str) -> set[str]:
    """The kinds of things left out of a drawing, or why it is refused."""
    try:
        return {kind(each) for each in parse(source).warnings}
    except ValueError as error:
        return {f"refused: {kind(str(error))}"}


def measured(name: str, read: int, drawn: int) -> Row:
    """The figures of a set."""
    sources = sample(name, min(read, len(drawings(name))))
    lost = {icon: left_out(source) for icon, source in sources.items()}
    whole = [icon for icon, kinds in lost.items() if not kinds]
    chosen = {icon: sources[icon] for icon in whole[:drawn]}
    rewritten, rasterized = zip(*(differences(squared(source)) for source in chosen.values()), strict=True)
    kinds = Counter(each for found in lost.values() for each in found)
    return {
        "drawings": len(sources),
        "represented": len(whole) / len(sources),
        "left out of": dict(kinds.most_common(NAMED)),
        "drawn": len(chosen),
        "rewritten": [statistics.mean(rewritten), max(rewritten)],
        "rasterized": [statistics.mean(rasterized), max(rasterized)],
    }


def table(rows: dict[str, Row]) -> str:
    """The figures as Markdown."""
    head = ["set", "drawings", "represented", "rewritten, mean and max", "rasterized, mean and max", "left out"]
    cells = []
    for name, row in rows.items():
        shares = (" and ".join(f"{value:.3f}" for value in row[key]) for key in ("rewritten", "rasterized"))
        lost = "; ".join(f"{what} ({count})" for what, count in row["left out of"].items())
        cells.append([name, f"{row['drawings']}", f"{row['represented']:.1%}", *shares, lost])
    return markdown.table(head, cells)


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    lines = [f"Represented: {results.line('represented')}", f"Rendered: {results.line('rendered')}"]
    return "\n\n".join([*lines, table(results.figures)])


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=int, default=1000, help="drawings of each set that are read")
    parser.add_argument("--drawn", type=int, default=200, help="drawings of each set that are rendered and compared")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.output / "svg_support.json")
    results.table("represented", "drawings", f"A set of fewer than {arguments.read} drawings is read completely.")
    results.table("rendered", "drawings", f"Fewer than {arguments.drawn} drawings of a set are represented.")
    for name in SETS:
        results.figures[name] = row = measured(name, arguments.read, arguments.drawn)
        results.measured("represented", name, row["drawings"])
        results.measured("rendered", name, row["drawn"])
    results.write()
    text = report(results)
    results.path.with_suffix(".md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
