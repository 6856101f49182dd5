"""How much of a folder of SVG files the pack's reader draws, draws right, or names as left out.

    .host/venv/bin/python -m benchmarks.svg_conformance FOLDER [--list]

Meant for a test suite such as resvg's own (its folders shapes, painting, structure, masking and paint-servers), which
is not part of this repository: so the counts are only printed, and no file of results can be made again from it. Each
file counts once:

- right: nothing is reported as left out, and the image equals resvg's up to `LIMIT`; or both refuse the file;
- wrong: nothing is reported, and the image differs;
- named: the reader says what it leaves out, or why it refuses the file.

A file is drawn if it is not named. Of the named ones, "same" counts those whose image equals resvg's all the same, as
for path data with a syntax error.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene

from .svg_support import kind, render

SIDE = 200
LIMIT = 2 / 255
"""Mean absolute difference of premultiplied RGBA, as in tests/svg/test_drawn_like_resvg.py."""
KINDS_LISTED = 25


def drawn_by_resvg(source: str) -> np.ndarray | None:
    """The image, or None if resvg refuses the file."""
    try:
        return render(source, SIDE)
    except ValueError:
        return None


def deviation(source: str, expected: np.ndarray) -> float:
    """The mean absolute difference of the pack's image from resvg's."""
    height, width = expected.shape[:2]
    actual = rasterize([scene(parse(source).document, height, width)])[0].movedim(0, -1).numpy()
    return float(np.abs(actual - expected).mean())


def verdict(source: str) -> tuple[str, bool, str]:
    """Whether the file is "drawn" or "named", whether the image is right, and what is left out or how far it is off."""
    expected = drawn_by_resvg(source)
    refused = expected is None
    try:
        warnings = parse(source).warnings
    except ValueError as error:
        return "drawn" if refused else "named", refused, f"refused: {kind(str(error))}"
    off = 1.0 if refused else deviation(source, expected)
    return "named" if warnings else "drawn", off <= LIMIT, "; ".join(map(kind, warnings)) or f"off by {255 * off:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--list", action="store_true", help="print each file that is not drawn right")
    arguments = parser.parse_args()
    left_out: Counter[str] = Counter()
    for folder in arguments.folder:
        found: Counter[tuple[str, bool]] = Counter()
        for path in sorted(folder.rglob("*.svg")):
            result, right, detail = verdict(path.read_text("utf-8", "replace"))
            found[result, right] += 1
            if result == "named":
                left_out.update(detail.split("; "))
            if arguments.list and (result, right) != ("drawn", True):
                print(f"{result}{' same' if right else ''}  {path.relative_to(folder.parent)}  {detail}")
        right, wrong, same, lost = (found[key] for key in itertools.product(("drawn", "named"), (True, False)))
        total = found.total()
        print(
            f"{folder.name}: {total} files, drawn {(right + wrong) / total:.1%}: right {right}, wrong {wrong}; "
            f"named {same + lost}, of which the same {same}"
        )
    for what, count in left_out.most_common(KINDS_LISTED):
        print(f"{count:5d}  {what}")


if __name__ == "__main__":
    main()
