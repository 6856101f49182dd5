"""`python -m benchmarks.endurance`: its random graphs and how it judges their ends, on a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comfy_client import ComfyClient, ExecutionFailed, Prompt, PromptRefused
from comfy_server import ComfyServer

from benchmarks import endurance, endurance_graphs


def graphs(client: ComfyClient, seed: int, count: int = 80) -> list[endurance_graphs.Graph]:
    maker = endurance_graphs.Maker(client.object_info(), seed)
    return [maker.graph() for _ in range(count)]


def test_a_seed_makes_the_same_graphs_again(client: ComfyClient):
    first, again, other = (json.dumps([vars(graph) for graph in graphs(client, seed)]) for seed in (1, 1, 2))
    assert first == again != other


def test_graphs_are_of_every_kind_and_reach_every_template_and_node(client: ComfyClient):
    made = graphs(client, 3, 200)
    assert {graph.kind for graph in made} == set(endurance_graphs.KINDS)
    assert {graph.template for graph in made} == {path.stem for path in endurance_graphs.TEMPLATES.glob("*.json")}
    assert all((graph.cancel_after is not None) == (graph.kind == "canceled") for graph in made)
    ours = {name for name in client.object_info() if name.startswith("DS")}
    used = {node["class_type"] for graph in made for node in graph.prompt.values()}
    assert len(ours & used) >= len(ours) - 4  # a few nodes are in no template
    whole = [node for graph in made if graph.kind != "broken" for node in graph.prompt.values()]
    steps = [node["inputs"].get("steps", 0) for node in whole if node["class_type"].startswith("DS")]
    assert 0 <= min(steps) and max(steps) <= endurance_graphs.LARGEST["steps"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("guidance_scale is 0, and 'lmc' divides by it: set it above 0.", True),
        ("The image is empty: connect another.", True),
        ("shape '[1, 4]' is invalid for input of size 3", False),
        ("'NoneType' object has no attribute 'shape'", False),
        ("Traceback (most recent call last): it broke here.", False),
        ("Stop.", False),
    ],
)
def test_errors_of_the_pack_are_sentences(message: str, expected: bool):
    assert endurance.is_sentence(message) == expected


def test_what_nodes_of_the_pack_say_is_found_in_a_refusal():
    prompt = {"1": {"class_type": "DSLoadSVG"}, "2": {"class_type": "LoadImage"}, "3": {"class_type": "DSLoadSplat"}}
    custom = "Custom validation failed for node"
    message = (
        f"ComfyUI refused the prompt: node 1 (Load SVG): {custom} (file - There is no file 'a (b).svg'.); node 1 (Load "
        f"SVG): Value not in list (file: 'x' not in []); node 2 (Load Image): {custom} (image - No image: y); "
        f"node 3 (Load Splat): {custom} (file - bad)"
    )
    assert endurance.refusals_of_ours(message, prompt) == ["There is no file 'a (b).svg'.", "bad"]


def test_what_the_server_says_for_a_node_of_the_pack_is_judged(server: ComfyServer, tmp_path: Path):
    (tmp_path / "bad.svg").write_text("<svg", "utf-8")
    bad = server.client.upload_image(tmp_path / "bad.svg")
    with pytest.raises(ExecutionFailed) as failure:
        server.client.run(drawing(bad))
    assert endurance.is_of_ours(failure.value)
    assert any(Path(failure.value.file).resolve().is_relative_to(room) for room in endurance.ROOMS)
    with pytest.raises(PromptRefused) as refusal:
        server.client.run(drawing("other.svg"))
    (said,) = set(endurance.refusals_of_ours(str(refusal.value), drawing("other.svg")))  # once for each hidden input
    # other tests upload files to this server, and one of them may be suggested
    assert said.startswith("ComfyUI's input folder has no file 'other.svg': upload it, or choose another.")


def drawing(file: str) -> Prompt:
    """A graph that loads an SVG file and saves it."""
    return {
        "1": {"class_type": "DSLoadSVG", "inputs": {"file": file}},
        "2": {"class_type": "SaveSVGNode", "inputs": {"svg": ["1", 0], "filename_prefix": "drawing"}},
    }


@pytest.mark.parametrize(
    ("node", "file", "expected"),
    [
        ("DSMeasurement", "/torch/functional.py", True),
        ("KSampler", str(endurance.CHECKOUT / "nodes" / "host" / "sampling.py"), True),
        ("KSampler", str(endurance.CHECKOUT / ".host" / "ComfyUI" / "nodes.py"), False),
        ("LoadImage", "", False),
    ],
)
def test_errors_of_the_pack_are_those_of_its_nodes_and_of_its_code(node: str, file: str, expected: bool):
    assert endurance.is_of_ours(ExecutionFailed("1", node, "It broke.", file)) == expected


def test_a_run_that_ends_before_it_is_canceled_is_one_of_those_allowed():
    soak = endurance.Soak()
    graph = endurance_graphs.Graph("canceled", "edit", {}, 3)
    for number, end in enumerate(["canceled", "done", "told", "does not end"]):
        soak.note(number, graph, end, "It says why." * (end == "told"))
    assert soak.counts["canceled"] == {"canceled": 1, "does not end": 1}
    assert soak.counts["allowed"] == {"done": 1, "told": 1}
    assert soak.messages["allowed"] == {"told": {"It says why."}} and len(soak.unexpected) == 1


def test_a_short_soak_counts_every_run(tmp_path: Path):
    result = endurance.soak(tmp_path / "work", runs=4, seed=5)
    assert sum(sum(counts.values()) for counts in result.counts.values()) == len(result.memory) == 4
    assert len(result.canaries) == 2 and len(set(result.canaries)) == 1 and not result.unexpected
    found = json.loads(endurance.write(tmp_path / "endurance.json", result, 5).path.read_text("utf-8"))
    assert found["seed"] == 5 and found["canary"] == {"runs": 2, "different images": 1}
    assert sum(row["count"] for name, row in found["provenance"]["tables"]["runs"]["rows"].items()
               if name in endurance_graphs.KINDS) == 4  # fmt: skip
