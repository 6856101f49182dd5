"""`tools/queue.py` converts workflow files to the same prompts as the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from comfy_client import Prompt
from queueing.workflow import texts_of, to_api
from support.browser_page import Page
from support.saved_graphs import CASES

pytestmark = pytest.mark.parametrize("renderer", ["canvas"], indirect=True)  # both make the same prompts
INSTANCES = "app.graph.nodes.filter((node) => node.subgraph)"


def assert_same_prompt(page: Page, *files: dict[str, Any]) -> Prompt:
    """The prompt of the page. Asserts that its saved workflow and ``files`` convert to the same one."""
    both, info = page.run("app.graphToPrompt()"), page.client.object_info()
    for saved in (both["workflow"], *files):
        sent = texts_of(saved, info).filled_in(to_api(saved, info), "any", datetime.now())
        assert comparable(sent) == comparable(both["output"])
    return both["output"]


def comparable(prompt: Prompt) -> dict[str, Any]:
    """The prompt without the node metadata that newer pages add."""
    return {node_id: (node["class_type"], node["_meta"]["title"], node["inputs"]) for node_id, node in prompt.items()}


def select(page: Page, nodes: str) -> None:
    page.run("(app.canvas.deselectAll(), true)")
    page.run(f"(app.canvas.selectItems({nodes}), true)")


def command(page: Page, name: str) -> None:
    page.run(f"app.extensionManager.command.execute('{name}')")


def inner_nodes_have_promoted_values(page: Page) -> bool:
    """Whether the value of a subgraph's widget is also that of the inner node. Newer pages keep it in the subgraph.

    There, wildcards are not filled in, and `%node.widget%` names the unused value of the inner node.
    """
    page.run("app.loadGraphData(value)", CASES["promoted"]())
    return page.run(
        f"""(() => {{
              const [{{ widgets: [widget], subgraph }}] = {INSTANCES};
              widget.value = 7;
              return subgraph.nodes.some((node) => node.widgets?.some((each) => each.value === 7));
            }})()"""
    )


@pytest.mark.parametrize("name", CASES)
def test_shared_workflows_convert_like_the_page(name: str, page: Page):
    if name in ("wildcards", "file_names") and not inner_nodes_have_promoted_values(page):
        pytest.skip("This page does not fill in texts of widgets in subgraphs, as tools/queue.py does.")
    saved = CASES[name]()
    page.run("app.loadGraphData(value)", saved)
    assert_same_prompt(page, saved)


def test_nested_subgraphs_convert_like_the_page(page: Page):
    """Puts two prompts into a subgraph, this and the sampler into another one, then bypasses a copy of that."""
    page.open_template("edit")
    nodes = len(assert_same_prompt(page))
    select(page, "app.graph.nodes.filter((node) => node.type === 'CLIPTextEncode')")
    command(page, "Comfy.Graph.ConvertToSubgraph")
    select(page, f"[...{INSTANCES}, ...app.graph.nodes.filter((node) => node.type === 'DSProximalDreamSampler')]")
    command(page, "Comfy.Graph.ConvertToSubgraph")
    prompt = assert_same_prompt(page)
    assert len(prompt) == nodes
    assert sorted(node_id.count(":") for node_id in prompt)[-3:] == [1, 2, 2]

    page.run("(app.canvas.copyToClipboard(), app.canvas.pasteFromClipboard(), true)")
    assert len(assert_same_prompt(page)) == nodes + 3
    command(page, "Comfy.Canvas.ToggleSelectedNodes.Bypass")
    assert 4 in page.run(f"{INSTANCES}.map((node) => node.mode)")
    assert_same_prompt(page)
