"""Distillation curves: sent to the page in parts during the run, and complete in the node's output."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
import torch
from comfy_client import ComfyClient
from devhost import CHECKOUT
from dreamsampler.guidance.distillation.loop import Step
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes import host
from dreamsampler.nodes.runs import distillation, thinning
from dreamsampler.nodes.runs.settings import used_settings
from support.node_texts import events_of

PROMPTS = CHECKOUT / "workflows" / "api"


def step(index: int, norm: float = 2.0) -> Step:
    one = torch.ones(2)
    return Step(index=index, z=one, t=0.25 * one, gradient_norm=norm * one)


def join(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {name: [value for part in parts for value in part[name]] for name in distillation.COLUMNS}
    return {**whole, "method": parts[0]["method"], "used": parts[0]["used"]}


def test_parts_are_rate_limited_and_add_up_to_the_curve(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    now = [0.0]
    monkeypatch.setattr(host, "send_event", lambda event, data: sent.append(data))
    monkeypatch.setattr(distillation.time, "monotonic", lambda: now[0])
    curve = distillation.Curve("sds", 10)
    for index in range(10):
        now[0] = 0.1 * index
        curve.add(step(index))
    assert [part["curve"]["step"] for part in sent] == [[0], [1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert join([part["curve"] for part in sent]) == curve.data
    assert curve.data["loss"][0] == [2.0, 2.0] and all(part["steps"] == 10 for part in sent)


def test_curve_is_valid_json():
    curve = distillation.Curve("sds", 1)
    curve.add(step(0, norm=3e38))
    assert json.loads(json.dumps(curve.data, allow_nan=False)) == curve.data


def test_a_short_curve_is_sent_whole():
    values = [float(n % 7) for n in range(thinning.MAX_POINTS)]
    assert thinning.thinned_places(values) == list(range(len(values)))


@pytest.mark.parametrize("count", [501, 502, 999, 1000, 12_345, 750_000])
def test_a_long_curve_keeps_its_ends_and_its_peaks_in_few_points(count: int):
    random = Random(count)
    values = [random.random() for _ in range(count)]
    peaks = random.sample(range(1, count - 1), 3)
    for place, value in zip(peaks, (9.0, -9.0, 8.0)):
        values[place] = value
    curve = {"method": "training", "step": list(range(count)), "loss": values}
    few = thinning.thinned(curve, "loss")
    assert len(few["step"]) == len(few["loss"]) <= thinning.MAX_POINTS
    assert few["step"][0] == 0 and few["step"][-1] == count - 1 and few["step"] == sorted(set(few["step"]))
    assert few["method"] == "training" and few["loss"] == [values[step] for step in few["step"]]
    assert {peaks[0], peaks[1]} <= set(few["step"]) and max(few["loss"]) == 9 and min(few["loss"]) == -9
    gaps = [after - before for before, after in zip(few["step"], few["step"][1:])]
    assert max(gaps) <= 2 * -(-count // 249)  # an extreme of every part
    assert len(json.dumps(few)) < 20_000


def test_the_output_of_a_long_distillation_is_small():
    curve = distillation.Curve("sds", 3000)
    for index in range(3000):
        curve.add(step(index, norm=1 + (index == 1234)))
    assert len(curve.data["step"]) == 3000
    assert all(len(curve.output[name]) <= 500 for name in distillation.COLUMNS)
    assert 1234 in curve.output["step"] and curve.output["step"][-1] == 2999
    assert curve.output["gradient_norm"][curve.output["step"].index(1234)] == [2.0, 2.0]


@pytest.mark.parametrize("workflow, node_type", [("distil_text_to_image", "DSDistillationSampler")])
def test_server_sends_the_curve_while_the_node_runs(workflow: str, node_type: str, client: ComfyClient):
    prompt = json.loads((PROMPTS / f"{workflow}.json").read_text("utf-8"))
    (name,) = (key for key, node in prompt.items() if node["class_type"] == node_type)
    prompt[name]["inputs"].update(steps=8, seed=4321)
    events = asyncio.run(events_of(client, prompt))
    parts = [event["data"] for event in events if event["type"] == distillation.EVENT]
    (done,) = (e["data"] for e in events if e["type"] == "executed" and e["data"]["node"] == name)
    assert len(parts) > 1 and {(part["node"], part["steps"]) for part in parts} == {(name, 8)}
    assert join([part["curve"] for part in parts]) == done["output"]["distillation"][0]
    of_node = [event["type"] for event in events if event["data"].get("node") == name]
    assert of_node.index(distillation.EVENT) < of_node.index("executed")


def test_settings_are_worded_with_the_values_of_the_paper():
    """SDS-Bridge's 2D experiments: learning rate 0.01, times 0.02 to 0.98, guidance 25, and 40 in the first half."""
    used = used_settings(METHODS["bridge"].config())
    assert used.startswith("learning rate 0.01, t 0.02 to 0.98, guidance scale 25, ")
    assert "sds guidance scale 40" in used and "optimizer adamw" in used and "noise policy fresh" in used
    assert "-1" not in used and "eta" not in used


def test_settings_without_effect_are_not_worded():
    config = METHODS["flowedit"].config()
    assert "n min" not in used_settings(config) and "n min 3" in used_settings(config.updated({"n_min": 3}))
    own = used_settings(config, {"sds_weight": 2.4}, descends=False)
    assert "learning rate" not in own and "optimizer" not in own and "sds weight 2.4" in own
    inverted = used_settings(METHODS["sdi"].config())
    assert "inversion guidance scale -7.5" in inverted and "eta 0" in inverted
