"""Subgraph blueprints: made from templates, offered by the host, and with the same results as the templates."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from blueprints import BLUEPRINTS, blueprint, text_of
from comfy_client import ComfyClient, Prompt
from devhost import CHECKOUT
from PIL import Image
from queueing.workflow import templates, to_api

FEW: dict[str, dict[str, Any]] = {
    "DSProximalDreamSampler": {"steps": 4},
    "KSampler": {"steps": 2},
    "EmptyLatentImage": {"width": 96, "height": 96},
    "DSSVGOptimizer": {"steps": 2, "paths": 4, "canvas_size": 96, "fit_steps": 2, "fit_groups": 1},
    "CheckpointLoaderSimple": {"ckpt_name": "dreamsampler_reference.safetensors"},
    "LoadImage": {"image": "blueprint.png"},
}
"""Settings that make the templates fast, and run on the reference model."""


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_files_are_made_from_the_templates(name: str):
    file = CHECKOUT / "subgraphs" / f"{name}.json"
    assert file.read_text("utf-8") == text_of(blueprint(name, BLUEPRINTS[name]))


def test_the_host_offers_them(client: ComfyClient):
    offered = client._json("/global_subgraphs")  # noqa: SLF001
    ours = {each["name"] for each in offered.values() if each["source"] == "custom_node"}
    assert ours == set(BLUEPRINTS) == {file.stem for file in (CHECKOUT / "subgraphs").glob("*")}


def used(name: str) -> dict[str, Any]:
    """A workflow with the blueprint, between the nodes of its template that it leaves out."""
    about, inner = BLUEPRINTS[name], blueprint(name, BLUEPRINTS[name])
    template = json.loads(templates()[about.template].read_text("utf-8"))
    (instance,), (definition,) = inner["nodes"], inner["definitions"]["subgraphs"]
    within = {each["id"] for each in definition["nodes"]}
    outer = [each for each in template["nodes"] if each["id"] not in within]
    instance = {**instance, "id": 100}
    names = [each["name"] for each in definition["inputs"]]
    links, made = [], 0
    for _, origin, output, target, slot, kind in template["links"]:
        made += 1
        if origin in within and target in within:
            continue
        if origin in within:
            instance["outputs"][0]["links"].append(made)
            next(each for each in outer if each["id"] == target)["inputs"][slot]["link"] = made
            links.append([made, 100, 0, target, slot, kind])
            continue
        source = next(each for each in outer if each["id"] == origin)["outputs"][output]
        index = names.index(source["name"].lower())
        if instance["inputs"][index]["link"] is None:
            instance["inputs"][index]["link"] = made
            links.append([made, origin, output, 100, index, kind])
        source["links"] = [link[0] for link in links if link[1:3] == [origin, output]]
    return {**template, "nodes": [*outer, instance], "links": links, "definitions": inner["definitions"]}


def fast(prompt: Prompt) -> Prompt:
    for each in prompt.values():
        each["inputs"] |= FEW.get(each["class_type"], {})
    return prompt


def result(client: ComfyClient, prompt: Prompt) -> bytes:
    ran = client.run(fast(prompt))
    (saved,) = (file for file in ran.files() if file.kind == "output")
    content = client.fetch(saved)
    return (
        content
        if saved.filename.endswith(".svg")
        else np.asarray(Image.open(BytesIO(content)).convert("RGB")).tobytes()
    )


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_they_give_what_the_template_gives(name: str, client: ComfyClient):
    image = Image.open(CHECKOUT / "tools" / "assets" / "sample.png").convert("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[30:60, 20:70] = 0  # a hole to inpaint
    image.putalpha(Image.fromarray(alpha))
    file = BytesIO()
    image.save(file, "png")
    client.upload("blueprint.png", file.getvalue())
    template = json.loads(templates()[BLUEPRINTS[name].template].read_text("utf-8"))
    expected, given = (to_api(each, client.object_info()) for each in (template, used(name)))
    assert any(":" in node for node in given) and not any(":" in node for node in expected)
    assert result(client, given) == result(client, expected)
