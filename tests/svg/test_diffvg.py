"""The pydiffvg adapter: what pydiffvg is given, in its own conventions, and what is refused before it is called.

A stand-in for pydiffvg renders, by pydiffvg's documented conventions, what the adapter passes to it, so these tests run
without the package. Where pydiffvg is installed, its images are compared with ours too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys

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
from dreamsampler.svg.raster.diffvg import Layer, _in_pixels, layers
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


def made(*children: Shape | Group, size: int = 24) -> Scene:
    like = torch.empty(0, dtype=torch.float64)
    return scene(Document(ViewBox(0, 0, 24, 24), children), size, size, like)


def only(*children: Shape | Group, size: int = 24) -> Layer:
    (layer,) = layers(made(*children, size=size))
    return layer


# What pydiffvg is given


def test_every_layer_is_a_group_of_its_own_in_paint_order():
    document = drawing(2, 24.0, 4, cap="round", join="round")
    inside = dataclasses.replace(document, children=(document.children[0], Group(document.children[1:])))
    whole = scene(inside, 48, 48, torch.empty(0, dtype=torch.float64))
    found = layers(whole)
    assert len(found) == len(whole.colors) > len(document.children)
    assert torch.equal(torch.stack([layer.color for layer in found]), whole.colors)
    assert [layer.even_odd for layer in found] == whole.layout.even_odd.tolist()
    radii = [layer.radius for layer in found if layer.radius is not None]
    assert torch.equal(torch.stack(radii), whole.widths / 2)


def test_open_contours_are_closed_for_filling_and_not_for_stroking():
    open_contour = dataclasses.replace(SHAPE, points=(*SHAPE.points[:9], Point(2.0, 12.0)), closed=False)
    filled, stroked = layers(made(Shape((open_contour,), Fill(RED), ROUND)))
    assert filled.closed == (True,) and len(filled.contours[0]) == 12
    back = filled.contours[0][9:]
    assert torch.allclose(back[:, 0], torch.full((3,), 2.0).double())
    assert torch.allclose(back[:, 1], torch.tensor([12.0, 12 - 10 / 3, 12 - 20 / 3]).double())
    assert stroked.closed == (False,) and len(stroked.contours[0]) == 10


def test_gradients_reach_every_parameter():
    whole = made(Shape((SHAPE,), Fill(RED), ROUND))
    parameters = whole.points.requires_grad_(), whole.colors.requires_grad_(), whole.widths.requires_grad_()
    filled, stroked = layers(whole)
    assert stroked.radius is not None
    total = filled.contours[0].sum() + stroked.contours[0].sum() + filled.color.sum() + stroked.radius
    points, colors, widths = torch.autograd.grad(total, parameters)
    assert (points == 2).all() and (widths == 0.5).all() and (colors[0] == 1).all() and (colors[1] == 0).all()


def t_of(paint_layer: Layer, pixel: Tensor) -> float:
    """The parameter of a linear gradient at a pixel, from the end points that pydiffvg is given."""
    assert paint_layer.gradient is not None
    begin, end = _in_pixels(paint_layer.gradient)
    axis = end - begin
    return float(((pixel - begin) * axis).sum() / axis.square().sum())


@pytest.mark.parametrize("transform", [Matrix(), Matrix(2, 0, 0, 0.5, 1, 2), Matrix(0.8, 0.3, -0.2, 1.1, 0.5, -0.3)])
def test_a_linear_gradient_has_the_same_colors_at_the_same_pixels(transform: Matrix):
    layer = only(Shape((SHAPE,), Fill(LinearGradient(Point(1, 2), Point(9, 5), STOPS, transform))), size=48)
    assert layer.gradient is not None
    colors = layer.gradient.at(0, 0, 48, 48)
    for row, column in ((5, 7), (20, 30), (11, 16)):
        t = min(max(t_of(layer, torch.tensor([column + 0.5, row + 0.5])), 0.0), 1.0)
        assert colors[2, row, column].item() == pytest.approx(t, abs=1e-5)


def test_a_radial_gradient_is_an_axis_aligned_ellipse():
    radial = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(2, 0, 0, 0.5, 1, 2))
    layer = only(Shape((SHAPE,), Fill(radial)), size=48)
    assert layer.gradient is not None
    center, corner = _in_pixels(layer.gradient)
    assert center.tolist() == [22, 10] and (corner - center).tolist() == [16, 4]


# What is refused


ROTATED = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(0.8, 0.3, -0.2, 1.1, 0, 0))
REPEATED = LinearGradient(Point(0, 0), Point(1, 1), STOPS, spread="repeat")
REFUSED = {
    "a group with an opacity": Group((Shape((SHAPE,), Fill(RED)),), 0.5),
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


@pytest.mark.parametrize("reason", REFUSED)
def test_what_it_would_draw_wrongly_is_refused(reason: str):
    refused = made(REFUSED[reason])
    with pytest.raises(UnsupportedDrawing, match=f"pydiffvg cannot draw {reason}. Choose the renderer 'built-in' or"):
        check_supported("diffvg", [made(Shape((SHAPE,), Fill(RED))), refused])
    check_supported("built-in", [refused])


def test_too_many_overlapping_layers_are_refused():
    shape = Shape((SHAPE,), Fill(RED, 0.1))
    assert len(layers(made(*[shape] * 256))) == 256
    with pytest.raises(UnsupportedDrawing, match="Up to 257 layers .* supports at most 256. Choose the renderer"):
        layers(made(*[shape] * 257))


# The choice by name


def test_rasterizers_have_names():
    assert NAMES == ("built-in", "diffvg")
    assert rasterizer("built-in") is rasterize
    for use in (rasterizer, lambda name: check_supported(name, [])):
        with pytest.raises(ValueError, match="There is no renderer 'cairo'. Choose one of built-in, diffvg."):
            use("cairo")


def test_without_pydiffvg_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", None)  # as if it were not installed
    assert available() == ("built-in",)
    with pytest.raises(ImportError, match="needs the Python package pydiffvg, .* or choose the renderer 'built-in'"):
        rasterizer("diffvg")


def test_a_pydiffvg_that_cannot_be_imported_is_named_with_its_error(monkeypatch: pytest.MonkeyPatch, tmp_path):
    (tmp_path / "pydiffvg.py").write_text("raise ImportError('libcudart.so.11.0 is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pydiffvg", raising=False)
    assert available() == ("built-in", "diffvg")
    with pytest.raises(ImportError, match="importing pydiffvg fails .libcudart.so.11.0 is missing.. Rebuild pydiffvg"):
        rasterizer("diffvg")


# The adapter as a whole


BACKGROUNDS = {"transparent": None, "green": torch.tensor([[0.2, 0.9, 0.6]])}


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_images_and_gradients_are_those_of_the_built_in_rasterizer(background: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    assert available() == ("built-in", "diffvg")
    document = drawing(2, 24.0, 4, cap="round", join="round")
    whole = scene(document, 96, 96)
    results = []
    for name in NAMES:
        parameters = leaves(whole)
        images = rasterizer(name)([with_leaves(whole, *parameters)] * 2, BACKGROUNDS[background])
        weight = torch.linspace(0, 20, images.numel()).sin().view(images.shape)
        gradients = torch.autograd.grad((images * weight).sum(), parameters[:3])
        results.append((images.detach(), *gradients))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * ours.abs().max().item())
    assert results[0][0].shape == (2, 4, 96, 96)


def test_an_empty_drawing_is_its_background(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    empty = made(Shape((), Fill(RED)))
    for background in (None, torch.tensor([[0.2, 0.9, 0.6]], dtype=torch.float64)):
        ours, theirs = (rasterizer(name)([empty], background) for name in NAMES)
        assert torch.allclose(ours, theirs)


@pytest.mark.skipif(not INSTALLED, reason="pydiffvg is not installed")
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_pydiffvg_draws_what_we_draw(background: str):
    whole = scene(drawing(2, 24.0, 4, cap="round", join="round"), 96, 96)
    ours, theirs = (rasterizer(name)([whole], BACKGROUNDS[background]) for name in NAMES)
    assert (ours - theirs).abs().mean() < 2 / 255
