"""How the templates look when they are opened: in columns, within a window, legible, with notes that are read."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
from devhost import CHECKOUT
from layouts import (
    CORNER,
    GROUP_TITLE,
    GROWING,
    LAYOUTS,
    TITLE_BAR,
    arranged,
    heights_of,
    text_of,
    written,
)
from queueing.workflow import templates

TEMPLATES = {name: json.loads(path.read_text("utf-8")) for name, path in templates().items()}
SAMPLES = {path.name for path in (CHECKOUT / "samples").iterdir()}
WINDOW = (1280, 720)
WIDEST = 1300
STRETCH = 1.2
"""How much larger one of the page's renderers draws nodes and what is between them."""
SMALLEST_LETTERS, LEGIBLE = 10, 9
"""Pixels of the page's smallest text, in prompts and notes, and what can be read on a screen."""
MOST_WORDS = 65
LOADED = {"LoadImage": "image", "DSLoadSVG": "file", "DSLoadSplat": "file", "DSLoadPosedViews": "folder"}
BROUGHT_BY_THE_USER = {"train_corrective": "a folder", "lmc_edit": "corrective", "translate": "a translator"}
"""What these templates lack, as their notes say."""

Box = tuple[float, float, float, float]


def box_of(node: dict[str, Any]) -> Box:
    """Left, top, right and bottom of a node, as tall as it gets."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_BAR, x + width, y + max(height, 0 if "Note" in node["type"] else heights_of(node)[1])


def box_of_group(group: dict[str, Any]) -> Box:
    x, y, width, height = group["bounding"]
    return x, y, x + width, y + height


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def notes_of(name: str) -> list[dict[str, Any]]:
    """What to do, and hints."""
    notes = [node for node in TEMPLATES[name]["nodes"] if "Note" in node["type"]]
    assert [note["title"] for note in notes] == ["How to use", "Hints"]
    return notes


def texts_of(name: str) -> str:
    return "\n\n".join(text_of(note) for note in notes_of(name))


def outer(name: str) -> Box:
    boxes = [box_of_group(group) for group in TEMPLATES[name]["groups"]] + [box_of(note) for note in notes_of(name)]
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def test_every_template_has_a_layout():
    assert set(LAYOUTS) == set(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_title_says_what_it_is_for(name: str):
    """The page lists file names, and searches in nothing else."""
    assert re.fullmatch(rf"{name} - [a-z]+( \w+){{2,}}", templates()[name].stem)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_file_is_arranged(name: str):
    assert templates()[name].read_text("utf-8") == written(arranged(name, TEMPLATES[name]))


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_fits_a_window_and_can_be_read(name: str):
    left, _, right, _ = outer(name)
    view = TEMPLATES[name]["extra"]["ds"]
    assert right - left <= WIDEST
    assert SMALLEST_LETTERS * view["scale"] >= LEGIBLE
    assert CORNER[0] + (right - left) * view["scale"] <= WINDOW[0]
    assert (right + view["offset"][0]) * view["scale"] <= WINDOW[0]
    assert left * view["scale"] * STRETCH + view["offset"][0] * view["scale"] >= 60, "beside the page's menu"


@pytest.mark.parametrize("name", TEMPLATES)
def test_nodes_are_in_one_group_each_and_nothing_overlaps(name: str):
    template = TEMPLATES[name]
    groups = {group["title"]: box_of_group(group) for group in template["groups"]}
    nodes = {node["id"]: box_of(node) for node in template["nodes"]}
    assert len(groups) == len(template["groups"]), "two groups have one title"
    assert [pair for pair in combinations(groups, 2) if overlap(groups[pair[0]], groups[pair[1]])] == []
    assert [pair for pair in combinations(nodes, 2) if overlap(nodes[pair[0]], nodes[pair[1]])] == []
    for node in template["nodes"]:
        box = nodes[node["id"]]
        touched = [title for title, group in groups.items() if overlap(group, box)]
        if node["type"] == "MarkdownNote":
            assert not touched
            continue
        (title,) = touched
        left, top, right, bottom = groups[title]
        assert left <= box[0] and top + GROUP_TITLE <= box[1] and box[2] <= right and box[3] <= bottom


@pytest.mark.parametrize("name", TEMPLATES)
def test_groups_are_tight(name: str):
    nodes = [box_of(node) for node in TEMPLATES[name]["nodes"] if node["type"] != "MarkdownNote"]
    for group in TEMPLATES[name]["groups"]:
        box = box_of_group(group)
        inside = [each for each in nodes if overlap(each, box)]
        assert min(each[1] for each in inside) - box[1] <= GROUP_TITLE + 10
        assert box[3] - max(each[3] for each in inside) <= 10
        assert min(each[0] for each in inside) - box[0] <= 10 and box[2] - max(each[2] for each in inside) <= 10


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_below_a_node_that_grows_in_a_run(name: str):
    nodes = TEMPLATES[name]["nodes"]
    for grown in (node for node in nodes if node["type"] in GROWING):
        left, top, right, _ = box_of(grown)
        assert not [
            node["id"] for node in nodes if overlap(box_of(node), (left, top + 1, right, 1e6)) and node != grown
        ]


@pytest.mark.parametrize("name", TEMPLATES)
def test_wires_run_to_the_right_or_within_a_column(name: str):
    """But for a result that is above the last work, so that it is seen at once."""
    nodes = {node["id"]: node for node in TEMPLATES[name]["nodes"]}
    for _, origin, _, target, *_ in TEMPLATES[name]["links"]:
        assert nodes[origin]["pos"][0] <= nodes[target]["pos"][0], (origin, target)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_note_is_first_and_short(name: str):
    note, hints = notes_of(name)
    assert (note["pos"][0], note["pos"][1] - TITLE_BAR) == outer(name)[:2]
    assert all(len(text_of(each).split()) <= MOST_WORDS for each in (note, hints))
    assert not {"color", "bgcolor"} & {*note, *hints}, "the page has a color for notes"
    assert "`" not in texts_of(name), "one renderer draws code in blue on brown"


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_note_says_how_to_get_a_model_and_previews(name: str):
    text = texts_of(name)
    assert re.match(r"## [A-Z]\w+", text)
    assert "Press Run" in text
    loaders = [node for node in TEMPLATES[name]["nodes"] if node["type"] == "CheckpointLoaderSimple"]
    if not loaders:
        assert "No model is needed" in text
        return
    (model,) = loaders[0]["properties"]["models"]
    assert f"]({model['url'].partition('?')[0]}) into **models/{model['directory']}**" in text
    assert "**python tools/demo.py --serve**" in text
    if any(node["type"] in {"DSProximalDreamSampler", "DSSplatOptimizer"} for node in TEMPLATES[name]["nodes"]):
        assert "**--preview-method auto**" in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_file_it_loads_is_shipped(name: str):
    api = json.loads((CHECKOUT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))
    for node in TEMPLATES[name]["nodes"]:
        if node["type"] in LOADED:
            assert node["widgets_values"][0] in SAMPLES
            assert api[str(node["id"])]["inputs"][LOADED[node["type"]]] == node["widgets_values"][0]
    missing = re.search(r"^Missing: (.+)", texts_of(name), re.MULTILINE)
    assert bool(missing) == (name in BROUGHT_BY_THE_USER)
    assert not missing or BROUGHT_BY_THE_USER[name] in missing[1]


def test_each_hole_is_filled_from_an_image_with_a_hole():
    for name in ("inpaint", "inpaint_two_texts"):
        loaded = [node["widgets_values"][0] for node in TEMPLATES[name]["nodes"] if node["type"] == "LoadImage"]
        assert loaded and all(each.startswith("dreamsampler_hole") for each in loaded)


def test_the_tool_changes_only_places():
    """Ids, links, values and titles stay, or saved graphs, blueprints and the form for the API would differ."""
    for name, template in TEMPLATES.items():
        moved = json.loads(json.dumps(template))
        for node in moved["nodes"]:
            node["pos"] = [node["pos"][0] + 13, 0]
        made = arranged(name, moved)
        for old, new in zip(template["nodes"], made["nodes"], strict=True):
            assert {**old, "pos": 0, "size": 0} == {**new, "pos": 0, "size": 0}
        assert made["links"] == template["links"]


def test_notes_name_only_what_the_template_has():
    """Words in bold are widgets, inputs, titles, files or commands."""
    inputs = json.loads((CHECKOUT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    for name, template in TEMPLATES.items():
        types = {node["type"] for node in template["nodes"]}
        known = {key for kind in types & set(inputs) for key in inputs[kind]["inputs"]}
        known |= {node.get("title") for node in template["nodes"]} | {inputs[kind]["display_name"] for kind in inputs}
        known |= {value for node in template["nodes"] for value in node.get("widgets_values", ())}
        bold = set(re.findall(r"\*\*(.+?)\*\*", texts_of(name)))
        unknown = {each for each in bold - known if not re.match(r"models/|python |--", each)}
        assert unknown <= {"vsd"}, (name, unknown)
