"""Documents: short, with links that lead somewhere, in the words of the house, and a translation kept in step."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devhost import CHECKOUT
from devhost.recipe import EXTRAS

README, CHINESE = CHECKOUT / "README.md", CHECKOUT / "README.zh.md"
ENGLISH = [README, CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
MOST_WORDS = 1500
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
IMAGE, LINK = re.compile(r"!\[([^\]]*)\]\([^)]*\)"), re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
UNWANTED = re.compile(
    r"\w*(?:picture|published|colour|optimis|vectoris|rasteris|normalis|behaviour|licence|centre)\w*|\bgrey\b", re.I
)
"""Words that have another in their place (image, "the paper's value"), and British spellings."""


def text(path: Path) -> str:
    return path.read_text("utf-8")


def without_code(content: str) -> str:
    return re.sub(r"`[^`\n]+`", "", CODE.sub("", content))


def prose(content: str) -> str:
    """What a reader reads: images by what stands for them, links, which may be names of files, left out."""
    return LINK.sub("", IMAGE.sub(r"\1", without_code(content)))


def targets(content: str) -> list[str]:
    """Where links and images lead, in order; README files aside, which link to each other."""
    found = LINK.findall(without_code(content))
    return [target for target in found if not target.startswith("README")]


def tables(content: str) -> list[list[int]]:
    """The number of columns of each row of each table."""
    found = re.findall(r"(?:^\|.*\n)+", without_code(content), re.MULTILINE)
    return [[row.count("|") - 1 for row in table.splitlines()] for table in found]


def code(content: str) -> list[str]:
    """All blocks of code."""
    return CODE.findall(content)


def headings(content: str) -> list[int]:
    """The level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", CODE.sub("", content), re.MULTILINE)]


def paragraphs(content: str) -> int:
    return len(re.split(r"\n{2,}", CODE.sub("code", content).strip()))


def test_the_readme_is_short():
    assert len(text(README).split()) < MOST_WORDS


@pytest.mark.parametrize("part", [headings, tables, code, targets, paragraphs])
def test_the_translation_is_kept_in_step(part: Callable[[str], object]):
    assert part(text(CHINESE)) == part(text(README))


@pytest.mark.parametrize("path", [*ENGLISH, CHINESE], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    found = [target.partition("#")[0] for target in LINK.findall(without_code(text(path))) if ":" not in target]
    assert [target for target in found if target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.name)
def test_words_are_those_of_the_house(path: Path):
    assert UNWANTED.findall(prose(text(path))) == []


def test_commits_are_checked_by_the_ruff_of_the_tests():
    ruff = next(each for each in EXTRAS["tests"] if each.startswith("ruff=="))
    assert set(re.findall(r"ruff==[\d.]+", text(CHECKOUT / ".pre-commit-config.yaml"))) == {ruff}


# The examples in Python

EXPECTED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "Edit a latent": lambda made: bool(((made["last"].x - made["z0"] - 2.7).abs() < 0.05).all()),
    "Descend on a drawing": lambda made: made["loss"].item() < 1e-4,
    "Distill": lambda made: bool(((made["latent"]() - 2).abs() < 0.3).all()),
}
"""What each example of docs/python.md ends with, by its heading."""


def examples(content: str) -> dict[str, str]:
    """The Python code under each heading of the second level."""
    sections = re.findall(r"^## (.*)\n((?:(?!## ).*\n)+)", content, re.MULTILINE)
    return {name: found[1] for name, body in sections if (found := re.search(r"```python\n(.*?)```", body, re.DOTALL))}


def made_by(code: str, folder: Path) -> dict[str, Any]:
    """What a piece of code leaves behind."""
    (folder / "example.py").write_text(code, "utf-8")
    return runpy.run_path(str(folder / "example.py"))


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_of_the_library_does_what_it_says(name: str, tmp_path: Path):
    assert EXPECTED[name](made_by(examples(text(CHECKOUT / "docs" / "python.md"))[name], tmp_path))


def test_every_example_of_the_library_is_tried():
    assert set(examples(text(CHECKOUT / "docs" / "python.md"))) == set(EXPECTED)


def test_the_example_of_the_readme_runs(tmp_path: Path):
    (example,) = [block for block in code(text(README)) if "from dreamsampler" in block]
    made = made_by(example.removeprefix("```python\n").removesuffix("```"), tmp_path)
    assert EXPECTED["Edit a latent"](made)
