"""How much of real icon sets the pack's drawings represent, and how they look.

    .host/venv/bin/python -m benchmarks.svg_support       writes benchmarks/results/svg_support.{json,md}

Many drawings of each set are read; one is represented if nothing is left out of it, which the reader would name. Of
some of those, drawn 128 pixels high: how much the file that the pack writes of it differs from the source, both
drawn by resvg, and how much the pack's own rasteriser differs from resvg. Differences are means over RGBA, in 1/255.
"""

from __future__ import annotations

import argparse
import json
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

RESULTS = Path(__file__).with_name("results")
SIDE, NAMED = 128, 3
Row = dict[str, Any]


def kind(warning: str) -> str:
    """What a warning is about, without where and how often."""
    return re.split(r": (?:\d+ times, first )?<", warning)[0].rstrip(".")


def differences(source: str) -> tuple[float, float]:
    """Of what is written from what is drawn, and of the rasteriser from resvg, in 1/255."""
    document = parse(source).document
    theirs, written = (render(text, SIDE) for text in (source, write(document)))
    ours = rasterize([scene(document, *theirs.shape[:2])])[0].movedim(0, -1).numpy()
    return 255 * float(np.abs(written - theirs).mean()), 255 * float(np.abs(ours - theirs).mean())


def left_out(source: str) -> set[str]:
    """What kinds of things are left out of a drawing; all of one that is refused."""
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
    rewritten, rasterised = zip(*(differences(squared(source)) for source in chosen.values()))
    kinds = Counter(each for found in lost.values() for each in found)
    return {
        "drawings": len(sources),
        "represented": len(whole) / len(sources),
        "left out of": dict(kinds.most_common(NAMED)),
        "drawn": len(chosen),
        "rewritten": [statistics.mean(rewritten), max(rewritten)],
        "rasterised": [statistics.mean(rasterised), max(rasterised)],
    }


def table(rows: dict[str, Row]) -> str:
    """The figures as Markdown."""
    head = "| set | drawings | represented | rewritten, mean and most | rasterised, mean and most | left out |\n"
    lines = [head, "|---|---|---|---|---|---|\n"]
    for name, row in rows.items():
        shares = (" and ".join(f"{value:.3f}" for value in row[key]) for key in ("rewritten", "rasterised"))
        lost = "; ".join(f"{what} ({count})" for what, count in row["left out of"].items())
        lines.append(f"| {name} | {row['drawings']} | {row['represented']:.1%} | {' | '.join(shares)} | {lost} |\n")
    return "".join(lines)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=int, default=1000, help="drawings of each set that are read")
    parser.add_argument("--drawn", type=int, default=200, help="drawings of each set that are compared as pictures")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = {name: measured(name, arguments.read, arguments.drawn) for name in SETS}
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "svg_support.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
