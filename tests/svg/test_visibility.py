"""Visibility: what the sweep says of a layer is what rendering without it shows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import pytest
import torch
from dreamsampler.svg.document import (
    BLACK,
    Color,
    Document,
    Fill,
    Group,
    LinearGradient,
    Node,
    Point,
    Shape,
    Stop,
    Stroke,
    ViewBox,
)
from dreamsampler.svg.raster import visibility
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from dreamsampler.svg.raster.visibility import Seen, sweep
from support.drawings import drawing, square
from support.processes import printed

SIDE = 24
DOUBLE = torch.empty(0, dtype=torch.float64)


def image(document: Document) -> torch.Tensor:
    return rasterize([scene(document, SIDE, SIDE, DOUBLE)])[0]


def count(node: Node) -> int:
    if isinstance(node, Group):
        return sum(map(count, node.children))
    return (node.fill is not None) + (node.stroke is not None)


def without(node: Node, removed: set[int], first: int) -> Node:
    """A node with the paints of some layers removed, numbered from `first` in paint order."""
    if isinstance(node, Group):
        children = []
        for child in node.children:
            children.append(without(child, removed, first))
            first += count(child)
        return dataclasses.replace(node, children=tuple(children))
    numbers = iter(range(first, first + count(node)))
    fill = node.fill if node.fill is None or next(numbers) not in removed else None
    stroke = node.stroke if node.stroke is None or next(numbers) not in removed else None
    return dataclasses.replace(node, fill=fill, stroke=stroke)


def stripped(document: Document, removed: set[int]) -> Document:
    root = without(Group(document.children), removed, 0)
    assert isinstance(root, Group)
    return dataclasses.replace(document, children=root.children)


def nested() -> Document:
    """Translucent shapes, gradients and groups within groups, one of them opaque."""
    stops = (Stop(0.0, Color(1, 0, 0), 0.5), Stop(1.0, Color(0, 0, 1), 0.9))
    ramp = LinearGradient(Point(4, 4), Point(20, 12), stops)
    a, b, c = (drawing(seed, SIDE).children for seed in (1, 2, 3))
    painted = Shape((square(3, 5, 19.3, 17.8),), Fill(ramp, 0.7), Stroke(ramp, 0.8, 2.0))
    inner = Group((*b[:2], painted), 0.6)
    outer = Group((a[0], inner, a[1], Group(c[:2], 1.0)), 0.5)
    far = Shape((square(-30, -30, -20, -20),), Fill(Color(0, 1, 0)))
    return Document(ViewBox(0, 0, SIDE, SIDE), (*c, outer, far, *b[2:]))


def visited(document: Document, decide: Callable[[Seen], float]) -> dict[int, torch.Tensor]:
    """What each layer changes on the whole canvas (4, H, W)."""
    changes = {}

    def look(seen: Seen) -> float:
        top, left, height, width = seen.box
        changes[seen.layer] = torch.zeros(4, SIDE, SIDE, dtype=torch.float64)
        changes[seen.layer][:, top : top + height, left : left + width] = seen.change
        return decide(seen)

    sweep(scene(document, SIDE, SIDE, DOUBLE), look)
    return changes


def clipped() -> Document:
    """A translucent group within a clip, whose layers have the highest numbers and are not visited."""
    document = nested()
    *others, last = document.children
    hole = Group(
        (Shape((square(2, 2, 18.5, 20.2),), Fill(BLACK)),), clip=(Shape((square(5, 4, 30, 16.6),), Fill(BLACK)),)
    )
    clip = (hole, Shape((square(1, 15, 9.7, 23),), Fill(BLACK)))
    return dataclasses.replace(document, children=(*others, Group((document.children[3], last), 0.7, clip=clip)))


DOCUMENTS = {"flat": drawing(0, SIDE, shapes=5), "nested": nested(), "clipped": clipped()}
LIMITS = {"at once": visibility.CELLS, "in parts": 2000, "one by one": 1}


@pytest.fixture(params=LIMITS)
def limited(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "CELLS", LIMITS[request.param])


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_layer_changes_what_rendering_without_it_shows(name: str):
    document = DOCUMENTS[name]
    changes = visited(document, lambda seen: 1.0)
    assert sorted(changes) == list(range(sum(map(count, document.children))))
    whole = image(document)
    for layer, change in changes.items():
        assert float((whole - image(stripped(document, {layer})) - change).abs().max()) < 1e-12, layer


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_changes_of_removed_layers_add_up_to_their_joint_change(name: str):
    document = DOCUMENTS[name]
    removed = set(range(0, sum(map(count, document.children)), 2))
    changes = visited(document, lambda seen: 0.0 if seen.layer in removed else 1.0)
    joint = torch.stack([changes[layer] for layer in removed]).sum(0)
    assert float((image(document) - image(stripped(document, removed)) - joint).abs().max()) < 1e-12


@pytest.mark.usefixtures("limited")
def test_weights_are_the_derivative_of_the_image_by_a_color():
    document = nested()
    flat = scene(document, SIDE, SIDE, DOUBLE)
    weights: dict[int, float] = {}
    sweep(flat, lambda seen: weights.setdefault(seen.layer, float(seen.weight.sum())) * 0 + 1)
    colors = flat.colors.clone().requires_grad_()
    rasterize([dataclasses.replace(flat, colors=colors)])[0, 0].sum().backward()
    assert colors.grad is not None
    plain = [n for n, gradient in enumerate(flat.layout.gradient_of_layer) if gradient is None]
    assert [weights[n] for n in plain] == pytest.approx(colors.grad[plain, 0].tolist(), abs=1e-9)


def everything(document: Document) -> list[tuple]:
    """All that a sweep says of each layer, if every third is removed and others are made fainter."""
    found: list[tuple] = []

    def look(seen: Seen) -> float:
        tensors = [seen.coverage, torch.as_tensor(seen.opacity), seen.source, seen.below, seen.change, seen.weight]
        found.append((seen.layer, seen.box, seen.in_group, [tensor.clone() for tensor in tensors]))
        return (0.0, 1.0, 0.5)[seen.layer % 3]

    sweep(scene(document, SIDE, SIDE), look)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("limit", [1, 500, 2000, 5000])
def test_parts_say_the_same_to_the_bit(limit: int, name: str, monkeypatch: pytest.MonkeyPatch):
    whole = everything(DOCUMENTS[name])
    monkeypatch.setattr(visibility, "CELLS", limit)
    parts = everything(DOCUMENTS[name])
    assert [found[:3] for found in parts] == [found[:3] for found in whole]
    for ours, expected in zip(parts, whole, strict=True):
        assert all(map(torch.equal, ours[3], expected[3])), ours[0]


RECTANGLE = '<rect width="512" height="512" fill="red" fill-opacity=".1"/>'
PAINTED = '<linearGradient id="g"><stop stop-color="red"/></linearGradient>' + RECTANGLE.replace("red", "url(#g)") * 20
GROUPS = '<g opacity=".9">' * 20 + (RECTANGLE + '<g opacity=".9"><path d="M3 3h9v9z"/></g>') * 50 + "</g>" * 20
LARGE = {"rectangles": RECTANGLE * 100, "painted": PAINTED, "groups": GROUPS}
"""At once they take 640, 150 and 360 MB."""
PEAK = """
import os, resource, sys
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster import visibility
from dreamsampler.svg.raster.scene import scene

visibility.CELLS = 2**20
for body in sys.stdin.read().splitlines():
    document = parse(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512">{body}</svg>'.encode()).document
    visibility.sweep(scene(document, 16, 16), lambda seen: 1.0)
    if not os.fork():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        visibility.sweep(scene(document, 512, 512), lambda seen: float(seen.change.sum() > 0))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_peak_memory_follows_the_limit():
    for name, megabytes in zip(LARGE, printed(PEAK, LARGE.values()), strict=True):
        assert megabytes < 150, name
