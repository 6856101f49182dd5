"""What pydiffvg is given, in its own conventions, and what is refused before it would end the process or draw wrongly.

Where pydiffvg is installed its pictures are compared with ours; elsewhere those tests are skipped.
"""

from __future__ import annotations

import dataclasses
import importlib.util

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
from dreamsampler.svg.raster.rasterizers import RASTERIZERS, rasterizer
from dreamsampler.svg.raster.scene import Scene, scene
from support.drawings import BLUE, RED, drawing, square
from torch import Tensor

HERE = importlib.util.find_spec("pydiffvg") is not None
STOPS = (Stop(0, RED), Stop(1, BLUE))
SHAPE = square(2, 2, 20, 12)
ROUND = Stroke(BLUE, 0.5, 3.0, cap="round", join="round")


def made(*children: Shape | Group, size: int = 24) -> Scene:
    like = torch.empty(0, dtype=torch.float64)
    return scene(Document(ViewBox(0, 0, 24, 24), children), size, size, like)


def only(*children: Shape | Group, size: int = 24) -> Layer:
    (layer,) = layers(made(*children, size=size))
    return layer


def test_every_layer_is_a_group_of_its_own_in_the_order_of_the_scene():
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
    leaves = whole.points.requires_grad_(), whole.colors.requires_grad_(), whole.widths.requires_grad_()
    filled, stroked = layers(whole)
    assert stroked.radius is not None
    total = filled.contours[0].sum() + stroked.contours[0].sum() + filled.color.sum() + stroked.radius
    points, colors, widths = torch.autograd.grad(total, leaves)
    assert (points == 2).all() and (widths == 0.5).all() and (colors[0] == 1).all() and (colors[1] == 0).all()


def t_of(paint_layer: Layer, pixel: Tensor) -> float:
    """Where on a gradient a pixel lies, by the ends that pydiffvg is given."""
    assert paint_layer.gradient is not None
    begin, end = _in_pixels(paint_layer.gradient)
    axis = end - begin
    return float(((pixel - begin) * axis).sum() / axis.square().sum())


@pytest.mark.parametrize("transform", [Matrix(), Matrix(2, 0, 0, 0.5, 1, 2), Matrix(0.8, 0.3, -0.2, 1.1, 0.5, -0.3)])
def test_a_linear_gradient_has_the_same_colours_at_the_same_pixels(transform: Matrix):
    layer = only(Shape((SHAPE,), Fill(LinearGradient(Point(1, 2), Point(9, 5), STOPS, transform))), size=48)
    assert layer.gradient is not None
    colors = layer.gradient.at(0, 0, 48, 48)
    for row, column in ((5, 7), (20, 30), (11, 16)):
        t = min(max(t_of(layer, torch.tensor([column + 0.5, row + 0.5])), 0.0), 1.0)
        assert colors[2, row, column].item() == pytest.approx(t, abs=1e-5)


def test_a_radial_gradient_is_an_ellipse_along_the_canvas():
    radial = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(2, 0, 0, 0.5, 1, 2))
    layer = only(Shape((SHAPE,), Fill(radial)), size=48)
    assert layer.gradient is not None
    centre, corner = _in_pixels(layer.gradient)
    assert centre.tolist() == [22, 10] and (corner - centre).tolist() == [16, 4]


TURNED = RadialGradient(Point(5, 6), 4, Point(5, 6), STOPS, Matrix(0.8, 0.3, -0.2, 1.1, 0, 0))
REPEATED = LinearGradient(Point(0, 0), Point(1, 1), STOPS, spread="repeat")
REFUSED = {
    "a group with an opacity": Group((Shape((SHAPE,), Fill(RED)),), 0.5),
    "a stroke whose caps or joins are not round": Shape((SHAPE,), None, Stroke(BLUE, join="round")),
    "a stroke that is wider in one direction than in another": Shape(
        (SHAPE,), None, dataclasses.replace(ROUND, pen=Matrix(2, 0, 0, 1, 0, 0))
    ),
    "a gradient that is repeated": Shape((SHAPE,), Fill(REPEATED)),
    "a radial gradient whose focus is not its centre": Shape(
        (SHAPE,), Fill(RadialGradient(Point(5, 5), 4, Point(6, 5), STOPS))
    ),
    "a radial gradient that is turned or sheared": Shape((SHAPE,), Fill(TURNED)),
    "a path without length": Shape((square(3, 3, 3, 3),), Fill(RED)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_it_would_draw_wrongly_is_refused(reason: str):
    with pytest.raises(ValueError, match=f"pydiffvg cannot draw {reason}. Draw it with the rasteriser 'torch'"):
        layers(made(REFUSED[reason]))


def test_more_layers_over_one_another_than_it_can_take_are_refused():
    shape = Shape((SHAPE,), Fill(RED, 0.1))
    assert len(layers(made(*[shape] * 256))) == 256
    with pytest.raises(ValueError, match="Up to 257 layers may lie over one another in .* takes 256."):
        layers(made(*[shape] * 257))


def test_rasterisers_have_names():
    assert list(RASTERIZERS) == ["auto", "torch", "pydiffvg"]
    assert rasterizer("auto") is rasterizer("torch") is rasterize
    with pytest.raises(ValueError, match="no rasteriser 'cairo'. Choose one of auto, torch, pydiffvg"):
        rasterizer("cairo")


@pytest.mark.skipif(HERE, reason="pydiffvg is installed")
def test_without_pydiffvg_a_sentence_says_so():
    with pytest.raises(ImportError, match="pydiffvg is not installed.*Choose the rasteriser 'torch'"):
        rasterizer("pydiffvg")


@pytest.mark.skipif(not HERE, reason="pydiffvg is not installed")
@pytest.mark.parametrize("background", [None, torch.tensor([[0.2, 0.9, 0.6]])])
def test_pydiffvg_draws_what_we_draw(background: Tensor | None):
    document = drawing(2, 24.0, 4, cap="round", join="round")
    whole = scene(document, 96, 96)
    ours, theirs = (rasterizer(name)([whole], background) for name in ("torch", "pydiffvg"))
    assert (ours - theirs).abs().mean() < 2 / 255
