"""What users see and do: templates, previews, curves, copying, canceling, and dropping files on the graph."""

from __future__ import annotations

import re
import time
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from comfy_server import ComfyServer
from playwright.sync_api import Locator, Route, expect
from queueing.workflow import templates
from support.browser_page import Page
from support.scenes import save_scene

from tools.reference import world

TEMPLATES = list(templates())
DISC = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><circle cx="12" cy="12" r="9" fill="#c33"/></svg>'


@pytest.fixture
def heart(page: Page, tmp_path: Path) -> str:
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    return page.client.upload_image(save_scene(scene, tmp_path / "heart.png"))


def test_every_template_is_listed_and_opens(page: Page):
    page.open_template_list()
    for name in TEMPLATES:
        page.find_in_template_list(name)
    page.choose_in_template_list(TEMPLATES[0])
    page.wait_for("app.canvas.ds.scale === 0.9")  # Some pages fit templates to the window first.
    assert page.settled("app.canvas.ds.scale") == 0.9
    assert min(page.run(PLACES)["texts"]) >= LEGIBLE
    assert page.tab.get_by_text("Missing Node").count() == 0


PLACES = """(() => {
  const { scale } = app.canvas.ds;
  const drawn = (node) => {
    const box = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
    const [width, height] = box ? [box.width / scale, box.height / scale - 30] : node.size;
    return { type: node.type, left: node.pos[0], top: node.pos[1] - 30, right: node.pos[0] + width,
             bottom: node.pos[1] + height };
  };
  const groups = app.graph.groups.map(({ title, pos: [left, top], size: [width, height] }) =>
    ({ title, left, top, right: left + width, bottom: top + height }));
  const texts = [...document.querySelectorAll("textarea, .comfy-markdown p, .comfy-markdown li, .comfy-markdown-content p")]
    .filter((each) => each.offsetWidth)
    .map((each) => parseFloat(getComputedStyle(each).fontSize) * each.getBoundingClientRect().width / each.offsetWidth);
  return { nodes: app.graph.nodes.map(drawn), groups, texts };
})()"""  # noqa: E501
LEGIBLE = 8.95
"""In pixels on the screen: 9, and rounding."""
SHOWN = """app.graph.nodes.filter((node) => value.includes(node.type) && node.mode === 0).every((node) => {
  const images = [...(node.imgs ?? []), ...document.querySelectorAll(`[data-node-id="${node.id}"] img`)];
  return images.length && images.every((image) => image.complete && image.naturalWidth);
})"""
"""Whether nodes of some types show their images."""
LAID_OUT_LATER = {"DSLoadSVG"}
"""Its height depends on when the page has loaded the drawing."""


LACKING = {"train_corrective"}
"""Templates without what their notes name: a folder of photos."""
FEW: dict[str, dict] = {
    "DSDistillationSampler": {"steps": 2},
    "DSManifoldCorrectiveLoad": {"name": "dreamsampler_reference_corrective.safetensors"},
    "DSOverlayIllusion": {"steps": 2, "size": 96},
    "DSProximalDreamSampler": {"steps": 3},
    "DSSVGOptimizer": {"fit_steps": 2},
    "DSSplatOptimizer": {"splats": 200, "fit_steps": 2, "render_size": 96, "frames": 2},
    "EmptyLatentImage": {"width": 96, "height": 96},
    "KSampler": {"steps": 2},
}
"""Enough to see what a run changes on the page. Steps that are 0 stay."""
FEWER_STEPS = ("DSSVGOptimizer", "DSSplatOptimizer")


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_opens_legible_and_runs_within_its_groups(name: str, page: Page):
    """Without an error: the page's errors, a file that is not there among them, fail the test."""
    page.open_template(name)
    assert page.run("app.graph.nodes.every((node) => node.type in LiteGraph.registered_node_types)")
    page.wait_for(SHOWN, ["LoadImage"])
    seen = page.settled(PLACES)
    page.screenshot(name)
    assert page.tab.get_by_text("Missing Node").count() == 0
    assert seen["texts"] and min(seen["texts"]) >= LEGIBLE
    assert_in_place(seen)
    if name in LACKING:
        return
    page.use_small_model()
    for kind, widgets in FEW.items():
        page.set(kind, **widgets)
    for kind in FEWER_STEPS:
        page.run(f"app.graph.nodes.filter((node) => node.type === '{kind}').forEach({FEWER})")
    assert page.run_to_end() == "success"
    page.wait_for(SHOWN, ["LoadImage", "PreviewImage", "SaveImage"])
    seen = page.settled(PLACES)
    page.screenshot(f"{name}_after")
    assert_in_place(seen)


FEWER = """(node) => {
  const steps = node.widgets.find((widget) => widget.name === "steps");
  steps.value = Math.min(steps.value, 2);
}"""


def assert_in_place(seen: dict) -> None:
    """Every node is in one group and crosses no other; notes are in none."""
    for node in seen["nodes"]:
        within = [group for group in seen["groups"] if is_within(node, group)]
        others = [other for other in seen["nodes"] if other is not node and crosses(node, other)]
        if node["type"] in LAID_OUT_LATER:
            continue
        assert len(within) == (node["type"] != "MarkdownNote"), (node, seen["groups"])
        assert not others, (node, others)
    assert not [pair for pair in combinations(seen["groups"], 2) if crosses(*pair)]


def is_within(node: dict, group: dict) -> bool:
    return (
        group["left"] <= node["left"]
        and group["top"] <= node["top"]
        and node["right"] <= group["right"] + 1
        and node["bottom"] <= group["bottom"] + 1
    )


def crosses(one: dict, other: dict) -> bool:
    across = min(one["right"], other["right"]) - max(one["left"], other["left"])
    return across > 1 and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1


def test_svg_is_edited_previewed_copied_and_saved(page: Page, red_square: str):
    page.open_svg_edit(red_square, steps=8)
    page.queue()
    optimizer = page.tab.locator(".ds-panel[data-node-type=DSSVGOptimizer]", has=page.tab.get_by_text("Copy"))
    page.expect_step(8)
    page.show("DSSVGOptimizer")
    expect(optimizer).to_be_visible()
    preview = optimizer.locator("img[src^=blob]")
    preview.wait_for()
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.tab.locator(".ds-plot polyline").count() == 3
    page.screenshot("edited_drawing")

    optimizer.get_by_text("Copy").click()
    expect(optimizer.get_by_text("Copied")).to_be_visible()
    copied = page.run("navigator.clipboard.readText()")
    with page.tab.expect_download() as download:
        optimizer.get_by_text("Save").click()
    saved = Path(str(download.value.path())).read_text("utf-8")
    assert (
        copied == saved and saved.startswith(("<svg", "<?xml")) and download.value.suggested_filename.endswith(".svg")
    )


def test_drawing_is_zoomed_and_reset(page: Page, red_square: str):
    page.open_template("svg_edit")
    page.set("DSLoadSVG", file=red_square)
    page.show("DSLoadSVG")
    panel, drawing = page.panels("DSLoadSVG"), page.drawing("DSLoadSVG")
    stage = panel.locator(".ds-stage")
    expect(panel.locator(".ds-bar span")).to_have_text("0.2 kB")

    def width() -> float:
        return drawing.evaluate("image => image.getBoundingClientRect().width")

    def turn_wheel(down: float, right: float = 0) -> None:
        stage.hover()
        page.tab.keyboard.down("Control")
        page.tab.mouse.wheel(right, down)
        page.tab.keyboard.up("Control")

    whole, graph = width(), page.run("app.canvas.ds.scale")
    for _ in range(2):
        turn_wheel(-100)
    expect(drawing).to_have_attribute("style", re.compile("width: 149[.]"))
    assert width() == pytest.approx(1.49 * whole, rel=0.01)
    turn_wheel(0, right=100)
    turn_wheel(100)
    expect(drawing).to_have_attribute("style", re.compile("width: 122[.]"))
    for _ in range(5):  # a pinch
        turn_wheel(-2)
    expect(drawing).to_have_attribute("style", re.compile("width: 124[.]"))
    assert page.run("app.canvas.ds.scale") == graph
    stage.dblclick()
    expect(drawing).to_have_attribute("style", re.compile("width: 100%"))
    assert width() == pytest.approx(whole)
    panel.get_by_text("+", exact=True).click()
    assert width() == pytest.approx(1.5 * whole, rel=0.01)
    panel.get_by_text("−", exact=True).click()
    assert width() == pytest.approx(whole, rel=0.01)


def chosen_drawing(page: Page, file: str) -> tuple[Locator, Locator]:
    """The panel of Load SVG, once it shows a file of 0.2 kB, and its caption."""
    page.open_template("svg_edit")
    page.set("DSLoadSVG", file=file)
    page.show("DSLoadSVG")
    panel = page.panels("DSLoadSVG")
    caption = panel.locator(".ds-bar span")
    expect(caption).to_have_text("0.2 kB")
    return panel, caption


def test_caption_returns_after_copying(page: Page, red_square: str):
    panel, caption = chosen_drawing(page, red_square)
    for _ in range(2):
        panel.get_by_text("Copy", exact=True).click()
        expect(caption).to_have_text("Copied")
    expect(caption).to_have_text("0.2 kB")


def test_a_browser_that_does_not_copy_is_reported(page: Page, red_square: str):
    panel, caption = chosen_drawing(page, red_square)
    expect(caption).to_have_role("status")
    # As on a page without https, in a browser that forbids scripts to copy.
    page.run(
        """(document.execCommand = () => false,
            navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed")), true)"""
    )
    try:
        panel.get_by_text("Copy", exact=True).click()
        expect(caption).to_have_text("Could not copy")
    finally:
        page.run("(delete document.execCommand, delete navigator.clipboard.writeText)")


def test_drawing_of_a_stopped_server_is_reported(page: Page, red_square: str):
    page.open_template("svg_edit")
    caption = page.panels("DSLoadSVG").locator(".ds-bar span")
    expect(caption).to_contain_text("kB")
    page.tab.route("**/view?*", lambda route: route.abort())
    try:
        page.set("DSLoadSVG", file=red_square)
        expect(caption).to_have_text("The server does not answer.")
        expect(page.drawing("DSLoadSVG")).to_have_count(0)  # nor is another one copied or saved
    finally:
        page.tab.unroute("**/view?*")


def test_a_chosen_file_that_is_gone_is_reported(page: Page):
    page.open_template("svg_edit")
    caption = page.panels("DSLoadSVG").locator(".ds-bar span")
    expect(caption).to_contain_text("kB")
    page.set("DSLoadSVG", file="gone.svg")
    expect(caption).to_have_text("gone.svg is not in the input folder any more. Choose another file.")
    expect(page.drawing("DSLoadSVG")).to_have_count(0)


def test_a_drawing_is_saved_under_its_own_name_while_another_is_fetched(page: Page, red_square: str):
    panel, _ = chosen_drawing(page, red_square)
    waiting: list[Route] = []
    page.tab.route("**/view?*", lambda route: waiting.append(route))
    try:
        with page.tab.expect_request("**/view?filename=another.svg*"):
            page.set("DSLoadSVG", file="another.svg")
        with page.tab.expect_download() as download:
            panel.get_by_text("Save").click()
        assert download.value.suggested_filename == red_square
        assert "#e33" in Path(str(download.value.path())).read_text("utf-8")
    finally:
        page.tab.unroute("**/view?*")  # now they are answered
    expect(panel.locator(".ds-bar span")).to_contain_text("another.svg is not in the input folder")


def test_copies_that_enter_no_graph_leave_nothing_behind(page: Page, red_square: str):
    page.open_template("svg_edit")
    page.set("DSLoadSVG", file=red_square)
    expect(page.panels("DSLoadSVG").locator(".ds-bar span")).to_have_text("0.2 kB")
    requests: list[str] = []
    page.tab.on("request", lambda request: requests.append(request.url))
    count = """
        ((api) => {
           const { addEventListener, removeEventListener } = api;
           window.listeners = 0;
           const counted = (change, by) => function (name, ...rest) {
             if (name === "execution_start") window.listeners += by;
             return change.call(this, name, ...rest);
           };
           api.addEventListener = counted(addEventListener, 1);
           api.removeEventListener = counted(removeEventListener, -1);
         })(window.comfyAPI.api.api)
    """
    page.run(count)
    try:
        page.run("(app.canvas.selectItems(app.graph.nodes.filter((each) => each.type.startsWith('DS'))), true)")
        for _ in range(5):
            page.run("(app.canvas.copyToClipboard(), true)")
        page.settled("window.listeners")
        assert page.run("window.listeners") == 0
        assert not [url for url in requests if "/view?filename=" in url]  # the page's own requests begin otherwise
        page.run("(app.canvas.pasteFromClipboard(), true)")
        expect(page.drawing("DSLoadSVG")).to_have_count(2)
        assert page.run("window.listeners") > 0
        page.run("(app.graph.clear(), true)")
        assert page.run("window.listeners") < 0  # those of the template's own nodes are gone, too
    finally:
        page.run("((api) => delete api.addEventListener && delete api.removeEventListener)(window.comfyAPI.api.api)")


SVG_TEMPLATES: dict[str, dict] = {
    "text_to_svg": {"steps": 2, "fit_steps": 2, "paths": 8, "canvas_size": 96},
    "restore_svg": {"steps": 2, "fit_steps": 2, "paths": 8, "canvas_size": 96},
    "vectorise": {"fit_steps": 2, "paths": 8},
}


@pytest.mark.parametrize("template", SVG_TEMPLATES)
def test_svg_template_shows_its_result(template: str, page: Page, heart: str):
    page.open_template(template)
    page.use_small_model()
    page.set("LoadImage", image=heart)
    page.set("EmptyLatentImage", width=96, height=96)
    page.set("DSSVGOptimizer", **SVG_TEMPLATES[template])
    page.set("DSProximalDreamSampler", steps=2)
    page.queue()
    drawn = page.drawing("DSSVGOptimizer")
    drawn.wait_for(state="attached")
    assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.show("DSSVGOptimizer")
    page.screenshot(template)


def test_curve_grows_during_distillation(page: Page):
    page.open_template("distil_text_to_image")
    page.use_small_model()
    page.set("EmptyLatentImage", width=96, height=96)
    page.set("DSDistillationSampler", steps=60)
    caption = page.panels("DSDistillationSampler").locator(".ds-bar span")
    caption.evaluate(
        """(caption) => {
             window.captions = [];
             const plotted = () => document.querySelectorAll(".ds-plot polyline").length;
             const note = () => window.captions.push([caption.textContent, plotted()]);
             new MutationObserver(note).observe(caption, { childList: true, characterData: true, subtree: true });
           }"""
    )
    page.queue()
    expect(caption).to_contain_text("step 60 of 60", timeout=180_000)
    seen = [(int(text.split("step ")[1].split()[0]), plotted) for text, plotted in page.run("window.captions")]
    steps = [step for step, _ in seen]
    assert steps == sorted(steps) and len(set(steps)) > 2 and steps[-1] == 60
    assert all(plotted for _, plotted in seen[1:])
    page.show("DSDistillationSampler")
    page.screenshot("curve")


def test_training_loss_is_plotted(page: Page, server: ComfyServer):
    rng, folder = Random(5), server.workdir / "input" / "few"
    folder.mkdir(exist_ok=True)
    for number in range(3):
        save_scene(world.sample_scene(rng, clean=True), folder / f"{number}.png")
    page.open_template("train_corrective")
    page.use_small_model()
    page.set("LoadImageDataSetFromFolder", folder="few")
    settings = {"kind": "network", "steps": 30, "batch_size": 2, "patch_size": 96, "width": 4}
    page.set("DSManifoldCorrectiveTrain", **settings, seed=Random().getrandbits(32))
    page.queue()
    panel = page.panels("DSManifoldCorrectiveTrain")
    expect(panel.locator(".ds-bar span")).to_contain_text("of 30", timeout=180_000)
    expect(panel.locator(".ds-bar span")).to_contain_text("training, step 30 of 30", timeout=180_000)
    page.show("DSManifoldCorrectiveTrain")
    drawn = panel.locator(".ds-plot:visible")
    expect(drawn).to_have_count(1)
    expect(drawn).to_contain_text("loss")
    assert len((drawn.locator("polyline").get_attribute("points") or "").split()) == 30
    page.screenshot("training")


def test_canceled_run_can_be_restarted(page: Page, red_square: str):
    page.open_svg_edit(red_square, steps=100_000)
    page.queue()
    expect(page.tab.get_by_text("of 100000")).to_be_attached(timeout=180_000)
    page.tab.get_by_role("button", name="Cancel current run").first.click()
    began = time.monotonic()
    while page.tab.request.get(f"{page.client.url}/queue").json()["queue_running"]:
        assert time.monotonic() - began < 60, "The canceled run goes on."
        page.tab.wait_for_timeout(100)
    page.set("DSSVGOptimizer", steps=3)
    page.queue()
    page.expect_step(3)


def test_dropping_a_saved_image_restores_its_graph(page: Page, heart: str):
    page.open_template("edit")
    page.use_small_model()
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


def test_dropped_drawings_are_loaded(page: Page):
    page.drop("a disc.SVG", DISC.encode())
    page.tab.wait_for_function("() => window.app.graph.nodes[0]?.widgets?.[0].value === 'a disc.SVG'")
    assert page.run("app.graph.nodes.map((node) => node.type)") == ["DSLoadSVG"]
    page.drawing("DSLoadSVG").wait_for()


def test_a_drawing_dropped_on_a_node_is_loaded_by_that_node(page: Page):
    page.run(
        """((node) => {
             const { ds, canvas } = app.canvas, page = canvas.getBoundingClientRect();
             const middle = [window.innerWidth / 2 - page.x, window.innerHeight / 2 - page.y];
             node.pos = middle.map((at, axis) => at / ds.scale - ds.offset[axis] - 30);
             app.graph.add(node);
           })(LiteGraph.createNode("DSLoadSVG"))"""
    )
    page.wait_for("!window.LiteGraph.vueNodesMode || document.querySelector('[data-node-id]')")
    page.settled(PLACES)
    page.drop("another disc.svg", DISC.encode())
    page.tab.wait_for_function("() => window.app.graph.nodes[0].widgets[0].value === 'another disc.svg'")
    assert page.run("app.graph.nodes.length") == 1


def test_dropping_a_saved_drawing_restores_its_graph(page: Page):
    page.open_template("vectorise")
    kinds = page.run("app.graph.nodes.map((node) => node.type).sort()")
    workflow = page.run("JSON.stringify({ workflow: app.graph.serialize() })")  # in Python, undefined would be null
    page.run("app.graph.clear()")
    saved = DISC.replace("<circle", f"<metadata><![CDATA[{workflow}]]></metadata><circle")
    page.drop("traced.svg", saved.encode())
    page.tab.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(kinds))
    assert page.run("app.graph.nodes.map((node) => node.type).sort()") == kinds


def test_regions_can_be_added_and_removed(page: Page):
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


def test_results_are_shown_inside_a_subgraph(page: Page, red_square: str):
    page.open_svg_edit(red_square, steps=3)
    page.run("app.canvas.select(app.graph.nodes.find((node) => node.type === 'DSSVGOptimizer'))")
    page.run("app.extensionManager.command.execute('Comfy.Graph.ConvertToSubgraph')")
    page.queue()
    page.tab.wait_for_function("() => Object.values(window.app.nodeOutputs).some((each) => each.distillation)")
    curve = page.tab.get_by_text("pds, step 3 of 3")

    def open_subgraph() -> None:
        page.tab.wait_for_function("() => window.app.rootGraph.nodes.some((each) => each.subgraph)")
        instance = "app.rootGraph.nodes.find((each) => each.subgraph)"
        page.run(f"((node) => app.canvas.openSubgraph(node.subgraph, node))({instance})")
        page.show("DSSVGOptimizer")
        expect(curve).to_be_visible()

    open_subgraph()
    page.screenshot("subgraph")
    # After switching to another workflow tab and back, the page keys outputs by execution id.
    page.run("((window.kept = structuredClone(app.nodeOutputs)), true)")
    page.run("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.tab.wait_for_function("() => !window.app.rootGraph.nodes.some((each) => each.subgraph)")
    expect(curve).to_have_count(0)
    page.run("app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    open_subgraph()
    # When a job is loaded from the queue, the page keys outputs by the ids of subgraphs.
    assert page.run("Object.keys(window.kept).some((key) => app.rootGraph.subgraphs.has(key.split(':')[0]))")
    page.run("app.loadGraphData(JSON.parse(JSON.stringify(app.rootGraph.serialize())))")
    expect(curve).to_have_count(0)
    page.run("((app.nodeOutputs = window.kept), true)")
    open_subgraph()


@pytest.mark.parametrize("renderer", ["canvas"], indirect=True)  # both show the same help
def test_node_help_shows_its_image(page: Page):
    page.open_template("edit")
    page.show("DSProximalDreamSampler")
    sampler = "app.graph.nodes.filter((node) => node.type === 'DSProximalDreamSampler')"
    page.run(f"(app.canvas.selectItems({sampler}), true)")
    page.tab.get_by_test_id("info-button").click()
    image = page.tab.locator(".node-help-content img").first
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.screenshot("help")
    page.errors[:] = [
        error for error in page.errors if not error.endswith("/en.md")
    ]  # the page tries a localized file first


def load_chinese_texts(page: Page) -> None:
    """Frontends before 1.36 drop a pack's texts if the language loads after them. Newer ones merge them."""
    page.run(
        """(async () => {
             const page = document.querySelector("#vue-app").__vue_app__;
             const { global } = page._context.provides[page.__VUE_I18N_SYMBOL__];
             global.mergeLocaleMessage("zh", (await (await fetch("/i18n")).json()).zh);
           })()"""
    )


chinese = pytest.mark.parametrize("language", ["zh"], indirect=True)


@chinese
@pytest.mark.parametrize("renderer", ["canvas"], indirect=True)  # both show the same texts
def test_panel_uses_the_page_language(page: Page, red_square: str):
    load_chinese_texts(page)
    page.open_svg_edit(red_square, steps=3)
    page.queue()
    expect(page.tab.get_by_text("pds，第 3 步，共 3 步")).to_be_attached(timeout=180_000)
    page.show("DSSVGOptimizer")
    panel = page.panels("DSSVGOptimizer")
    panel.locator("img[src^=blob]").wait_for()
    panel.get_by_text("复制", exact=True).click()
    expect(panel.get_by_text("已复制")).to_be_visible()
    page.screenshot("chinese")


@chinese
def test_regions_are_named_in_the_page_language(page: Page):
    load_chinese_texts(page)
    page.open_template("inpaint_two_texts")
    page.show("DSMaskLocalizedGuidance")
    node = "app.graph.nodes.find((each) => each.type === 'DSMaskLocalizedGuidance')"
    named = f"{node}.inputs.filter((each) => /_[0-9]$/.test(each.name)).map((each) => each.localized_name)"
    regions = [f"{each} {number}" for number in range(1, 5) for each in ("掩码", "条件")]
    assert sorted(page.run(named)) == sorted(regions)
    for _ in range(3):
        page.tab.get_by_text("− 区域").click()
    assert sorted(page.run(named)) == sorted(regions[:2])
    for _ in range(3):
        page.tab.get_by_text("+ 区域").click()
    page.screenshot("regions_in_chinese")
    assert sorted(page.run(named)) == sorted(regions)
