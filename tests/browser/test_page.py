"""What users see and do: templates, previews, curves, copies, cancelling, and graphs that come back from pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser_page import Page
from devhost import CHECKOUT
from PIL import Image
from playwright.sync_api import expect

from tools.reference import world

TEMPLATES = sorted(path.stem for path in (CHECKOUT / "workflows").glob("*.json"))
CHECKPOINT = "dreamsampler_reference.safetensors"


def use_small_model(page: Page) -> None:
    page.set("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)


def open_svg_edit(page: Page, drawing: str, steps: int) -> None:
    page.open_template("svg_edit")
    use_small_model(page)
    page.set("DSLoadSVG", file=drawing)
    page.set("DSSVGOptimizer", steps=steps, canvas_size=96)


@pytest.fixture
def heart(page: Page, tmp_path: Path) -> str:
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    path = tmp_path / "heart.png"
    Image.fromarray((world.render(scene) * 255).astype(np.uint8)).save(path)
    return page.client.upload_image(path)


def test_every_template_opens_from_the_list(page: Page):
    for name in TEMPLATES:
        page.open_template(name)
        known = page.run("app.graph.nodes.every((node) => node.type in LiteGraph.registered_node_types)")
        assert known, name
        page.run("app.canvas.fitViewToSelectionAnimated?.()")
        page.picture(name)
    assert page.tab.get_by_text("Missing Node").count() == 0


def test_a_drawing_is_edited_seen_copied_and_kept(page: Page, red_square: str):
    open_svg_edit(page, red_square, steps=40)
    page.queue()
    optimizer = page.tab.locator(".ds-panel[data-node-type=DSSVGOptimizer]", has=page.tab.get_by_text("Copy"))
    expect(page.tab.get_by_text("pds, step 40 of 40")).to_be_attached(timeout=180_000)
    page.show("DSSVGOptimizer")
    expect(optimizer).to_be_visible()
    shown = optimizer.locator("img[src^=blob]")
    shown.wait_for()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.tab.locator(".ds-plot polyline").count() == 3
    page.picture("edited_drawing")

    optimizer.get_by_text("Copy").click()
    expect(optimizer.get_by_text("Copied")).to_be_visible()
    copied = page.run("navigator.clipboard.readText()")
    with page.tab.expect_download() as download:
        optimizer.get_by_text("Save").click()
    saved = Path(str(download.value.path())).read_text("utf-8")
    assert (
        copied == saved and saved.startswith(("<svg", "<?xml")) and download.value.suggested_filename.endswith(".svg")
    )

    before = shown.bounding_box()
    optimizer.get_by_text("+", exact=True).click()
    after = shown.bounding_box()
    assert before and after and after["width"] > 1.3 * before["width"]


def test_the_curve_grows_while_a_picture_is_made(page: Page):
    page.open_template("distil_text_to_image")
    use_small_model(page)
    page.set("EmptyLatentImage", width=96, height=96)
    page.set("DSDistillationSampler", steps=120)
    page.queue()
    caption = page.tab.locator(".ds-panel[data-node-type=DSDistillationSampler] .ds-bar span")
    expect(caption).to_contain_text("of 120", timeout=180_000)
    assert "step 120 of" not in (caption.text_content() or "")
    page.tab.locator(".ds-plot polyline").first.wait_for(state="attached")
    expect(caption).to_contain_text("step 120 of 120", timeout=180_000)
    page.show("DSDistillationSampler")
    page.picture("curve")


def test_cancelling_is_a_normal_event(page: Page, red_square: str):
    open_svg_edit(page, red_square, steps=100_000)
    page.queue()
    expect(page.tab.get_by_text("of 100000")).to_be_attached(timeout=180_000)
    page.tab.get_by_role("button", name="Cancel current run").first.click()
    page.tab.wait_for_function("async () => (await (await fetch('/queue')).json()).queue_running.length === 0")
    page.set("DSSVGOptimizer", steps=3)
    page.queue()
    expect(page.tab.get_by_text("pds, step 3 of 3")).to_be_attached(timeout=180_000)


def test_a_picture_brings_its_graph_back(page: Page, heart: str):
    page.open_template("edit")
    use_small_model(page)
    page.set("LoadImage", image=heart)
    page.set("DSProximalDreamSampler", steps=4, seed=77)
    page.queue()
    find = "Object.values(app.nodeOutputs).map((each) => each.images?.[0]).find((each) => each?.type === 'output')"
    page.tab.wait_for_function(f"() => {{ const app = window.app; return {find} }}")
    file = page.run(find)
    content = page.tab.request.get(f"{page.client.url}/view", params=file).body()
    kinds = page.run("app.graph.nodes.map((node) => node.type).sort()")
    page.run("app.graph.clear()")
    page.drop("edited.png", content)
    page.tab.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(kinds))
    assert page.run("app.graph.nodes.map((node) => node.type).sort()") == kinds
    sampler = "app.graph.nodes.find((node) => node.type === 'DSProximalDreamSampler')"
    assert page.run(f"{sampler}.widgets.find((widget) => widget.name === 'seed').value") == 77


def test_regions_come_and_go(page: Page):
    page.open_template("inpaint_two_texts")
    page.show("DSMaskLocalizedGuidance")
    inputs = "app.graph.nodes.find((node) => node.type === 'DSMaskLocalizedGuidance').inputs.map((each) => each.name)"
    regions = f"{inputs}.filter((name) => name.startsWith('mask_')).length"
    count = page.run(regions)
    page.tab.get_by_text("− region").click()
    assert page.run(regions) == count - 1
    for _ in range(5):
        page.tab.get_by_text("+ region").click()
    assert page.run(regions) == 4 and page.run(f"{inputs}.includes('conditioning_4')")


def test_in_a_subgraph_drawings_and_curves_are_shown_too(page: Page, red_square: str):
    open_svg_edit(page, red_square, steps=3)
    page.run("app.canvas.select(app.graph.nodes.find((node) => node.type === 'DSSVGOptimizer'))")
    page.run("app.extensionManager.command.execute('Comfy.Graph.ConvertToSubgraph')")
    page.queue()
    page.tab.wait_for_function("() => Object.values(window.app.nodeOutputs).some((each) => each.distillation)")
    page.run("((node) => app.canvas.openSubgraph(node.subgraph, node))(app.graph.nodes.find((each) => each.subgraph))")
    page.show("DSSVGOptimizer")
    expect(page.tab.get_by_text("pds, step 3 of 3")).to_be_visible()
    page.picture("subgraph")
