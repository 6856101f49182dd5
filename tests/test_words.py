"""Everything that users and contributors read is in the words of the house."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from devhost import CHECKOUT
from support.house_words import prose, python_prose, sentences, unwanted

FOLDERS = ("benchmarks", "drawings", "guidance", "nodes", "scenes", "splats", "svg", "tests", "tools")
"""The folders whose docstrings and comments are checked."""
SPEAKING = ("drawings", "guidance", "nodes", "scenes", "splats", "svg", "tools")
"""The folders whose messages are checked."""
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(CHECKOUT / "benchmarks" / "README.md", CHECKOUT / "tools" / "reference" / "README.md"),
    *sorted((CHECKOUT / "docs").glob("*.md")),
]
FROZEN: dict[str, Any] = json.loads((CHECKOUT / "tests" / "nodes" / "frozen.json").read_text("utf-8"))
TEXTS: dict[str, Any] = json.loads((CHECKOUT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))


def read(path: Path) -> str:
    return path.read_text("utf-8")


def strings(value: Any) -> list[str]:
    """Every string below a value of a JSON file, keys aside."""
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for part in values for each in strings(part)]


def names(node_id: str) -> list[str]:
    """The words of a node that saved workflows hold."""
    return re.findall(r"\w+", " ".join(strings(FROZEN[node_id])))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_pages(path: Path):
    assert unwanted(prose(read(path))) == []


@pytest.mark.parametrize("node_id", FROZEN)
def test_texts_and_help_of_a_node(node_id: str):
    page = prose(read(CHECKOUT / "js" / "docs" / f"{node_id}.md"))
    assert unwanted("\n".join([page, *strings(TEXTS[node_id])]), names(node_id)) == []


def test_notes_of_templates():
    for path in sorted((CHECKOUT / "workflows").glob("*.json")):
        notes = [node for node in json.loads(read(path))["nodes"] if "Note" in node["type"]]
        assert unwanted("\n".join(strings([note["widgets_values"] for note in notes]))) == [], path.name


@pytest.mark.parametrize("folder", [*FOLDERS, "."])
def test_docstrings_and_comments(folder: str):
    files = (CHECKOUT / folder).glob("*.py" if folder == "." else "**/*.py")
    found = {str(path.relative_to(CHECKOUT)): unwanted(python_prose(read(path))) for path in files}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("folder", SPEAKING)
def test_messages(folder: str):
    every = [name for node_id in FROZEN for name in names(node_id)]
    found = {str(path): unwanted(sentences(read(path)), every) for path in (CHECKOUT / folder).glob("**/*.py")}
    assert {name: words for name, words in found.items() if words} == {}


def test_the_page_script():
    for path in sorted((CHECKOUT / "js").glob("*.js")):
        assert unwanted(read(path)) == [], path.name


def test_the_description_in_the_registry():
    (description,) = re.findall(r'^description = "(.+)"$', read(CHECKOUT / "pyproject.toml"), re.MULTILINE)
    assert unwanted(description) == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("An optimiser of modelled colours near the centre", ["optimiser", "modelled", "colours", "centre"]),
        (
            "Normalised, cancelled, labelled and modelled pictures",
            ["Normalised", "cancelled", "labelled", "modelled", "pictures"],
        ),
        ("A published figure, drawn anew", ["published", "anew"]),
        ("a promise, an excellent exercise, otherwise precise noise; called, filled, realistic", []),
        ("The file is damaged, the damaged image is degraded", ["damaged image"]),
    ],
)
def test_words_are_found(text: str, words: list[str]):
    assert unwanted(text) == words


def test_code_and_quotations_are_not_prose():
    page = "Run `vectorise`, see [picture](pictures/a.jpg).\n```\ncolour\n```\n![a colour](b.jpg)"
    assert unwanted(prose(page)) == ["colour"]
    source = '"""Mode "colour", `grey`, picture."""\nx = "a colour"  # the centre\n"""Anew."""\n'
    assert unwanted(python_prose(source)) == ["picture", "Anew", "centre"]
