"""Resolves the connections of a workflow by removing everything that only the front end understands.

Servers run nodes that are connected to each other. They do not understand reroutes, notes, primitive, muted or bypassed
nodes, subgraphs, or pairs of nodes that set and get a connection by name. A node inside subgraphs has an id that joins
those of the enclosing instances and its own: "12:3".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import QueueingError
from .saved import INPUTS, OUTPUTS, Saved, Subgraphs, links_of, promoted_values

_NOTES = ("Note", "MarkdownNote")
_REROUTES = ("Reroute", "Reroute (rgthree)")
_SETTERS, _GETTERS = ("SetNode", "easy setNode"), ("GetNode", "easy getNode")
_PRIMITIVE = "PrimitiveNode"
_ON_THE_PAGE = (*_NOTES, *_REROUTES, *_SETTERS, *_GETTERS, _PRIMITIVE)
"""Node types that only the page knows, some of them from widespread node packs."""
_PRIMITIVE_WIDGET = "value"
_MUTED, _BYPASSED = 2, 4
_ANY = {"", "*", "0"}

Brought = tuple[Any] | None
"""What a prompt stores for a connected input, in a tuple: [node id, output] or a value. None if nothing arrives."""


@dataclass(frozen=True)
class Running:
    """A node that the server has to run, with the input values that are stored outside the node.

    ``promoted`` values are stored in the enclosing subgraph instance; ``connected`` values arrive by links.
    ``handed_in`` names those that arrive through an input of that instance.
    """

    node_id: str
    node: Saved
    promoted: dict[str, Any]
    connected: dict[str, Any]
    handed_in: frozenset[str] = frozenset()


class Graph:
    """The top-level nodes of a workflow."""

    lineage: tuple[str, ...] = ()
    """The subgraphs that contain this graph, outermost first."""

    def __init__(self, saved: Saved, subgraphs: Subgraphs):
        self.nodes = {str(node["id"]): node for node in saved["nodes"]}
        self._links = links_of(saved)
        self._instances = {
            node_id: Instance(self, node_id, subgraphs)
            for node_id, node in self.nodes.items()
            if node["type"] in subgraphs
        }

    def running(self) -> Iterator[Running]:
        """The nodes that the server has to run."""
        for node_id, node in self.nodes.items():
            if node["type"] in _ON_THE_PAGE or _mode(node) in (_MUTED, _BYPASSED):
                continue
            if node_id in self._instances:
                yield from self._instances[node_id].running()
            else:
                arriving = {slot["name"]: self.brought(slot) for slot in node.get("inputs", [])}
                connected = {name: brought[0] for name, brought in arriving.items() if brought}
                handed_in = frozenset(
                    slot["name"]
                    for slot in node.get("inputs", [])
                    if slot["name"] in connected and self._links[slot["link"]].origin == INPUTS
                )
                yield Running(self.path(node_id), node, self.promoted(node_id), connected, handed_in)

    def everything(self) -> Iterator[tuple[str, Saved, dict[str, Any]]]:
        """All nodes with their ids and promoted values, in the page's order: a subgraph comes before its instance."""
        for node_id, node in self.nodes.items():
            if node_id in self._instances:
                yield from self._instances[node_id].everything()
            yield self.path(node_id), node, self.promoted(node_id)

    def path(self, node_id: str) -> str:
        """A node's id in the prompt."""
        return node_id

    def promoted(self, node_id: str) -> dict[str, Any]:
        """The values stored outside this graph for the widgets of one of its nodes."""
        return {}

    def brought(self, slot: Saved, kind: str | None = None) -> Brought:
        """What arrives at an input by its link. ``kind`` replaces the input's own type."""
        if slot.get("link") is None:
            return None
        link = self._links[slot["link"]]
        if link.origin == INPUTS:
            return self._handed_in(link.output)
        return self._sent(link.origin, link.output, slot["type"] if kind is None else kind)

    def _handed_in(self, index: int) -> Brought:
        raise LookupError(f"a link comes from input {index} of a subgraph but is outside any subgraph")

    def _sent(self, node_id: str, output: int, kind: str) -> Brought:
        """What an output sends to an input of type ``kind``."""
        node = self.nodes[node_id]
        if node["type"] == _PRIMITIVE:
            return (self.promoted(node_id).get(_PRIMITIVE_WIDGET, node["widgets_values"][0]),)
        if _mode(node) == _MUTED:
            return None
        if _mode(node) == _BYPASSED:
            slot = _passed_through(self._slots(node_id), output, node["outputs"][output]["type"], kind)
            return self.brought(slot) if slot else None
        if node["type"] in (*_REROUTES, *_SETTERS):
            return self.brought(node["inputs"][0], kind)
        if node["type"] in _GETTERS:
            return self.set_under(_name_of(node), kind)
        if node_id in self._instances:
            return self._instances[node_id].handed_out(output, kind)
        return ([self.path(node_id), output],)

    def set_under(self, name: str, kind: str) -> Brought:
        """What the node that sets ``name`` gets."""
        for node in self.nodes.values():
            if node["type"] in _SETTERS and _name_of(node) == name:
                return self.brought(node["inputs"][0], kind)
        return None

    def _slots(self, node_id: str) -> list[Saved]:
        """The inputs of a node."""
        instance = self._instances.get(node_id)
        return instance.slots() if instance else self.nodes[node_id].get("inputs", [])


class Instance(Graph):
    """The nodes of one subgraph instance, which is itself a node of the ``outer`` graph."""

    def __init__(self, outer: Graph, node_id: str, subgraphs: Subgraphs):
        self._outer, self._id, self._node = outer, node_id, outer.nodes[node_id]
        definition = subgraphs[self._node["type"]]
        self.lineage = (*outer.lineage, self._node["type"])
        if self._node["type"] in outer.lineage:
            raise QueueingError(
                f"The subgraph '{definition['name']}' contains itself. Remove node {outer.path(node_id)} in ComfyUI."
            )
        super().__init__(definition, subgraphs)
        self._inputs: list[Saved] = definition["inputs"]
        self._input_values, self._widget_values = promoted_values(self._node, definition)

    def path(self, node_id: str) -> str:
        return f"{self._outer.path(self._id)}:{node_id}"

    def promoted(self, node_id: str) -> dict[str, Any]:
        return self._widget_values.get(node_id, {})

    def set_under(self, name: str, kind: str) -> Brought:
        return super().set_under(name, kind) or self._outer.set_under(name, kind)

    def slots(self) -> list[Saved]:
        """The inputs of the instance. Files may leave out unconnected inputs that show a widget."""
        by_name = {slot["name"]: slot for slot in self._node.get("inputs", [])}
        return [by_name.get(each["name"], each) for each in self._inputs]

    def handed_out(self, output: int, kind: str) -> Brought:
        """What an output of the subgraph sends."""
        for link in self._links.values():
            if (link.target, link.slot) == (OUTPUTS, output):
                inside = link.origin != INPUTS
                return self._sent(link.origin, link.output, kind) if inside else self._handed_in(link.output)
        return None

    def _handed_in(self, index: int) -> Brought:
        """What arrives at an input of the subgraph, or the value that the instance shows for it."""
        slot = self.slots()[index]
        if slot.get("link") is not None:
            return self._outer.brought(slot)
        values = self._input_values | self._outer.promoted(self._id)
        return (values[slot["name"]],) if slot["name"] in values else None


def _name_of(node: Saved) -> str:
    """The name that a node sets or gets."""
    return node["widgets_values"][0]


def _mode(node: Saved) -> int:
    return node.get("mode", 0)


def _passed_through(slots: Sequence[Saved], output: int, own: str, kind: str) -> Saved | None:
    """The input that a bypassed node passes to an output of type ``own``: the one in the same place, else the first."""
    opposite = slots[output : output + 1]
    if str(kind) in _ANY:
        return next(iter([*opposite, *slots]), None)
    fitting = [slot for slot in slots if _fits(slot["type"], own) and _fits(slot["type"], kind)]
    exact = [slot for slot in slots if slot["type"] == kind]
    return next(iter([*(slot for slot in opposite if slot in fitting), *exact, *fitting]), None)


def _fits(one: str, other: str) -> bool:
    """Whether two types may be connected. A type may be a comma-separated list."""
    ones, others = (set(str(each).lower().split(",")) for each in (one, other))
    return bool(ones & others or (ones | others) & _ANY)
