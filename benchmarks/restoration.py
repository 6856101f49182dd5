"""Holes filled from a prompt, two prompts in two holes, and degraded images restored, on the reference world.

    .host/venv/bin/python -m benchmarks.restoration       writes benchmarks/results/restoration.{json,md}

- Inpainting: the object of a held-out image is covered by a box and replaced by an object of another color or shape.
  ComfyUI's two ways and TReg's mixing of prompt and data get about as many model calls as `consistency` both; a
  backward pass counts as two. ding and few steps get fewer.
- Two holes: both objects of an image get a new color by Mask Localized Guidance. Each prompt also names another color,
  which must not appear in the other hole.
- Restoration: held-out images are made 4 and 8 times smaller, blurred, compressed or cut off, with noise of 0.01. A
  JPEG's noise is there before it is compressed. An image cut off is continued from the prompt of the whole.
- Blur of unknown sigma 3: the same images, restored with the sigma that the row names, fitted or not.
- Last step: holes and degraded images by `consistency` both, with a gradient or a fit in the last of 50 steps.
- Choices of consistency: holes and small images by every choice. Seconds are those of the CPU, which other programs on
  the machine do not lengthen. "equal" gets as many model calls as both.

Images are processed in batches of 8, which is fastest on a CPU; each batch does all rows before the next batch.
Finished batches are kept in benchmarks/work/, and at the end, image by image, in the JSON. An interrupted run resumes
where it stopped, and several runs may share the batches; delete both to start over. The autoencoder, which takes most
of the time, computes in bfloat16: with float32 the PSNR outside of three rows on 8 images differed by at most 0.08 dB.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import markdown
from .editing import label
from .provenance import RESULTS, Results, restamp, stamp, stamped, work_folder
from .restoration_rows import tasks
from .restoration_studio import BATCH, IMAGES, Figures, Studio

log = logging.getLogger("dreamsampler.benchmarks")
BATCHES = "batches"
HALVES = "Each is edited in color or shape, so these columns rest on half of the images."
UNEQUAL = "Rows are means over all finished batches of 8 images; the other batches have not been computed."


def name_of(title: str, name: str, batch: int) -> str:
    """The file name of a batch's figures."""
    return f"{title}, {name}, {batch}.json".replace(" ", "_").replace(":", "")


@dataclass(frozen=True)
class Finished:
    """The folder of finished batches: a file for each task of each table."""

    folder: Path

    def work(self, studio: Studio, batches: list[int], titles: list[str]) -> None:
        """Measure what is missing of some batches of some tables."""
        for batch in batches:
            for title in titles:
                for name, task in tasks()[title].items():
                    if not (path := self.folder / name_of(title, name, batch)).exists():
                        done = task(studio=studio, batch=slice(BATCH * batch, BATCH * (batch + 1)))
                        path.write_text(json.dumps(done) + "\n")
                        stamp(path)
                        log.info("%s, %s, batch %d", title, name, batch)

    def unpack(self, results: Results) -> None:
        """Copy the batches of earlier runs to the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, done in results.figures.items():
            if not (path := self.folder / name).exists():
                path.write_text(json.dumps(done) + "\n")
                restamp(path, results.tables[BATCHES].rows[name].runs[0])

    def pack(self, results: Results) -> None:
        """Write all finished batches, to four digits."""
        files = sorted(self.folder.glob("*.json"))
        results.figures = {path.name: _rounded(json.loads(path.read_text())) for path in files}
        results.tables.clear()
        results.table(BATCHES, "images")
        for path in files:
            results.measured(BATCHES, path.name, _size(results.figures[path.name]), [stamped(path)])
        for title, table in self.tables().items():
            results.table(title, "images", UNEQUAL)
            for name, task_name in self.row_tasks(title).items():
                runs = [stamped(path) for path in self.files_of(title, task_name)]
                unique = [run for i, run in enumerate(runs) if run not in runs[:i]]
                results.measured(title, name, int(table[name]["images"]), unique)
        results.write(compact=True)

    def files_of(self, title: str, name: str) -> list[Path]:
        """The files of all finished batches of a task."""
        files = (self.folder / name_of(title, name, i) for i in range(IMAGES // BATCH))
        return [path for path in files if path.exists()]

    def row_tasks(self, title: str) -> dict[str, str]:
        """The task that measures each row of a table."""
        first = {name: files[0] for name in tasks()[title] if (files := self.files_of(title, name))}
        return {row: name for name, file in first.items() for row in json.loads(file.read_text())}

    def means(self, title: str) -> dict[str, dict[str, float]]:
        """A table: the mean of each column, and the number of images."""
        found = {}
        for row, name in self.row_tasks(title).items():
            done = [json.loads(path.read_text())[row] for path in self.files_of(title, name)]
            columns = {column: sum((each[column] for each in done), []) for column in done[0]}
            averages = {column: float(np.mean(values)) for column, values in columns.items()}
            found[row] = averages | {"images": max(map(len, columns.values()))}
        return found

    def tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """All tables, of the batches finished so far."""
        return {title: found for title in tasks() if (found := self.means(title))}


def _size(done: dict[str, Figures]) -> int:
    return max(len(values) for columns in done.values() for values in columns.values())


def _rounded(done: dict[str, Figures]) -> dict[str, Figures]:
    return {
        row: {name: [float(f"{value:.4g}") for value in values] for name, values in columns.items()}
        for row, columns in done.items()
    }


def report(tables: dict[str, dict[str, dict[str, float]]], results: Results) -> str:
    """All tables as Markdown, with their counts and commits."""
    parts = []
    for title, table in tables.items():
        columns = [column for column in next(iter(table.values())) if column != "images"]
        cells = ([name, *(f"{row[c]:.3f}" for c in columns), f"{row['images']}"] for name, row in table.items())
        line = results.line(title) + (f" {HALVES}" if "colour" in columns else "")
        parts.append(f"## {title}\n\n{line}\n\n{markdown.table(['', *map(label, columns), 'images'], cells)}")
    return "\n".join(parts)


def main() -> None:
    """Measure and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = range(IMAGES // BATCH)
    parser.add_argument("--images", type=int, default=IMAGES, help="images of each row, a multiple of 8")
    parser.add_argument("--batches", nargs="*", type=int, choices=every, help="only these batches of 8 images")
    parser.add_argument("--tables", nargs="*", default=list(tasks()), choices=list(tasks()), help="tables to do")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.images not in range(BATCH, IMAGES + 1, BATCH):
        parser.error(f"--images must be a multiple of {BATCH}, at most {IMAGES}.")
    batches = list(every[: arguments.images // BATCH]) if arguments.batches is None else arguments.batches
    results = Results(arguments.output / "restoration.json", resume=True)
    finished = Finished(work_folder("restoration", arguments.output))
    finished.unpack(results)
    with torch.inference_mode():
        finished.work(Studio(), batches, arguments.tables)
    finished.pack(results)
    results.path.with_suffix(".md").write_text(report(finished.tables(), results), "utf-8")


if __name__ == "__main__":
    main()
