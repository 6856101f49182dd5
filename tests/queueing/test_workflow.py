"""Workflow files are converted to the prompt that the front end would queue."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from queueing.errors import QueueingError
from queueing.workflow import Workflow, templates, to_api

TEMPLATE = templates()["vectorise"]
IMAGE, OPTIMIZER, DRAWING = 1, 2, 3

Saved = dict[str, Any]


@pytest.fixture
def saved() -> Saved:
    """Load Image → SVG Optimizer → Save SVG, with link 1 from the first to the second."""
    return json.loads(TEMPLATE.read_text("utf-8"))


def insert_node(saved: Saved, node: dict[str, Any]) -> Saved:
    """The workflow with one more node between the image and the optimizer."""
    changed = copy.deepcopy(saved)
    [link] = [each for each in changed["links"] if each[1] == IMAGE and each[3] == OPTIMIZER]
    target_slot = link[4]
    link[3:5] = [50, 0]
    changed["links"].append([90, 50, 0, OPTIMIZER, target_slot, "IMAGE"])
    changed["nodes"].append({"id": 50, "mode": 0, "widgets_values": [], "properties": {}, **node})
    changed["nodes"][-1]["inputs"] = [{"name": "image", "type": "IMAGE", "link": link[0]}]
    changed["nodes"][-1]["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": [90]}]
    for each in changed["nodes"]:
        if each["id"] == OPTIMIZER:
            each["inputs"][[slot["name"] for slot in each["inputs"]].index("image")]["link"] = 90
    return changed


def test_intermediate_node_is_queued(saved: Saved, info: dict[str, Any]):
    prompt = to_api(insert_node(saved, {"type": "ImageInvert"}), info)
    assert prompt["50"]["inputs"] == {"image": [str(IMAGE), 0]}
    assert prompt[str(OPTIMIZER)]["inputs"]["image"] == ["50", 0]


@pytest.mark.parametrize(
    "node", [{"type": "Reroute"}, {"type": "ImageInvert", "mode": 4}], ids=["reroute", "bypassed node"]
)
def test_reroutes_and_bypassed_nodes_are_removed(node: dict[str, Any], saved: Saved, info: dict[str, Any]):
    assert to_api(insert_node(saved, node), info) == to_api(saved, info)


def test_muted_node_leaves_its_input_unconnected(saved: Saved, info: dict[str, Any]):
    prompt = to_api(insert_node(saved, {"type": "ImageInvert", "mode": 2}), info)
    assert "50" not in prompt
    assert "image" not in prompt[str(OPTIMIZER)]["inputs"]


def test_primitive_node_passes_its_value(saved: Saved, info: dict[str, Any]):
    plain = to_api(saved, info)
    saved["links"].append([91, 51, 0, OPTIMIZER, 9, "INT"])
    primitive = {"id": 51, "type": "PrimitiveNode", "inputs": [], "widgets_values": [77, "fixed"]}
    saved["nodes"].append({**primitive, "outputs": [{"name": "INT", "type": "INT", "links": [91]}], "properties": {}})
    optimizer = next(node for node in saved["nodes"] if node["id"] == OPTIMIZER)
    optimizer["inputs"].append({"name": "paths", "type": "INT", "link": 91, "widget": {"name": "paths"}})
    prompt = to_api(saved, info)
    assert prompt[str(OPTIMIZER)]["inputs"] == {**plain[str(OPTIMIZER)]["inputs"], "paths": 77}


def test_inputs_added_after_the_file_was_saved_get_their_defaults(saved: Saved, info: dict[str, Any]):
    full = to_api(saved, info)
    optimizer = next(node for node in saved["nodes"] if node["id"] == OPTIMIZER)
    optimizer["widgets_values"] = optimizer["widgets_values"][:2]
    shortened = to_api(saved, info)[str(OPTIMIZER)]["inputs"]
    assert shortened.keys() == full[str(OPTIMIZER)]["inputs"].keys()
    assert (shortened["paths"], shortened["steps"]) == (128, 1000)


def test_titles_are_kept(saved: Saved, info: dict[str, Any]):
    titles = {node_id: node["_meta"]["title"] for node_id, node in to_api(saved, info).items()}
    assert titles == {"1": "Image", "2": "SVG Optimizer", "3": "The drawing"}


def test_node_of_another_version_raises_an_error(saved: Saved, info: dict[str, Any]):
    saved["nodes"][0]["widgets_values"] += [1, 2]
    with pytest.raises(QueueingError, match=r"Node 1 \(LoadImage\) has 4 values, more than the server's node takes"):
        to_api(saved, info)


def test_broken_file_raises_an_error(saved: Saved, info: dict[str, Any]):
    saved["links"] = []
    with pytest.raises(QueueingError, match="is damaged or its version is unknown"):
        Workflow("mine", saved).prompt(info)
