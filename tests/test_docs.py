"""Documents: short, with links that lead somewhere, in the words of the house, and a translation kept in step."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

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
