"""Subgraphs are flattened as by the front end. The browser tests compare both on the same graphs."""

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
EXPECTED = {
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
"""The expected inputs of each node in the shared graphs."""


def inputs(prompt: Prompt, node_id: str) -> dict[str, Any]:
    return prompt[node_id]["inputs"]


@pytest.mark.parametrize("name", EXPECTED)
def test_inner_nodes_are_queued(name: str, info: Info):
    prompt = to_api(CASES[name](), info)
    assert prompt.keys() == {"1", "3", *EXPECTED[name]}
    for node_id, expected in EXPECTED[name].items():
        assert inputs(prompt, node_id).items() >= expected.items()


def test_unconnected_input_is_omitted(info: Info):
    assert "mask" not in inputs(to_api(CASES["mixed"](), info), "2:6")


def test_titles_come_from_the_inner_nodes(info: Info):
    assert to_api(promoted(), info)["2:7"]["_meta"] == {"title": "Soft"}


def test_instance_value_for_an_inner_widget(info: Info):
    """Only newer front ends save these values, one per instance."""
    saved = promoted()
    saved["nodes"][1]["widgets_values"] = [2.5, 5]
    assert inputs(to_api(saved, info), "2:7").items() >= {"blur_radius": 5, "sigma": 2.5}.items()
    saved["nodes"][1]["properties"]["proxyWidgets"] = json.dumps([["7", "sigma"], ["7", "control_after_generate"]])
    saved["nodes"][1]["widgets_values"] = [3.5, "randomize"]
    assert inputs(to_api(saved, info), "2:7") == {"image": ["1", 0], "blur_radius": 1, "sigma": 3.5}


def test_connection_overrides_a_value(info: Info):
    saved = CASES["radius_from_a_node"]()
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["7", "blur_radius"]]}, "widgets_values": [13]}
    assert inputs(to_api(saved, info), "2:7")["blur_radius"] == ["9", 0]


def test_missing_instance_value_falls_back_to_the_definition(info: Info):
    saved = promoted()
    saved["nodes"][1]["widgets_values"] = []
    assert inputs(to_api(saved, info), "2:7")["blur_radius"] == 1


def test_outer_instance_overrides_the_inner_instance(info: Info):
    saved = nested()
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["5", "radius"]]}, "widgets_values": [11]}
    assert inputs(to_api(saved, info), "2:5:7")["blur_radius"] == 11


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_nodes_of_a_muted_or_bypassed_instance_do_not_run(mode: int, info: Info):
    saved = two_instances()
    saved["nodes"][2]["mode"] = mode
    prompt = to_api(saved, info)
    assert prompt.keys() == {"1", "2:7", "3"}
    assert inputs(prompt, "3").get("images") == (["2:7", 0] if mode == BYPASSED else None)


def test_bypassed_instance_passes_through_the_input_at_the_same_position(info: Info):
    """Even if the file omits an earlier input that is a widget."""
    inner = node(7, "ImageBlur", "image:IMAGE blur_radius:INT:widget", "IMAGE:IMAGE", [1, 0.5])
    ins, outs = "radius:INT:widget image:IMAGE other:IMAGE", "IMAGE:IMAGE second:IMAGE"
    definition = subgraph("Turned", ins, outs, [inner], [(INSIDE, 0, 7, 1), (INSIDE, 1, 7, 0), (7, 0, OUTSIDE, 1)])
    nodes, _ = between(instance(2, definition, [5], mode=BYPASSED))
    wires = [(1, 0, 2, 0), (9, 0, 2, 1), (2, 1, 3, 0)]
    saved = workflow([*nodes, node(9, "EmptyImage", outs="IMAGE:IMAGE")], wires, definition)
    assert inputs(to_api(saved, info), "3")["images"] == ["1", 0]


def test_bypassed_node_passes_through_a_type_its_target_accepts(info: Info):
    """A comma-separated type matches each of its parts."""
    saved = workflow(*between(node(2, "Either", "mask:MASK image:IMAGE,MASK", "any:IMAGE,MASK", mode=BYPASSED)))
    saved["nodes"][1]["inputs"][1]["link"] = saved["nodes"][1]["inputs"][0].pop("link")
    assert inputs(to_api(saved, info), "3")["images"] == ["1", 0]


def test_primitive_nodes_inside_and_outside(info: Info):
    definition = blur()
    definition["nodes"].append(node(8, "PrimitiveNode", outs="FLOAT:FLOAT", values=[4.5, "fixed"]))
    definition["links"].append({"id": 50, "origin_id": 8, "origin_slot": 0, "target_id": 7, "target_slot": 2})
    sigma = {"name": "sigma", "type": "FLOAT", "link": 50, "widget": {"name": "sigma"}}
    definition["nodes"][0]["inputs"].append(sigma)
    nodes, wires = between(instance(2, definition, [5], ins="image:IMAGE radius:INT:widget"))
    outer_primitive = node(9, "PrimitiveNode", outs="INT:INT", values=[6, "fixed"])
    saved = workflow([*nodes, outer_primitive], [*wires, (9, 0, 2, 1)], definition)
    assert inputs(to_api(saved, info), "2:7") == {"image": ["1", 0], "blur_radius": 6, "sigma": 4.5}
    saved["nodes"][1] |= {"properties": {"proxyWidgets": [["8", "value"]]}, "widgets_values": [7.5]}
    assert inputs(to_api(saved, info), "2:7")["sigma"] == 7.5


def test_subgraph_without_nodes_passes_its_input_through(info: Info):
    definition = subgraph("Through", "image:IMAGE", "IMAGE:IMAGE", [], [(INSIDE, 0, OUTSIDE, 0)])
    assert inputs(to_api(workflow(*between(instance(2, definition)), definition), info), "3")["images"] == ["1", 0]


def test_unconnected_subgraph_output(info: Info):
    definition = subgraph("Nothing", "image:IMAGE", "IMAGE:IMAGE", [], [])
    assert "images" not in inputs(to_api(workflow(*between(instance(2, definition)), definition), info), "3")


def test_nested_definitions(info: Info):
    saved = nested()
    inner, outer = saved["definitions"]["subgraphs"]
    outer["definitions"] = {"subgraphs": [inner]}
    saved["definitions"]["subgraphs"] = [outer]
    assert to_api(saved, info) == to_api(nested(), info)


def test_ids_as_strings_and_links_as_dictionaries(info: Info):
    saved = nested()
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    saved["links"] = [dict(zip(names, link, strict=True)) for link in saved["links"]]
    for each in (saved, *saved["definitions"]["subgraphs"]):
        for one in each["nodes"]:
            one["id"] = str(one["id"])
        for link in each["links"]:
            link |= {end: str(link[end]) for end in ("origin_id", "target_id")}
    assert to_api(saved, info) == to_api(nested(), info)


# Settings and downloads of inner nodes


@pytest.mark.parametrize("name", ["2:5:7", "Hard"])
def test_setting_of_an_inner_node(name: str, info: Info):
    saved = nested()
    saved["definitions"]["subgraphs"].append(hard := blur("Hard blur"))
    hard["nodes"][0]["title"] = "Hard"
    saved["definitions"]["subgraphs"][1]["nodes"][1]["type"] = hard["id"]
    prompt = to_api(saved, info)
    changed = with_settings(prompt, [f"{name}.sigma=2.5"], info)
    assert inputs(changed, "2:5:7") == {**inputs(prompt, "2:5:7"), "sigma": 2.5}


def test_setting_that_matches_nodes_of_several_instances(info: Info):
    with pytest.raises(QueueingError, match=r"'Soft' matches 2 nodes: 2:7 \(Soft\), 4:7 \(Soft\)"):
        with_settings(to_api(two_instances(), info), ["Soft.sigma=2"], info)


def test_downloads_of_inner_nodes():
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
    code, paths, stderr = finish(start("mine.json", "--image", "dark.png", "--server", server.url))
    assert code == 0, stderr
    assert np.all(pixels(Path(paths[0])) == (245, 235, 225))


# Workflows that cannot be flattened


def contains_itself() -> Saved:
    saved = nested()
    inner, outer = saved["definitions"]["subgraphs"]
    inner["nodes"].append(instance(8, outer))
    return saved


def lacks_its_definition() -> Saved:
    saved = promoted()
    saved["definitions"]["subgraphs"] = []
    return saved


def contains_a_loop() -> Saved:
    saved = workflow(*between(node(2, "Reroute", ":*", ":IMAGE")))
    saved["links"][0][1] = 2
    return saved


def has_invalid_widget_names() -> Saved:
    saved = promoted()
    saved["nodes"][1]["properties"]["proxyWidgets"] = "[["
    return saved


def lacks_a_link() -> Saved:
    saved = promoted()
    saved["definitions"]["subgraphs"][0]["links"].pop(0)
    return saved


def has_a_subgraph_link_outside_a_subgraph() -> Saved:
    saved = promoted()
    saved["links"][0][1] = INSIDE
    return saved


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (contains_itself, "The subgraph 'Twice' contains itself. Remove node 2:4:8 in ComfyUI."),
        (lacks_its_definition, "Node 2 is an instance of a subgraph that is missing from the workflow."),
        (contains_a_loop, "The workflow connects reroutes or bypassed nodes in a loop."),
        (has_invalid_widget_names, "The workflow is damaged or its version is unknown"),
        (lacks_a_link, "The workflow is damaged or its version is unknown"),
        (has_a_subgraph_link_outside_a_subgraph, "The workflow is damaged or its version is unknown"),
        (lambda: {**promoted(), "definitions": [1]}, "The workflow is damaged or its version is unknown"),
    ],
)
def test_broken_workflow_raises_an_error(broken: Callable[[], Saved], message: str, info: Info):
    with pytest.raises(QueueingError) as error:
        Workflow("mine", broken()).prompt(info)
    assert str(error.value).startswith(message)


def test_downloads_of_a_broken_workflow():
    with pytest.raises(QueueingError, match="is damaged or its version is unknown"):
        _ = Workflow("mine", {"nodes": [], "links": [], "definitions": [1]}).downloads
