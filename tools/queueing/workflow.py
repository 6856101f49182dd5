"""Finds workflow files and converts them to the prompt that the front end would queue.

The front end saves workflows in UI format, with positions and colors; servers run prompts in API format. The formats
store connections differently (see `graph`), UI format stores values by position instead of by name, and it holds texts
that the page fills in first (see `texts`). Files in API format are sent as they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_client import Prompt, printable

from .definitions import Input, ObjectInfo, inputs_of, is_link, needed, wrapped
from .errors import QueueingError, nearest
from .graph import Graph, Running
from .saved import Saved, all_nodes, subgraphs_of
from .texts import PREFIX, SAVERS, NamedNode, PageTexts

TEMPLATES = Path(__file__).resolve().parents[2] / "workflows"

_SUBGRAPH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The node type of a subgraph instance."""
_GROUP_NODE = ("workflow>", "workflow/")
"""How the types of group nodes start, which older front ends had in place of subgraphs."""
_NAME_FOR_TEXTS = "Node name for S&R"
_EXPORT = "Open the workflow in ComfyUI, choose Workflow → Export (API), and queue that file."


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
        with _damage_explained():
            if not self._is_ui:
                return _runnable(self.saved, info, hint="")
            hint = f" If only the page knows this node, do this: {_EXPORT}"
            return _runnable(to_api(self.saved, info), info, hint)

    def texts(self, info: ObjectInfo) -> PageTexts:
        """The texts that the page would fill in. None in API format: exporting a workflow has done it."""
        with _damage_explained():
            return texts_of(self.saved, info) if self._is_ui else PageTexts()

    @property
    def _is_ui(self) -> bool:
        return "nodes" in self.saved


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


def templates() -> dict[str, Path]:
    """The templates by name. Their file names, which ComfyUI's page shows as titles, add what they are for."""
    return {path.stem.partition(" - ")[0]: path for path in sorted(TEMPLATES.glob("*.json"))}


def find(name: str) -> Workflow:
    """The template of this name, or the workflow file at this path."""
    known = templates()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise QueueingError(f"There is no template or workflow file '{name}'.{nearest(name, known)}")
    try:
        saved = json.loads(path.read_bytes())  # bytes: finds out the encoding, and takes a byte order mark
    except (OSError, ValueError) as error:
        raise QueueingError(
            f"{path} is not a workflow: it is not valid JSON ({error}). Save it again in ComfyUI."
        ) from error
    if isinstance(saved, dict) and _is_workflow(saved.get("prompt")):  # as sent to POST /prompt
        saved = saved["prompt"]
    if not _is_workflow(saved):
        raise QueueingError(f"{path} is not a ComfyUI workflow in UI or API format. Save it again in ComfyUI.")
    return Workflow(name if name in known else path.stem, saved)


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
    """Convert a workflow in UI format 0.4 or 1 to a prompt, using the server's node definitions.

    Nodes that the server lacks are kept with their connections.
    """
    return {each.node_id: _to_api(each, info) for each in Graph(saved, subgraphs_of(saved)).running()}


def _to_api(running: Running, info: ObjectInfo) -> dict[str, Any]:
    node_type = running.node["type"]
    if node_type not in info:
        _refuse_uncommon(running)
        wired = {slot["name"] for slot in running.node.get("inputs", []) if slot["type"] != "*"}
        inputs = {name: value for name, value in running.connected.items() if name in wired}
    else:
        known = inputs_of(info, node_type)
        promoted = {name: value for name, value in running.promoted.items() if name in known}
        inputs = {
            name: wrapped(value) for name, value in (_widgets(running.node, running.node_id, known) | promoted).items()
        }
        inputs |= {name: value if is_link(value) else wrapped(value) for name, value in running.connected.items()}
    return {"class_type": node_type, "inputs": inputs, "_meta": {"title": _title(running.node, info)}}


def _title(node: Saved, info: ObjectInfo) -> str:
    return node.get("title") or info.get(node["type"], {}).get("display_name") or node["type"]


def _refuse_uncommon(running: Running) -> None:
    """Refuse a node that no server can have, with a sentence that says what it is."""
    node_type = running.node["type"]
    if _SUBGRAPH.fullmatch(node_type):
        raise QueueingError(
            f"Node {running.node_id} is an instance of a subgraph that is missing from the workflow. "
            "Replace that node in ComfyUI and save the workflow again."
        )
    if node_type.startswith(_GROUP_NODE):
        raise QueueingError(
            f"Node {running.node_id} ({node_type}) is a group node, which only the page can take apart. {_EXPORT}"
        )


def _runnable(prompt: Prompt, info: ObjectInfo, hint: str) -> Prompt:
    """The prompt without nodes that the server lacks and that nothing needs, such as labels: it refuses unknown types.

    Raises QueueingError for the others. What has a connected input is needed: it may be a node that saves a result.
    """
    in_use = needed(prompt, info)
    left_out = []
    for node_id, node in prompt.items():
        if node["class_type"] in info:
            continue
        if not in_use or node_id in in_use or any(is_link(value) for value in node["inputs"].values()):
            try:
                inputs_of(info, node["class_type"])
            except QueueingError as error:
                raise QueueingError(f"{error}{hint}") from error
        left_out.append(node_id)
    for node_id in left_out:
        title = printable(prompt[node_id]["_meta"]["title"] if "_meta" in prompt[node_id] else "")
        name = prompt[node_id]["class_type"]
        about = f"{node_id} ({title or name})"
        print(f"warning: Node {about} is left out: the server has no node '{name}'.", file=sys.stderr)
    kept = {node_id: node for node_id, node in prompt.items() if node_id not in left_out}
    return {node_id: _without_links_to(left_out, node) for node_id, node in kept.items()} if left_out else kept


def _without_links_to(gone: list[str], node: dict[str, Any]) -> dict[str, Any]:
    inputs = {name: value for name, value in node["inputs"].items() if not (is_link(value) and value[0] in gone)}
    return {**node, "inputs": inputs}


def texts_of(saved: Saved, info: ObjectInfo) -> PageTexts:
    """The texts of a workflow in UI format that the page fills in, as the server's node definitions say."""
    graph = Graph(saved, subgraphs_of(saved))
    wildcards, prefixes = set(), set()
    for running in graph.running():
        node_type = running.node["type"]
        own = {each.name: each for each in inputs_of(info, node_type).values()} if node_type in info else {}
        for name, each in own.items():
            if each.kind == "STRING" and each.options.get("dynamicPrompts") and name not in running.handed_in:
                wildcards.add((running.node_id, name))
        if node_type in SAVERS and PREFIX in own and PREFIX not in running.handed_in:
            prefixes.add((running.node_id, PREFIX))
    nodes = tuple(_named(*each, info) for each in graph.everything()) if prefixes else ()
    return PageTexts(frozenset(wildcards), frozenset(prefixes), nodes)


def _named(node_id: str, node: Saved, promoted: dict[str, Any], info: ObjectInfo) -> NamedNode:
    node_type = node["type"]
    own_name = None if node_type in SAVERS else node_type
    name = (node.get("properties") or {}).get(_NAME_FOR_TEXTS, own_name)
    return NamedNode(node_id, name, _title(node, info), _shown(node_id, node, info) | promoted)


def _shown(node_id: str, node: Saved, info: ObjectInfo) -> dict[str, Any]:
    """The widget values of any node by name, as far as the file tells."""
    if node["type"] == "PrimitiveNode":
        return dict(zip(("value", "control_after_generate"), node.get("widgets_values") or [], strict=False))
    if node["type"] not in info:
        return {}
    try:
        return _widgets(node, node_id, inputs_of(info, node["type"]))
    except QueueingError:  # of a node that does not run, made for another version
        return {}


def _widgets(node: Saved, node_id: str, inputs: dict[str, Input]) -> dict[str, Any]:
    """The widget values of a node by name. Widgets added to the node after the file was saved get their defaults."""
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
            f"Node {node_id} ({node['type']}) has {len(saved)} values, more than the server's node "
            f"takes: their versions differ. {_EXPORT}"
        )
    return named
