"""Image files in folders, and duplicates."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from queueing.images import gather


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two different images."""
    for number, name in enumerate(("a.png", "b.JPG")):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(tmp_path / name)
    return tmp_path


def names(*paths: Path) -> list[str]:
    return [image.path.name for image in gather(paths, drawings=False)]


def test_other_files_and_hidden_files_are_skipped(folder: Path):
    for name in ("notes.pdf", "data.h5", "clip.mpg", "page.ps", "track.fit", "._a.png", ".hidden.jpg"):
        (folder / name).write_bytes(b"\0\5\26\7")
    (folder / "more.png").mkdir()
    assert names(folder) == ["a.png", "b.JPG"]


def test_hidden_svg_files_are_skipped(tmp_path: Path):
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "._a.svg").write_bytes(b"\0\5\26\7")
    assert [drawing.path.name for drawing in gather([tmp_path], drawings=True)] == ["a.svg"]


def test_identical_files_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    assert names(folder) == ["a.png", "b.JPG"]
    warning = "warning: Identical files are processed once:"
    assert capsys.readouterr().err == f"{warning} {folder}/c.png is the same as {folder}/a.png.\n"
    for number in range(9):
        (folder / f"d{number}.png").write_bytes((folder / "a.png").read_bytes())
    names(folder)
    assert capsys.readouterr().err.endswith(f"{folder}/d1.png is the same as {folder}/a.png and 7 more.\n")


def test_repeated_path_gives_no_warning(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert names(folder, folder / "a.png") == ["a.png", "b.JPG"]
    assert capsys.readouterr().err == ""
