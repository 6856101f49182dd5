"""Every node has tooltips, a description and a complete, correct help page."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from comfy_api.latest import io
from dreamsampler import comfy_entrypoint
from dreamsampler.guidance.distillation.method import Config
from dreamsampler.guidance.distillation.objectives import LISTED, METHODS
from dreamsampler.nodes.checks.inputs import FIELDS
from dreamsampler.nodes.distillation_sampler import DistillationSampler

PAGES = Path(__file__).resolve().parents[2] / "js" / "docs"
IMAGE = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)")
MAX_IMAGE_SIZE, MAX_TOTAL_SIZE = 30_000, 400_000
"""In bytes, of one image and of all together. The archive contains them."""
SOURCE = re.compile(r"^## (Papers?|Source|Paper and format)$", re.MULTILINE)
HOW = "How it works"
FORMULA = re.compile(r"`[^`\n]*(=|\^|eps\()[^`\n]*`")
DEFAULTS = "all, unless listed below"


def nodes() -> list[type[io.ComfyNode]]:
    async def registered() -> list[type[io.ComfyNode]]:
        return await (await comfy_entrypoint()).get_node_list()

    return asyncio.run(registered())


every_node = pytest.mark.parametrize("node", nodes(), ids=lambda node: node.define_schema().node_id)


@every_node
def test_node_has_a_description_and_all_tooltips(node: type[io.ComfyNode]):
    schema = node.define_schema()
    assert schema.node_id.startswith("DS") and schema.category == "DreamSampler"
    assert schema.description.endswith(".")
    for part in (*schema.inputs, *schema.outputs):
        assert part.tooltip and part.tooltip.endswith("."), part


@every_node
def test_help_page_names_every_input_and_output(node: type[io.ComfyNode]):
    schema = node.define_schema()
    page = (PAGES / f"{schema.node_id}.md").read_text("utf-8")
    words = set(re.findall(r"\w+", page))
    named = {i.id for i in schema.inputs} | {o.display_name for o in schema.outputs}
    assert page.startswith(f"# {schema.display_name}\n")
    assert named <= words


def test_every_help_page_belongs_to_a_node():
    assert {page.stem for page in PAGES.glob("*.md")} == {node.define_schema().node_id for node in nodes()}


def tables(page: str) -> list[list[str]]:
    """The lines of each table of a page. A row separated from its table counts as another table."""
    found = re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE)
    return [table.splitlines() for table in found]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@every_node
def test_help_tables_are_well_formed(node: type[io.ComfyNode]):
    page = (PAGES / f"{node.define_schema().node_id}.md").read_text("utf-8")
    for table in tables(page):
        assert len(table) > 2 and re.fullmatch(r"\|(-+\|)+", table[1]), f"Not a complete table: {table[0]}"
        for row in table:
            assert row.endswith("|") and len(cells(row)) == len(cells(table[0])), row


@every_node
def test_help_tables_have_at_most_two_columns(node: type[io.ComfyNode]):
    """ComfyUI's help panel cuts off a third column at its default width."""
    page = (PAGES / f"{node.define_schema().node_id}.md").read_text("utf-8")
    assert {len(cells(row)) for table in tables(page) for row in table} <= {1, 2}


@every_node
def test_help_page_puts_steps_before_theory(node: type[io.ComfyNode]):
    """Steps and an image come before the first section; formulas and papers come last."""
    page = (PAGES / f"{node.define_schema().node_id}.md").read_text("utf-8")
    introduction = page.partition("\n## ")[0]
    assert re.search(r"^1\. ", introduction, re.MULTILINE)
    assert IMAGE.search(introduction)
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    last = [heading for heading in headings if heading == HOW or SOURCE.fullmatch(f"## {heading}")]
    assert headings[-len(last) :] == last
    assert not FORMULA.search(page[: page.index(f"\n## {last[0]}")])


@every_node
def test_help_page_is_complete(node: type[io.ComfyNode]):
    """It has every input with its useful values, a troubleshooting table, existing images and a source."""
    schema = node.define_schema()
    page = (PAGES / f"{schema.node_id}.md").read_text("utf-8")
    found = tables(page)
    rows = [row for table in found if cells(table[0])[0] == "input" for row in table[2:]]
    listed = re.findall(r"^- \*\*(.+?):\*\*", page, re.MULTILINE)
    explained = re.findall(r"\w+", " ".join([*(cells(row)[0] for row in rows), *listed]))
    assert {part.id for part in schema.inputs} <= set(explained)
    assert all(cells(table[0])[1].endswith("useful values") for table in found if cells(table[0])[0] == "input")
    assert "| what you see | what to change |\n" in page
    assert SOURCE.search(page)
    for alt, path in IMAGE.findall(page):
        # The page resolves this path relative to the help page, in /extensions/<the pack>/docs/.
        assert alt and re.fullmatch(r"pictures/\w+\.(jpg|svg)", path) and (PAGES / path).is_file(), path


def test_help_images_are_small_and_used():
    used = {path for page in PAGES.glob("*.md") for _, path in IMAGE.findall(page.read_text("utf-8"))}
    sizes = {f"pictures/{path.name}": path.stat().st_size for path in (PAGES / "pictures").iterdir()}
    assert set(sizes) == used
    assert max(sizes.values()) <= MAX_IMAGE_SIZE and sum(sizes.values()) <= MAX_TOTAL_SIZE


ABSENT = object()


def setting(config: Config, widget: str) -> Any:
    """A method's value for a widget of Distillation Sampler, or ABSENT if it has no such setting."""
    parts = [(part, name) for name in FIELDS.get(widget, (widget,)) for part in (config.own, config.loop)]
    return next((getattr(part, name) for part, name in parts if hasattr(part, name)), ABSENT)


def test_help_lists_the_methods_settings():
    listed = settings_of_methods()
    common, lmc_from_image = listed.pop(DEFAULTS), listed.pop("lmc, from an image")
    assert set(listed) == set(LISTED)
    for name, own in listed.items():
        config = METHODS[name].config()
        has = {each: setting(config, each) for each in {**common, **own}}
        assert not [each for each in own if has[each] is ABSENT], name
        for each, value in {**common, **own}.items():
            assert has[each] is ABSENT or formatted(has[each]) == value, (name, each)
    edit, changed = METHODS["lmc"].config(from_image=True), METHODS["lmc"].from_image
    assert lmc_from_image == {each: formatted(setting(edit, each)) for each in lmc_from_image}
    assert len(lmc_from_image) == len(changed)


def test_help_lists_every_setting_that_depends_on_the_method():
    configs = [METHODS[name].config() for name in LISTED]
    widgets = {part.id for part in DistillationSampler.define_schema().inputs}
    differ = {name for name in widgets if any(setting(config, name) is not ABSENT for config in configs)}
    assert differ - set(settings_of_methods()[DEFAULTS]) == {
        "guidance_scale",
        "diversity",
        "source_consistency_weight",
        "shift",
    }


def settings_of_methods() -> dict[str, dict[str, str]]:
    """The settings of each method on the help page of Distillation Sampler, from "`steps` 1000, `optimizer` adamw"."""
    page = (PAGES / "DSDistillationSampler.md").read_text("utf-8")
    section = page.partition("## Each method's own settings\n")[2].partition("\n## ")[0]
    items = re.findall(r"^- \*\*(.+):\*\* ((?:.+\n)+?)(?=- |\n)", section, re.MULTILINE)
    return {name: dict(re.findall(r"`(\w+)` ([^,]+)", " ".join(text.split()))) for name, text in items}


def formatted(value: str | float | None) -> str:
    """A setting's value as the help page writes it."""
    if value is None:
        return "as guidance_scale"
    return value if isinstance(value, str) else f"{value:g}"
