"""Workflow files in UI format, as the front end saves them: links, subgraph definitions and instance values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Saved = dict[str, Any]
Subgraphs = dict[str, Saved]
"""Subgraph definitions by id. The id is also the type of the nodes that are instances of the subgraph."""

INPUTS, OUTPUTS = "-10", "-20"
"""In place of a node id: the inputs and outputs of the subgraph itself, as ends of links inside it."""
_OWN_INPUTS = "-1"
"""The node id that ``proxyWidgets`` uses for widgets of the subgraph's own inputs."""


@dataclass(frozen=True)
class Link:
    """From an output of one node to an input of another. ``slot`` is the position of that input when it was saved."""

    origin: str
    output: int
    target: str
    slot: int


def links_of(saved: Saved) -> dict[int, Link]:
    """The links of a workflow or subgraph by id. Workflows store them as lists, subgraphs as dictionaries."""
    return dict(_link(each) for each in saved["links"])


def _link(saved: list[Any] | Saved) -> tuple[int, Link]:
    if isinstance(saved, dict):
        saved = [saved[name] for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    link_id, origin, output, target, slot = saved[:5]
    return link_id, Link(str(origin), output, str(target), slot)


def subgraphs_of(saved: Saved) -> Subgraphs:
    """The subgraphs of a workflow, including those defined inside others."""
    found = {}
    for each in (saved.get("definitions") or {}).get("subgraphs", []):
        found |= {each["id"]: each} | subgraphs_of(each)
    return found


def all_nodes(saved: Saved) -> Iterator[Saved]:
    """Every node of a workflow and of its subgraph definitions."""
    for each in (saved, *subgraphs_of(saved).values()):
        yield from each.get("nodes", [])


def promoted_values(instance: Saved, definition: Saved) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The values stored in an instance: of the subgraph's inputs by name, and of inner widgets by node and name.

    A widget that the instance shows without a value keeps the value of the definition's node.
    """
    names = instance.get("properties", {}).get("proxyWidgets") or []
    if isinstance(names, str):
        names = json.loads(names)
    names = names or [(_OWN_INPUTS, name) for name in _inputs_with_widgets(definition)]
    values: dict[str, dict[str, Any]] = {}
    shown = instance.get("widgets_values") or []  # may be shorter
    for (node_id, widget, *_), value in zip(names, shown, strict=False):
        if value is not None:
            values.setdefault(str(node_id), {})[widget] = value
    return values.pop(_OWN_INPUTS, {}), values


def _inputs_with_widgets(definition: Saved) -> list[str]:
    """The inputs of a subgraph that connect to an inner widget, which an instance therefore shows."""
    links = links_of(definition)
    slots = [slot for node in definition["nodes"] for slot in node.get("inputs", []) if slot.get("widget")]
    inward = [links[slot["link"]] for slot in slots if slot.get("link") is not None]
    bound = {link.output for link in inward if link.origin == INPUTS}
    return [each["name"] for index, each in enumerate(definition["inputs"]) if index in bound]
