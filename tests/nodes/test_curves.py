"""Distillation curves: sent to the page in parts during the run, and complete in the node's output."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from comfy_client import ComfyClient
from devhost import CHECKOUT
from dreamsampler.guidance.distillation.loop import Step
from dreamsampler.nodes import host
from dreamsampler.nodes.runs import distillation
from support.node_texts import events_of

PROMPTS = CHECKOUT / "workflows" / "api"


def step(index: int, norm: float = 2.0) -> Step:
    one = torch.ones(2)
    return Step(index=index, z=one, t=0.25 * one, gradient_norm=norm * one)


def join(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {name: [value for part in parts for value in part[name]] for name in distillation.COLUMNS}
    return {**whole, "method": parts[0]["method"]}


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
