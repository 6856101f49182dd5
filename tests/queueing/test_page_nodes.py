"""Nodes that only the page knows, nodes that nothing needs, and files that the page's own choices do not list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_server import ComfyServer
from PIL import Image
from queueing.errors import QueueingError
from queueing.workflow import Workflow, find, to_api
from support.queue_runs import Start, finish, pixels
from support.saved_graphs import (
    BYPASSED,
    MUTED,
    OUTSIDE,
    Saved,
    between,
    instance,
    leftovers,
    node,
    subgraph,
    workflow,
)

Info = dict[str, Any]


def source_of_the_saved_image(saved: Saved, info: Info) -> object:
    return Workflow("mine", saved).prompt(info)["3"]["inputs"].get("images")


def set_and_get(prefix: str = "", **more: Any) -> Saved:
    """The image is set under one name, and another under another; the saved image gets the first."""
    names = [f"{prefix}{'S' if not prefix else 's'}etNode", f"{prefix}{'G' if not prefix else 'g'}etNode"]
    other = node(8, "EmptyImage", outs="IMAGE:IMAGE", values=[8, 8, 1, 0])
    wrong = node(9, names[0], "IMAGE:IMAGE", "*:*", ["other"])
    right = node(10, names[0], "IMAGE:IMAGE", "*:*", ["mine"], **more)
    get = node(11, names[1], outs="IMAGE:IMAGE", values=["mine"])
    nodes, _ = between()
    return workflow([*nodes, other, wrong, right, get], [(8, 0, 9, 0), (1, 0, 10, 0), (11, 0, 3, 0)])


@pytest.mark.parametrize("prefix", ["", "easy "])
def test_image_that_is_set_and_got_by_name(prefix: str, info: Info):
    saved = set_and_get(prefix)
    assert source_of_the_saved_image(saved, info) == ["1", 0]
    assert to_api(saved, info).keys() == {"1", "3", "8"}


def test_connection_that_is_set_outside_a_subgraph_and_got_inside(info: Info):
    inner = [
        node(5, "GetNode", outs="IMAGE:IMAGE", values=["mine"]),
        node(6, "ImageInvert", "image:IMAGE", "IMAGE:IMAGE"),
    ]
    definition = subgraph("Invert", "", "IMAGE:IMAGE", inner, [(5, 0, 6, 0), (6, 0, OUTSIDE, 0)])
    nodes, _ = between()
    setter = node(9, "SetNode", "IMAGE:IMAGE", "*:*", ["mine"])
    saved = workflow([*nodes, instance(2, definition), setter], [(1, 0, 9, 0), (2, 0, 3, 0)], definition)
    prompt = to_api(saved, info)
    assert (prompt["3"]["inputs"]["images"], prompt["2:6"]["inputs"]["image"]) == (["2:6", 0], ["1", 0])


def test_name_that_nothing_sets(info: Info):
    saved = set_and_get()
    saved["nodes"][-1]["widgets_values"] = ["nobody"]
    assert source_of_the_saved_image(saved, info) is None


def test_output_of_a_setter_and_reroutes_of_a_pack(info: Info):
    setter = node(5, "SetNode", "IMAGE:IMAGE", "*:*", ["mine"])
    saved = workflow(*between(node(4, "Reroute (rgthree)", ":*", ":*"), setter))
    assert source_of_the_saved_image(saved, info) == ["1", 0]


def test_setter_that_is_muted_still_sets(info: Info):
    assert source_of_the_saved_image(set_and_get(mode=MUTED), info) == ["1", 0]
    assert source_of_the_saved_image(set_and_get(mode=BYPASSED), info) == ["1", 0]


def test_label_is_left_out_with_a_warning(info: Info, capsys: pytest.CaptureFixture[str]):
    nodes, wires = between()
    label = node(7, "Label (rgthree)", title="Read\x1b[2J me")
    muter = node(8, "Fast Muter (rgthree)", ":*", "OPT:*")
    saved = workflow([*nodes, label, muter], [*wires, (1, 0, 8, 0)])
    assert Workflow("mine", saved).prompt(info).keys() == {"1", "3"}
    assert capsys.readouterr().err.splitlines() == [
        "warning: Node 7 (Read\ufffd[2J me) is left out: the server has no node 'Label (rgthree)'.",
        "warning: Node 8 (Fast Muter (rgthree)) is left out: the server has no node 'Fast Muter (rgthree)'.",
    ]


def with_unknown(ins: str, outs: str) -> Saved:
    """An unknown node after the image, whose output nothing takes."""
    nodes, wires = between()
    return workflow([*nodes, node(7, "Image Save Pro", ins, outs)], [*wires, (1, 0, 7, 0)])


@pytest.mark.parametrize(
    "saved",
    [with_unknown("images:IMAGE", ""), workflow(*between(node(7, "Image Save Pro", "image:*", "IMAGE:IMAGE")))],
    ids=["may save something", "is needed"],
)
def test_unknown_node_that_may_matter_is_refused(saved: Saved, info: Info):
    with pytest.raises(QueueingError) as refused:
        Workflow("mine", saved).prompt(info)
    assert str(refused.value).startswith("The server has no node 'Image Save Pro'.")
    assert str(refused.value).endswith("choose Workflow → Export (API), and queue that file.")


def test_group_node_is_named(info: Info):
    saved = workflow(*between(node(7, "workflow>mine", "image:IMAGE", "IMAGE:IMAGE")))
    with pytest.raises(QueueingError, match=r"Node 7 \(workflow>mine\) is a group node, .* Export \(API\)"):
        Workflow("mine", saved).prompt(info)


def test_lists_are_wrapped_as_no_links(info: Info):
    blur = node(2, "ImageBlur", "image:IMAGE", "IMAGE:IMAGE", [["1", 0], 0.5])
    assert to_api(workflow(*between(blur)), info)["2"]["inputs"]["blur_radius"] == {"__value__": ["1", 0]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_encodings_and_the_body_of_a_request(encoding: str, wrapped: bool, tmp_path: Path):
    prompt = {"1": {"class_type": "LoadImage", "inputs": {"image": "猫.png"}}}
    path = tmp_path / "mine.json"
    content = {"client_id": "a", "prompt": prompt, "extra_data": {}} if wrapped else prompt
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert find(str(path)).saved == prompt


# Whole runs


def colored(path: Path, color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(path)


def write(saved: Saved, path: Path) -> str:
    path.write_text(json.dumps(saved))
    return path.name


def loading(name: str) -> Saved:
    nodes, wires = between()
    nodes[0]["widgets_values"] = [name, "image"]
    return workflow(nodes, wires)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("clipspace/clipspace-painted-masked-1.png [input]", "input/clipspace/clipspace-painted-masked-1.png"),
        ("deep/er/one.png", "input/deep/er/one.png"),
        ("made_00001_.png [output]", "output/made_00001_.png"),
        ("shown.png [temp]", "temp/temp/shown.png"),
    ],
)
def test_images_outside_the_input_folder(name: str, place: str, server: ComfyServer, start: Start, tmp_path: Path):
    colored(server.workdir / place, (10, 200, 30))
    file = write(loading(name), tmp_path / "mine.json")
    code, paths, stderr = finish(start(file, "--server", server.url))
    assert code == 0, stderr
    assert np.all(pixels(Path(paths[0])) == (10, 200, 30))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("clipspace/clipspace-painted-masked-2.png [input]", "ComfyUI's mask editor stored it on another server. "),
        ("gone/one.png", "Pass one with --image."),
    ],
)
def test_image_that_the_server_lacks(name: str, advice: str, server: ComfyServer, start: Start, tmp_path: Path):
    code, _, stderr = finish(start(write(loading(name), tmp_path / "mine.json"), "--server", server.url))
    assert code == 2
    assert f"Node 1 (Load Image): the server has no image '{name}'. {advice}" in stderr


def test_nodes_that_nothing_needs_may_lack_their_files(server: ComfyServer, start: Start, tmp_path: Path):
    colored(tmp_path / "mine.png", (250, 20, 30))
    file = write(leftovers(), tmp_path / "mine.json")
    code, paths, stderr = finish(start(file, "--image", "mine.png", "--server", server.url))
    assert code == 0, stderr
    assert np.all(pixels(Path(paths[0])) == (250, 20, 30))
    assert json.loads(Image.open(paths[0]).info["prompt"]).keys() == {"1", "3", "4", "5"}
