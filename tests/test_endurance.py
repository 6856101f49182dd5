"""`python -m benchmarks.endurance`: its random graphs and how it judges their ends, on a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comfy_client import ComfyClient

from benchmarks import endurance


def graphs(client: ComfyClient, seed: int, count: int = 80) -> list[endurance.Graph]:
    maker = endurance.Maker(client.object_info(), seed)
    return [maker.graph() for _ in range(count)]


def test_a_seed_makes_the_same_graphs_again(client: ComfyClient):
    first, again, other = (json.dumps([vars(graph) for graph in graphs(client, seed)]) for seed in (1, 1, 2))
    assert first == again != other


def test_graphs_are_of_every_kind_and_reach_every_template_and_node(client: ComfyClient):
    made = graphs(client, 3, 200)
    assert {graph.kind for graph in made} == set(endurance.KINDS)
    assert {graph.template for graph in made} == {path.stem for path in endurance.TEMPLATES.glob("*.json")}
    assert all((graph.cancel_after is not None) == (graph.kind == "canceled") for graph in made)
    ours = {name for name in client.object_info() if name.startswith("DS")}
    used = {node["class_type"] for graph in made for node in graph.prompt.values()}
    assert len(ours & used) >= len(ours) - 4  # a few nodes are in no template
    whole = [node for graph in made if graph.kind != "broken" for node in graph.prompt.values()]
    steps = [node["inputs"].get("steps", 0) for node in whole if node["class_type"].startswith("DS")]
    assert 0 <= min(steps) and max(steps) <= endurance.LARGEST["steps"]


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


def test_a_short_soak_counts_every_run(tmp_path: Path):
    result = endurance.soak(tmp_path / "work", runs=4, seed=5)
    assert sum(sum(counts.values()) for counts in result.counts.values()) == len(result.memory) == 4
    assert len(result.canaries) == 2 and len(set(result.canaries)) == 1 and not result.unexpected
    found = json.loads(endurance.write(tmp_path / "endurance.json", result, 5).path.read_text("utf-8"))
    assert found["seed"] == 5 and found["canary"] == {"runs": 2, "different images": 1}
    assert sum(row["count"] for name, row in found["provenance"]["tables"]["runs"]["rows"].items()
               if name in endurance.KINDS) == 4  # fmt: skip
