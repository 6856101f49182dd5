"""The graphs of `endurance`: templates with random settings, some of them broken on purpose."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tools.reference import world

from .provenance import CHECKOUT

sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import Prompt  # noqa: E402

TEMPLATES = CHECKOUT / "workflows" / "api"
KINDS = {"allowed": 5, "broken": 3, "canceled": 2}
"""Kinds of runs, and how often each comes. One to be canceled may end first."""
LARGEST: Mapping[str, int] = {
    "steps": 6, "fit_steps": 6, "ode_steps": 3, "paths": 8, "canvas_size": 96, "width": 8, "levels": 3, "batch_size": 2,
    "patch_size": 96, "kernel_size": 31, "lora_rank": 4, "inversion_steps": 4, "splats": 100, "render_size": 96,
    "views": 2, "frames": 3,
}  # fmt: skip
"""The largest values of settings that decide how long a run takes; other whole numbers are at most 64."""
TEXTS = (
    "a blue heart", "", " ", "\n", "a (red:1.3) star", "very detailed " * 400, "(" * 3000, "(" * 300 + "a" + ")" * 300,
    "a, " * 9000, "\0", "\ud83d\ude00 \u732b", "embedding:nothing", "a cat\\", ":::", "BREAK AND OR {a|b}",
)  # fmt: skip
DRAWINGS = {
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><rect width="96" height="96" '
    'fill="#f4f4f4"/><circle cx="48" cy="48" r="28" fill="#d22" stroke="#22d" stroke-width="4"/></svg>',
    "empty.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "broken.svg": "<svg",
}


SCENES = [f"scene_{n}.png" for n in range(4)]
ODD = ["odd_97x61.png", "odd_8x8.png", "odd_1x1.png", "odd_200x40.png"]


def images() -> dict[str, Image.Image]:
    """Images to load: scenes that the model knows, one with a hole, and some of odd sizes."""
    rng = Random(0)
    scenes = [(world.render(world.sample_scene(rng, clean=True)) * 255).astype(np.uint8) for _ in range(4)]
    made = {f"scene_{n}.png": Image.fromarray(scene) for n, scene in enumerate(scenes)}
    hole = made["scene_0.png"].convert("RGBA")
    hole.paste((0, 0, 0, 0), (24, 24, 72, 72))
    odd = {f"odd_{w}x{h}.png": made["scene_1.png"].resize((w, h)) for w, h in ((97, 61), (8, 8), (1, 1), (200, 40))}
    return {**made, "hole.png": hole, **odd}


@dataclass(frozen=True)
class Graph:
    """A graph to run. `cancel_after` is the number of progress events before it is canceled, None to let it end."""

    kind: str
    template: str
    prompt: Prompt
    cancel_after: int | None = None


@dataclass(frozen=True)
class Setting:
    """An input of a node in a graph that is not connected, and its definition by the server."""

    node_id: str
    name: str
    kind: str
    limits: Mapping[str, Any]


class Maker:
    """Makes random graphs from templates and the server's definitions of nodes."""

    def __init__(self, definitions: Mapping[str, Any], seed: int):
        self.definitions, self.rng = definitions, Random(seed)
        self.templates = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(TEMPLATES.glob("*.json"))}

    def graph(self) -> Graph:
        """The next graph."""
        rng = self.rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        template = rng.choice(list(self.templates))
        prompt = self.filled(template)
        settings = self.settings(prompt)
        for setting in rng.sample(settings, min(len(settings), rng.randrange(5))):
            prompt[setting.node_id]["inputs"][setting.name] = self.value(setting)
        if kind == "broken":
            rng.choice(BREAKS)(self, prompt)
        return Graph(kind, template, prompt, rng.randrange(1, 5) if kind == "canceled" else None)

    def filled(self, template: str) -> Prompt:
        """A template with images to load, and with small numbers of steps."""
        prompt = copy.deepcopy(self.templates[template])
        for node in prompt.values():
            inputs = node["inputs"]
            if node["class_type"] == "LoadImage":
                inputs["image"] = "hole.png" if "hole" in str(node.get("_meta")).lower() else self.rng.choice(SCENES)
            elif node["class_type"] == "DSLoadSVG":
                inputs["file"] = "drawing.svg"
            elif node["class_type"] == "LoadImageDataSetFromFolder":
                inputs["folder"] = "folder"
            elif node["class_type"] == "DSLoadPosedViews":
                inputs["folder"] = "views"
            elif node["class_type"] == "DSLoadSplat":
                inputs["file"] = "ball.ply"
        for setting in self.settings(prompt):
            if setting.name in LARGEST and setting.kind == "INT":
                inputs = prompt[setting.node_id]["inputs"]
                inputs[setting.name] = _affordable(setting.name, inputs[setting.name])
        return prompt

    def settings(self, prompt: Prompt) -> list[Setting]:
        """The settings of the pack's nodes, and the texts of all prompts."""
        found = []
        for node_id, node in prompt.items():
            for name, (kind, *limits) in self.inputs(node["class_type"]).items():
                ours = node["class_type"].startswith(("DS", "CLIPTextEncode"))
                if ours and name in node["inputs"] and not isinstance(node["inputs"][name], list):
                    options = {"options": kind} if isinstance(kind, list) else {}
                    word = "COMBO" if isinstance(kind, list) else kind
                    found.append(Setting(node_id, name, word, {**(limits[0] if limits else {}), **options}))
        return found

    def inputs(self, class_type: str) -> dict[str, Any]:
        """The definitions of a node's inputs by name."""
        groups = self.definitions.get(class_type, {}).get("input", {})
        return {**groups.get("required", {}), **groups.get("optional", {})}

    def value(self, setting: Setting) -> Any:
        """A random value that the node allows."""
        rng, limits = self.rng, setting.limits
        if setting.kind == "COMBO":
            return rng.choice(limits.get("options") or [""])
        if setting.kind == "BOOLEAN":
            return rng.random() < 0.5
        if setting.kind == "STRING":
            return rng.choice(TEXTS)
        low, high = limits.get("min", 0), limits.get("max", 64)
        if setting.kind == "INT":
            if setting.name == "seed":
                return rng.randrange(2**63)
            high = max(low, min(high, LARGEST.get(setting.name, 64)))
            step = limits.get("step", 1)
            return _affordable(setting.name, low + step * rng.randrange((high - low) // step + 1))
        default = limits.get("default", low)
        return rng.choice([low, high, default, rng.uniform(low, min(high, 4 * abs(default) + 1))])


def _affordable(name: str, value: int) -> int:
    """A setting that takes little time. A negative one is the method's own, which can be a thousand steps."""
    if name not in LARGEST:
        return value
    return min(value, LARGEST[name]) if value >= 0 else LARGEST[name]


def _out_of_range(maker: Maker, prompt: Prompt) -> None:
    numbers = [each for each in maker.settings(prompt) if each.kind in ("INT", "FLOAT") and "max" in each.limits]
    for each in maker.rng.sample(numbers, min(1, len(numbers))):
        wrong = [each.limits["max"] + 1, each.limits.get("min", 0) - 1, float("nan"), float("inf"), "many", None]
        prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(wrong)


def _unknown_choice(maker: Maker, prompt: Prompt) -> None:
    choices = [each for each in maker.settings(prompt) if each.kind == "COMBO"]
    for each in maker.rng.sample(choices, min(1, len(choices))):
        prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(["nothing", "", "../x", "x" * 300, 7])


def _missing_input(maker: Maker, prompt: Prompt) -> None:
    node = prompt[maker.rng.choice([key for key, node in prompt.items() if node["inputs"]])]
    del node["inputs"][maker.rng.choice(list(node["inputs"]))]


def _wrong_link(maker: Maker, prompt: Prompt) -> None:
    links = [(key, name) for key, node in prompt.items() for name, value in node["inputs"].items()
             if isinstance(value, list) and node["class_type"].startswith("DS")]  # fmt: skip
    for key, name in maker.rng.sample(links, min(1, len(links))):
        prompt[key]["inputs"][name] = [maker.rng.choice(list(prompt)), maker.rng.randrange(3)]


def _odd_image(maker: Maker, prompt: Prompt) -> None:
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = maker.rng.choice(ODD)
        elif node["class_type"] == "DSLoadSVG":
            node["inputs"]["file"] = maker.rng.choice(["empty.svg", "broken.svg", "missing.svg"])
        elif node["class_type"] == "DSLoadSplat":
            node["inputs"]["file"] = maker.rng.choice(["empty.svg", "missing.ply"])
        elif node["class_type"] == "DSLoadPosedViews":
            node["inputs"]["folder"] = maker.rng.choice(["folder", "missing", "../views"])


def _odd_texts(maker: Maker, prompt: Prompt) -> None:
    for each in maker.settings(prompt):
        if each.kind == "STRING":
            prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(TEXTS)


BREAKS: Sequence[Callable[[Maker, Prompt], None]] = (
    _out_of_range, _unknown_choice, _missing_input, _wrong_link, _odd_image, _odd_texts,
)  # fmt: skip
