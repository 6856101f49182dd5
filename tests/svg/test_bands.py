"""Drawings in bands and portions: the same images and gradients as at once, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from dreamsampler.svg.document import Document, Fill, Group, LinearGradient, Point, RadialGradient, Shape, Stop, ViewBox
from dreamsampler.svg.raster import bands, coverage
from dreamsampler.svg.raster.flattening import OversizedDrawing
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import Scene, scene
from support.drawings import BLUE, RED, WHITE, drawing, leaves, square, with_leaves
from support.processes import printed
from torch import Tensor

SIZE = 41
STOPS = (Stop(0.1, RED, 0.9), Stop(0.5, WHITE), Stop(0.8, BLUE, 0.6))
LINEAR = LinearGradient(Point(3, 5), Point(30, 21), STOPS)
RADIAL = RadialGradient(Point(20, 21), 14, Point(18, 15), STOPS)
LIMITS = {
    "bands": {"CELLS": 6000, "MIN_ROWS": 3},
    "single rows": {"CELLS": 1, "MIN_ROWS": 1},
    "portions": {"CELLS": 2000, "MIN_ROWS": 20},
}


def mixed(seed: int) -> Document:
    """Both fill rules, strokes, nested groups, gradient paints, and a shape far beyond the canvas."""
    first, *shapes = drawing(seed, SIZE, 3, join="round", cap="round").children
    inner = Group((shapes[0], Shape((square(7, 9, 30, 35),), Fill(LINEAR, 0.7, "evenodd"))), 0.6)
    huge = Shape((square(-1e7, 20, 33, 3e6),), Fill(RADIAL, 0.4))
    return Document(ViewBox(0, 0, SIZE, SIZE), (first, Group((shapes[1], inner, shapes[2]), 0.7), *shapes[3:], huge))


def drawn(dtype: torch.dtype, with_background: bool) -> tuple[Tensor, Sequence[Tensor]]:
    """Images of two drawings, and the gradients of a random loss to all their parameters and the background."""
    made = [scene(mixed(seed), SIZE - 8, SIZE, torch.empty(0, dtype=dtype)) for seed in range(2)]
    parameters = [leaves(each) for each in made]
    generator = torch.Generator().manual_seed(0)
    background = torch.rand(2, 3, generator=generator).to(dtype).requires_grad_()
    scenes = [with_leaves(each, *values) for each, values in zip(made, parameters, strict=True)]
    images = rasterize(scenes, background if with_background else None)
    with torch.no_grad():
        assert torch.equal(images, rasterize(scenes, background if with_background else None))
    tensors = [background] if with_background else []
    tensors += [value for values in parameters for value in values]
    loss = (images * torch.rand(images.shape, generator=generator).to(dtype)).sum()
    return images.detach(), torch.autograd.grad(loss, tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("limits", LIMITS)
def test_bands_give_the_same_image_and_gradients(limits: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    with_background = limits != "portions"
    image, gradients = drawn(dtype, with_background)
    monkeypatch.setattr(bands, "CELLS_WITH_GRADIENTS", 0)
    for name, limit in LIMITS[limits].items():
        monkeypatch.setattr(bands, name, limit)
    in_bands, gradients_in_bands = drawn(dtype, with_background)
    assert torch.equal(in_bands, image)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for ours, expected in zip(gradients_in_bands, gradients, strict=True):
        assert torch.dist(ours, expected) <= tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_divided_some_at_a_time_give_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    image, gradients = drawn(dtype, True)
    monkeypatch.setattr(coverage, "STEPS", 100)
    monkeypatch.setattr(coverage, "SOME_STEPS", 50)
    in_portions, gradients_in_portions = drawn(dtype, True)
    assert (in_portions - image).abs().max() < 1e-6
    for ours, expected in zip(gradients_in_portions, gradients, strict=True):
        assert torch.dist(ours, expected) <= 1e-5 * expected.norm()


@pytest.mark.parametrize("offset", [0.0, 1e-6, -1e-6, 3e-5])
def test_nearly_horizontal_edges_on_the_border_of_bands(offset: float, monkeypatch: pytest.MonkeyPatch):
    """Rounding may move parts of such an edge into the next row."""
    shape = Shape((square(3.3, 8, 35.2, 24),), Fill(RED))
    made = scene(Document(ViewBox(0, 0, SIZE, SIZE), (shape,)), SIZE, SIZE)
    weight = torch.rand(4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    def result() -> tuple[Tensor, Tensor]:
        points = (made.points + offset * torch.linspace(0, 1, len(made.points))[:, None]).requires_grad_()
        _, *others = leaves(made)
        image = rasterize([with_leaves(made, points, *others)])[0]
        return image.detach(), torch.autograd.grad((image * weight).sum(), points)[0]

    image, gradient = result()
    monkeypatch.setattr(bands, "CELLS_WITH_GRADIENTS", 0)
    monkeypatch.setattr(bands, "MIN_ROWS", 8)
    monkeypatch.setattr(bands, "CELLS", 8 * SIZE * bands.CANVAS)
    in_bands, gradient_in_bands = result()
    assert torch.equal(in_bands, image)
    assert torch.allclose(gradient_in_bands, gradient, rtol=1e-5, atol=1e-4)


def test_bands_cover_the_canvas_once_and_hold_few_cells():
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 1900, (4000, 2), generator=generator).tolist()
    boxes = [(top, left, 148, 148) for top, left in corners]
    rows = bands.bands(boxes, [False] * 4000, 2048, 2048, groups=0, is_kept=True)
    assert rows[0][0] == 0 and rows[-1][1] == 2048
    assert all(end == begin for (_, end), (begin, _) in pairwise(rows))
    held = [bands.cells(bands.boxes_within(boxes, *band), [False] * 4000) for band in rows]
    assert max(held) <= 1.1 * bands.CELLS and sum(held) / len(held) > bands.CELLS / 2


RECTANGLES = '<rect width="512" height="512" fill="red" opacity=".1"/>' * 36
CIRCLES = '<circle cx="250" cy="250" r="200" stroke="red" stroke-width="5" fill="none"/>' * 45
FAR = '<path d="M250 250L1e8 3e7L-2e7 9e7z" fill="red" opacity=".1"/>' * 45
LINES = '<path fill-rule="evenodd" d="M3 5' + "L510 500L9 17" * 500 + 'z"/>'
STOPPED = "".join(f'<stop offset="{n / 998}" stop-color="#{n:03x}"/>' for n in range(999))
PAINTED = f'<linearGradient id="g">{STOPPED}</linearGradient>' + '<rect width="512" height="300" fill="url(#g)"/>' * 20
LARGE = {"rectangles": RECTANGLES, "circles": CIRCLES, "far": FAR, "lines": LINES, "painted": PAINTED}
"""At once they take 100 to 250 MB without gradients and 200 to 400 MB with them."""
PEAK = """
import os, resource, sys, torch
from dataclasses import replace
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster import bands, coverage
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene

bands.CELLS, bands.CELLS_WITH_GRADIENTS, coverage.STEPS, coverage.SOME_STEPS = LIMITS

def draw(document, side):
    return rasterize([scene(document, side, side)], torch.ones(1, 3))

def differentiate(document, side):
    made = scene(document, side, side)
    made = replace(made, points=made.points.requires_grad_(), colors=made.colors.requires_grad_())
    rasterize([made], torch.ones(1, 3)).square().mean().backward()

for body in sys.stdin.read().splitlines():
    document = parse(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512">{body}</svg>'.encode()).document
    differentiate(document, 16)
    for work in draw, differentiate:
        if not os.fork():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            work(document, 512)
            print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, flush=True)
            os._exit(0)
        os.wait()
"""


def peaks(limits: str) -> list[list[float]]:
    """For each large drawing, the megabytes that a process grows by without and with gradients."""
    numbers = printed(PEAK.replace("LIMITS", limits), LARGE.values())
    return [numbers[n : n + 2] for n in range(0, len(numbers), 2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_peak_memory_follows_the_limits():
    for name, (forward, both) in zip(LARGE, peaks("2**19, 2**21, 2**17, 2**15"), strict=True):
        assert forward < 80, name
        assert both < 140, name


def rectangles(count: int, side: int) -> Scene:
    shape = Shape((square(0, 0, 1, 1),), Fill(RED))
    return scene(Document(ViewBox(0, 0, 1, 1), (shape,) * count), side, side)


def test_what_would_take_too_long_is_refused_before_any_work():
    with pytest.raises(OversizedDrawing, match="cover 1.* pixels on a canvas of 16384x16384, all layers added up; .*"):
        rasterize([rectangles(400, 16384)])
    with pytest.raises(OversizedDrawing, match="Use fewer or smaller paths or a smaller canvas.$"):
        rasterize([rectangles(40, 16384)] * 10)


def test_threads_are_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rasterize([rectangles(2, 8)])
        assert torch.get_num_threads() == 2
        with pytest.raises(OversizedDrawing):
            rasterize([rectangles(400, 16384)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
