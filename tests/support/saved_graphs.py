"""Small workflows in UI format with subgraphs, complete enough for ComfyUI's page to open."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

Saved = dict[str, Any]
Wire = tuple[int, int, int, int]
"""Source node, output index, target node, input index."""

INSIDE, OUTSIDE = -10, -20
"""The node ids of the inputs and outputs of a subgraph, as ends of its links."""
MUTED, BYPASSED = 2, 4


def node(node_id: int, kind: str, ins: str = "", outs: str = "", values: Sequence[Any] = (), **more: Any) -> Saved:
    """A node. Write its slots like "image:IMAGE radius:INT:widget"."""
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
    """A subgraph definition."""
    definition = {
        **{"id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "name": name, "version": 1, "revision": 0, "config": {}},
        **{"state": {"lastGroupId": 0, "lastNodeId": 99, "lastLinkId": 99, "lastRerouteId": 0}},
        **{"inputNode": {"id": INSIDE, "bounding": [0, 0, 9, 9]}, "inputs": [_slot(each) for each in ins.split()]},
        **{"outputNode": {"id": OUTSIDE, "bounding": [0, 0, 9, 9]}, "outputs": [_slot(each) for each in outs.split()]},
        **{"widgets": [], "groups": [], "nodes": nodes},
        "links": [
            dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
            for link in _link(nodes, wires)
        ],
    }
    for end, side, slot in (("origin", INSIDE, "inputs"), ("target", OUTSIDE, "outputs")):
        for index, each in enumerate(definition[slot]):
            each["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {slot} {index}"))
            ours = (side, index)
            each["linkIds"] = [
                link["id"] for link in definition["links"] if (link[f"{end}_id"], link[f"{end}_slot"]) == ours
            ]
    return definition


def instance(node_id: int, definition: Saved, values: Sequence[Any] = (), **more: Any) -> Saved:
    """A node that is an instance of a subgraph. It has slots for its widgets only if ``ins`` lists them."""
    unconnected = [each for each in definition["inputs"] if not each.get("widget")]
    ins = more.pop("ins", " ".join(f"{each['name']}:{each['type']}" for each in unconnected))
    outs = " ".join(f"{each['name']}:{each['type']}" for each in definition["outputs"])
    return node(node_id, definition["id"], ins, outs, values, title=definition["name"], **more)


def workflow(nodes: list[Saved], wires: list[Wire], *definitions: Saved) -> Saved:
    """A workflow file with these top-level nodes."""
    links = [list(link) for link in _link(nodes, wires)]
    about = {"last_node_id": 99, "last_link_id": 99, "groups": [], "config": {}, "extra": {}, "version": 0.4}
    return {**about, "nodes": nodes, "links": links, "definitions": {"subgraphs": list(definitions)}}


def _link(nodes: list[Saved], wires: list[Wire]) -> list[tuple[int, int, int, int, int, str]]:
    """The links. Also enters them into the slots that they connect."""
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


# In all of these, images go from node 1 to node 3.


def blur(name: str = "Blur", mode: int = 0) -> Saved:
    """A subgraph with an image input and a radius input for its node 7, which has a sigma of 0.5."""
    inner = node(7, "ImageBlur", "image:IMAGE blur_radius:INT:widget", "IMAGE:IMAGE", [1, 0.5], mode=mode, title="Soft")
    wires = [(INSIDE, 0, 7, 0), (INSIDE, 1, 7, 1), (7, 0, OUTSIDE, 0)]
    return subgraph(name, "image:IMAGE radius:INT:widget", "IMAGE:IMAGE", [inner], wires)


def between(*middle: Saved, wires: Sequence[Wire] = ()) -> tuple[list[Saved], list[Wire]]:
    """Nodes and wires that load an image, pass it through the given nodes in order, and save it."""
    load = node(1, "LoadImage", outs="IMAGE:IMAGE MASK:MASK", values=["example.png", "image"])
    save = node(3, "SaveImage", "images:IMAGE", values=["made"])
    ids = [1, *(each["id"] for each in middle), 3]
    return [load, *middle, save], [*((one, 0, other, 0) for one, other in pairwise(ids)), *wires]


def promoted() -> Saved:
    """The instance has a radius of 5. It also shows sigma, with the value of the inner node."""
    shown = [["7", "sigma"], ["-1", "radius"]]
    blurred = instance(2, blur(), [None, 5], properties={"proxyWidgets": shown})
    return workflow(*between(blurred), blur())


def two_instances() -> Saved:
    return workflow(*between(instance(2, blur(), [5]), instance(4, blur(), [9])), blur())


def nested() -> Saved:
    """A subgraph with two instances of another. One takes the outer radius, 8; the other has its own, 3."""
    first = instance(4, blur(), [1], ins="image:IMAGE radius:INT:widget")
    wires = [(INSIDE, 0, 4, 0), (INSIDE, 1, 4, 1), (4, 0, 5, 0), (5, 0, OUTSIDE, 0)]
    twice = subgraph("Twice", "image:IMAGE radius:INT:widget", "IMAGE:IMAGE", [first, instance(5, blur(), [3])], wires)
    return workflow(*between(instance(2, twice, [8])), blur(), twice)


def radius_from_a_node() -> Saved:
    number = node(9, "PrimitiveInt", outs="INT:INT", values=[6, "fixed"])
    blurred = instance(2, blur(), [5], ins="image:IMAGE radius:INT:widget")
    nodes, wires = between(blurred)
    return workflow([*nodes, number], [*wires, (9, 0, 2, 1)], blur())


def bypassed() -> Saved:
    """Two instances. The second is bypassed as the page does it, together with its inner nodes."""
    off = blur("Off", BYPASSED)
    return workflow(*between(instance(2, blur(), [5]), instance(4, off, [9], mode=BYPASSED)), blur(), off)


def mixed() -> Saved:
    """A subgraph with a reroute, a bypassed and a muted node, a note, and an unconnected input."""
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


def wildcards() -> Saved:
    """Prompts with comments, braces and escapes that leave no choice: typed, from a primitive node, and in a subgraph.

    The instance shows the first of its texts as a widget of its own, the second as a widget of the inner node.
    """
    text = "a {red} heart // not this\n/* nor\nthis */on \\{{w{hi}te}\\} }| {} {ground"
    prompt = "clip:CLIP text:STRING:widget"
    inner = [node(each, "CLIPTextEncode", prompt, "CONDITIONING:CONDITIONING", [text]) for each in (6, 7)]
    definition = subgraph("Prompts", "text:STRING:widget", "", inner, [(INSIDE, 0, 6, 1)])
    shown = [["-1", "text"], ["7", "text"]]
    typed = node(4, "CLIPTextEncode", prompt, "CONDITIONING:CONDITIONING", [text])
    fed = node(5, "CLIPTextEncode", prompt, "CONDITIONING:CONDITIONING", ["unused"])
    value = node(9, "PrimitiveNode", outs="STRING:STRING", values=[text])
    outer = instance(8, definition, [text, text], properties={"proxyWidgets": shown})
    nodes, wires = between()
    return workflow([*nodes, typed, fed, value, outer], [*wires, (9, 0, 5, 1)], definition)


def file_names() -> Saved:
    """A file name with values of other nodes: by type, by name, by title, in a subgraph, and unknown ones."""
    soft = "ImageBlur.sigma", "Soft.blur_radius", "renamed.blur_radius", "Off.mode", "Clean.value", "Scale.value"
    odd = "nobody.sigma", "ImageBlur.nothing", "a.b.c", "width", "year", "SaveImage.filename_prefix"
    dates = "date:yyyy", "date:yy_yyy", "date:yyyy.x.y", "Load Image.image"
    prefix = "-".join(f"%{each}%" for each in (*dates, *soft, *odd))
    named = node(4, "ImageBlur", "image:IMAGE", "IMAGE:IMAGE", [2, 3.0], properties={"Node name for S&R": "renamed"})
    off = node(5, "PrimitiveFloat", outs="FLOAT:FLOAT", values=[1e-6], title="Clean", mode=MUTED)
    scale = node(6, "PrimitiveBoolean", outs="BOOLEAN:BOOLEAN", values=[True], title="Scale")
    nodes, wires = between(instance(2, blur(), [5]), named)
    nodes[-1]["widgets_values"] = [prefix]
    nodes[0]["widgets_values"] = ["clipspace/a:b.png [input]", "image"]
    return workflow([*nodes, off, scale], wires, blur())


def leftovers() -> Saved:
    """Nodes that nothing needs, with files that no server has."""
    loader = node(4, "CheckpointLoaderSimple", outs="MODEL:MODEL CLIP:CLIP VAE:VAE", values=["gone.safetensors"])
    nodes, wires = between()
    return workflow([*nodes, loader, node(5, "LoadImage", outs="IMAGE:IMAGE", values=["gone.png", "image"])], wires)


CASES: dict[str, Callable[[], Saved]] = {
    each.__name__: each
    for each in (
        *(promoted, two_instances, nested, radius_from_a_node, bypassed, mixed),
        *(wildcards, file_names, leftovers),
    )
}
