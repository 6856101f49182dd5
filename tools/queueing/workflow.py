"""Workflow files: finding them, and the prompt that the front end would queue for them.

The front end saves a workflow in UI format, with places and colours; servers run prompts, in API format. The two
differ in what a node is connected to (reroutes, muted and bypassed nodes) and in that UI format has values by position.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_client import Prompt

from .definitions import Input, ObjectInfo, inputs_of
from .errors import QueueingError, nearest

TEMPLATES = Path(__file__).resolve().parents[2] / "workflows"

_NOTES = ("Note", "MarkdownNote")
_REROUTE, _PRIMITIVE = "Reroute", "PrimitiveNode"
_MUTED, _BYPASSED = 2, 4
_EXPORT = "Open it in ComfyUI, choose Workflow → Export (API), and queue that file."


@dataclass(frozen=True)
class Workflow:
    """A workflow file as it was read: ``saved`` is in UI or API format."""

    name: str
    saved: dict[str, Any]

    @property
    def downloads(self) -> dict[str, str]:
        """Where the model files that the workflow names can be had, by file name."""
        models = [
            model for node in self.saved.get("nodes", []) for model in node.get("properties", {}).get("models", [])
        ]
        return {model["name"]: model["url"] for model in models}

    def prompt(self, info: ObjectInfo) -> Prompt:
        """What to queue on a server with these nodes. Raises QueueingError for what it does not have."""
        if "nodes" not in self.saved:
            return self.saved
        try:
            return to_api(self.saved, info)
        except (LookupError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise QueueingError(f"The workflow is damaged or of an unknown version ({what}). {_EXPORT}") from error


def find(name: str) -> Workflow:
    """The template of this name, or the workflow file at this path."""
    templates = {path.stem: path for path in TEMPLATES.glob("*.json")}
    path = templates.get(name, Path(name))
    if not path.is_file():
        raise QueueingError(f"There is no template or workflow file '{name}'.{nearest(name, templates)}")
    try:
        saved = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise QueueingError(f"{path} is not a workflow: it cannot be read as JSON ({error}).") from error
    if not _is_workflow(saved):
        raise QueueingError(f"{path} is not a workflow of ComfyUI, neither in UI nor in API format.")
    return Workflow(path.stem, saved)


def _is_workflow(saved: Any) -> bool:
    if not isinstance(saved, dict) or not saved:
        return False
    if isinstance(saved.get("nodes"), list):
        return isinstance(saved.get("links"), list)
    nodes = saved.values()
    return all(
        isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict) for node in nodes
    )


def to_api(saved: dict[str, Any], info: ObjectInfo) -> Prompt:
    """The prompt of a workflow in UI format 0.4, by the node definitions of the server."""
    graph = _Graph(saved)
    return {
        str(node["id"]): {
            "class_type": node["type"],
            "inputs": _widgets(node, inputs_of(info, node["type"])) | dict(graph.linked(node)),
            "_meta": {"title": node.get("title") or info[node["type"]].get("display_name") or node["type"]},
        }
        for node in graph.running()
    }


class _Graph:
    """Who is connected to whom, once everything that only the front end knows is taken out."""

    def __init__(self, saved: dict[str, Any]):
        if saved.get("definitions", {}).get("subgraphs"):
            raise QueueingError(f"The workflow has subgraphs, which only ComfyUI's own page takes apart. {_EXPORT}")
        self._nodes = {node["id"]: node for node in saved["nodes"]}
        self._origins = {link[0]: (link[1], link[2]) for link in saved["links"]}

    def running(self) -> Iterator[dict[str, Any]]:
        """The nodes that the server has to run."""
        for node in self._nodes.values():
            only_here = node["type"] in (*_NOTES, _REROUTE, _PRIMITIVE)
            if not only_here and node.get("mode", 0) not in (_MUTED, _BYPASSED):
                yield node

    def linked(self, node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """What a node's connected inputs get: the output of a running node, or the value of a primitive one."""
        for slot in node.get("inputs", []):
            found = self._origin(slot.get("link"))
            if found:
                yield slot["name"], found[0]

    def _origin(self, link: int | None) -> tuple[Any] | None:
        """Follow a link back, through reroutes and bypassed nodes, to what it brings; None if that is nothing."""
        while link is not None:
            node_id, output = self._origins[link]
            node = self._nodes[node_id]
            if node["type"] == _PRIMITIVE:
                return (node["widgets_values"][0],)
            if node["type"] != _REROUTE and node.get("mode", 0) != _BYPASSED:
                return None if node.get("mode", 0) == _MUTED else ([str(node_id), output],)
            link = _passed_through(node, output)
        return None


def _passed_through(node: dict[str, Any], output: int) -> int | None:
    """The link that a reroute or a bypassed node hands on: of the input in the output's place or the first, by type."""
    inputs = node.get("inputs", [])
    if node["type"] == _REROUTE:
        return inputs[0].get("link")
    kind = node["outputs"][output]["type"]
    candidates = [*inputs[output : output + 1], *inputs]
    return next((slot.get("link") for slot in candidates if slot["type"] == kind), None)


def _widgets(node: dict[str, Any], inputs: dict[str, Input]) -> dict[str, Any]:
    """The values of a node's widgets by name. Those added to the node after the workflow was saved have defaults."""
    widgets = [each for each in inputs.values() if each.is_widget]
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        return {each.name: saved.get(each.name, each.default) for each in widgets}
    values = iter(saved)
    named = {}
    for each in widgets:
        named[each.name] = next(values, each.default)
        if each.has_companion:
            next(values, None)
    if list(values):
        raise QueueingError(
            f"Node {node['id']} ({node['type']}) has {len(saved)} values, more than the server's node takes: "
            f"one of the two is of another version. {_EXPORT}"
        )
    return named
