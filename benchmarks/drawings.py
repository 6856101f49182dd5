"""Vector drawings: images traced, degraded images restored as drawings, drawings edited with a prompt.

    .host/venv/bin/python -m benchmarks.drawings [fit] [restore] [icons] [edit] [recolor] [text]
                                                writes benchmarks/results/drawings.{json,md} and drawings_*.png

- fit: images of 240 x 240 pixels traced with 64 paths, by path initialization.
- restore: held-out images of the reference world, blurred or made 8 times smaller, restored as drawings: from the
  prompt and the measurement together (DreamSampler, eq. 21), from the measurement alone, and by Proximal DreamSampler
  followed by tracing.
- icons: emoji, degraded in the same ways. The model knows no emoji; the prompt is empty.
- edit: traced drawings of the reference world, each edited in one attribute, with SDS, DDS and PDS.
- recolor: drawings traced by regions, of which the color of one thing is edited: all of a drawing may move, or colors
  only.
- text: images sampled from captions, and drawings of them by LIVE and by regions, refined or not.

Rows already in the JSON are kept: an interrupted run continues, and parts can run at the same time. Delete the file to
start over. Images are saved in benchmarks/work/drawings/, or in OUTPUT/work/drawings/. The autoencoder computes in
bfloat16.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from tools.reference import in_process

from . import markdown
from .drawings_rows import COUNTS, OTHERWISE, Row, Studio, icons, scenes
from .editing import edits
from .editing import label as attribute_label
from .provenance import RESULTS, Results, work_folder
from .sheets import COLUMNS, sheet

log = logging.getLogger("dreamsampler.benchmarks")


def measure(parts: list[str], studio: Studio, path: Path, images_folder: Path) -> None:
    """Measure the rows that the file lacks. Each is saved at once, next to rows that other runs have added."""
    every = {"fit": studio.fits, "restore": studio.restorations, "icons": studio.of_icons, "edit": studio.edited,
             "recolor": studio.recolored, "text": studio.written}  # fmt: skip
    case = {"steps": studio.steps}
    for part_name in parts:
        ways = dict(every[part_name]())
        for label, work in ways.items():
            results, count = Results(path, resume=True), studio.cases(part_name)
            results.begin(case)
            if label in results.figures.get(part_name, {}) and results.count(part_name, label) == count:
                continue
            row, images = work()
            log.info("%s, %s: %s", part_name, label, row)
            images_folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(images_folder / image_file(part_name, label), (images * 255).round().byte().numpy())
            results = Results(path, resume=True)
            results.begin(case)
            found = {**results.figures.get(part_name, {}), label: row}
            results.figures[part_name] = {known: found[known] for known in ways if known in found}
            results.table(part_name, "edits" if part_name in ("edit", "recolor") else "images")
            results.measured(part_name, label, count)
            results.write()


def image_file(part_name: str, label: str) -> str:
    """The name of the file with the images of a row."""
    return f"{part_name}_{label.replace(' ', '_')}.npz"


def draw(rows: dict[str, dict[str, Row]], counts: Mapping[str, int], output: Path, images_folder: Path) -> None:
    """Draw sheets of restored and edited images below their sources."""
    sources = {
        "restore": in_process.render(scenes(counts["restore"])),
        "icons": icons(counts["icons"]),
        "edit": in_process.render([edit.source for edit in edits(counts["edit"])]),
    }
    for part_name, source_images in sources.items():
        shown = [label for label in rows.get(part_name, {}) if label.partition(": ")[2] not in OTHERWISE]
        files = {label: images_folder / image_file(part_name, label) for label in shown}
        made = {label: torch.from_numpy(np.load(file)["arr_0"]) / 255 for label, file in files.items() if file.exists()}
        if made:
            rows_shown = (each[:COLUMNS] for each in (source_images, *made.values()))
            sheet(rows_shown, output / f"drawings_{part_name}.png", before=["sources", *made])


def table(rows: dict[str, Row]) -> str:
    """The rows of a part as Markdown."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = ([name, *(f"{row[c]:.3g}" if c in row else "" for c in columns)] for name, row in rows.items())
    return markdown.table(["", *map(attribute_label, columns)], cells).rstrip()


def parts_of(results: Results) -> Iterator[tuple[str, dict[str, Row]]]:
    """The rows of each part that is measured."""
    return ((name, results.figures[name]) for name in COUNTS if name in results.figures)


def count_of(text: str) -> tuple[str, int]:
    """A part and its number of images. Raises ValueError."""
    part, _, number = text.partition("=")
    if part not in COUNTS:
        raise ValueError(f"There is no part {part!r}.")
    return part, int(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(COUNTS)}; all by default")
    parser.add_argument("--steps", type=int, default=300)
    default = " ".join(f"{part}={count}" for part, count in COUNTS.items())
    parser.add_argument(
        "--counts", nargs="+", type=count_of, default=[], metavar="PART=NUMBER", help=f"images of parts: {default}"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = arguments.output / "drawings.json"
    if unknown := set(arguments.parts) - set(COUNTS):
        parser.error(f"There is no {', '.join(sorted(unknown))}. Choose from {', '.join(COUNTS)}.")
    counts, images_folder = COUNTS | dict(arguments.counts), work_folder("drawings", arguments.output)
    measure(arguments.parts or list(COUNTS), Studio(arguments.steps, counts), path, images_folder)
    results = Results(path, resume=True)
    draw(dict(parts_of(results)), counts, arguments.output, images_folder)
    results.path.with_suffix(".md").write_text(report(results), "utf-8")


def report(results: Results) -> str:
    """All parts as Markdown, with their counts and commits."""
    text = [
        "# Vector drawings",
        "Images of the reference model; see `benchmarks/drawings.py`. PSNR in dB, SSIM, and the fraction of images in "
        "which the scorer sees what should be there.",
        *(f"## {name}\n\n{results.line(name)}\n\n{table(found)}" for name, found in parts_of(results)),
    ]
    return "\n\n".join(text) + "\n"


if __name__ == "__main__":
    main()
