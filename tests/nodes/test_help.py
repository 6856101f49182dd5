"""Every node explains itself: a tooltip on every input and output, a description, and a help page that is true."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from comfy_api.latest import io
from dreamsampler_pack import comfy_entrypoint
from dreamsampler_pack.guidance.methods import METHODS

PAGES = Path(__file__).resolve().parents[2] / "js" / "docs"
PICTURE = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)")
LARGEST_PICTURE, LARGEST_PICTURES = 30_000, 400_000
"""Bytes of one picture, and of all together: the archive carries them."""
SOURCE = re.compile(r"^## (Papers?|Source|Paper and format)$", re.MULTILINE)


def nodes() -> list[type[io.ComfyNode]]:
    async def registered() -> list[type[io.ComfyNode]]:
        return await (await comfy_entrypoint()).get_node_list()

    return asyncio.run(registered())


EVERY_NODE = pytest.mark.parametrize("node", nodes(), ids=lambda node: node.define_schema().node_id)


@EVERY_NODE
def test_node_has_words_for_everything(node: type[io.ComfyNode]):
    schema = node.define_schema()
    assert schema.node_id.startswith("DS") and schema.category == "DreamSampler"
    assert schema.description.endswith(".")
    for part in (*schema.inputs, *schema.outputs):
        assert part.tooltip and part.tooltip.endswith("."), part


@EVERY_NODE
def test_help_page_names_every_input_and_output(node: type[io.ComfyNode]):
    schema = node.define_schema()
    page = (PAGES / f"{schema.node_id}.md").read_text("utf-8")
    words = set(re.findall(r"\w+", page))
    named = {i.id for i in schema.inputs} | {o.display_name for o in schema.outputs}
    assert page.startswith(f"# {schema.display_name}\n")
    assert named <= words


def test_no_help_page_is_left_over():
    assert {page.stem for page in PAGES.glob("*.md")} == {node.define_schema().node_id for node in nodes()}


def tables(page: str) -> list[list[str]]:
    """The lines of each table of a page; a row that stands apart from its table is one of its own."""
    found = re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE)
    return [table.splitlines() for table in found]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@EVERY_NODE
def test_tables_of_the_help_are_whole(node: type[io.ComfyNode]):
    page = (PAGES / f"{node.define_schema().node_id}.md").read_text("utf-8")
    for table in tables(page):
        assert len(table) > 2 and re.fullmatch(r"\|(-+\|)+", table[1]), f"Not a table, or a part of one: {table[0]}"
        for row in table:
            assert row.endswith("|") and len(cells(row)) == len(cells(table[0])), row


@EVERY_NODE
def test_help_page_has_all_that_is_asked_of_it(node: type[io.ComfyNode]):
    """A picture, each input with its safe range, what to change when something is wrong, and where it is from."""
    schema = node.define_schema()
    page = (PAGES / f"{schema.node_id}.md").read_text("utf-8")
    found = tables(page)
    rows = [row for table in found if cells(table[0])[0] == "input" for row in table[2:]]
    explained = re.findall(r"\w+", " ".join(cells(row)[0] for row in rows))
    assert {part.id for part in schema.inputs} <= set(explained)
    assert all(cells(table[0])[2].endswith("safe range") for table in found if cells(table[0])[0] == "input")
    assert "| what you see | what to change |\n" in page
    assert SOURCE.search(page)
    for alt, place in PICTURE.findall(page):
        # The page takes such an address as one beside the help page, in /extensions/<the pack>/docs/.
        assert alt and re.fullmatch(r"pictures/\w+\.(jpg|svg)", place) and (PAGES / place).is_file(), place
    assert PICTURE.search(page)


def test_pictures_of_the_help_are_small_and_used():
    shown = {place for page in PAGES.glob("*.md") for _, place in PICTURE.findall(page.read_text("utf-8"))}
    sizes = {f"pictures/{path.name}": path.stat().st_size for path in (PAGES / "pictures").iterdir()}
    assert set(sizes) == shown
    assert max(sizes.values()) <= LARGEST_PICTURE and sum(sizes.values()) <= LARGEST_PICTURES


def test_help_tells_the_settings_the_methods_have():
    page = (PAGES / "DSDistillationSampler.md").read_text("utf-8")
    head, rule, *rows = page[page.index("| method | steps ") :].split("\n\n")[0].splitlines()
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    table = {}
    for row in rows:
        name, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        table[name] = dict(zip(columns[1:], cells))
    assert set(table) == set(METHODS)
    for name, cells in table.items():
        settings = METHODS[name].settings
        second = cells.pop("source_guidance_scale")
        for column, cell in cells.items():
            value = getattr(settings, column)
            assert (value == cell) if isinstance(value, str) else (float(cell) == value), (name, column)
        if second:
            assert settings.source_guidance_scale == (None if second == "as guidance_scale" else float(second)), name
        assert settings.noise_policy == "fresh"
        assert settings.first_stage == {"bridge": 0.5, "full bridge": 0.5, "lmc": 0.3}.get(name, 0.0)
        schedules = {"flowedit": "flow time", "lmc": "cosine to 0.03"}
        assert settings.learning_rate_schedule == schedules.get(name, "constant")
