"""The results of `benchmarks.pie`: a line for every run, and the tables made of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_client import printable
from queueing.errors import QueueingError

from .pie_metrics import METRICS, STAND_IN, Metric, Networks
from .provenance import Results

LEDGER, REPORT = "results.jsonl", "pie"
DONE, FAILED = "done", "failed"
UNEQUAL = "Rows differ in --limit or --types, or some of their runs failed."
FEW = 20
"""The number of failures that the report lists."""

Key = tuple[str, str, str]
"""A setup, the label of a method, and the key of an image."""


class Ledger:
    """The results of all runs, one JSON object in a line each; later lines update earlier ones.

    Fields: `setup` (data, checkpoint and what else holds for all methods), `method`, `image`, its `type`, and `job`, a
    digest of the graph, say what ran. `state` is done or failed with `error`; `file` is the edited image, `run` what
    made it. `scores` are the metrics, `networks` what measured them.
    """

    def __init__(self, path: Path):
        self._path = path
        self.lines: dict[Key, dict[str, Any]] = {}
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):  # a run was killed while it wrote
                os.truncate(path, len(whole))
            for number, line in enumerate(whole.splitlines(), start=1):
                try:
                    self._update(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise QueueingError(
                        f"Line {number} of {path} is damaged. Remove it, or name another --output."
                    ) from error

    def add(self, key: Key, **facts: Any) -> None:
        """Record facts of a run."""
        line = {**dict(zip(("setup", "method", "image"), key)), **facts}
        self._update(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _update(self, line: dict[str, Any]) -> None:
        key = line["setup"], line["method"], line["image"]
        self.lines.setdefault(key, {}).update(line)


def figures(lines: Sequence[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    """The means of a row, and what they rest on. Scores by other networks than `names` are left out."""
    done = [line for line in lines if line["state"] == DONE]
    scored = [line for line in done if line["scores"]]
    found: dict[str, Any] = {
        "images": len(scored),
        "failed": len(lines) - len(done),
        "not measured": len(done) - len(scored),
        "without a mask": sum(not line["masked"] for line in scored),
        "equal outside": sum(line["scores"]["mse"] == 0 for line in scored),
    }
    for name, metric in METRICS.items():
        fits = [line for line in scored if line["networks"].get(metric.network) == names.get(metric.network)]
        values = [line["scores"][name] for line in fits if line["scores"].get(name) is not None]
        found[name] = {"mean": math.fsum(values) / len(values) if values else None, "count": len(values)}
    return found


def write(ledger: Ledger, networks: Networks, folder: Path) -> str:
    """Write pie.json and pie.md. Returns the latter."""
    results = Results(folder / f"{REPORT}.json")
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (setup, label, _), line in ledger.lines.items():
        rows.setdefault(setup, {}).setdefault(label, []).append(line)
    tables: dict[str, Any] = {}
    for setup, methods in rows.items():
        results.table(setup, "images", UNEQUAL)
        tables[setup] = {}
        for label, lines in methods.items():
            tables[setup][label] = row = figures(lines, networks.names)
            types = sorted({line["type"] for line in lines} - {""})
            of_type = {each: [line for line in lines if line["type"] == each] for each in types}
            row["by type"] = {each: figures(some, networks.names) for each, some in of_type.items()}
            if row["images"]:
                runs = [line["run"] for line in lines if line["state"] == DONE and line["scores"]]
                unique = [run for index, run in enumerate(runs) if run not in runs[:index]]
                results.measured(setup, label, row["images"], unique)
    names = ("setup", "method", "image", "error")
    failed = [{name: each[name] for name in names} for each in ledger.lines.values() if each["state"] == FAILED]
    results.figures = {"networks": networks.names, "tables": tables, "failures": failed}
    results.write()
    text = document(results, networks)
    results.path.with_suffix(".md").write_text(text, "utf-8")
    return text


def document(results: Results, networks: Networks) -> str:
    """The report as Markdown."""
    names = networks.names
    used = {kind: "a stand-in without meaning" if name == STAND_IN else f"`{name}`" for kind, name in names.items()}
    networks_used = f"structure distance {used['structure']}, LPIPS {used['lpips']}, CLIP similarity {used['clip']}"
    parts = [f"# Edits\n\n{EXPLAINED}\n\nNetworks: {networks_used}.\n"]
    parts += [f"Not measured: {message}\n" for message in dict.fromkeys(networks.problems.values())]
    head = ["method", "images", "failed", *(title(metric, names) for metric in METRICS.values())]
    for setup, rows in results.figures["tables"].items():
        lines = [f"## {setup}", "", _row(head), _row(["---"] * len(head))]
        for label, row in rows.items():
            cells = [cell(row[name]["mean"], metric) for name, metric in METRICS.items()]
            lines.append(_row([label, str(row["images"]), str(row["failed"]), *cells]))
        counts = [results.line(setup)] if results.tables[setup].rows else []
        parts.append("\n".join([*lines, "", " ".join([*counts, *notes(list(rows.values()))]), ""]))
    if failures := results.figures["failures"]:
        listed = [f"- {each['method']}, {each['image']}: {printable(each['error'])}" for each in failures[:FEW]]
        more = [f"- and {len(failures) - FEW} more, in {LEDGER}"] if len(failures) > FEW else []
        parts.append("\n".join(["## Failed runs", "", *listed, *more, ""]))
    return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


EXPLAINED = (
    "Means over images. Outside is what the mask does not cover: the rest is painted black in both images, as in the "
    "release of PIE-Bench. The structure distance is the mean squared difference of the self-similarities of DINO's "
    "last keys, CLIP similarity 100 times the cosine of the edited image and the target prompt. CLIP accuracy is the "
    "share of edited images that are closer to the target prompt than to the source prompt."
)


def title(metric: Metric, names: dict[str, str]) -> str:
    """The title of a column, which says whether a stand-in measured it."""
    stand_in = metric.network and names[metric.network] == STAND_IN
    return f"{metric.title} ({STAND_IN})" if stand_in else metric.title


def cell(value: float | None, metric: Metric) -> str:
    return "-" if value is None else f"{value * metric.scale:.{metric.decimals}f}"


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What to know about the rows of a table, as sentences. Numbers are those of the row with the most."""
    sentences = {
        "without a mask": "Images without a mask, up to {} per row, count as outside as a whole.",
        "equal outside": "PSNR leaves out images that equal their source, up to {} per row.",
        "not measured": "Up to {} edited images per row are not measured yet: run the command again.",
    }
    most = {name: max(row[name] for row in rows) for name in sentences}
    return [sentence.format(most[name]) for name, sentence in sentences.items() if most[name]]
