"""Small workflows in UI format with subgraphs, complete enough for the page of ComfyUI to open them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

Saved = dict[str, Any]
Wire = tuple[int, int, int, int]
"""From a node's output to a node's input, by position."""

INSIDE, OUTSIDE = -10, -20
"""Where links come from and go to in a subgraph if the other end is outside."""
MUTED, BYPASSED = 2, 4


def node(node_id: int, kind: str, ins: str = "", outs: str = "", values: Sequence[Any] = (), **more: Any) -> Saved:
    """A node; its slots are such as "image:IMAGE radius:INT:widget"."""
    return {
        **{"id": node_id, "type": kind, "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0},
        **{"inputs": [_slot(each) for each in ins.split()], "outputs": [_slot(each) for each in outs.split()]},
        **{"properties": {}, "widgets_values": list(values)},
        **more,
    }


def _slot(text: str) -> Saved:
    name, kind, *widget = text.split(":")
    return {"name": name, "type": kind} | ({"widget": {"name": name}} if widget else {})


def subgraph(name: str, ins: str, outs: str, nodes: list[Saved], wires: list[Wire]) -> Saved:
    """A definition."""
    made = {
        **{"id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "name": name, "version": 1, "revision": 0, "config": {}},
        **{"state": {"lastGroupId": 0, "lastNodeId": 99, "lastLinkId": 99, "lastRerouteId": 0}},
        **{"inputNode": {"id": INSIDE, "bounding": [0, 0, 9, 9]}, "inputs": [_slot(each) for each in ins.split()]},
        **{"outputNode": {"id": OUTSIDE, "bounding": [0, 0, 9, 9]}, "outputs": [_slot(each) for each in outs.split()]},
        **{"widgets": [], "groups": [], "nodes": nodes},
        "links": [
            dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link))
            for link in _link(nodes, wires)
        ],
    }
    for end, side, slot in (("origin", INSIDE, "inputs"), ("target", OUTSIDE, "outputs")):
        for index, each in enumerate(made[slot]):
            each["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {slot} {index}"))
            ours = (side, index)
            each["linkIds"] = [link["id"] for link in made["links"] if (link[f"{end}_id"], link[f"{end}_slot"]) == ours]
    return made


def instance(node_id: int, definition: Saved, values: Sequence[Any] = (), **more: Any) -> Saved:
    """A node that is an instance of a subgraph. It has no slots for the widgets that it shows unless ``ins`` does."""
    unconnected = [each for each in definition["inputs"] if not each.get("widget")]
    ins = more.pop("ins", " ".join(f"{each['name']}:{each['type']}" for each in unconnected))
    outs = " ".join(f"{each['name']}:{each['type']}" for each in definition["outputs"])
    return node(node_id, definition["id"], ins, outs, values, title=definition["name"], **more)


def workflow(nodes: list[Saved], wires: list[Wire], *definitions: Saved) -> Saved:
    """A file with these nodes on the page."""
    links = [list(link) for link in _link(nodes, wires)]
    about = {"last_node_id": 99, "last_link_id": 99, "groups": [], "config": {}, "extra": {}, "version": 0.4}
    return {**about, "nodes": nodes, "links": links, "definitions": {"subgraphs": list(definitions)}}


def _link(nodes: list[Saved], wires: list[Wire]) -> list[tuple[int, int, int, int, int, str]]:
    """The links, entered into the slots that they connect too."""
    by_id, links = {each["id"]: each for each in nodes}, []
    for link_id, (origin, output, target, slot) in enumerate(wires, 1):
        source = by_id[origin]["outputs"][output] if origin != INSIDE else None
        sink = by_id[target]["inputs"][slot] if target != OUTSIDE else None
        if source:
            source.setdefault("links", []).append(link_id)
        if sink:
            sink["link"] = link_id
        links.append((link_id, origin, output, target, slot, (sink or source or {"type": "*"})["type"]))
    return links


# The pictures of all of them go from node 1 to node 3.


def blur(name: str = "Blur", mode: int = 0) -> Saved:
    """A subgraph whose inputs are a picture and the radius of its node 7, which has a sigma of 0.5."""
    inner = node(7, "ImageBlur", "image:IMAGE blur_radius:INT:widget", "IMAGE:IMAGE", [1, 0.5], mode=mode, title="Soft")
    wires = [(INSIDE, 0, 7, 0), (INSIDE, 1, 7, 1), (7, 0, OUTSIDE, 0)]
    return subgraph(name, "image:IMAGE radius:INT:widget", "IMAGE:IMAGE", [inner], wires)


def between(*middle: Saved, wires: Sequence[Wire] = ()) -> tuple[list[Saved], list[Wire]]:
    """A picture that is loaded, goes through the nodes one after the other, and is saved."""
    load = node(1, "LoadImage", outs="IMAGE:IMAGE MASK:MASK", values=["example.png", "image"])
    save = node(3, "SaveImage", "images:IMAGE", values=["made"])
    ids = [1, *(each["id"] for each in middle), 3]
    return [load, *middle, save], [*((one, 0, other, 0) for one, other in zip(ids, ids[1:])), *wires]


def promoted() -> Saved:
    """The radius of the instance is 5; it shows sigma too, whose value is the node's."""
    shown = [["7", "sigma"], ["-1", "radius"]]
    made = instance(2, blur(), [None, 5], properties={"proxyWidgets": shown})
    return workflow(*between(made), blur())


def two_instances() -> Saved:
    return workflow(*between(instance(2, blur(), [5]), instance(4, blur(), [9])), blur())


def nested() -> Saved:
    """A subgraph with two instances of another: one has the radius of the outer instance, 8, the other its own, 3."""
    first = instance(4, blur(), [1], ins="image:IMAGE radius:INT:widget")
    wires = [(INSIDE, 0, 4, 0), (INSIDE, 1, 4, 1), (4, 0, 5, 0), (5, 0, OUTSIDE, 0)]
    twice = subgraph("Twice", "image:IMAGE radius:INT:widget", "IMAGE:IMAGE", [first, instance(5, blur(), [3])], wires)
    return workflow(*between(instance(2, twice, [8])), blur(), twice)


def radius_from_a_node() -> Saved:
    number = node(9, "PrimitiveInt", outs="INT:INT", values=[6, "fixed"])
    made = instance(2, blur(), [5], ins="image:IMAGE radius:INT:widget")
    nodes, wires = between(made)
    return workflow([*nodes, number], [*wires, (9, 0, 2, 1)], blur())


def bypassed() -> Saved:
    """Of two instances the second is bypassed, as the page does it: with all that is in it."""
    off = blur("Off", BYPASSED)
    return workflow(*between(instance(2, blur(), [5]), instance(4, off, [9], mode=BYPASSED)), blur(), off)


def mixed() -> Saved:
    """A subgraph with a reroute, a bypassed and a muted node, a note, and an input that is connected to nothing."""
    slots = "destination:IMAGE source:IMAGE mask:MASK"
    inner = [
        node(4, "Reroute", ":*", ":IMAGE"),
        node(5, "ImageInvert", "image:IMAGE", "IMAGE:IMAGE", mode=BYPASSED),
        node(6, "ImageCompositeMasked", slots, "IMAGE:IMAGE", [3, 4, False]),
        node(7, "InvertMask", "mask:MASK", "MASK:MASK", mode=MUTED),
        node(8, "Note", values=["read me"]),
    ]
    wires = [(INSIDE, 0, 4, 0), (4, 0, 5, 0), (5, 0, 6, 0), (4, 0, 6, 1), (INSIDE, 1, 7, 0), (7, 0, 6, 2)]
    wires += [(6, 0, OUTSIDE, 0)]
    definition = subgraph("Mixed", "image:IMAGE mask:MASK", "IMAGE:IMAGE", inner, wires)
    return workflow(*between(instance(2, definition)), definition)


CASES: dict[str, Callable[[], Saved]] = {
    each.__name__: each for each in (promoted, two_instances, nested, radius_from_a_node, bypassed, mixed)
}
