"""Undo, redo and tabs: the view stays where the user left it, and nodes keep what they show of the last run."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from support.browser_page import Page, node_of

VIEW = "[app.canvas.ds.scale, ...app.canvas.ds.offset]"
PANNED = [0.55, -210, 130]
CHANGES = "app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"


def open_and_pan(page: Page, template: str) -> None:
    page.open_template(template)
    page.settled(VIEW)  # once the page has fitted the workflow
    page.run("([app.canvas.ds.scale, app.canvas.ds.offset[0], app.canvas.ds.offset[1]] = value)", PANNED)


def change(page: Page, node_type: str, **widgets: Any) -> None:
    """Change widgets as one step that can be undone."""
    click(page)
    before = page.run(CHANGES)
    page.set(node_type, **widgets)
    click(page)
    page.wait_for(f"{CHANGES} > value", before)


def click(page: Page) -> None:
    """Release the mouse: the page then looks for changes."""
    page.run("window.dispatchEvent(new MouseEvent('mouseup'))")
    page.settled(CHANGES)


def command(page: Page, name: str) -> None:
    page.run(f"app.extensionManager.command.execute('{name}')")
    page.settled(VIEW)


def value(page: Page, node_type: str, widget: str) -> Any:
    return page.run(f"{node_of(node_type)}.widgets.find((each) => each.name === '{widget}').value")


def test_undo_and_redo_keep_the_view(page: Page):
    open_and_pan(page, "edit")
    before = value(page, "DSProximalDreamSampler", "steps")
    change(page, "DSProximalDreamSampler", steps=7)
    command(page, "Comfy.Undo")
    assert value(page, "DSProximalDreamSampler", "steps") == before != 7
    assert page.run(VIEW) == pytest.approx(PANNED)
    command(page, "Comfy.Redo")
    assert value(page, "DSProximalDreamSampler", "steps") == 7
    assert page.run(VIEW) == pytest.approx(PANNED)


def test_another_tab_and_back_keeps_the_view(page: Page):
    open_and_pan(page, "edit")
    command(page, "Comfy.NewBlankWorkflow")
    page.tab.wait_for_function("() => window.app.graph.nodes.length === 0")
    command(page, "Workspace.PreviousOpenedWorkflow")
    page.tab.wait_for_function("() => window.app.graph.nodes.length > 0")
    assert page.settled(VIEW) == pytest.approx(PANNED)


def test_an_opened_template_is_no_template_any_more(page: Page):
    page.open_template("edit")
    saved = [page.run("app.graph.serialize()"), page.run("app.graphToPrompt()")["workflow"]]
    assert [each["extra"].get("dreamsampler") for each in saved] == [None, None]


def shows_the_run(page: Page) -> None:
    expect(page.drawing("DSSVGOptimizer")).to_be_attached()
    for text in ("pds, step 3 of 3", "Used: "):
        expect(page.panels("DSSVGOptimizer").get_by_text(text)).to_be_attached()
    expect(page.drawing("DSLoadSVG")).to_be_attached()


def undo_a_change(page: Page) -> None:
    """Change a widget and undo it. The page then shows new nodes."""
    change(page, "DSSVGOptimizer", fit_steps=5)
    shown = page.drawing("DSSVGOptimizer").get_attribute("src") or ""
    command(page, "Comfy.Undo")
    assert value(page, "DSSVGOptimizer", "fit_steps") != 5
    expect(page.drawing("DSSVGOptimizer")).not_to_have_attribute("src", shown)


def test_undo_keeps_what_nodes_show_of_the_last_run(page: Page, red_square: str):
    page.run_svg_edit(red_square)
    shows_the_run(page)
    undo_a_change(page)
    shows_the_run(page)
    click(page)
    command(page, "Comfy.Redo")
    assert value(page, "DSSVGOptimizer", "fit_steps") == 5
    shows_the_run(page)
    page.set("DSSVGOptimizer", steps=4)
    page.queue()
    page.expect_step(4)


def test_undo_keeps_what_nodes_show_of_a_job_from_the_queue(page: Page, red_square: str):
    page.run_svg_edit(red_square)
    shows_the_run(page)
    page.run("((window.kept = structuredClone(app.nodeOutputs)), true)")
    page.run("app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())))")
    page.run("((app.nodeOutputs = window.kept), true)")
    shows_the_run(page)
    undo_a_change(page)
    shows_the_run(page)


def test_regions_are_undone_without_the_change_before(page: Page):
    page.open_template("inpaint_two_texts")
    change(page, "DSMaskLocalizedGuidance", feather=3)
    inputs = f"{node_of('DSMaskLocalizedGuidance')}.inputs.length"
    for button, more in (("− region", -2), ("+ region", 2)):
        before = page.run(inputs)
        page.show("DSMaskLocalizedGuidance")
        page.tab.get_by_text(button).click()
        assert page.run(inputs) == before + more
        command(page, "Comfy.Undo")
        assert (page.run(inputs), value(page, "DSMaskLocalizedGuidance", "feather")) == (before, 3)
        command(page, "Comfy.Redo")
        assert (page.run(inputs), value(page, "DSMaskLocalizedGuidance", "feather")) == (before + more, 3)


def test_buttons_act_on_the_node_after_undo(page: Page):
    page.open_template("inpaint_two_texts")
    change(page, "DSMaskLocalizedGuidance", feather=3)
    command(page, "Comfy.Undo")
    page.show("DSMaskLocalizedGuidance")
    inputs = f"{node_of('DSMaskLocalizedGuidance')}.inputs.length"
    before = page.run(inputs)
    page.tab.get_by_text("− region").click()
    assert page.run(inputs) == before - 2
