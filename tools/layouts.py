"""Arrange the nodes of the templates in columns of groups, from left to right: inputs, model and prompts, work, result.

    python tools/layouts.py

`LAYOUTS` says which nodes are in which group; sizes and places follow from it. Run this again after a change of
`LAYOUTS`, of a template's note, or of a node's height; tests compare, and check the page's own sizes in a browser.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from queueing.workflow import templates

Saved = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Nodes below each other, by their ids in the template, under a title."""

    title: str
    color: str
    nodes: Sequence[int]


Column = Sequence[Group]


def _inputs(title: str, *nodes: int) -> Group:
    return Group(title, "#3f789e", nodes)


def _prompts(title: str, *nodes: int) -> Group:
    return Group(title, "#88A", nodes)


def _between(title: str, *nodes: int) -> Group:
    return Group(title, "#8AA", nodes)


def _work(title: str, *nodes: int) -> Group:
    return Group(title, "#8A8", nodes)


def _result(*nodes: int, title: str = "Result") -> Group:
    return Group(title, "#b58b2a", nodes)


def _restoration(title: str) -> Sequence[Column]:
    """The templates that restore one image differ only in the name of their work."""
    prompts, measurement = _prompts("Model and prompts", 1, 3, 4), _between("Measure", 5, 6)
    return [_inputs("Image", 2)], [prompts, measurement], [_work(title, 7)], [_result(8)]


LAYOUTS: Mapping[str, Sequence[Column]] = {
    "deblur": _restoration("Sharpen"),
    "distil_text_to_image": ([], [_prompts("Model and prompts", 1, 2, 3, 4)], [_work("Optimize", 5)], [_result(6, 7)]),
    "edit": (
        *([_inputs("Image", 2)], [_prompts("Model and prompts", 1, 4, 5), _between("Latent", 3)]),
        *([_work("Edit", 6)], [_result(7, 8)]),
    ),
    "edit_3d": (
        *([_inputs("Scene", 3)], [_prompts("Model and prompts", 2, 4, 5, 6)]),
        *([_work("Edit", 7)], [_result(8, 9)]),
    ),
    "edit_found_region": (
        *([_inputs("Image", 2)], [_prompts("Model and prompts", 1, 4, 10, 5), _between("Latent", 3)]),
        *([_work("Find, edit", 11, 6)], [_result(8, 12)]),
    ),
    "illusion": ([], [_prompts("Model and prompts", 1, 2, 3, 4)], [_work("Illusion", 5)], [_result(6, 7)]),
    "inpaint": _restoration("Fill"),
    "inpaint_two_texts": (
        *([_inputs("Images", 2, 3)], [_prompts("Model and prompts", 1, 4, 5, 6)]),
        *([_between("Regions", 7, 8, 9)], [_result(11), _work("Fill", 10)]),
    ),
    "lmc_edit": (
        *([_inputs("Image", 2)], [_prompts("Model and prompts", 1, 3, 4, 5), _between("Latent", 6)]),
        *([_work("Edit", 7)], [_result(8, 9)]),
    ),
    "painting_to_real": (
        *([_inputs("Painting", 2)], [_prompts("Model and prompts", 1, 3, 4), _between("Latent", 5)]),
        *([_work("Translate", 6)], [_result(7, 8)]),
    ),
    "posed_views_to_splat": (
        *([_inputs("Views", 2)], [_work("Fit", 3)]),
        *([_work("Compare", 4)], [_result(5, 6, 7)]),
    ),
    "posterior_edit": (
        *([_inputs("Image", 2)], [_prompts("Model and prompts", 1, 3, 4, 5), _between("Latent", 6)]),
        *([_work("Edit", 7, 8)], [_result(9, 10)]),
    ),
    "restore_3d": (
        *([_inputs("Views", 3)], [_prompts("Model and prompts", 2, 4, 5), _between("Measure", 6)]),
        *([_work("Restore", 7)], [_result(8, 9)]),
    ),
    "restore_svg": (
        [_inputs("Image", 2)],
        [_prompts("Model and prompts", 1, 4, 5), _between("Measure", 3, 9)],
        *([_between("Restore", 10)], [_result(7), _work("Draw", 6)]),
    ),
    "super_resolve": _restoration("Enlarge"),
    "svg_edit": (
        *([_inputs("Drawing", 2)], [_prompts("Model and prompts", 1, 3, 4, 5)]),
        *([_work("Edit", 6)], [_result(7)]),
    ),
    "text_to_3d": ([], [_prompts("Model and prompts", 2, 3, 4, 5, 6)], [_work("Make", 7)], [_result(8, 9)]),
    "text_to_svg": (
        *([], [_prompts("Model and prompts", 1, 2, 3)]),
        *([_between("Sample", 4, 5, 6)], [_result(8), _work("Draw", 7)]),
    ),
    "train_corrective": ([_inputs("Images", 3)], [_prompts("Model", 1, 2)], [_work("Train", 4)], [_result(5)]),
    "translate": (
        *([_inputs("Image", 2)], [_prompts("Model and latent", 1, 3)]),
        *([_work("Apply", 4)], [_result(5, 6)]),
    ),
    "vectorise": ([_inputs("Image", 1)], [_work("Draw", 2)], [_result(3)]),
}
"""For each template its columns. The note "How to use" begins the first one; "Hints" end the last, where the result is,
or the first if that has room or the last is long."""

HEIGHTS: Mapping[str, tuple[int, int]] = {
    "CheckpointLoaderSimple": (98, 126),
    "DSDistillationSampler": (962, 1072),
    "DSFindEditRegion": (214, 230),
    "DSLoadPosedViews": (190, 256),
    "DSLoadSVG": (306, 372),
    "DSLoadSplat": (58, 112),
    "DSManifoldCorrectiveLoad": (58, 114),
    "DSManifoldCorrectiveSave": (58, 120),
    "DSManifoldCorrectiveTrain": (358, 380),
    "DSMaskLocalizedGuidance": (248, 280),
    "DSMeasurement": (414, 456),
    "DSOverlayIllusion": (554, 576),
    "DSPosteriorLatentMatch": (166, 202),
    "DSProximalDreamSampler": (582, 632),
    "DSSVGOptimizer": (798, 878),
    "DSSaveSplat": (58, 120),
    "DSSplatOptimizer": (1034, 1140),
    "DSTextSourceDescriptor": (220, 428),
    "DSTranslatorApply": (82, 114),
    "EmptyLatentImage": (106, 120),
    "KSampler": (262, 266),
    "LoadImage": (314, 353),
    "LoadImageDataSetFromFolder": (58, 112),
    "PreviewImage": (240, 310),
    "SaveAnimatedWEBP": (400, 448),
    "SaveImage": (300, 340),
    "SaveSVGNode": (300, 340),
    "VAEDecode": (46, 55),
    "VAEEncode": (46, 55),
}
"""Height of a node's body, and the most that one of the page's renderers makes of it, for texts and square
images of a run.

Those of `GROWING` are as tall as before a run, in which they and their group grow further.
"""

GROWING = frozenset(
    {"DSDistillationSampler", "DSManifoldCorrectiveTrain", "DSOverlayIllusion", "DSSVGOptimizer", "DSSplatOptimizer"}
)
"""They show plots, drawings and previews, and so end their columns."""
PROMPT, PROMPT_LINE = 68, (24, 14)
"""Height of a prompt's node without its text; letters in a line of the text, and pixels from line to line."""

NODE_WIDTH, WIDER = 255, {"DSDistillationSampler": 270}
"""Width of all nodes of a column, and of columns with a node that the page makes wider."""
TITLE_BAR = 30
"""In pixels, above a node's position."""
MARGIN = 8
"""Between a group and its nodes."""
GAP = 14
"""Between groups, and between nodes."""
GROUP_TITLE, GROUP_FONT = 32, 22
LEFT, TOP = 20, 60
SCALE, CORNER = 0.9, (72, 132)
"""How the page first shows a template, and where on the screen its upper left corner is.

The page's smallest text has 10 pixels, so 9 on the screen, and four columns fit into a window of 1280.
"""
MARK = "dreamsampler"
"""Of templates, for the page script: it keeps newer pages from fitting them to the window instead."""
TEXT: Mapping[str, tuple[int, int]] = {"#": (24, 28), "1": (32, 20), "": (38, 20)}
"""Of a note's headings, numbered steps and paragraphs, in the renderer with the larger text: letters in a line, and
pixels from line to line."""
PAUSE = 12
"""In pixels, between paragraphs of a note."""


def arranged(name: str, template: Saved) -> Saved:
    """The template `name` with new places and sizes of its nodes, groups and view."""
    nodes = {each["id"]: {**each} for each in template["nodes"]}
    how_to_use, hints = (each for each in nodes.values() if each["type"] == "MarkdownNote")
    groups: list[Saved] = []
    columns = LAYOUTS[name]
    last = 0 if len(columns[-1]) > 1 or not columns[0] else len(columns) - 1
    x = LEFT
    for number, column in enumerate(columns):
        y, width = TOP, max([NODE_WIDTH] + [WIDER.get(nodes[i]["type"], 0) for group in column for i in group.nodes])
        if number == 0:
            y += _write(how_to_use, x, y) + GAP
        for group in column:
            height = _stack([nodes[each] for each in group.nodes], x + MARGIN, y + GROUP_TITLE, width)
            box = [x, y, width + 2 * MARGIN, GROUP_TITLE + height + MARGIN]
            look = {"color": group.color, "font_size": GROUP_FONT, "flags": {}}
            groups.append({"id": len(groups) + 1, "title": group.title, "bounding": box, **look})
            y += box[3] + GAP
        if number == last:
            _write(hints, x, y)
        x += width + 2 * MARGIN + GAP
    view = {"scale": SCALE, "offset": [round(CORNER[0] / SCALE) - LEFT, round(CORNER[1] / SCALE) - TOP]}
    return {
        **template,
        "nodes": [*nodes.values()],
        "groups": groups,
        "extra": {**template["extra"], "ds": view, MARK: "template"},
    }


def _write(note: Saved, x: int, top: int) -> int:
    """Place a note. Returns its height with the title bar. Its color is the page's."""
    note["pos"], note["size"] = [x, top + TITLE_BAR], [NODE_WIDTH + 2 * MARGIN, note_height(text_of(note))]
    note.pop("color", None)
    note.pop("bgcolor", None)
    return TITLE_BAR + note["size"][1]


def _stack(nodes: Sequence[Saved], x: int, top: int, width: int) -> int:
    """Place nodes below each other. Returns the height they take together."""
    y = top
    for number, node in enumerate(nodes):
        height, reserved = heights_of(node)
        y += TITLE_BAR + GAP * (number > 0)
        node["pos"], node["size"] = [x, y], [width, height]
        y += reserved
    return y - top


def heights_of(node: Saved) -> tuple[int, int]:
    """As in `HEIGHTS`. A prompt is shown without scrolling."""
    if node["type"] != "CLIPTextEncode":
        return HEIGHTS[node["type"]]
    letters, line = PROMPT_LINE
    height = PROMPT + line * max(3, math.ceil(len(text_of(node)) / letters))
    return height, height


def text_of(note: Saved) -> str:
    """The text of a note or a prompt."""
    return note["widgets_values"][0]


def note_height(markdown: str) -> int:
    """Enough for the text of a note in both renderers."""
    height = 2 * PAUSE
    for each in filter(None, markdown.split("\n")):
        letters, line = TEXT["#" if each[0] == "#" else "1" if each[0].isdigit() else ""]
        height += PAUSE + line * math.ceil(len(re.sub(r"\]\([^)]*\)|[*#\[]", "", each)) / letters)
    return height


def written(template: Saved) -> str:
    """The content of a template's file."""
    return json.dumps(template, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for template_name in LAYOUTS:
        path = templates()[template_name]
        path.write_text(written(arranged(template_name, json.loads(path.read_text("utf-8")))), "utf-8")
