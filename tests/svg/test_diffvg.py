"""The pydiffvg adapter: the layers passed to pydiffvg, and the drawings that are rejected.

A stand-in renders these layers by pydiffvg's documented conventions, so these tests run without the package.
If pydiffvg is installed, its images are compared too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from random import Random

import pytest
import torch
from dreamsampler.svg.document import (
    Document,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
    ViewBox,
)
from dreamsampler.svg.raster.diffvg import Diffvg, Layer, _depth, _in_pixels, layers
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.rasterizers import NAMES, UnsupportedDrawing, available, check_supported, rasterizer
from dreamsampler.svg.raster.scene import Scene, scene
from support.diffvg import stand_in
from support.drawings import BLUE, RED, drawing, leaves, square, with_leaves
from torch import Tensor

INSTALLED = importlib.util.find_spec("pydiffvg") is not None
STOPS = (Stop(0, RED), Stop(1, BLUE))
SHAPE = square(2, 2, 20, 12)
ROUND = Stroke(BLUE, 0.5, 3.0, cap="round", join="round")


def scene_of(*children: Shape | Group, size: int = 24) -> Scene:
    like = torch.empty(0, dtype=torch.float64)
    return scene(Document(ViewBox(0, 0, 24, 24), children), size, size, like)


def layer_of(*children: Shape | Group, size: int = 24) -> Layer:
    (layer,) = layers(scene_of(*children, size=size))
    return layer


# Layers


def test_layers_are_in_paint_order():
    document = drawing(2, 24.0, 4, cap="round", join="round")
    inside = dataclasses.replace(document, children=(document.children[0], Group(document.children[1:])))
    full_scene = scene(inside, 48, 48, torch.empty(0, dtype=torch.float64))
    found = layers(full_scene)
    assert len(found) == len(full_scene.colors) > len(document.children)
    assert torch.equal(torch.stack([layer.color for layer in found]), full_scene.colors)
    assert [layer.even_odd for layer in found] == full_scene.layout.even_odd.tolist()
    radii = [layer.radius for layer in found if layer.radius is not None]
    assert torch.equal(torch.stack(radii), full_scene.widths / 2)


def test_open_contours_are_closed_only_for_filling():
    open_contour = dataclasses.replace(SHAPE, points=(*SHAPE.points[:9], Point(2.0, 12.0)), closed=False)
    filled, stroked = layers(scene_of(Shape((open_contour,), Fill(RED), ROUND)))
    assert filled.closed == (True,) and len(filled.contours[0]) == 12
    back = filled.contours[0][9:]
    assert torch.allclose(back[:, 0], torch.full((3,), 2.0).double())
    assert torch.allclose(back[:, 1], torch.tensor([12.0, 12 - 10 / 3, 12 - 20 / 3]).double())
    assert stroked.closed == (False,) and len(stroked.contours[0]) == 10


def test_gradients_reach_every_parameter():
    full_scene = scene_of(Shape((SHAPE,), Fill(RED), ROUND))
    parameters = (
        full_scene.points.requires_grad_(),
        full_scene.colors.requires_grad_(),
        full_scene.widths.requires_grad_(),
    )
    filled, stroked = layers(full_scene)
    assert stroked.radius is not None
    total = filled.contours[0].sum() + stroked.contours[0].sum() + filled.color.sum() + stroked.radius
    points, colors, widths = torch.autograd.grad(total, parameters)
    assert (points == 2).all() and (widths == 0.5).all() and (colors[0] == 1).all() and (colors[1] == 0).all()


def t_of(paint_layer: Layer, pixel: Tensor) -> float:
    """The parameter of a linear gradient at a pixel, from the end points passed to pydiffvg."""
    assert paint_layer.gradient is not None
    begin, end = _in_pixels(paint_layer.gradient)
    axis = end - begin
    return float(((pixel - begin) * axis).sum() / axis.square().sum())


@pytest.mark.parametrize("transform", [Matrix(), Matrix(2, 0, 0, 0.5, 1, 2), Matrix(0.8, 0.3, -0.2, 1.1, 0.5, -0.3)])
def test_linear_gradients_have_the_same_colors(transform: Matrix):
    layer = layer_of(Shape((SHAPE,), Fill(LinearGradient(Point(1, 2), Point(9, 5), STOPS, transform))), size=48)
    assert layer.gradient is not None
    colors = layer.gradient.at(0, 0, 48, 48)
    for row, column in ((5, 7), (20, 30), (11, 16)):
        t = min(max(t_of(layer, torch.tensor([column + 0.5, row + 0.5])), 0.0), 1.0)
        assert colors[2, row, column].item() == pytest.approx(t, abs=1e-5)


def test_radial_gradients_are_axis_aligned_ellipses():
    radial = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(2, 0, 0, 0.5, 1, 2))
    layer = layer_of(Shape((SHAPE,), Fill(radial)), size=48)
    assert layer.gradient is not None
    center, corner = _in_pixels(layer.gradient)
    assert center.tolist() == [22, 10] and (corner - center).tolist() == [16, 4]


# Unsupported drawings


ROTATED = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(0.8, 0.3, -0.2, 1.1, 0, 0))
REPEATED = LinearGradient(Point(0, 0), Point(1, 1), STOPS, spread="repeat")
UNSUPPORTED = {
    "a group with an opacity": Group((Shape((SHAPE,), Fill(RED)),), 0.5),
    "a group with a clip": Group((Shape((SHAPE,), Fill(RED)),), clip=(Shape((SHAPE,), Fill(RED)),)),
    "a stroke whose caps or joins are not round": Shape((SHAPE,), None, Stroke(BLUE, join="round")),
    "a stroke that is wider in one direction than in another": Shape(
        (SHAPE,), None, dataclasses.replace(ROUND, pen=Matrix(2, 0, 0, 1, 0, 0))
    ),
    "a gradient that is repeated or reflected": Shape((SHAPE,), Fill(REPEATED)),
    "a radial gradient whose focus is not its center": Shape(
        (SHAPE,), Fill(RadialGradient(Point(5, 5), 4, Point(6, 5), STOPS))
    ),
    "a radial gradient that is rotated or skewed": Shape((SHAPE,), Fill(ROTATED)),
    "a path of zero length": Shape((square(3, 3, 3, 3),), Fill(RED)),
}


@pytest.mark.parametrize("reason", UNSUPPORTED)
def test_unsupported_features_raise_an_error(reason: str):
    unsupported = scene_of(UNSUPPORTED[reason])
    with pytest.raises(UnsupportedDrawing, match=f"pydiffvg cannot draw {reason}. Choose the renderer 'built-in' or"):
        check_supported("diffvg", [scene_of(Shape((SHAPE,), Fill(RED))), unsupported])
    check_supported("built-in", [unsupported])


def test_too_many_overlapping_layers_raise_an_error():
    shape = Shape((SHAPE,), Fill(RED, 0.1))
    assert len(layers(scene_of(*[shape] * 256))) == 256
    with pytest.raises(UnsupportedDrawing, match="Up to 257 layers .* supports at most 256. Choose the renderer"):
        layers(scene_of(*[shape] * 257))


def test_layers_in_other_places_do_not_count():
    left, right = (Shape((square(x, 2, x + 8, 20),), Fill(RED, 0.1)) for x in (1, 13))
    assert len(layers(scene_of(*[left, right] * 200))) == 400
    beyond = Shape((square(-9, 2, -1, 20),), Fill(RED, 0.1))
    assert len(layers(scene_of(*[left, beyond] * 200))) == 400


def boxes_over(layers: list[Layer], row: int, column: int) -> int:
    """How many layers may reach into a pixel, from the bounding boxes of their control points, widened by the pen."""
    count = 0
    for layer in layers:
        radius = 0.0 if layer.radius is None else float(layer.radius)
        (left, top), (right, bottom) = (f(torch.cat(layer.contours), 0).tolist() for f in (torch.amin, torch.amax))
        across = left - radius < column + 1 and right + radius > column
        count += across and top - radius < row + 1 and bottom + radius > row
    return count


@pytest.mark.parametrize("seed", range(6))
def test_the_depth_is_the_largest_number_of_layers_over_a_pixel(seed: int):
    random = Random(seed)
    shapes = []
    for _ in range(12):
        x, y, side = random.uniform(-8, 26), random.uniform(-8, 26), random.uniform(1, 9)
        pen = dataclasses.replace(ROUND, width=random.uniform(0.5, 6)) if random.random() < 0.5 else None
        shapes.append(Shape((square(x, y, x + side, y + random.uniform(1, 9)),), Fill(RED), pen))
    found = layers(scene_of(*shapes))
    expected = max(boxes_over(found, row, column) for row in range(24) for column in range(24))
    assert _depth(found, 24, 24) == expected > 1


# Selection by name


def test_rasterizers_are_selected_by_name():
    assert NAMES == ("built-in", "diffvg")
    assert rasterizer("built-in") is rasterize
    for use in (rasterizer, lambda name: check_supported(name, [])):
        with pytest.raises(ValueError, match="There is no renderer 'cairo'. Choose one of built-in, diffvg."):
            use("cairo")


def test_missing_pydiffvg_raises_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", None)  # as if it were not installed
    assert available() == ("built-in",)
    with pytest.raises(ImportError, match="needs the Python package pydiffvg, .* or choose the renderer 'built-in'"):
        rasterizer("diffvg")


def test_failing_import_of_pydiffvg_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path):
    (tmp_path / "pydiffvg.py").write_text("raise ImportError('libcudart.so.11.0 is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pydiffvg", raising=False)
    assert available() == ("built-in", "diffvg")
    with pytest.raises(ImportError, match="importing pydiffvg fails .libcudart.so.11.0 is missing.. Rebuild pydiffvg"):
        rasterizer("diffvg")


# Rendering


BACKGROUNDS = {"transparent": None, "green": torch.tensor([[0.2, 0.9, 0.6]])}


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_images_and_gradients_match_the_built_in_rasterizer(background: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    assert available() == ("built-in", "diffvg")
    document = drawing(2, 24.0, 4, cap="round", join="round")
    full_scene = scene(document, 96, 96)
    results = []
    for name in NAMES:
        parameters = leaves(full_scene)
        images = rasterizer(name)([with_leaves(full_scene, *parameters)] * 2, BACKGROUNDS[background])
        weight = torch.linspace(0, 20, images.numel()).sin().view(images.shape)
        gradients = torch.autograd.grad((images * weight).sum(), parameters[:3])
        results.append((images.detach(), *gradients))
    for built_in, diffvg in zip(*results, strict=True):
        assert torch.allclose(built_in, diffvg, rtol=1e-3, atol=1e-3 * built_in.abs().max().item())
    assert results[0][0].shape == (2, 4, 96, 96)


@pytest.mark.parametrize("fill", [
    LinearGradient(Point(1, 2), Point(9, 5), (Stop(0, RED, 0.5), Stop(1, BLUE, 0.25))),
    RadialGradient(Point(5, 6), 4, Point(5, 6), (Stop(0, RED, 0.5), Stop(1, BLUE, 0.25))),
], ids=["linear", "radial"])  # fmt: skip
def test_the_stops_of_a_gradient_have_their_opacity_times_that_of_the_fill(fill, monkeypatch: pytest.MonkeyPatch):
    library = stand_in()
    library.LinearGradient = library.RadialGradient = lambda *given: given
    monkeypatch.setitem(sys.modules, "pydiffvg", library)
    layer = layer_of(Shape((SHAPE,), Fill(fill, 0.8)))
    assert layer.gradient is not None
    *_, offsets, stops = Diffvg()._gradient(layer.gradient, layer.color[3])
    assert offsets.tolist() == [0, 1]
    assert torch.allclose(stops, torch.tensor([[1, 0, 0, 0.4], [0, 0, 1, 0.2]]))


def test_the_alpha_of_a_transparent_image_is_what_covers_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    (image,) = rasterizer("diffvg")([scene_of(Shape((SHAPE,), Fill(BLUE, 0.25)))])
    assert torch.allclose(image[:, 6, 10], torch.tensor([0, 0, 0.25, 0.25]).double(), atol=1e-6)
    assert torch.allclose(image[:, 20, 10], torch.zeros(4).double(), atol=1e-6)


def test_empty_drawing_is_the_background(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    empty = scene_of(Shape((), Fill(RED)))
    for background in (None, torch.tensor([[0.2, 0.9, 0.6]], dtype=torch.float64)):
        built_in, diffvg = (rasterizer(name)([empty], background) for name in NAMES)
        assert torch.allclose(built_in, diffvg)


@pytest.mark.skipif(not INSTALLED, reason="pydiffvg is not installed")
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_pydiffvg_matches_the_built_in_rasterizer(background: str):
    full_scene = scene(drawing(2, 24.0, 4, cap="round", join="round"), 96, 96)
    built_in, diffvg = (rasterizer(name)([full_scene], BACKGROUNDS[background]) for name in NAMES)
    assert (built_in - diffvg).abs().mean() < 2 / 255
