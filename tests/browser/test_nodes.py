"""How nodes look: one drawing, everything inside the node and its group, and legible plots, notes and numbers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from support.browser_page import Page, node_of
from support.scenes import save_scene

from tools.reference import world

BOXES = """[...document.querySelectorAll(".ds-panel, .ds-notes, [data-node-id]")]
  .map((each) => [each.textContent, each.getBoundingClientRect().toJSON()])"""
"""Where panels, notes and nodes are on the screen, and what they say."""
LONGER = 8
"""How often something is looked at that the page should not show: about a second."""
EDGE = 1.0
"""How far boxes may overlap, in pixels of the screen: the browser rounds them."""


def show(page: Page, node_type: str) -> None:
    """Scroll to a node, and wait until all that is on it has moved along."""
    page.show(node_type)
    page.settled(BOXES)


def on_screen(page: Page, node_type: str) -> dict[str, float]:
    """The box of a node on the screen."""
    return page.run(
        f"""(({{ id, pos, size }}) => {{
              const drawn = document.querySelector(`[data-node-id="${{id}}"]`);
              if (drawn) return drawn.getBoundingClientRect().toJSON();
              const {{ scale, offset }} = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
              const [x, y] = [0, 1].map((axis) => (pos[axis] + offset[axis]) * scale);
              return {{ x: canvas.x + x, y: canvas.y + y, width: size[0] * scale, height: size[1] * scale }};
            }})({node_of(node_type)})"""
    )


def box_of(element: Locator) -> dict[str, Any]:
    """The box of an element on the screen."""
    return element.evaluate("element => element.getBoundingClientRect().toJSON()")


def contains(outer: dict[str, Any], inner: dict[str, Any]) -> bool:
    return all(
        outer[start] - EDGE <= inner[start] and inner[start] + inner[side] <= outer[start] + outer[side] + EDGE
        for start, side in (("x", "width"), ("y", "height"))
    )


def group_of(page: Page, node_type: str) -> tuple[list[float], list[float]]:
    """Box of a node, and that of the group that it starts in, in the graph: x, y, width, height."""
    return page.run(
        f"""(({{ pos, size }}) => {{
              const group = app.graph.groups.find((each) =>
                [0, 1].every((axis) => each.pos[axis] <= pos[axis] && pos[axis] <= each.pos[axis] + each.size[axis]));
              return [[...pos, ...size], [...group.pos, ...group.size]];
            }})({node_of(node_type)})"""
    )


def shown_by_the_host(page: Page, node_type: str) -> list[str]:
    """Names of what the host itself shows on a node: images, and the widget that holds them on the canvas.

    It shows them a moment after the drawing, where it shows any.
    """
    return page.settled(
        f"""((each) => [
              ...(each.imgs ?? []).map((image) => image.src),
              ...each.widgets.map((widget) => widget.name).filter((name) => name.includes("image-preview")),
              ...[...document.querySelectorAll(`[data-node-id="${{each.id}}"] img`)]
                .map((image) => image.src).filter((source) => !source.startsWith("blob:")),
            ])({node_of(node_type)})""",
        LONGER,
    )


def test_drawing_is_shown_once(page: Page, red_square: str):
    page.run_svg_edit(red_square)
    for each in ("DSLoadSVG", "DSSVGOptimizer"):
        show(page, each)
        page.screenshot(f"once_{each}")
        assert shown_by_the_host(page, each) == []


def test_chosen_drawing_is_shown_once_before_a_run(page: Page):
    page.open_template("svg_edit")
    show(page, "DSLoadSVG")
    expect(page.drawing("DSLoadSVG")).to_be_attached()
    assert shown_by_the_host(page, "DSLoadSVG") == []
    page.screenshot("chosen_drawing")


def test_panels_stay_in_node_and_group(page: Page, red_square: str):
    page.run_svg_edit(red_square)
    show(page, "DSSVGOptimizer")
    drawing = page.panels("DSSVGOptimizer").locator("visible=true").filter(has=page.tab.get_by_text("Copy"))
    drawing.get_by_text("Copy").click()
    before = on_screen(page, "DSSVGOptimizer")
    for _ in range(4):
        drawing.get_by_text("+", exact=True).click()
    page.settled(BOXES)
    page.screenshot("zoomed_drawing")
    after = on_screen(page, "DSSVGOptimizer")
    assert after["height"] == pytest.approx(before["height"], abs=EDGE)
    for panel in page.panels("DSSVGOptimizer").locator("visible=true").all():
        assert contains(after, box_of(panel))
    for each in ("DSLoadSVG", "DSSVGOptimizer"):
        (_, top, _, height), (_, group_top, _, group_height) = group_of(page, each)
        assert top + height < group_top + group_height, each


def test_plots_are_legible_and_explained(page: Page, red_square: str):
    page.run_svg_edit(red_square)
    show(page, "DSSVGOptimizer")
    plots = page.panels("DSSVGOptimizer").locator("visible=true").locator(".ds-plot:visible")
    expect(plots).to_have_count(3)
    for plot in plots.all():
        assert plot.evaluate("plot => plot.offsetHeight") >= 60
        label, curve = box_of(plot.locator("div")), box_of(plot.locator("svg"))
        assert label["x"] + label["width"] <= curve["x"] + EDGE
        assert contains(box_of(plot), curve)
    titles = [plot.get_attribute("title") or "" for plot in plots.all()]
    assert "length of the gradient" in titles[1] and "noise level" in titles[2]


def test_both_texts_of_the_descriptor_are_shown_with_whole_words(page: Page):
    page.open_template("distil_text_to_image")
    page.use_small_model()
    page.set("EmptyLatentImage", width=96, height=96)
    page.set("DSTextSourceDescriptor", text="a watercolor of a lighthouse on a rocky coast, seen from the sea")
    page.set("DSDistillationSampler", steps=3)
    page.queue()
    expect(page.tab.get_by_text("step 3 of 3")).to_be_attached(timeout=180_000)
    page.wait_for_idle_server()
    page.settled(BOXES, LONGER)  # newer pages remove the host's own texts when a prompt has ended
    show(page, "DSTextSourceDescriptor")
    text = page.note("DSTextSourceDescriptor").locator("div")
    expect(text).to_be_visible()
    expect(text).to_contain_text("Target: a watercolor")
    expect(text).to_contain_text("Source: a watercolor")
    page.screenshot("descriptor")
    broken = text.evaluate(
        """(element) => {
             const [node] = element.childNodes, range = document.createRange();
             return [...node.data.matchAll(/\\S+/g)].filter((word) => {
               range.setStart(node, word.index);
               range.setEnd(node, word.index + word[0].length);
               return range.getClientRects().length > 1;
             }).map(String);
           }"""
    )
    assert broken == []
    panel = page.note("DSTextSourceDescriptor")
    assert panel.evaluate("panel => panel.scrollHeight <= panel.clientHeight + 1")
    assert contains(on_screen(page, "DSTextSourceDescriptor"), box_of(panel))


def test_settings_of_a_run_are_shown(page: Page):
    page.open_template("distil_text_to_image")
    page.use_small_model()
    page.set("EmptyLatentImage", width=96, height=96)
    page.set("DSDistillationSampler", steps=3, guidance_scale=12)
    page.queue()
    show(page, "DSDistillationSampler")
    shown = page.note("DSDistillationSampler")
    expect(shown).to_contain_text("Used: learning rate 0.01, t 0.02 to 0.98, guidance scale 12", timeout=180_000)
    page.screenshot("used_settings")
    assert contains(on_screen(page, "DSDistillationSampler"), box_of(shown))


def test_a_note_stays_on_the_node(page: Page, tmp_path: Path):
    """An edit without a target prompt runs, and the node says what is missing. It is silent once there is one."""
    page.open_template("edit")
    page.use_small_model()
    scene = world.sample_scene(Random(3), clean=True)
    page.set("LoadImage", image=page.client.upload_image(save_scene(scene, tmp_path / "scene.png")))
    page.set("CLIPTextEncode", text="")
    page.set("DSProximalDreamSampler", steps=2)
    page.queue()
    shown = page.note("DSProximalDreamSampler")
    expect(shown).to_contain_text("maybe both empty", timeout=180_000)
    page.wait_for_idle_server()
    page.settled(BOXES, LONGER)  # newer pages remove the host's own texts when a prompt has ended
    show(page, "DSProximalDreamSampler")
    expect(shown).to_be_visible()
    assert contains(on_screen(page, "DSProximalDreamSampler"), box_of(shown))
    page.screenshot("note")
    page.run(f"((each) => {{ each.widgets[0].value = 'a blue heart' }})({node_of('CLIPTextEncode')})")
    page.queue()
    expect(shown).to_be_hidden(timeout=180_000)


def test_numbers_left_to_the_paper_say_so(page: Page):
    page.open_template("distil_text_to_image")
    page.set("DSDistillationSampler", guidance_scale=7.5)
    show(page, "DSDistillationSampler")
    sampler = node_of("DSDistillationSampler")
    numbers = ["steps", "learning_rate", "guidance_scale", "source_weight"]
    words = page.run(
        f"""((each) => value.map((name) => {{
              const at = each.widgets.findIndex((widget) => widget.name === name);
              const drawn = document.querySelector(`[data-node-id="${{each.id}}"]`);
              if (!drawn) return each.widgets[at]._displayValue;
              const rows = [...drawn.querySelectorAll(".lg-node-widget")];
              const field = rows.find((row) => row.textContent.includes(name)).querySelector("input");
              const words = getComputedStyle(field.parentElement, "::after").content;
              return words === "none" ? field.value : JSON.parse(words);
            }}))({sampler})""",
        numbers,
    )
    assert words[:2] == ["paper default", "paper default"]
    assert [float(each) for each in words[2:]] == [7.5, 0]
    page.screenshot("paper_default")
    prompt = page.run("app.graphToPrompt()")
    saved = next(each for each in prompt["output"].values() if each["class_type"] == "DSDistillationSampler")
    assert [saved["inputs"][name] for name in numbers] == [-1, -1, 7.5, 0]
    stored = next(each for each in prompt["workflow"]["nodes"] if each["type"] == "DSDistillationSampler")
    assert -1 in stored["widgets_values"] and "paper default" not in map(str, stored["widgets_values"])


def test_number_can_be_typed_over_the_words(page: Page):
    page.open_template("distil_text_to_image")
    show(page, "DSDistillationSampler")
    field = page.tab.locator(".lg-node-widget", has_text="steps").first.locator("input")
    if not field.count():
        pytest.skip("The canvas asks for numbers in a dialog of its own.")
    field.focus()
    assert field.evaluate("field => getComputedStyle(field.parentElement, '::after').content") == "none"
    field.press("ControlOrMeta+a")
    page.tab.keyboard.type("25")
    field.blur()
    value = f"{node_of('DSDistillationSampler')}.widgets.find((each) => each.name === 'steps').value"
    page.tab.wait_for_function(f"() => {{ const app = window.app; return {value} === 25 }}")


def test_side_panel_lists_no_panels(page: Page):
    page.open_template("inpaint_two_texts")
    page.run(f"(app.canvas.selectItems([{node_of('DSMaskLocalizedGuidance')}]), true)")
    side = page.tab.get_by_test_id("properties-panel")
    if not side.count():  # the page remembers whether it is open
        opener = page.tab.get_by_role("button", name="Toggle properties panel")
        if not opener.count():
            pytest.skip("This page has no side panel with parameters.")
        opener.first.click()
    expect(side).to_contain_text("feather")
    page.screenshot("side_panel")
    assert "dreamsampler_" not in side.inner_text()
