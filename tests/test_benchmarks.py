"""Benchmark results state their commits, dates and sample counts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import comfyui_version
import numpy as np
import pytest
import torch
from devhost import CHECKOUT
from PIL import Image
from support.house_words import unwanted

from benchmarks import editing, everything, images, markdown, provenance

FILES = sorted((CHECKOUT / "benchmarks" / "results").glob("*.json"))
FIGURES = CHECKOUT / "docs" / "figures.md"
results = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> tuple[dict[str, Any], dict[str, provenance.Table]]:
    """Figures and tables of a result file."""
    found = provenance.Results(path, resume=True)
    return found.figures, found.tables


def names(value: Any) -> set[str]:
    """All keys of a value, nested ones included."""
    if isinstance(value, list):
        return set().union(*map(names, value)) if value else set()
    return {*value, *names(list(value.values()))} if isinstance(value, dict) else set()


def point_name(point: dict[str, Any]) -> str:
    if "operator" in point:  # benchmarks.wiener
        return ", ".join(
            filter(None, [point["operator"], point["mode"], f"{point['steps']} steps", point["change"]]),
        )
    return f"{point['method']}, {point['strength']:g}, {point['prompt']}"


def row_names(figures: dict[str, Any]) -> set[str]:
    """The rows that need counts, found without looking at the provenance."""
    for key in ("points", "methods"):
        if key in figures:
            rows = figures[key]
            return {point_name(point) for point in rows} if isinstance(rows, list) else set(rows)
    if "growth" in figures:  # benchmarks.rasterizer
        sizes = {f"{row['shapes']} shapes, {row['width']} x {row['height']}" for row in figures["drawings"]}
        return sizes | {f"{row['shapes']} shapes, radius {row['radius']}" for row in figures["growth"]}
    if "fit" in figures:  # benchmarks.drawings
        return {name for rows in figures.values() if isinstance(rows, dict) for name in rows}
    return {name for name, value in figures.items() if isinstance(value, (dict, list))}


@results
def test_runs_have_a_commit_and_a_date(path: Path):
    runs = json.loads(path.read_text("utf-8"))["provenance"]["runs"]
    assert runs
    for run in runs:
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", run["commit"])
        assert datetime.fromisoformat(run["date"]).utcoffset() == timezone.utc.utcoffset(None)


REWRITTEN = {"families", "gradient_memory", "illusions", "renoise", "restoration", "splats", "wiener"}
"""Results of commits that were rewritten later, or of changed files: they are to be measured again."""


def has_history() -> bool:
    """Whether the commits before this one are known: an archive or a shallow clone has none."""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "--is-shallow-repository"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.returncode == 0 and found.stdout.strip() == "false"


@results
@pytest.mark.skipif(not has_history(), reason="needs the commits before this one")
def test_commits_of_results_are_in_the_history(path: Path, request: pytest.FixtureRequest):
    if path.stem in REWRITTEN:
        request.applymarker(pytest.mark.xfail(reason="Measured on a commit that is gone.", strict=True))
    command = ["git", "-C", str(CHECKOUT), "merge-base", "--is-ancestor"]
    for run in json.loads(path.read_text("utf-8"))["provenance"]["runs"]:
        assert subprocess.run([*command, run["commit"], "HEAD"], capture_output=True).returncode == 0, run["commit"]


@results
def test_rows_have_a_count_and_runs(path: Path):
    figures, tables = read(path)
    counted = {name: row for table in tables.values() for name, row in table.rows.items()}
    assert all(row.count > 0 and row.runs for row in counted.values())
    # rows of the rasterizer's files begin with the name of the file
    plain = {", ".join(parts[-2:]) if len(parts := name.split(", ")) == 3 else name for name in counted} | {*counted}
    one_level_below = "conjugate gradients", "small icons"
    grouped = {"peak_memory_mib": "memory"} | {name: name for name in one_level_below}
    for name in row_names(figures):
        assert set(figures[name]) == set(tables[grouped[name]].rows) if name in grouped else name in plain


@results
def test_unequal_counts_are_explained(path: Path):
    raw = json.loads(path.read_text("utf-8"))["provenance"]["tables"]
    _, tables = read(path)
    for title, table in tables.items():
        assert len(table.counts()) == 1 or table.unequal, title
        assert ("unequal" in raw[title]) == (len(table.counts()) > 1), title


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.with_suffix(".md").exists()], ids=lambda path: path.stem
)
def test_tables_state_counts_and_commits(path: Path):
    _, tables = read(path)
    document = path.with_suffix(".md").read_text("utf-8")
    assert unwanted(document) == []
    for title, table in tables.items():
        if title not in ("batches", "growth"):  # shown as a summary and as a plot
            assert table.line() in document, title


@pytest.mark.parametrize("name", ["restoration", "svg_support"])
def test_figures_state_unequal_counts(name: str):
    _, tables = read(CHECKOUT / "benchmarks" / "results" / f"{name}.json")
    sections = [
        each for each in re.split(r"^## ", FIGURES.read_text("utf-8"), flags=re.M) if f"benchmarks.{name}" in each
    ]
    stated = {int(number) for section in sections for number in re.findall(r"\d+", section)}
    assert {count for table in tables.values() for count in table.counts() if len(table.counts()) > 1} <= stated


def passed(cells: dict[str, Any]) -> bool:
    """Whether a model of `benchmarks.families` passed all trials; a number is the difference from ComfyUI's sampler."""
    return all(cell == "works" if isinstance(cell, str) else cell < 1e-4 for cell in cells.values())


def quoted(line: str) -> list[str]:
    return re.findall(r"`([^`]+)`", line)


def test_models_are_listed_as_measured():
    figures, tables = read(CHECKOUT / "benchmarks" / "results" / "families.json")
    newest, oldest = sorted(tables, key=lambda version: len(tables[version].rows), reverse=True)
    intro, everything, others = re.split(r"^## ", (CHECKOUT / "docs" / "models.md").read_text("utf-8"), flags=re.M)
    assert f"Measured on {oldest} and {newest.removeprefix('ComfyUI ')} " in intro
    listed: dict[str, set[str]] = {oldest: set(), newest: set()}
    for first, names in re.findall(r"^\| ([\d.]+).*? \| (.+) \|$", everything, re.M):
        listed[f"ComfyUI {first}"] |= set(quoted(names))
    named = {name for cell in re.findall(r"^\| (`.+?) \|", others, re.M) for name in quoted(cell)}
    good = {name for name, cells in figures.items() if all(map(passed, cells.values()))}
    assert listed == {oldest: good & set(tables[oldest].rows), newest: good - set(tables[oldest].rows)}
    assert named == set(figures) - good
    assert not [name for name, cells in figures.items() if "error: " in str(cells)]


def test_all_results_are_made_by_one_command():
    assert all((CHECKOUT / "benchmarks" / f"{job.module}.py").exists() for job in everything.JOBS)
    written = [stem for job in everything.JOBS for stem in job.writes.split()]
    assert len(written) == len(set(written))
    assert {path.stem for path in (CHECKOUT / "benchmarks" / "results").iterdir()} == set(written)


def test_jobs_are_called_by_module_and_part():
    names = [job.name for job in everything.JOBS]
    assert len(names) == len(set(names))
    parts = {job.name for job in everything.JOBS if job.name != job.module}
    assert parts == {f"text_to_image_variants_{part}" for part in ("noise", "few", "guidance", "bridge")}


@pytest.mark.parametrize(("module", "ends"), [("markdown", True), ("nothing_of_this_name", False)])
def test_a_job_that_fails_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, ends: bool):
    monkeypatch.setattr(everything, "WORK", tmp_path)
    job = everything.Job(module, "", "nothing", {})
    assert everything.run(job, "a commit", {}) == job.done.exists() == ends


NOT_YET = {"restoration": "Measured in batches, of which some tables had more."}
"""Results that are to be measured again, and why they do not hold what their job makes."""


@pytest.mark.parametrize("job", everything.JOBS, ids=lambda job: job.name)
def test_results_hold_as_many_cases_as_their_job_makes(job: everything.Job, request: pytest.FixtureRequest):
    if job.name in NOT_YET:
        request.applymarker(pytest.mark.xfail(reason=NOT_YET[job.name], strict=True))
    for stem, counts in job.counts.items():
        _, tables = read(CHECKOUT / "benchmarks" / "results" / f"{stem}.json")
        most = {title: max(table.counts()) for title, table in tables.items()}
        expected = dict.fromkeys(tables, counts[everything.VERSIONS]) if everything.VERSIONS in counts else counts
        assert most == expected, stem


def test_every_result_file_has_counts():
    counted = {stem for job in everything.JOBS for stem in job.counts}
    assert {path.stem for path in FILES} <= counted


def test_edits_are_compared_where_their_accuracy_is_nearest_to_0_9():
    def point(method: str, strength: float, accuracy: float, psnr: float) -> editing.Point:
        by_attribute = dict.fromkeys(editing.ATTRIBUTES, (accuracy, psnr))
        return editing.Point(method, strength, "full", accuracy, psnr, by_attribute)

    points = [point("a", 1, 0.8, 30.0), point("a", 2, 0.95, 28.0), point("b", 1, 0.85, 20.0), point("b", 2, 0.95, 21.0)]
    rows = re.findall(r"^\| (a|b) \| (\d)", editing.at_equal_accuracy(points, lambda p: p.method), re.MULTILINE)
    assert rows == [("a", "2"), ("b", "2")]  # of b, both are as near, and the second keeps more


def test_a_table_of_markdown():
    assert markdown.table(["", "a|b"], [["c", ""]]) == "| | a\\|b |\n|---|---|\n| c | |\n"


@pytest.mark.parametrize(("output", "place"), [("results", "work/drawings"), ("results/x", "results/x/work/drawings")])
def test_trials_do_not_share_what_results_rest_on(output: str, place: str):
    folder = CHECKOUT / "benchmarks"
    assert provenance.work_folder("drawings", folder / output) == folder / place


def test_a_file_of_another_case_begins_empty(tmp_path: Path):
    path = tmp_path / "made.json"
    for steps, kept in ((5, False), (5, True), (6, False)):
        results = provenance.Results(path, resume=True)
        results.begin({"steps": steps})
        assert ("row" in results.figures) == ("edits" in results.tables) == kept
        results.figures["row"] = 1
        results.table("edits", "edits")
        results.measured("edits", "row", 1)
        results.write()
        assert json.loads(path.read_text("utf-8"))["steps"] == steps


def test_new_file_records_its_run(tmp_path: Path):
    made = provenance.Results(tmp_path / "new" / "made.json")
    made.table("edits", "images")
    made.figures["sds"] = {"psnr": 1.5}
    made.measured("edits", "sds", 8)
    made.write()
    found = json.loads(made.path.read_text("utf-8"))
    assert found["sds"] == {"psnr": 1.5}
    assert found["provenance"]["tables"] == {"edits": {"counted": "images", "rows": {"sds": {"count": 8, "runs": [0]}}}}
    (run,) = found["provenance"]["runs"]
    assert set(run) == {"commit", "date", "comfyui", "torch", "python", "device", "threads", "platform"}
    assert run["commit"] == provenance.commit(CHECKOUT)
    assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(run["date"])).total_seconds()) < 3600
    assert run["comfyui"] == comfyui_version.__version__
    assert (run["torch"], run["threads"]) == (torch.__version__, torch.get_num_threads())
    assert run["python"] == ".".join(map(str, sys.version_info[:3]))


def test_resumed_file_keeps_the_runs_of_known_rows(tmp_path: Path):
    earlier = {"commit": "0" * 40, "date": "2026-01-01T00:00:00+00:00"}
    first = provenance.Results(tmp_path / "made.json")
    first.table("edits", "images")
    first.measured("edits", "sds", 8, [earlier])
    first.write()
    second = provenance.Results(first.path, resume=True)
    second.table("edits", "images", "One was cut.")
    second.measured("edits", "dds", 4)
    second.write(compact=True)
    last = provenance.Results(first.path, resume=True)
    assert last.tables["edits"].rows == {
        "sds": provenance.Row(8, (earlier,)),
        "dds": provenance.Row(4, (provenance.this_run(),)),
    }
    line = last.line("edits")
    assert line.startswith("4 to 8 images per row; commits 0000000, ") and line.endswith(" One was cut.")


def test_commit_marks_a_dirty_checkout(tmp_path: Path):
    identity = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        command, env = ["git", "-C", str(tmp_path), *words], {**os.environ, **identity}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()

    assert provenance.commit(tmp_path) == "unknown"
    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "code")
    head = git("rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "made.json").write_text("{}")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert provenance.commit(tmp_path) == f"{head}-dirty"


def test_work_files_are_stamped_with_their_run(tmp_path: Path):
    file = tmp_path / "made.npz"
    file.write_bytes(b"")
    assert provenance.stamped(file)["commit"] == "unknown"
    provenance.stamp(file)
    assert provenance.stamped(file) == provenance.this_run()


@pytest.mark.parametrize(("limit", "mode"), [(images.INVISIBLE, "P"), (0.0, "RGB")])
def test_images_are_palettized_if_the_loss_is_invisible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float, mode: str
):
    monkeypatch.setattr(images, "INVISIBLE", limit)
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    images.save(Image.fromarray(values), tmp_path / "made.png")
    assert Image.open(tmp_path / "made.png").mode == mode
