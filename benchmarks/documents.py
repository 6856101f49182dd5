"""Writes the documents that quote results: docs/figures.md and docs/claims.md.

    .host/venv/bin/python -m benchmarks.documents

Their sources are the Jinja templates beside them, such as docs/figures.md.jinja. A template takes every figure from the
files in benchmarks/results, and states with `claim` what its sentences say of them: a document that new results do not
bear out is not written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import Any

import jinja2
import numpy as np

from . import editing
from .provenance import CHECKOUT, KEY, RESULTS, Results, short
from .rasterizer import PYDIFFVG

FOLDER = CHECKOUT / "docs"
SUFFIX = ".jinja"
NOTICE = "<!-- Made by `python -m benchmarks.documents` from {name}. Change that file, not this one. -->\n\n"


class NoLongerTrue(Exception):
    """A sentence of a document says what the results do not."""


# What templates call


@cache
def figures(name: str) -> dict[str, Any]:
    """The figures of a result file."""
    found = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return {key: value for key, value in found.items() if key != KEY}


def counts(name: str, *tables: str) -> str:
    """All numbers of cases that rows of some tables rest on, such as "40, 48 and 56"."""
    found = Results(RESULTS / f"{name}.json", resume=True).tables
    *most, last = map(str, sorted({number for table in tables for number in found[table].counts()}))
    return f"{', '.join(most)} and {last}" if most else last


def commits(name: str, table: str, row: str) -> set[str]:
    """The commits that measured a row, as documents name them."""
    return {short(run["commit"]) for run in Results(RESULTS / f"{name}.json", resume=True).tables[table].rows[row].runs}


def count(name: str, table: str, row: str = "") -> int:
    """How many cases a row of a result file rests on; without a row, each row of the table."""
    rows = Results(RESULTS / f"{name}.json", resume=True).tables[table].rows
    (number,) = {rows[row].count} if row else {each.count for each in rows.values()}
    return number


def points(name: str, method: str = "", prompt: str = "full") -> list[editing.Point]:
    """The points of a front in the order of the file: of one method, or of all whose prompts are of this kind."""
    every = (editing.Point(**each) for each in figures(name)["points"])
    return [each for each in every if each.prompt == prompt and method in ("", each.method)]


def point(name: str, method: str, strength: float = 0.0, prompt: str = "full") -> editing.Point:
    """One point of a front."""
    (found,) = (each for each in points(name, method, prompt) if each.strength == strength)
    return found


def nearest(name: str, method: str, prompt: str = "full") -> editing.Point:
    """The point of a method at which `editing` compares it with others."""
    return editing.nearest(points(name, method, prompt))


def kept(name: str, method: str, accuracy: float, prompt: str = "full") -> float:
    """What a method keeps at some accuracy: the PSNR outside in dB, interpolated between the points of its front."""
    front = sorted(points(name, method, prompt), key=lambda each: each.accuracy)
    accuracies, psnrs = [each.accuracy for each in front], [each.psnr for each in front]
    if not accuracies[0] <= accuracy <= accuracies[-1]:
        raise NoLongerTrue(f"{method} of {name} has no edits of accuracy {accuracy}.")
    return float(np.interp(accuracy, accuracies, psnrs))


@cache
def restored(table: str) -> dict[str, dict[str, float]]:
    """A table of `benchmarks.restoration`: the means over all its batches, and the number of images."""
    prefix = table.replace(" ", "_").replace(":", "") + ","
    values: dict[str, dict[str, list[float]]] = {}
    for file, rows in figures("restoration").items():
        for row, columns in rows.items() if file.startswith(prefix) else ():
            for column, each in columns.items():
                values.setdefault(row, {}).setdefault(column, []).extend(each)
    return {
        row: {name: float(np.mean(each)) for name, each in columns.items()}
        | {"images": count("restoration", table, row)}
        for row, columns in values.items()
    }


def mean_of(rows: dict[str, dict[str, dict[str, float]]], cases: Iterable[str], way: str) -> dict[str, float]:
    """The mean over some cases of each figure of a way."""
    every = [rows[case][way] for case in cases]
    return {name: sum(row[name] for row in every) / len(every) for name in every[0]}


def claim(holds: bool, said: str = "") -> str:
    """Nothing, if what is said holds. Raises NoLongerTrue otherwise."""
    if not holds:
        raise NoLongerTrue(said or "What is said here no longer holds.")
    return ""


# How figures are written


def fixed(value: float, digits: int = 0) -> str:
    """A number with so many decimals."""
    return f"{value:.{digits}f}"


def span(values: Iterable[float], digits: int = 0) -> str:
    """The least and the largest of some numbers, or one number if they read the same."""
    every = list(values)
    least, most = fixed(min(every), digits), fixed(max(every), digits)
    return least if least == most else f"{least} to {most}"


def edit(found: editing.Point) -> str:
    """Accuracy and PSNR outside of a point."""
    return f"{found.accuracy:.2f}, {found.psnr:.1f}"


def environment() -> jinja2.Environment:
    """What renders a template: an unknown name or key is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.do"],
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    called = (figures, commits, count, counts, points, point, nearest, kept, restored, mean_of, claim, span)
    made.globals |= {each.__name__: each for each in called} | {"PYDIFFVG": PYDIFFVG}
    made.filters |= {"fixed": fixed, "edit": edit, "span": span}
    return made


def document(template: Path) -> str:
    """The text of a document. Raises NoLongerTrue, with the line of the template, if results do not bear it out."""
    try:
        return NOTICE.format(name=template.name) + environment().get_template(template.name).render()
    except (NoLongerTrue, jinja2.UndefinedError, LookupError, OSError, TypeError, ValueError) as error:
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == template]
        raise NoLongerTrue(f"{template.name}, line {lines[-1]}: {type(error).__name__}: {error}") from error


def templates() -> list[Path]:
    """The templates of all documents."""
    return sorted(FOLDER.glob(f"*{SUFFIX}"))


def main() -> int:
    """Write all documents. Returns 1 if a sentence of one no longer holds; that one is left as it is."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    failed = 0
    for template in templates():
        try:
            template.with_suffix("").write_text(document(template), "utf-8")
        except NoLongerTrue as error:
            failed = 1
            print(error, file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
