"""Subgraphs are taken apart as the front end does it; tests of the page compare the two on the same graphs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_client import Prompt
from comfy_server import ComfyServer
from PIL import Image
from queueing.errors import QueueingError
from queueing.overrides import with_settings
from queueing.workflow import Workflow, to_api
from support.queue_runs import Start, finish, pixels
from support.saved_graphs import (
    BYPASSED,
    CASES,
    INSIDE,
    MUTED,
    OUTSIDE,
    Saved,
    between,
    blur,
    instance,
    nested,
    node,
    promoted,
    subgraph,
    two_instances,
    workflow,
)

Info = dict[str, Any]
IN_ORDER = {
    "promoted": {"2:7": {"image": ["1", 0], "blur_radius": 5, "sigma": 0.5}, "3": {"images": ["2:7", 0]}},
    "two_instances": {"2:7": {"blur_radius": 5}, "4:7": {"image": ["2:7", 0], "blur_radius": 9}},
    "nested": {
        "2:4:7": {"image": ["1", 0], "blur_radius": 8},
        "2:5:7": {"image": ["2:4:7", 0], "blur_radius": 3},
        "3": {"images": ["2:5:7", 0]},
    },
    "radius_from_a_node": {"9": {"value": 6}, "2:7": {"blur_radius": ["9", 0]}},
    "bypassed": {"2:7": {"blur_radius": 5}, "3": {"images": ["2:7", 0]}},
    "mixed": {"2:6": {"destination": ["1", 0], "source": ["1", 0], "x": 3, "y": 4}, "3": {"images": ["2:6", 0]}},
}
"""What is expected in the prompts of the graphs that all tests share: inputs by node."""


def inputs(prompt: Prompt, node_id: str) -> dict[str, Any]:
    return prompt[node_id]["inputs"]


@pytest.mark.parametrize("name", CASES)
def test_nodes_within_run_by_themselves(name: str, info: Info):
    prompt = to_api(CASES[name](), info)
    assert prompt.keys() == {"1", "3", *IN_ORDER[name]}
    for node_id, expected in IN_ORDER[name].items():
        assert inputs(prompt, node_id).items() >= expected.items()


def test_input_that_nothing_comes_to_is_left_out(info: Info):
    assert "mask" not in inputs(to_api(CASES["mixed"](), info), "2:6")


def test_titles_are_those_of_the_nodes_within(info: Info):
    assert to_api(promoted(), info)["2:7"]["_meta"] == {"title": "Soft"}


def test_value_that_an_instance_has_for_a_widget_within(info: Info):
    """Older front ends save none there; newer ones save each instance's own."""
    saved = promoted()
    saved["nodes"][1]["widgets_values"] = [2.5, 5]
    assert inputs(to_api(saved, info), "2:7").items() >= {"blur_radius": 5, "sigma": 2.5}.items()
    saved["nodes"][1]["properties"]["proxyWidgets"] = json.dumps([["7", "sigma"], ["7", "control_after_generate"]])
    saved["nodes"][1]["widgets_values"] = [3.5, "randomize"]
    assert inputs(to_api(saved, info), "2:7") == {"image": ["1", 0], "blur_radius": 1, "sigma": 3.5}


def test_connection_wins_over_a_value(info: Info):
    saved = CASES["radius_from_a_node"]()
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["7", "blur_radius"]]}, "widgets_values": [13]}
    assert inputs(to_api(saved, info), "2:7")["blur_radius"] == ["9", 0]


def test_value_that_an_instance_lacks_is_that_of_the_definition(info: Info):
    saved = promoted()
    saved["nodes"][1]["widgets_values"] = []
    assert inputs(to_api(saved, info), "2:7")["blur_radius"] == 1


def test_instance_around_decides_what_an_instance_shows(info: Info):
    saved = nested()
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["5", "radius"]]}, "widgets_values": [11]}
    assert inputs(to_api(saved, info), "2:5:7")["blur_radius"] == 11


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_nothing_in_an_instance_that_is_off_runs(mode: int, info: Info):
    saved = two_instances()
    saved["nodes"][2]["mode"] = mode
    prompt = to_api(saved, info)
    assert prompt.keys() == {"1", "2:7", "3"}
    assert inputs(prompt, "3").get("images") == (["2:7", 0] if mode == BYPASSED else None)


def test_bypassed_instance_hands_on_the_input_in_the_same_place(info: Info):
    """Also if the file leaves out an input before it, which shows a widget."""
    inner = node(7, "ImageBlur", "image:IMAGE blur_radius:INT:widget", "IMAGE:IMAGE", [1, 0.5])
    ins, outs = "radius:INT:widget image:IMAGE other:IMAGE", "IMAGE:IMAGE second:IMAGE"
    definition = subgraph("Turned", ins, outs, [inner], [(INSIDE, 0, 7, 1), (INSIDE, 1, 7, 0), (7, 0, OUTSIDE, 1)])
    nodes, _ = between(instance(2, definition, [5], mode=BYPASSED))
    wires = [(1, 0, 2, 0), (9, 0, 2, 1), (2, 1, 3, 0)]
    saved = workflow([*nodes, node(9, "EmptyImage", outs="IMAGE:IMAGE")], wires, definition)
    assert inputs(to_api(saved, info), "3")["images"] == ["1", 0]


def test_bypassed_node_hands_on_what_its_target_takes(info: Info):
    """Types with commas fit each of theirs."""
    saved = workflow(*between(node(2, "Either", "mask:MASK image:IMAGE,MASK", "any:IMAGE,MASK", mode=BYPASSED)))
    saved["nodes"][1]["inputs"][1]["link"] = saved["nodes"][1]["inputs"][0].pop("link")
    assert inputs(to_api(saved, info), "3")["images"] == ["1", 0]


def test_primitive_nodes_within_and_around(info: Info):
    definition = blur()
    definition["nodes"].append(node(8, "PrimitiveNode", outs="FLOAT:FLOAT", values=[4.5, "fixed"]))
    definition["links"].append({"id": 50, "origin_id": 8, "origin_slot": 0, "target_id": 7, "target_slot": 2})
    sigma = {"name": "sigma", "type": "FLOAT", "link": 50, "widget": {"name": "sigma"}}
    definition["nodes"][0]["inputs"].append(sigma)
    nodes, wires = between(instance(2, definition, [5], ins="image:IMAGE radius:INT:widget"))
    around = node(9, "PrimitiveNode", outs="INT:INT", values=[6, "fixed"])
    saved = workflow([*nodes, around], [*wires, (9, 0, 2, 1)], definition)
    assert inputs(to_api(saved, info), "2:7") == {"image": ["1", 0], "blur_radius": 6, "sigma": 4.5}
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["8", "value"]]}, "widgets_values": [7.5]}
    assert inputs(to_api(saved, info), "2:7")["sigma"] == 7.5


def test_subgraph_that_only_hands_on(info: Info):
    definition = subgraph("Through", "image:IMAGE", "IMAGE:IMAGE", [], [(INSIDE, 0, OUTSIDE, 0)])
    assert inputs(to_api(workflow(*between(instance(2, definition)), definition), info), "3")["images"] == ["1", 0]


def test_output_that_nothing_is_connected_to(info: Info):
    definition = subgraph("Nothing", "image:IMAGE", "IMAGE:IMAGE", [], [])
    assert "images" not in inputs(to_api(workflow(*between(instance(2, definition)), definition), info), "3")


def test_definitions_within_definitions(info: Info):
    saved = nested()
    inner, outer = saved["definitions"]["subgraphs"]
    outer["definitions"] = {"subgraphs": [inner]}
    saved["definitions"]["subgraphs"] = [outer]
    assert to_api(saved, info) == to_api(nested(), info)


def test_ids_and_links_in_the_other_notation(info: Info):
    """Links of the page with names in them, ids as text."""
    saved = nested()
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    saved["links"] = [dict(zip(names, link)) for link in saved["links"]]
    for each in (saved, *saved["definitions"]["subgraphs"]):
        for one in each["nodes"]:
            one["id"] = str(one["id"])
        for link in each["links"]:
            link |= {end: str(link[end]) for end in ("origin_id", "target_id")}
    assert to_api(saved, info) == to_api(nested(), info)


# What is asked of nodes within


@pytest.mark.parametrize("name", ["2:5:7", "Hard"])
def test_settings_of_a_node_within(name: str, info: Info):
    saved = nested()
    saved["definitions"]["subgraphs"].append(hard := blur("Hard blur"))
    hard["nodes"][0]["title"] = "Hard"
    saved["definitions"]["subgraphs"][1]["nodes"][1]["type"] = hard["id"]
    prompt = to_api(saved, info)
    changed = with_settings(prompt, [f"{name}.sigma=2.5"], info)
    assert inputs(changed, "2:5:7") == {**inputs(prompt, "2:5:7"), "sigma": 2.5}


def test_setting_that_means_nodes_of_several_instances(info: Info):
    with pytest.raises(QueueingError, match=r"'Soft' means 2 nodes: 2:7 \(Soft\), 4:7 \(Soft\)"):
        with_settings(to_api(two_instances(), info), ["Soft.sigma=2"], info)


def test_downloads_of_nodes_within():
    saved = nested()
    models = [{"name": "m.safetensors", "url": "https://models.test/m"}, {"name": "nowhere.safetensors"}]
    saved["definitions"]["subgraphs"][0]["nodes"][0]["properties"] = {"models": models}
    assert Workflow("mine", saved).downloads == {"m.safetensors": "https://models.test/m"}


def test_file_with_a_subgraph_is_queued(server: ComfyServer, start: Start, tmp_path: Path):
    invert = node(5, "ImageInvert", "image:IMAGE", "IMAGE:IMAGE")
    wires = [(INSIDE, 0, 5, 0), (5, 0, OUTSIDE, 0)]
    definition = subgraph("Invert", "image:IMAGE", "IMAGE:IMAGE", [invert], wires)
    (tmp_path / "mine.json").write_text(json.dumps(workflow(*between(instance(2, definition)), definition)))
    Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "dark.png")
    code, named, said = finish(start("mine.json", "--image", "dark.png", "--server", server.url))
    assert code == 0, said
    assert np.all(pixels(Path(named[0])) == (245, 235, 225))


# What cannot be taken apart


def contains_itself() -> Saved:
    saved = nested()
    inner, outer = saved["definitions"]["subgraphs"]
    inner["nodes"].append(instance(8, outer))
    return saved


def lacks_its_definition() -> Saved:
    saved = promoted()
    saved["definitions"]["subgraphs"] = []
    return saved


def goes_in_a_circle() -> Saved:
    saved = workflow(*between(node(2, "Reroute", ":*", ":IMAGE")))
    saved["links"][0][1] = 2
    return saved


def has_text_for_widgets() -> Saved:
    saved = promoted()
    saved["nodes"][1]["properties"]["proxyWidgets"] = "[["
    return saved


def lacks_a_link() -> Saved:
    saved = promoted()
    saved["definitions"]["subgraphs"][0]["links"].pop(0)
    return saved


def comes_from_inside_on_the_page() -> Saved:
    saved = promoted()
    saved["links"][0][1] = INSIDE
    return saved


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (contains_itself, "The subgraph 'Twice' contains itself. Remove node 2:4:8 in ComfyUI."),
        (lacks_its_definition, "Node 2 is an instance of a subgraph that the workflow does not have."),
        (goes_in_a_circle, "Reroutes or bypassed nodes of the workflow are connected in a circle."),
        (has_text_for_widgets, "The workflow is damaged or of an unknown version"),
        (lacks_a_link, "The workflow is damaged or of an unknown version"),
        (comes_from_inside_on_the_page, "The workflow is damaged or of an unknown version"),
        (lambda: {**promoted(), "definitions": [1]}, "The workflow is damaged or of an unknown version"),
    ],
)
def test_broken_workflow_is_refused(broken: Callable[[], Saved], sentence: str, info: Info):
    with pytest.raises(QueueingError) as refused:
        Workflow("mine", broken()).prompt(info)
    assert str(refused.value).startswith(sentence)


def test_downloads_of_a_broken_workflow():
    with pytest.raises(QueueingError, match="is damaged"):
        _ = Workflow("mine", {"nodes": [], "links": [], "definitions": [1]}).downloads
