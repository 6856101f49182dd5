"""The rasterizer: gradients compared with finite differences, painting rules with drawings computed by hand."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from dreamsampler.svg.document import (
    Cap,
    Contour,
    Document,
    Fill,
    FillRule,
    Group,
    Join,
    LinearGradient,
    Matrix,
    Point,
    RadialGradient,
    Shape,
    Spread,
    Stop,
    Stroke,
    ViewBox,
)
from dreamsampler.svg.markup.normal_form import as_clip
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.compositing import over
from dreamsampler.svg.raster.coverage import tile_layout
from dreamsampler.svg.raster.rasterizer import rasterize, scene_edges
from dreamsampler.svg.raster.scene import scene
from support.drawings import BLUE, RED, WHITE, drawing, leaves, square, with_leaves
from support.svg_oracle import render, svg
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DOUBLE = torch.empty(0, dtype=torch.float64)


def line(*corners: tuple[float, float]) -> Contour:
    points = [Point(*corners[0])]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:]):
        points += [Point(x0 + (x1 - x0) * k / 3, y0 + (y1 - y0) * k / 3) for k in (1, 2, 3)]
    return Contour(tuple(points), closed=False)


def rasterized(*children: Shape | Group, size: int = 12, background: Tensor | None = None) -> Tensor:
    document = Document(ViewBox(0, 0, size, size), children)
    return rasterize([scene(document, size, size, DOUBLE)], background)[0]


def gradients_are_exact(document: Document, size: int) -> bool:
    made = scene(document, size, size, DOUBLE)
    background = torch.tensor([[0.2, 0.9, 0.6]], dtype=torch.float64, requires_grad=True)

    def render(background: Tensor, *parameters: Tensor) -> Tensor:
        return rasterize([with_leaves(made, *parameters)], background)

    return torch.autograd.gradcheck(render, (background, *leaves(made)), eps=1e-7, atol=1e-5, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cap, join", [("butt", "miter"), ("round", "round"), ("square", "bevel")])
def test_gradients_to_every_parameter(seed: int, cap: Cap, join: Join):
    assert gradients_are_exact(drawing(seed, 10, 2, cap=cap, join=join), 10)


STOPS = (Stop(0.1, RED, 0.9), Stop(0.5, WHITE), Stop(0.8, BLUE, 0.6))
TILTED = Matrix(0.8, 0.3, -0.2, 1.1, 0.5, -0.3)


@pytest.mark.parametrize("spread", ["pad", "reflect", "repeat"])
@pytest.mark.parametrize("kind", ["linear", "radial"])
def test_gradients_to_gradient_paints(kind: str, spread: Spread):
    linear = LinearGradient(Point(2.1, 3.3), Point(6.2, 7.4), STOPS, TILTED, spread)
    radial = RadialGradient(Point(5.1, 5.2), 3.3, Point(4.3, 5.9), STOPS, TILTED, spread)
    shape = Shape((square(1.3, 1.2, 8.6, 8.9),), Fill(linear if kind == "linear" else radial, 0.8))
    assert gradients_are_exact(Document(ViewBox(0, 0, 10, 10), (shape,)), 10)


def test_gradients_through_groups_and_pens():
    pen = Stroke(BLUE, 0.9, 1.5, join="round", pen=Matrix(1.5, 0.2, -0.3, 0.8))
    group = Group(
        (Shape((square(2.2, 2.3, 6.1, 6.4),), Fill(RED)), Shape((square(4.2, 4.3, 8.1, 8.4),), None, pen)), 0.6
    )
    assert gradients_are_exact(Document(ViewBox(0, 0, 10, 10), (group,)), 10)


SMOOTH = {
    "circle": '<circle cx="20.31" cy="18.73" r="9.17"/>',
    "ellipse": '<ellipse cx="20.31" cy="18.73" rx="14.3" ry="9.17"/>',
    "rounded rect": '<rect x="6.31" y="7.73" width="27.3" height="24.6" rx="9.2"/>',
    "collinear lines": '<path d="M5.2 9.3L20.1 18.7L35 28.1"/>',
    "nearly collinear lines": '<path d="M5.2 9.3L20.1 18.7L35 28.115"/>',
    "smooth S": '<path d="M5.2 9.3C10 2 15 30 20.1 20.7S30 5 35 20.1"/>',
}
"""Outlines with smooth or nearly smooth joins."""


def stroked(name: str, width: float, join: str) -> Document:
    attributes = f'fill="none" stroke="#fff" stroke-width="{width}" stroke-linejoin="{join}"'
    return parse(svg(f"<g {attributes}>{SMOOTH[name]}</g>", 'viewBox="0 0 40 40"')).document


@pytest.mark.parametrize("join", ["miter", "round", "bevel"])
@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_smooth_strokes(name: str, width: float, join: str):
    assert gradients_are_exact(stroked(name, width, join), 40)


@pytest.mark.parametrize("join", ["miter", "round", "bevel"])
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_smooth_strokes_in_float32(name: str, join: str):
    weight = torch.rand(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for like in (torch.empty(0), DOUBLE):
        made = scene(stroked(name, 8, join), 40, 40, like)
        points, *others = leaves(made)
        (rasterize([with_leaves(made, points, *others)])[0, 3] * weight.to(like)).sum().backward()
        assert points.grad is not None
        found.append(points.grad.double())
    assert torch.dist(*found) < 1e-3 * found[1].norm()


def test_round_join_of_180_degrees_is_half_a_disc():
    for back in ("M5 20H30H8", "M30 20H5H28", "M20 5V30V8", "M20 30V5V28"):
        pen = 'fill="none" stroke="#fff" stroke-width="8" stroke-linejoin="round"'
        made = parse(svg(f'<path d="{back}" {pen}/>', 'viewBox="0 0 40 40"')).document
        covered = rasterize([scene(made, 40, 40, DOUBLE)])[0, 3].sum().item()
        assert covered == pytest.approx(25 * 8 + torch.pi * 4**2 / 2, abs=0.05)


@pytest.mark.parametrize("seed", range(2))
def test_gradients_of_drawings_larger_than_the_canvas(seed: int):
    large = drawing(seed, 400, 3)
    assert gradients_are_exact(dataclasses.replace(large, view_box=ViewBox(150, 150, 20, 20)), 10)


def test_shapes_can_be_much_larger_than_the_canvas():
    """A rectangle of any size with one corner on the canvas."""
    for size in (30, 1e4, 1e9):
        image = rasterized(Shape((square(3.5, 4.5, size, size),), Fill(RED)))
        assert image[3].sum().item() == pytest.approx(8.5 * 7.5, abs=1e-3)


class LiveTensors(TorchDispatchMode):
    """Records the maximum number of tensors, created in its scope, that are alive at the same time."""

    def __init__(self):
        super().__init__()
        self.made: list[ReferenceType[Tensor]] = []
        self.maximum = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.made = [made for made in self.made if made() is not None]
        self.made += [ref(t) for t in tree_leaves(result) if isinstance(t, Tensor)]
        self.maximum = max(self.maximum, len(self.made))
        return result


def live_tensors(layers: int, requires_grad: bool, grad: bool) -> int:
    """The maximum number of live tensors while compositing layers, depending on `requires_grad` of the coverage."""
    edges = torch.tensor([[[2.0, 3.0], [9.0, 8.0]]]).expand(layers, 2, 2)
    tiles = tile_layout(edges, torch.arange(layers), layers, 12, 12)
    coverage = torch.ones(tiles.cells, requires_grad=requires_grad)
    with torch.set_grad_enabled(grad), LiveTensors() as mode:
        over(torch.zeros(4, 12, 12), range(layers), coverage, tiles, torch.ones(layers, 4), [None] * layers)
    return mode.maximum


def test_intermediate_results_are_kept_only_for_a_backward_pass():
    assert live_tensors(40, requires_grad=True, grad=True) == live_tensors(10, requires_grad=True, grad=True) + 30
    assert live_tensors(40, requires_grad=True, grad=False) == live_tensors(10, requires_grad=True, grad=False)
    assert live_tensors(40, requires_grad=False, grad=True) == live_tensors(10, requires_grad=False, grad=True)


def test_color_is_composited_over_the_background():
    background = torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64)
    image = rasterized(Shape((square(2, 3, 7.5, 9),), Fill(RED, 0.6)), background=background)
    assert torch.allclose(image[:, 5, 4], torch.tensor([0.8, 0.2, 0.2, 1.0], dtype=torch.float64))
    assert torch.allclose(image[:, 5, 7], torch.tensor([0.65, 0.35, 0.35, 1.0], dtype=torch.float64))
    assert torch.allclose(image[:, 0, 0], torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))


def test_image_without_background_is_premultiplied():
    image = rasterized(Shape((square(2, 3, 7.5, 9),), Fill(RED, 0.6)))
    assert torch.allclose(image[:, 5, 7], torch.tensor([0.3, 0, 0, 0.3], dtype=torch.float64))
    assert not image[:, 0].any()


def test_group_opacity_applies_to_the_group_as_a_whole():
    shapes = Shape((square(1, 1, 8, 8),), Fill(RED)), Shape((square(4, 4, 11, 11),), Fill(BLUE))
    image = rasterized(Group(shapes, 0.5))
    assert torch.allclose(image[:, 6, 6], torch.tensor([0, 0, 0.5, 0.5], dtype=torch.float64))
    assert torch.allclose(image[:, 2, 2], torch.tensor([0.5, 0, 0, 0.5], dtype=torch.float64))


def test_clips_multiply_coverage():
    """A square from 2 to 8 in a clip of squares from 4.5 and from 3.5 that overlap, and of a part of them."""
    shape = Shape((square(2, 2, 8, 8),), Fill(RED, 0.8))
    one, two = (Shape((square(low, low, 12, 12),), Fill(BLUE, 0.1)) for low in (4.5, 3.5))
    image = rasterized(Group((shape,), 0.5, clip=(one,)))
    assert image[:, 6, 6].tolist() == pytest.approx([0.4, 0, 0, 0.4])
    assert image[3, 4, 4].item() == pytest.approx(0.4 / 4) and image[3, 3, 6].item() == 0
    image = rasterized(Group((shape,), clip=(one, two)))
    assert image[3, 3, 6].item() == pytest.approx(0.8 / 2) and image[3, 4, 6].item() == pytest.approx(0.8)
    inner = Group((two,), 0.1, clip=(Shape((square(6, 6, 9, 9),), Fill(BLUE)),))
    image = rasterized(Group((shape,), clip=(inner,)))
    assert image[3, 5, 7].item() == 0 and image[3, 7, 7].item() == pytest.approx(0.8)


def test_gradients_through_clips():
    """Colors and opacities of clips have no effect, their outlines do."""
    content, clip, nested = (drawing(seed, 10, 2).children for seed in (3, 4, 5))
    only_fills = [tuple(as_clip(nodes)) for nodes in (clip, nested)]
    document = drawing(6, 10, 1)
    group = Group(content, 0.7, clip=(*only_fills[0][:1], Group(only_fills[0][1:], 0.3, clip=only_fills[1])))
    assert gradients_are_exact(dataclasses.replace(document, children=(*document.children, group)), 10)
    made = scene(dataclasses.replace(document, children=(group,)), 10, 10, DOUBLE)
    image = rasterize([made])
    paler = dataclasses.replace(made, colors=torch.cat((made.colors[:-3], made.colors[-3:] * 0.3)))
    assert torch.equal(rasterize([paler]), image) and image.any()
    first = sum(len(contour.points) for shape in made.document.shapes() for contour in shape.contours)
    points = made.points.clone().requires_grad_()
    rasterize([dataclasses.replace(made, points=points)]).sum().backward()
    assert points.grad is not None and points.grad[first:].any()


def test_fill_rules_differ_where_an_outline_winds_twice():
    twice = square(2, 2, 10, 10), square(4, 4, 8, 8)
    rules: dict[FillRule, float] = {"nonzero": 1, "evenodd": 0}
    for rule, inside in rules.items():
        image = rasterized(Shape(twice, Fill(RED, rule=rule)))
        assert image[3, 6, 6].item() == pytest.approx(inside)
        assert image[3, 3, 3].item() == pytest.approx(1)


def test_open_contours_are_filled_as_if_closed():
    image = rasterized(Shape((line((2, 2), (10, 2), (10, 10)),), Fill(RED)))
    assert image[3].sum().item() == pytest.approx(32)


@pytest.mark.parametrize("join, corner", [("miter", 1), ("bevel", 0.5), ("round", torch.pi / 4)])
def test_joins_cover_their_part_of_the_corner(join: Join, corner: float):
    image = rasterized(Shape((line((2, 6), (6, 6), (6, 10)),), None, Stroke(RED, width=2, join=join)))
    assert image[3, 5, 6].item() == pytest.approx(corner, abs=0.01)
    assert image[3].sum().item() == pytest.approx(4 * 2 + 4 * 2 - 1 + corner, abs=0.02)


def test_corners_beyond_the_miter_limit_are_beveled():
    sharp = line((2, 5), (9, 6), (2, 7))
    joins: list[tuple[Join, float]] = [("miter", 4), ("bevel", 4), ("miter", 20)]
    areas = [
        rasterized(Shape((sharp,), None, Stroke(RED, width=1, join=join, miter_limit=limit)), size=20)[3].sum().item()
        for join, limit in joins
    ]
    assert areas[0] == pytest.approx(areas[1])
    assert areas[2] > areas[0] + 1


@pytest.mark.parametrize("cap, beyond", [("butt", 0), ("square", 4), ("round", torch.pi)])
def test_caps_extend_beyond_the_ends(cap: Cap, beyond: float):
    image = rasterized(Shape((line((3, 6), (9, 6)),), None, Stroke(RED, width=2, cap=cap)))
    assert image[3].sum().item() == pytest.approx(12 + beyond, abs=0.03)


def test_dots_consist_of_caps():
    dot = Contour((Point(6, 6),) * 4, closed=False)
    areas = [
        rasterized(Shape((dot,), None, Stroke(RED, width=4, cap=cap)))[3].sum().item()
        for cap in ("round", "square", "butt")
    ]
    assert areas == pytest.approx([4 * torch.pi, 16, 0], abs=0.05)


def test_batch_items_are_independent():
    scenes = [scene(drawing(seed, 24), 24, 24) for seed in range(3)]
    backgrounds = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    together = rasterize(scenes, backgrounds)
    alone = torch.cat([rasterize([one], backgrounds[n : n + 1]) for n, one in enumerate(scenes)])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("height, width", [(24, 24), (50, 31), (17, 64)])
def test_document_scales_to_any_canvas(height: int, width: int):
    """Coverage is exact: an image of twice the size, averaged over 2 x 2 pixels, is the same image."""
    small, large = (rasterize([scene(drawing(1), n * height, n * width, DOUBLE)])[0] for n in (1, 2))
    mean = torch.nn.functional.avg_pool2d(large[None], 2)[0]
    assert (mean - small).abs().mean() < 2e-3


def test_scene_converts_back_to_its_document():
    document = drawing(4)
    back = scene(document, 100, 60, DOUBLE).to_document()
    for shape, original in zip(back.shapes(), document.shapes()):
        for contour, first in zip(shape.contours, original.contours):
            assert torch.allclose(torch.tensor(contour.points), torch.tensor(first.points), atol=1e-4)
        assert (shape.fill is None) == (original.fill is None)
        if original.stroke and shape.stroke:
            assert shape.stroke.width == pytest.approx(original.stroke.width)


FAR = """
<linearGradient id="a" gradientUnits="userSpaceOnUse" x1="{1}" y1="{1}" x2="{9}" y2="{7}">{stops}</linearGradient>
<radialGradient id="b" gradientUnits="userSpaceOnUse" cx="{6}" cy="{7}" r="3" fx="{5}" fy="{6.5}">{stops}
</radialGradient>
<radialGradient id="c" gradientUnits="objectBoundingBox" gradientTransform="rotate(20) scale(1 .5)">{stops}
</radialGradient>
<rect x="{0}" y="{0}" width="10" height="4.1" fill="url(#a)"/>
<circle cx="{6.1}" cy="{6.7}" r="2.3" fill="url(#b)" stroke="url(#a)" stroke-width=".7"/>
<rect x="{0.2}" y="{5.3}" width="3.1" height="1.1" fill="url(#c)" stroke="navy" stroke-width=".1"/>
"""


def moved_by(x: int, y: int) -> str:
    """A file of 10 x 10 units whose view box begins at (x, y)."""
    stops = '<stop stop-color="red"/><stop offset="1" stop-color="#00f8"/>'
    body = re.sub(r'(x\d?|y\d?)="{(.*?)}"', lambda m: f'{m[1]}="{(y if "y" in m[1] else x) + float(m[2])!r}"', FAR)
    return svg(body.replace("{stops}", stops), f'viewBox="{x} {y} 10 10"')


def test_drawings_far_from_the_origin_look_the_same_in_float32():
    """As maps have them: float32 has steps of a quarter of a unit at 4,000,000."""
    near, far = parse(moved_by(0, 0)), parse(moved_by(500_000, 4_000_000))
    assert not near.warnings and not far.warnings
    expected = rasterize([scene(near.document, 250, 250, DOUBLE)])
    actual = rasterize([scene(far.document, 250, 250)])
    assert (actual - expected).abs().max() < 1e-3


def test_gradients_far_from_the_origin_are_converted_back():
    document = parse(moved_by(500_000, 4_000_000)).document
    made = scene(document, 250, 250)
    recolored = [dataclasses.replace(paint, colors=paint.colors * 0.5) for paint in made.gradients]
    assert made.to_document() == document
    for shape, original in zip(
        dataclasses.replace(made, gradients=tuple(recolored)).to_document().shapes(), document.shapes(), strict=True
    ):
        now, before = shape.fill and shape.fill.paint, original.fill and original.fill.paint
        assert type(now) is type(before) and now != before
        if isinstance(now, LinearGradient) and isinstance(before, LinearGradient):
            assert now.start == before.start and now.end == pytest.approx(before.end, rel=1e-13)
        if isinstance(now, RadialGradient) and isinstance(before, RadialGradient):
            assert now.center == before.center and now.focus == pytest.approx(before.focus, rel=1e-13)


def test_layers_outside_the_canvas_and_empty_drawings():
    assert not rasterized(Shape((square(20, 20, 30, 30),), Fill(RED))).any()
    assert not rasterized(Shape((), Fill(RED))).any()


def edges_of(body: str) -> int:
    made = scene(parse(svg(body, 'viewBox="0 0 40 40"')).document, 40, 40)
    return sum(len(edges) for edges, _ in scene_edges(made))


def test_strokes_need_few_edges_outside_the_canvas():
    for pen in ("", 'stroke-width="300"', 'transform="scale(1 .1)"'):
        far = f'<path d="M0 0{"c1e8 9 -1e8 9 1 50" * 40}" fill="none" stroke="red" {pen}/>'
        assert edges_of(far) < 40 * 1000


def test_hidden_or_many_round_joins_and_caps_need_few_edges():
    pen = 'fill="none" stroke="red" stroke-linejoin="round" stroke-linecap="round"'
    assert edges_of(f'<path d="M500 500{"h9v9" * 50}" {pen} stroke-width="400"/>') < 1000
    assert edges_of(f'<path d="M0 0{"h9v9" * 5000}" {pen} stroke-width="1e8"/>') < 2_000_000


@pytest.mark.parametrize("name", SMOOTH)
def test_strokes_beyond_the_canvas_match_a_larger_canvas(name: str):
    """Compared with the same part of a larger canvas, with a skewed pen."""
    pen = 'fill="none" stroke="#fff" stroke-width="4" stroke-linejoin="round" stroke-linecap="round"'
    place = "translate(-900 -700) rotate(9) scale(60 45)"
    document = parse(svg(f'<g transform="{place}" {pen}>{SMOOTH[name]}</g>', 'viewBox="0 0 40 40"')).document
    small = rasterize([scene(document, 40, 40, DOUBLE)])[0, 3]
    wide = dataclasses.replace(document, view_box=ViewBox(-2000, -2000, 4040, 4040))
    large = rasterize([scene(wide, 4040, 4040, DOUBLE)])[0, 3, 2000:2040, 2000:2040]
    assert small.max() > 0
    assert (small - large).abs().max() < 0.01


@pytest.mark.parametrize("width", [1e9, math.inf, math.nan])
def test_strokes_of_any_width_stay_within_the_edge_limit(width: float):
    made = dataclasses.replace(
        scene(drawing(0), 24, 24), widths=torch.full_like(scene(drawing(0), 24, 24).widths, width)
    )
    image = rasterize([made])
    assert image.shape == (1, 4, 24, 24)
    assert sum(len(edges) for edges, _ in scene_edges(made)) < 1_000_000


class _Written(TorchDispatchMode):
    """Counts the numbers in the results of all operations but views."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.numbers += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


@pytest.mark.parametrize("clipped", [False, True])
def test_groups_cost_as_much_as_their_windows(clipped: bool):
    """And not as much as the canvas, which is 1000 times as large."""

    def written(count: int) -> int:
        clip = (Shape((square(4, 4, 9, 9),), Fill(RED)),) if clipped else ()
        group = Group((Shape((square(3, 3, 8, 8),), Fill(RED)),), 0.5, clip=clip)
        made = scene(Document(ViewBox(0, 0, 256, 256), (group,) * count), 256, 256)
        with torch.no_grad(), _Written() as mode:
            rasterize([made])
        return mode.numbers

    assert written(11) - written(1) < 10 * 256 * 256


def test_gradients_in_groups_that_their_clips_cut():
    stops = '<stop stop-color="red"/><stop offset="1" stop-color="#00f"/>'
    source = svg(
        f'<linearGradient id="a" x2=".7" y2=".4">{stops}</linearGradient>'
        f'<radialGradient id="b">{stops}</radialGradient>'
        '<clipPath id="c"><circle cx="61" cy="42" r="22"/></clipPath>'
        '<clipPath id="d"><path d="M38 20h40v10l-20 60z"/></clipPath>'
        '<g clip-path="url(#c)"><rect x="10" y="7" width="88" height="80" fill="url(#a)"/>'
        '<g clip-path="url(#d)" opacity=".6"><circle cx="50.7" cy="49.1" r="37" fill="url(#b)"/></g></g>'
    )
    expected = torch.from_numpy(render(source, 100)).movedim(-1, 0)
    document = parse(source).document
    assert (rasterize([scene(document, 100, 100, DOUBLE)])[0] - expected).abs().mean() < 1e-3
    assert gradients_are_exact(document, 25)


def test_linear_gradients_shorter_than_a_step_of_float32_are_edges():
    """There, 8.0000005 and 8.0000014 are the same number."""
    stops = '<stop stop-color="red"/><stop offset="1" stop-color="blue"/>'
    attributes = 'gradientUnits="userSpaceOnUse" x1="8.0000005" x2="8.0000014" y1="3" y2="3"'
    source = f'<linearGradient id="a" {attributes}>{stops}</linearGradient><rect width="16" height="4" fill="url(#a)"/>'
    image = rasterize([scene(parse(svg(source, 'viewBox="0 0 16 4"')).document, 4, 16)])[0]
    red, blue = torch.tensor([1.0, 0, 0, 1]), torch.tensor([0.0, 0, 1, 1])
    assert torch.allclose(image, torch.cat((red.expand(4, 8, 4), blue.expand(4, 8, 4)), 1).movedim(-1, 0))


@pytest.mark.parametrize("spread", ["pad", "reflect", "repeat"])
def test_gradients_without_length_have_the_color_of_the_last_stop(spread: Spread):
    """SVG 2, sections 13.7.2.2 and 13.7.2.3."""
    stops, point = (Stop(0.0, RED), Stop(1.0, BLUE, 0.5)), Point(5, 7)
    linear = LinearGradient(point, point, stops, spread=spread)
    radial = RadialGradient(point, 0.0, point, stops, spread=spread)
    for gradient in (linear, radial):
        image = rasterized(Shape((square(0, 0, 12, 12),), Fill(gradient)))
        assert torch.allclose(image.movedim(0, -1), image.new_tensor([0, 0, 0.5, 0.5]))
