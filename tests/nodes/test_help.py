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
