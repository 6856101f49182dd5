"""Documentation: length, links, terminology, translation, and examples that run."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from devhost import CHECKOUT
from devhost.recipe import EXTRAS
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.guidance.core.registry import Registry
from dreamsampler.guidance.distillation.method import METHODS
from dreamsampler.guidance.restoration.operators import OPERATORS
from PIL import Image
from support.house_words import CODE_BLOCK, LINK, without_code

README, CHINESE = CHECKOUT / "README.md", CHECKOUT / "README.zh.md"
ENGLISH = [README, CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
MAX_WORDS = 1500
MAX_IMAGE_SIZE = {".png": 250_000, ".webp": 1_000_000}
"""In bytes."""


def text(path: Path) -> str:
    return path.read_text("utf-8")


def targets(content: str) -> list[str]:
    """Targets of links and images, in order. Leaves out the READMEs' links to each other."""
    found = LINK.findall(without_code(content))
    return [target for target in found if not target.startswith("README")]


def tables(content: str) -> list[list[int]]:
    """The number of columns of each row of each table."""
    found = re.findall(r"(?:^\|.*\n)+", without_code(content), re.MULTILINE)
    return [[row.count("|") - 1 for row in table.splitlines()] for table in found]


def code(content: str) -> list[str]:
    """All code blocks."""
    return CODE_BLOCK.findall(content)


def headings(content: str) -> list[int]:
    """The level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", CODE_BLOCK.sub("", content), re.MULTILINE)]


def paragraphs(content: str) -> int:
    return len(re.split(r"\n{2,}", CODE_BLOCK.sub("code", content).strip()))


def test_readme_is_short():
    assert len(text(README).split()) < MAX_WORDS


@pytest.mark.parametrize("part", [headings, tables, code, targets, paragraphs])
def test_chinese_readme_has_the_same_structure(part: Callable[[str], object]):
    assert part(text(CHINESE)) == part(text(README))


@pytest.mark.parametrize("path", [*ENGLISH, CHINESE], ids=lambda path: path.name)
def test_links_resolve(path: Path):
    named = LINK.findall(without_code(text(path)))
    found = [unquote(target.partition("#")[0]) for target in named if ":" not in target]
    assert [target for target in found if target and not (path.parent / target).exists()] == []


def test_images_of_the_readme_are_quickly_loaded():
    """And animations move: a browser shows one without frames as a still."""
    for target in targets(text(README)):
        path, limit = CHECKOUT / target, MAX_IMAGE_SIZE.get(Path(target).suffix)
        if limit is None:
            continue
        assert path.stat().st_size < limit, target
        with Image.open(path) as image:
            assert (getattr(image, "n_frames", 1) >= 24) == (path.suffix == ".webp"), target


def test_pre_commit_uses_the_same_ruff_as_the_tests():
    ruff = next(each for each in EXTRAS["tests"] if each.startswith("ruff=="))
    assert set(re.findall(r"ruff==[\d.]+", text(CHECKOUT / ".pre-commit-config.yaml"))) == {ruff}


@pytest.mark.parametrize("path", [README, CHINESE, CHECKOUT / "docs" / "figures.md"], ids=lambda path: path.name)
def test_memory_is_stated_as_computed(path: Path):
    computed = json.loads(text(CHECKOUT / "benchmarks" / "results" / "gradient_memory.json"))
    totals = {name: f"{figures['total']:.1f}" for name, figures in computed.items() if name != "provenance"}
    (section,) = re.findall(r"^## (?:Memory|显存)\n(.*?)^(?:## |\Z)", text(path) + "\n## ", re.M | re.S)
    if path in (README, CHINESE):
        del totals["ding"]  # stated as "restoration without gradients", which takes more
    assert set(re.findall(r"(\d+\.\d) GiB", section)) == set(totals.values())


def test_help_of_measurement_names_every_node_that_takes_one():
    nodes = json.loads(text(CHECKOUT / "locales" / "en" / "nodeDefs.json")).values()
    page = text(CHECKOUT / "js" / "docs" / "DSMeasurement.md")
    introduction, row = page.split("\n\n")[1], re.findall(r"^\| measurement \|.*", page, re.MULTILINE)[0]
    takers = [f"*{node['display_name']}*" for node in nodes if "measurement" in node.get("inputs", {})]
    assert takers and [name for name in takers if name not in introduction or name not in row] == []


# Python examples

EXPECTED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "Edit a latent": lambda found: bool(((found["last"].x - found["z0"] - 2.7).abs() < 0.05).all()),
    "Descend on a drawing": lambda found: found["loss"].item() < 1e-4,
    "Fit splats to images": lambda found: found["error"].item() < 0.005,
    "Distill": lambda found: bool(((found["latent"]() - 2).abs() < 0.3).all()),
}
"""For each example of docs/python.md, by heading: whether its variables are as expected."""


def examples(content: str) -> dict[str, str]:
    """The Python code under each second-level heading."""
    sections = re.findall(r"^## (.*)\n((?:(?!## ).*\n)+)", content, re.MULTILINE)
    return {name: found[1] for name, body in sections if (found := re.search(r"```python\n(.*?)```", body, re.DOTALL))}


def variables_of(code: str, folder: Path) -> dict[str, Any]:
    """The global variables after running the code."""
    (folder / "example.py").write_text(code, "utf-8")
    return runpy.run_path(str(folder / "example.py"))


@pytest.mark.parametrize("name", EXPECTED)
def test_library_example_gives_the_documented_result(name: str, tmp_path: Path):
    assert EXPECTED[name](variables_of(examples(text(CHECKOUT / "docs" / "python.md"))[name], tmp_path))


def test_every_library_example_is_tested():
    assert set(examples(text(CHECKOUT / "docs" / "python.md"))) == set(EXPECTED)


def test_readme_example_runs(tmp_path: Path):
    (example,) = [block for block in code(text(README)) if "from dreamsampler" in block]
    variables = variables_of(example.removeprefix("```python\n").removesuffix("```"), tmp_path)
    assert EXPECTED["Edit a latent"](variables)


# Complete examples of the guides


@dataclass(frozen=True)
class Guide:
    """A page that adds something: what its first code blocks are, modules and then a test of them.

    The test belongs to the file `home`, unless it is a file of its own. The last module adds `entry` to `registry`.
    """

    modules: tuple[str, ...]
    home: str | None = None
    registry: Registry[Any] | None = None
    entry: str = ""


GUIDES = {
    "add-an-operator": Guide(
        ("guidance.restoration.operators.area",), "guidance/test_operators.py", OPERATORS, "area downsampling"
    ),
    "add-an-objective": Guide(("guidance.distillation.objectives.classifier",), None, METHODS, "classifier"),
    "add-an-svg-style": Guide(("drawings.styles.line_art",), "drawings/test_styles.py", ART_STYLES, "line art"),
    "add-a-node": Guide(("nodes.runs.clean_estimate", "nodes.clean_estimate")),
}


@pytest.fixture
def blocks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """The Python code of a guide, with its modules loaded as if their files were in the pack."""
    guide, page = GUIDES[request.param], text(CHECKOUT / "docs" / f"{request.param}.md")
    found = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = [f"dreamsampler.{each}" for each in guide.modules]
    try:
        for name, code in zip(names, found):
            load(name, code, tmp_path)
        yield found[len(names) :]
    finally:
        for name in names:
            sys.modules.pop(name, None)
        if guide.registry is not None:
            guide.registry.pop(guide.entry, None)


def load(name: str, code: str, folder: Path) -> None:
    """Import code as the module of that name."""
    path = folder / f"{name}.py"
    path.write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def run_tests(code: str, home: dict[str, Any], folder: Path) -> None:
    """Call each test of the code with each set of its arguments; `home` holds the names of the file it belongs to."""
    (folder / "test_example.py").write_text(code, "utf-8")
    found = runpy.run_path(str(folder / "test_example.py"), home)
    tests = [value for name, value in found.items() if name.startswith("test_") and name not in home]
    assert tests
    for test in tests:
        for arguments in arguments_of(test):
            test(**arguments)


def arguments_of(test: Any) -> list[dict[str, Any]]:
    """The arguments that a test is parametrized with; of one name at most."""
    marks = getattr(test, "pytestmark", [])
    return [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]


@pytest.mark.parametrize(("blocks", "guide"), GUIDES.items(), ids=GUIDES, indirect=["blocks"])
def test_example_of_a_guide_passes_its_own_test(blocks: list[str], guide: Guide, tmp_path: Path):
    if guide.registry is not None:
        assert guide.registry.listed[-1] == guide.entry
    home = runpy.run_path(str(CHECKOUT / "tests" / guide.home)) if guide.home else {}
    run_tests(blocks[0], home, tmp_path)
