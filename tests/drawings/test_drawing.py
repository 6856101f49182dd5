"""Drawings as parameters: what is optimized, what follows it, the resulting document; and batches of drawings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dreamsampler.drawings.augmentation import RandomViews
from dreamsampler.drawings.drawing import Drawing, DrawingBatch, clamp_colors, parameter_groups, render
from dreamsampler.drawings.initialization import Paths
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.svg.document import (
    IDENTITY,
    Color,
    Contour,
    Document,
    Fill,
    Group,
    LinearGradient,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
    ViewBox,
)
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.drawings import drawing, gradient_of
from torch import Tensor
from torch.optim import Adam

SIZE = 24
LIKE = torch.empty(0, dtype=torch.float64)
SQUARE = """<svg viewBox="0 0 24 24">
  <path d="M5.3 5.4H19.2V18.7H5.3Z" fill="#369"/>
  <path d="M2 2C2 12 12 2 22 22" stroke="red" fill="none"/>
</svg>"""
STOPS = (Stop(0.0, Color(1.0, 0.0, 0.0)), Stop(1.0, Color(0.0, 0.0, 1.0), 0.5))


def loaded(document: Document, **options) -> Drawing:
    return Drawing(document, SIZE, SIZE, LIKE, **options)


def image_of(document: Document) -> Tensor:
    """The document on white, (3, SIZE, SIZE)."""
    return rasterize([scene(document, SIZE, SIZE, LIKE)], LIKE.new_ones(1, 3))[0, :3]


def square() -> Document:
    return parse(SQUARE).document


def painted() -> Document:
    """A shape with a linear and a radial gradient."""
    loop = (Contour(tuple(Point(*p) for p in ((2, 2), (10, 1), (20, 3), (22, 12), (19, 22), (6, 20))), closed=True),)
    linear = LinearGradient(Point(2.0, 2.0), Point(20.0, 15.0), STOPS)
    radial = RadialGradient(Point(12.0, 12.0), 9.0, Point(10.0, 11.0), STOPS)
    return Document(ViewBox(0, 0, 24, 24), (Shape(loop, Fill(linear), Stroke(radial, width=3.0)),))


def translucent() -> Document:
    """A group within a group."""
    first, second = square().children
    inner = Group((first, replace(second, stroke=Stroke(Color(0.0, 1.0, 0.0), width=4.0))), 0.5, "inner")
    return Document(ViewBox(0, 0, 24, 24), (first, Group((second, inner), 0.75, "outer")))


def shaken(made: Drawing, by: float = 0.3, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for leaves in made.parameters.values():
            for leaf in leaves:
                leaf += by * (2 * torch.rand(leaf.shape, generator=generator, dtype=leaf.dtype) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_new_drawing_is_its_document(seed: int):
    document = drawing(seed)
    made = loaded(document)
    assert torch.equal(render([made])[0], image_of(document))
    assert write(made.document()) == write(document)


@pytest.mark.parametrize(
    "document", [drawing(0), square(), painted(), translucent()], ids=["blobs", "square", "gradients", "groups"]
)
def test_changes_are_in_the_document(document: Document):
    made = loaded(document)
    shaken(made)
    made.constrain()
    assert (image_of(made.document()) - render([made])[0]).abs().max() < 1e-12
    assert (image_of(made.document()) - image_of(document)).abs().max() > 0.05


def test_only_optimized_groups_are_parameters():
    everything = loaded(painted(), optimized=("points", "width", "color", "background"))
    assert {name: len(leaves) for name, leaves in everything.parameters.items()} == {
        "points": 3,
        "width": 1,
        "color": 3,
        "background": 1,
    }
    still = loaded(painted(), optimized=("color",))
    render([still]).sum().backward()
    assert list(still.parameters) == ["color"]
    assert still.points.grad is None and still.widths.grad is None and still.background.grad is None
    assert all(leaf.grad is not None for leaf in still.parameters["color"])


def test_group_opacities_are_optimized_with_colors():
    wanted = translucent()
    outer = wanted.children[1]
    made = loaded(replace(wanted, children=(wanted.children[0], replace(outer, opacity=0.25))), optimized=("color",))
    target, optimizer = image_of(wanted), Adam([made.opacities], 0.05)
    for _ in range(300):
        loss = (render([made])[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made.constrain()
    group = made.document().children[1]
    assert isinstance(group, Group) and isinstance(inner := group.children[1], Group)
    assert (group.name, group.opacity) == ("outer", pytest.approx(0.75, abs=0.01))
    assert (inner.name, inner.opacity) == ("inner", pytest.approx(0.5, abs=0.02))


def test_gradient_points_are_in_pixels():
    """A step of 1 is one pixel on the canvas, whatever the units of the file."""
    far = replace(painted(), view_box=ViewBox(0, 0, 48, 48))
    made = loaded(far)
    with torch.no_grad():
        made.parameters["points"][1][0] += 1.0
    shape = made.document().children[0]
    assert isinstance(shape, Shape) and shape.fill and isinstance(shape.fill.paint, LinearGradient)
    assert shape.fill.paint.start.x == pytest.approx(2.0 + 2.0)


def test_straight_sides_stay_straight():
    made = loaded(square())
    shaken(made, by=2.0)
    curves = made.cubics().detach()
    sides, curve = curves[:4], curves[4]
    for third in (1, 2):
        assert torch.allclose(sides[:, third], torch.lerp(sides[:, 0], sides[:, 3], third / 3))
    assert not torch.allclose(curve[1], torch.lerp(curve[0], curve[3], 1 / 3))
    assert "C" not in write(made.document()).split("<path")[1]


def test_corners_receive_the_gradient_of_their_sides():
    """Against finite differences of the loss when a corner moves and its sides follow."""
    made = loaded(square())
    weight = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss() -> Tensor:
        return (weight * render([made])[0]).sum()

    loss().backward()
    assert made.points.grad is not None
    slope = made.points.grad[3].clone()
    assert made.points.grad[1:3].abs().max() == 0
    for axis in range(2):
        ends = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                made.points[3, axis] += step
            ends.append(loss().item())
        with torch.no_grad():
            made.points[3, axis] += 1e-5
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[axis].item(), rel=1e-4)


def test_constrain_clamps_colors_and_widths():
    made = loaded(painted(), optimized=("points", "width", "color", "background"))
    with torch.no_grad():
        for name in ("width", "color", "background"):
            for leaf in made.parameters[name]:
                leaf.sub_(5)
    made.constrain()
    assert made.widths.min() > 0
    assert all(leaf.min() == 0 for name in ("color", "background") for leaf in made.parameters[name])


def test_colors_are_clamped_in_place_and_stay_leaves():
    color = torch.tensor([[-0.2, 0.5, 1.7]], requires_grad=True)
    opacity = torch.tensor([1.01], requires_grad=True)
    clamp_colors(color, opacity)
    assert torch.equal(color.detach(), torch.tensor([[0.0, 0.5, 1.0]])) and opacity.item() == 1
    assert color.is_leaf and color.requires_grad


def test_an_optimized_background_is_the_documents_lowest_path():
    made = loaded(drawing(1), optimized=("points", "color", "background"))
    with torch.no_grad():
        made.background.copy_(torch.tensor([0.2, 0.4, 0.6]))
    lowest, *rest = made.document().children
    assert lowest.name == "background" and len(rest) == len(drawing(1).children)
    on_black = rasterize([scene(made.document(), SIZE, SIZE, LIKE)], LIKE.new_zeros(1, 3))[0, :3]
    assert (on_black - render([made])[0]).abs().max() < 1e-12
    assert loaded(drawing(1)).document().children[0].name != "background"


def paths(count: int, seed: int = 0) -> Paths:
    return ART_STYLES["painting"].random_paths(count, (SIZE, SIZE), torch.Generator().manual_seed(seed))


def brushed(count: int) -> Drawing:
    return ART_STYLES["painting"].drawing(paths(count), (SIZE, SIZE), LIKE)


def test_appended_paths_are_above_the_others_and_optimized_with_them():
    made, more = brushed(2), paths(3, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in parameter_groups([made]).items()], lr=0.1)
    render([made]).sum().backward()
    optimizer.step()
    made.constrain()
    both = made.document()
    made.append(more, optimizer)
    expected = replace(both, children=(*both.children, *more.shapes(IDENTITY)))
    assert (render([made])[0] - image_of(expected)).abs().max() < 1e-6
    before = [leaf.detach().clone() for leaf in (made.points, made.colors, made.widths)]
    optimizer.zero_grad()
    render([made]).square().sum().backward()
    optimizer.step()
    assert len(made.control_points) == 5
    for leaf, old in zip((made.points, made.colors, made.widths), before):
        assert (leaf - old).detach().abs().flatten(1).amax(1).min() > 0 if leaf.ndim > 1 else True
        assert not torch.equal(leaf[-len(leaf) // 5 :], old[-len(leaf) // 5 :])


def test_replaced_paths_are_new_and_the_others_unchanged():
    made, fresh = brushed(4), paths(2, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in parameter_groups([made]).items()], lr=0.1)
    render([made]).sum().backward()
    optimizer.step()
    old = made.control_points.clone(), made.colors.detach().clone()
    made.replace(torch.tensor([1, 3]), fresh, optimizer)
    assert torch.equal(made.control_points[[1, 3]], fresh.points.to(LIKE)) and torch.equal(
        made.control_points[[0, 2]], old[0][[0, 2]]
    )
    assert torch.equal(made.colors[[1, 3]], fresh.colors.to(LIKE)) and torch.equal(made.colors[[0, 2]], old[1][[0, 2]])
    moment = optimizer.state[made.points]["exp_avg"].reshape(4, -1)
    assert (moment[[1, 3]] == 0).all() and (moment[[0, 2]] != 0).any(1).all()
    assert (optimizer.state[made.widths]["exp_avg"] == 0).tolist() == [False, True, False, True]


def encode(images: Tensor) -> Tensor:
    """An encoder that depends on every pixel."""
    return torch.nn.functional.avg_pool2d(images, 4) ** 2


@pytest.mark.parametrize("with_views", [False, True])
def test_a_batch_equals_its_items_alone(with_views: bool):
    def batch(*items: int) -> tuple[Tensor, list[Tensor]]:
        views = RandomViews((SIZE, SIZE), (16, 16), [torch.Generator().manual_seed(n) for n in items])
        made = [loaded(drawing(n), optimized=("points", "color", "background")) for n in items]
        generator = DrawingBatch(made, encode, views if with_views else None)
        latent = generator()
        latent.square().sum().backward()
        return latent.detach(), [gradient_of(one.points) for one in made]

    together, gradients = batch(0, 1, 2)
    for n in range(3):
        alone, (gradient,) = batch(n)
        assert torch.allclose(together[n], alone[0], atol=1e-12)
        assert torch.allclose(gradients[n], gradient, atol=1e-12)


def test_views_differ_and_show_the_background_around():
    made = loaded(drawing(0), optimized=("background",), background=Color(0.0, 1.0, 0.0))
    views = RandomViews((SIZE, SIZE), (16, 16), [torch.Generator().manual_seed(0)])
    generator = DrawingBatch([made], lambda images: images, views)
    seen = [generator().detach() for _ in range(6)]
    assert all(view.shape == (1, 3, 16, 16) for view in seen)
    assert len({view.sum().item() for view in seen}) == 6
    assert all(view.min() >= -1 - 1e-6 and view.max() <= 1 + 1e-6 for view in seen)
