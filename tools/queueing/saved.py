"""Workflow files in UI format as the front end saves them: links, definitions of subgraphs, and values of instances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Saved = dict[str, Any]
Subgraphs = dict[str, Saved]
"""Definitions of subgraphs by their id, which is the type of the nodes that are instances of them."""

INPUTS, OUTPUTS = "-10", "-20"
"""Where links inside a subgraph come from and go to if that is outside, in place of a node's id."""
_OWN_INPUTS = "-1"
"""The node that ``proxyWidgets`` names for a widget of the subgraph's own inputs."""


@dataclass(frozen=True)
class Link:
    """From an output of one node to an input of another; ``slot`` is that input's position when it was saved."""

    origin: str
    output: int
    target: str
    slot: int


def links_of(saved: Saved) -> dict[int, Link]:
    """The links of the page or of a subgraph by id. The page has them as lists, subgraphs have names in them."""
    return dict(_link(each) for each in saved["links"])


def _link(saved: list[Any] | Saved) -> tuple[int, Link]:
    if isinstance(saved, dict):
        saved = [saved[name] for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    link_id, origin, output, target, slot = saved[:5]
    return link_id, Link(str(origin), output, str(target), slot)


def subgraphs_of(saved: Saved) -> Subgraphs:
    """The subgraphs of a workflow, those defined within others too."""
    found = {}
    for each in (saved.get("definitions") or {}).get("subgraphs", []):
        found |= {each["id"]: each} | subgraphs_of(each)
    return found


def all_nodes(saved: Saved) -> Iterator[Saved]:
    """Every node of the page and of the subgraphs' definitions."""
    for each in (saved, *subgraphs_of(saved).values()):
        yield from each.get("nodes", [])


def promoted_values(instance: Saved, definition: Saved) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What an instance has of its own: values of the subgraph's inputs by name, and of widgets by node and name.

    Where it has none for a widget that it shows, the definition's node has it.
    """
    names = instance.get("properties", {}).get("proxyWidgets") or []
    if isinstance(names, str):
        names = json.loads(names)
    names = names or [(_OWN_INPUTS, name) for name in _inputs_with_widgets(definition)]
    values: dict[str, dict[str, Any]] = {}
    for (node_id, widget, *_), value in zip(names, instance.get("widgets_values") or []):
        if value is not None:
            values.setdefault(str(node_id), {})[widget] = value
    return values.pop(_OWN_INPUTS, {}), values


def _inputs_with_widgets(definition: Saved) -> list[str]:
    """The inputs of a subgraph that are connected to a widget within, which an instance therefore shows."""
    links = links_of(definition)
    slots = [slot for node in definition["nodes"] for slot in node.get("inputs", []) if slot.get("widget")]
    inward = [links[slot["link"]] for slot in slots if slot.get("link") is not None]
    bound = {link.output for link in inward if link.origin == INPUTS}
    return [each["name"] for index, each in enumerate(definition["inputs"]) if index in bound]
