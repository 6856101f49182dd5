"""Finds workflow files and converts them to the prompt that the front end would queue.

The front end saves workflows in UI format, with positions and colors; servers run prompts in API format. The formats
store connections differently (see `graph`), and UI format stores values by position instead of by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_client import Prompt

from .definitions import Input, ObjectInfo, inputs_of
from .errors import QueueingError, nearest
from .graph import Graph, Running
from .saved import Saved, all_nodes, subgraphs_of

TEMPLATES = Path(__file__).resolve().parents[2] / "workflows"

_SUBGRAPH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The node type of a subgraph instance."""
_EXPORT = "Open it in ComfyUI, choose Workflow → Export (API), and queue that file."


@dataclass(frozen=True)
class Workflow:
    """A workflow file. ``saved`` is its content, in UI or API format."""

    name: str
    saved: Saved

    @property
    def downloads(self) -> dict[str, str]:
        """The download URLs of the model files listed in the workflow, by file name."""
        with _damage_explained():
            models = [model for node in all_nodes(self.saved) for model in node.get("properties", {}).get("models", [])]
            return {model["name"]: model["url"] for model in models if "url" in model}

    def prompt(self, info: ObjectInfo) -> Prompt:
        """The prompt for a server with these node definitions. Raises QueueingError for a node that it lacks."""
        if "nodes" not in self.saved:
            return self.saved
        with _damage_explained():
            return to_api(self.saved, info)


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Turn errors caused by an unexpected file structure into QueueingError."""
    try:
        yield
    except RecursionError as error:
        raise QueueingError(
            "The workflow connects reroutes or bypassed nodes in a loop. Remove the loop in ComfyUI."
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise QueueingError(f"The workflow is damaged or its version is unknown ({problem}). {_EXPORT}") from error


def find(name: str) -> Workflow:
    """The template of this name, or the workflow file at this path."""
    templates = {path.stem: path for path in TEMPLATES.glob("*.json")}
    path = templates.get(name, Path(name))
    if not path.is_file():
        raise QueueingError(f"There is no template or workflow file '{name}'.{nearest(name, templates)}")
    try:
        saved = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise QueueingError(
            f"{path} is not a workflow: it is not valid JSON ({error}). Save it again in ComfyUI."
        ) from error
    if not _is_workflow(saved):
        raise QueueingError(f"{path} is not a ComfyUI workflow in UI or API format. Save it again in ComfyUI.")
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


def to_api(saved: Saved, info: ObjectInfo) -> Prompt:
    """Convert a workflow in UI format 0.4 or 1 to a prompt, using the server's node definitions."""
    return {each.node_id: _to_api(each, info) for each in Graph(saved, subgraphs_of(saved)).running()}


def _to_api(running: Running, info: ObjectInfo) -> dict[str, Any]:
    node_type = running.node["type"]
    if _SUBGRAPH.fullmatch(node_type) and node_type not in info:
        raise QueueingError(
            f"Node {running.node_id} is an instance of a subgraph that is missing from the workflow. "
            "Replace that node in ComfyUI and save the workflow again."
        )
    inputs = inputs_of(info, node_type)
    promoted = {name: value for name, value in running.promoted.items() if name in inputs}
    return {
        "class_type": node_type,
        "inputs": _widgets(running, inputs) | promoted | running.connected,
        "_meta": {"title": running.node.get("title") or info[node_type].get("display_name") or node_type},
    }


def _widgets(running: Running, inputs: dict[str, Input]) -> dict[str, Any]:
    """The widget values of a node by name. Widgets added to the node after the file was saved get their defaults."""
    widgets = [each for each in inputs.values() if each.is_widget]
    saved = running.node.get("widgets_values") or []
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
            f"Node {running.node_id} ({running.node['type']}) has {len(saved)} values, more than the server's node "
            f"takes: their versions differ. {_EXPORT}"
        )
    return named
