"""How many files of resvg's own tests the pack's reader draws, draws right, or names as left out.

    .host/venv/bin/python -m benchmarks.svg_conformance --resvg CHECKOUT

It writes benchmarks/results/svg_conformance.{json,md}. CHECKOUT is a clone of
https://github.com/linebender/resvg, whose tests are not part of this repository. Each file counts once:

- right: nothing is reported as left out, and the image equals resvg's up to `LIMIT`; or both refuse the file;
- wrong: nothing is reported, and the image differs;
- named: the reader says what it leaves out, or why it refuses the file.

A file is drawn if it is not named. Of the named ones, "same" counts those whose image equals resvg's all the same, as
for path data with a syntax error.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene

from . import markdown
from .provenance import RESULTS, Results
from .svg_support import kind, render

SIDE = 200
LIMIT = 2 / 255
"""Mean absolute difference of premultiplied RGBA, as in tests/svg/test_drawn_like_resvg.py."""
TESTS = Path("crates", "resvg", "tests", "tests")
FOLDERS = ("shapes", "painting", "structure", "masking", "paint-servers")
"""Folders of `TESTS`. The others are of text, which the pack does not draw, and filters."""
FILES, LEFT_OUT = "files", "left out of"
KINDS_LISTED = 12


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


def verdicts(folder: Path) -> Iterator[tuple[Path, str, bool, str]]:
    """Each file of a folder, with its verdict."""
    for path in sorted(folder.rglob("*.svg")):
        yield path, *verdict(path.read_text("utf-8", "replace"))


def row(folder: Path, *, listed: bool) -> dict[str, Any]:
    """The figures of a folder. `listed` prints each file that is not drawn right."""
    found: Counter[tuple[str, bool]] = Counter()
    left_out: Counter[str] = Counter()
    for path, result, right, detail in verdicts(folder):
        found[result, right] += 1
        if result == "named":
            left_out.update(detail.split("; "))
        if listed and (result, right) != ("drawn", True):
            print(f"{result}{' same' if right else ''}  {path.relative_to(folder.parent)}  {detail}")
    right, wrong, same, lost = (found[key] for key in itertools.product(("drawn", "named"), (True, False)))
    counts = {FILES: found.total(), "right": right, "wrong": wrong, "named": same + lost, "of them the same": same}
    return {**counts, LEFT_OUT: dict(left_out.most_common())}


def version(checkout: Path) -> str:
    """The commit of resvg and its date."""
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%h of %cs"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def report(results: Results) -> str:
    """The figures as Markdown."""
    rows: dict[str, dict[str, Any]] = {name: results.figures[name] for name in FOLDERS}
    columns = [column for column in rows[FOLDERS[0]] if column != LEFT_OUT]
    rows["all"] = {column: sum(each[column] for each in rows.values()) for column in columns}
    table = markdown.table(
        ["folder", *columns], ([name, *(str(each[c]) for c in columns)] for name, each in rows.items())
    )
    left_out = sum((Counter(results.figures[name][LEFT_OUT]) for name in FOLDERS), Counter[str]())
    most = markdown.table(
        ["what", "left out of"], ([what, f"{n} files"] for what, n in left_out.most_common(KINDS_LISTED))
    )
    about = f"The tests of resvg {results.figures['resvg']}, {SIDE} x {SIDE} pixels. {results.line(FILES)}"
    return f"{about}\n\n{table}\n{most}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resvg", type=Path, required=True, metavar="CHECKOUT", help="a clone of resvg")
    parser.add_argument("--list", action="store_true", help="print each file that is not drawn right")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.output / "svg_conformance.json")
    results.figures["resvg"] = version(arguments.resvg)
    results.table(FILES, FILES, "Folders are read completely.")
    for name in FOLDERS:
        results.figures[name] = row(arguments.resvg / TESTS / name, listed=arguments.list)
        if not (number := results.figures[name][FILES]):
            parser.error(f"{arguments.resvg / TESTS / name} has no SVG files: pass a clone of resvg.")
        results.measured(FILES, name, number)
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")


if __name__ == "__main__":
    main()
