"""Takes screenshots of the page of a real server: the template "edit" with its result, and a node with a drawing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path += [str(CHECKOUT / "tools"), str(CHECKOUT / "tests")]

from comfy_client import ComfyClient  # noqa: E402
from support.browser_page import Page, chromium, configure  # noqa: E402

CHECKPOINT = "dreamsampler_reference.safetensors"
PROMPT = "a blue heart"
"""For a model that knows no photographs: it names only the change."""
MARGIN = 12
"""Pixels of the page around the graph."""
LEFT, TOP = 120, 160
"""Where the graph begins: what the page shows over it ends before."""
SCALE, PIXELS = 0.9, 1.6
"""The zoom of the templates' first view, and image pixels per pixel of the page: twice the width that GitHub shows."""

RESULT_SHOWN = """() => {
  const saved = window.app.graph.nodes.find((node) => node.type === "SaveImage");
  const drawn = document.querySelector(`[data-node-id="${saved.id}"] img`);
  return drawn?.complete && drawn.naturalWidth > 0;
}"""
PLACED = """(() => {
  const { ds, graph } = app.canvas;
  const boxes = [...graph.groups, ...graph.nodes].map((each) => each.boundingRect ?? each.getBounding());
  const [left, top] = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...boxes.map((box) => box[axis] + box[2 + axis])));
  ds.scale = value.scale;
  ds.offset = [value.left / ds.scale - left, value.top / ds.scale - top];
  app.canvas.deselectAll();
  app.canvas.setDirty(true, true);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return { x: canvas.x + value.left, y: canvas.y + value.top,
           width: (right - left) * ds.scale, height: (bottom - top) * ds.scale };
})()"""
"""Moves the view to the graph. Its box on the page."""


@contextmanager
def opened(client: ComfyClient, *, nodes_2: bool, width: int, height: int, pixels: float = 1.0) -> Iterator[Page]:
    """The page of a returning user; `pixels` are those of an image per pixel of the page."""
    configure(client, nodes_2=nodes_2)
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=pixels)
        yield Page(tab, client, "gallery")


def loaded_drawing(client: ComfyClient, file: str) -> Image.Image:
    """The node Load SVG with a file of the input folder chosen."""
    with opened(client, nodes_2=False, width=900, height=700) as page:
        page.start_over()
        page.run("app.graph.add(LiteGraph.createNode('DSLoadSVG'))")
        page.set("DSLoadSVG", file=file)
        page.tab.locator(".ds-panel[data-node-type=DSLoadSVG] img[src^=blob]").wait_for()
        return graph_alone(page, scale=1.0, margin=2).convert("RGB")


def graph_alone(page: Page, *, scale: float, margin: int) -> Image.Image:
    """The graph at a zoom, with `margin` pixels of the page around it."""
    box = page.run(PLACED, {"scale": scale, "left": LEFT, "top": TOP})
    page.tab.mouse.move(box["x"] - 2 * margin, box["y"] + box["height"])  # beside it: a node would light up
    page.tab.wait_for_timeout(2000)  # until nodes that grew are drawn
    place = {name: box[name] - margin for name in ("x", "y")}
    clip: Any = {**place, **{name: box[name] + 2 * margin for name in ("width", "height")}}
    return Image.open(BytesIO(page.tab.screenshot(clip=clip)))


def write_edit_graph(client: ComfyClient, path: Path) -> None:
    """Write the screenshot as a PNG with 256 colors: without dither it is half as large, and nobody sees it."""
    edit_graph(client).convert("RGB").quantize(256, kmeans=2).save(path, optimize=True)


def edit_graph(client: ComfyClient) -> Image.Image:
    """The template "edit" after a run with the reference model on the sample input."""
    with opened(client, nodes_2=True, width=1700, height=1300, pixels=PIXELS) as page:
        page.open_template("edit")
        page.set("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
        page.run(f"app.graph.nodes.find((node) => node.title === 'Target prompt').widgets[0].value = '{PROMPT}'")
        page.queue()
        page.tab.wait_for_function(RESULT_SHOWN)
        return graph_alone(page, scale=SCALE, margin=MARGIN)
