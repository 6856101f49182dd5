"""Make the subgraph blueprints in `subgraphs/` from templates in `workflows/`.

    python tools/blueprints.py

ComfyUI offers every file in `subgraphs/` in its node library, as one node to use in any workflow. A blueprint is its
template without the loaders, the Save node and the note: what these were linked to become its inputs and outputs.
Run this again after a template changes; a test compares.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queueing.workflow import templates

CHECKOUT = Path(__file__).resolve().parents[1]
Saved = dict[str, Any]

INPUTS, OUTPUTS = -10, -20
"""What the page calls the two ends of a subgraph."""
LEFT_OUT = {"CheckpointLoaderSimple", "LoadImage", "SaveImage", "SaveSVGNode", "MarkdownNote"}


@dataclass(frozen=True)
class Blueprint:
    """A subgraph to make from `template`.

    `more` are inputs besides those that the nodes in `LEFT_OUT` were linked to, by name: the node's title or type in
    the template, and its input.
    """

    template: str
    description: str
    aliases: Sequence[str]
    more: Mapping[str, tuple[str, str]]


BLUEPRINTS = {
    "DreamSampler Edit Image": Blueprint(
        "edit",
        "Edits an image by prompt and keeps the rest. The prompt names only what changes; a mask limits the change.",
        ("img2img edit", "image edit", "prompt edit", "inversion"),
        {
            "mask": ("DSProximalDreamSampler", "mask"),
            "prompt": ("Target prompt", "text"),
            "gamma": ("DSProximalDreamSampler", "gamma"),
            "steps": ("DSProximalDreamSampler", "steps"),
            "skip": ("DSProximalDreamSampler", "skip"),
        },
    ),
    "DreamSampler Inpaint": Blueprint(
        "inpaint",
        "Fills the masked part of an image by prompt. Every other pixel stays exactly as it is.",
        ("inpaint", "fill", "remove object", "DPS"),
        {
            "prompt": ("Prompt for the hole", "text"),
            "gamma": ("DSProximalDreamSampler", "gamma"),
            "steps": ("DSProximalDreamSampler", "steps"),
            "seed": ("DSProximalDreamSampler", "seed"),
        },
    ),
    "DreamSampler Text to SVG": Blueprint(
        "text_to_svg",
        "Draws an SVG from a prompt: samples an image, traces it with paths, and refines the paths with the prompt.",
        ("text to svg", "vectorize", "icon", "vector graphics"),
        {
            "prompt": ("What to draw, and its style", "text"),
            "paths": ("DSSVGOptimizer", "paths"),
            "steps": ("DSSVGOptimizer", "steps"),
            "seed": ("DSSVGOptimizer", "seed"),
        },
    ),
}


def blueprint(name: str, about: Blueprint) -> Saved:
    """The blueprint's workflow: one node, which is an instance of the subgraph."""
    template = json.loads(templates()[about.template].read_text("utf-8"))
    definition = _Subgraph(name, about, template).definition()
    widgets = [each.pop("of") for each in definition["inputs"] if "of" in each]
    slots = [
        {key: each[key] for key in ("name", "type", "label", "widget") if key in each} for each in definition["inputs"]
    ]
    for each in definition["inputs"]:
        each.pop("widget", None)
    instance = {
        **{"id": 1, "type": definition["id"], "pos": [0, 0], "size": [320, 340], "flags": {}, "order": 0, "mode": 0},
        "inputs": [{**each, "link": None} for each in slots],
        "outputs": [{"name": each["name"], "type": each["type"], "links": []} for each in definition["outputs"]],
        "properties": {"proxyWidgets": widgets},
        "widgets_values": [],
        "title": name,
    }
    extra = {"BlueprintDescription": about.description, "BlueprintSearchAliases": list(about.aliases)}
    return {
        **{"id": definition["id"], "revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [instance]},
        **{"links": [], "groups": [], "definitions": {"subgraphs": [definition]}, "config": {}, "extra": extra},
        "version": 0.4,
    }


class _Subgraph:
    def __init__(self, name: str, about: Blueprint, template: Saved):
        self.name, self.about = name, about
        self.nodes: dict[int, Saved] = {each["id"]: each for each in template["nodes"] if each["type"] not in LEFT_OUT}
        self.left_out: dict[int, Saved] = {each["id"]: each for each in template["nodes"] if each["type"] in LEFT_OUT}
        self.inputs: list[Saved] = []
        self.outputs: list[Saved] = []
        self.links: list[Saved] = []
        self.last_link = template["last_link_id"]
        for link in template["links"]:
            self._add(*link)
        for label, (node, slot) in about.more.items():
            self._expose(label, node, slot)

    def _add(self, number: int, origin: int, output: int, target: int, slot: int, kind: str) -> None:
        """Take over a link of the template; ends on nodes that are left out become inputs and outputs."""
        if origin in self.left_out:
            output, origin = self._input(self.left_out[origin]["outputs"][output]["name"].lower(), kind, number), INPUTS
        if target in self.left_out:
            self.outputs.append(self._slot("outputs", len(self.outputs), kind, kind, number))
            target, slot = OUTPUTS, len(self.outputs) - 1
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        self.links.append(dict(zip(names, (number, origin, output, target, slot, kind), strict=True)))

    def _input(self, name: str, kind: str, number: int) -> int:
        """The position of an input, which is new if there is none of this name."""
        for index, each in enumerate(self.inputs):
            if each["name"] == name:
                each["linkIds"].append(number)
                return index
        self.inputs.append(self._slot("inputs", len(self.inputs), name, kind, number))
        return len(self.inputs) - 1

    def _slot(self, side: str, index: int, name: str, kind: str, number: int) -> Saved:
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name} {side} {index}"))
        return {"id": identity, "name": name, "type": kind, "linkIds": [number]}

    def _expose(self, label: str, of: str, name: str) -> None:
        """Make an input of a node, or one of its widgets, an input of the subgraph."""
        (node,) = (each for each in self.nodes.values() if of in (each["type"], each.get("title")))
        self.last_link += 1
        number, slots = self.last_link, node["inputs"]
        found = next((index for index, each in enumerate(slots) if each["name"] == name), None)
        if found is None:
            kind = {"text": "STRING", "gamma": "FLOAT"}.get(name, "INT")
            slots.append({"name": name, "type": kind, "widget": {"name": name}})
            found = len(slots) - 1
        slot = slots[found]
        slot["link"] = number
        index = self._input(name, slot["type"], number)
        if "widget" in slot:
            self.inputs[index] |= {"widget": {"name": name}, "of": [str(node["id"]), name]}
        if label != name:
            self.inputs[index]["label"] = label
        self._add_link(number, index, node["id"], found, slot["type"])

    def _add_link(self, number: int, index: int, target: int, slot: int, kind: str) -> None:
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        self.links.append(dict(zip(names, (number, INPUTS, index, target, slot, kind), strict=True)))

    def definition(self) -> Saved:
        left = min(each["pos"][0] for each in self.nodes.values())
        right = max(each["pos"][0] + each["size"][0] for each in self.nodes.values())
        last = {"lastGroupId": 0, "lastNodeId": max(self.nodes), "lastLinkId": self.last_link, "lastRerouteId": 0}
        return {
            **{"id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)), "version": 1, "state": last, "revision": 0},
            **{"config": {}, "name": self.name},
            "inputNode": {"id": INPUTS, "bounding": [left - 200, 140, 120, 40 + 20 * len(self.inputs)]},
            "outputNode": {"id": OUTPUTS, "bounding": [right + 80, 140, 120, 40 + 20 * len(self.outputs)]},
            **{"inputs": self.inputs, "outputs": self.outputs, "widgets": [], "nodes": list(self.nodes.values())},
            **{"groups": [], "links": self.links, "extra": {}},
            **{"category": "DreamSampler", "description": self.about.description},
        }


def text_of(saved: Saved) -> str:
    """The content of a blueprint's file."""
    return json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, about in BLUEPRINTS.items():
        path = CHECKOUT / "subgraphs" / f"{file}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text_of(blueprint(file, about)), "utf-8")
