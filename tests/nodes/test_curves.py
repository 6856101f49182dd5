"""The curve of a distillation: whole in the node's output, and told to the page in parts while it grows."""

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


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {name: [value for part in parts for value in part[name]] for name in distillation.COLUMNS}
    return {**whole, "method": parts[0]["method"]}


def test_parts_come_seldom_and_make_up_the_whole(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    now = [0.0]
    monkeypatch.setattr(host, "send_event", lambda event, data: sent.append(data))
    monkeypatch.setattr(distillation.time, "monotonic", lambda: now[0])
    curve = distillation.Curve("sds", 10)
    for index in range(10):
        now[0] = 0.1 * index
        curve.add(step(index))
    assert [part["curve"]["step"] for part in sent] == [[0], [1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert joined([part["curve"] for part in sent]) == curve.data
    assert curve.data["loss"][0] == [2.0, 2.0] and all(part["steps"] == 10 for part in sent)


def test_a_curve_is_json_that_a_page_can_read():
    curve = distillation.Curve("sds", 1)
    curve.add(step(0, norm=3e38))
    assert json.loads(json.dumps(curve.data, allow_nan=False)) == curve.data


@pytest.mark.parametrize("workflow, runner", [("distil_text_to_image", "DSDistillationSampler")])
def test_a_server_tells_the_page_while_a_node_runs(workflow: str, runner: str, client: ComfyClient):
    prompt = json.loads((PROMPTS / f"{workflow}.json").read_text("utf-8"))
    (name,) = (key for key, node in prompt.items() if node["class_type"] == runner)
    prompt[name]["inputs"].update(steps=8, seed=4321)
    events = asyncio.run(events_of(client, prompt))
    told = [event["data"] for event in events if event["type"] == distillation.EVENT]
    (done,) = (e["data"] for e in events if e["type"] == "executed" and e["data"]["node"] == name)
    assert len(told) > 1 and {(part["node"], part["steps"]) for part in told} == {(name, 8)}
    assert joined([part["curve"] for part in told]) == done["output"]["distillation"][0]
    of_node = [event["type"] for event in events if event["data"].get("node") == name]
    assert of_node.index(distillation.EVENT) < of_node.index("executed")
