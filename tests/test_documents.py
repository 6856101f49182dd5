"""Documents that quote results: they are what their templates make of the results, and false sentences are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from devhost import CHECKOUT

from benchmarks import documents

TEMPLATES = documents.templates()
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
MEASURED = re.compile(r"\b0\.\d\d+|\d dB|\d %|\d%|\d GiB|\d ms|\d KB|\d s\b")
"""What a figure looks like in a sentence."""
NOISE_AGREES = "0.21"  # of 15 gradients that are noise: sqrt(2 / (15 pi))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_documents_are_as_their_templates_make_them(template: Path):
    assert template.with_suffix("").read_text("utf-8") == documents.document(template), (
        "Run `python -m benchmarks.documents`."
    )


def test_figures_and_claims_are_made_of_templates():
    assert [template.name for template in TEMPLATES] == ["claims.md.jinja", "figures.md.jinja"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_write_no_figure_themselves(template: Path):
    sentences = EXPRESSION.sub("", template.read_text("utf-8"))
    versions_removed = re.sub(r"\d+\.\d+\.\d+", "", sentences)
    assert set(MEASURED.findall(versions_removed)) <= {NOISE_AGREES}


def test_every_result_is_quoted_but_what_has_a_document_of_its_own():
    text = "".join(template.read_text("utf-8") for template in TEMPLATES)
    stems = {path.stem for path in (CHECKOUT / "benchmarks" / "results").glob("*.json")}
    assert {stem for stem in stems if stem not in text} <= {"distillation_memory", "families", "solver_cost", "splats"}


def rendered(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """What a template of this text makes, without the notice."""
    monkeypatch.setattr(documents, "FOLDER", folder)
    template = folder / "made.md.jinja"
    template.write_text(text, "utf-8")
    return documents.document(template).split("\n\n", 1)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Good.\n{% do claim(1 < 2) %}\n{% do claim(2 < 1, 'Two is less') %}\n", "line 3: .*Two is less"),
        ("{{ figures('edit_front').nothing }}\n", "line 1: .*nothing"),
        ("\n{{ figures('no_such_file') }}\n", "line 2: .*no_such_file"),
        ("{{ kept('edit_front', 'img2img', 1.5) }}\n", "line 1: .*img2img of edit_front has no edits of accuracy 1.5"),
    ],
)
def test_a_document_that_results_do_not_bear_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
):
    with pytest.raises(documents.NoLongerTrue, match=f"^made.md.jinja, {message}"):
        rendered(tmp_path, monkeypatch, text)


def test_claims_and_settings_leave_no_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = "{% set a = 1.25 %}\n{% do claim(a > 1) %}\nIt is {{ a | fixed(1) }}.\n"
    assert rendered(tmp_path, monkeypatch, text) == "It is 1.2.\n"


def test_a_document_is_left_as_it_is_if_a_sentence_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(documents, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["documents"])
    for name, holds in (("false", "false"), ("true", "true")):
        (tmp_path / f"{name}.md.jinja").write_text(f"{{% do claim({holds}) %}}\nnew\n", "utf-8")
        (tmp_path / f"{name}.md").write_text("old\n", "utf-8")
    assert documents.main() == 1
    assert "false.md.jinja, line 1" in capsys.readouterr().err
    assert (tmp_path / "false.md").read_text("utf-8") == "old\n"
    assert (tmp_path / "true.md").read_text("utf-8").endswith("\n\nnew\n")


# Oracles: the tables that the benchmarks write themselves


def cells(name: str, title: str) -> dict[str, list[str]]:
    """The rows of a table below a heading of a result's Markdown file, by their first cell."""
    text = (CHECKOUT / "benchmarks" / "results" / f"{name}.md").read_text("utf-8")
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines[2:]}


@pytest.mark.parametrize("title", ["Inpainting", "Last step", "Last step: a hole", "Restoration: motion blur, 15"])
def test_restorations_are_those_of_the_table(title: str):
    found, expected = documents.restored(title), cells("restoration", title)
    assert set(found) == set(expected)
    for row, columns in found.items():
        *numbers, images = expected[row]
        assert columns["images"] == int(images)
        assert list(columns.values())[:-1] == pytest.approx([float(each) for each in numbers], abs=2e-3)


def test_means_of_tracings_are_those_of_the_table():
    icons = ("flat-color-icons advertising", "flat-color-icons camera", "noto rocket", "emojione fox")
    mean = documents.mean_of(documents.figures("tracing"), icons, "vtracer")
    assert list(mean.values()) == pytest.approx(
        [float(each) for each in cells("tracing", "icons")["vtracer"]], rel=1e-3
    )


def test_what_is_kept_is_interpolated_between_two_points():
    below, above = documents.point("edit_front", "img2img", 0.6), documents.point("edit_front", "img2img", 0.7)
    share = (0.9 - below.accuracy) / (above.accuracy - below.accuracy)
    expected = below.psnr + share * (above.psnr - below.psnr)
    assert 0 < share < 1 and documents.kept("edit_front", "img2img", 0.9) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [((1.26, 0.84), 1, "0.8 to 1.3"), ((1.26, 1.31), 1, "1.3"), ((7,), 0, "7"), ((0.4, 11.6), 0, "0 to 12")],
)
def test_spans_are_one_number_if_both_ends_read_the_same(values: tuple[float, ...], digits: int, expected: str):
    assert documents.span(values, digits) == expected
