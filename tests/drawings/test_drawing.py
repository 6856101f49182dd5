"""Drawings as parameters: what moves, what follows, what comes out as a document; and batches of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dreamsampler.drawings.augmentation import Views
from dreamsampler.drawings.drawing import Drawing, Drawings, cubics_of, grouped, rasterized
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


def loaded(document: Document, **how) -> Drawing:
    return Drawing(document, SIZE, SIZE, LIKE, **how)


def picture(document: Document) -> Tensor:
    """On white."""
    return rasterize([scene(document, SIZE, SIZE, LIKE)], LIKE.new_ones(1, 3))[0, :3]


def square() -> Document:
    return parse(SQUARE).document


def painted() -> Document:
    """A shape with both kinds of gradient."""
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
def test_a_drawing_is_its_document(seed: int):
    document = drawing(seed)
    made = loaded(document)
    assert torch.equal(rasterized([made])[0], picture(document))
    assert write(made.document()) == write(document)


@pytest.mark.parametrize(
    "document", [drawing(0), square(), painted(), translucent()], ids=["blobs", "square", "gradients", "groups"]
)
def test_what_moved_is_in_the_document(document: Document):
    made = loaded(document)
    shaken(made)
    made.constrain()
    assert (picture(made.document()) - rasterized([made])[0]).abs().max() < 1e-12
    assert (picture(made.document()) - picture(document)).abs().max() > 0.05


def test_only_what_should_move_is_a_parameter():
    everything = loaded(painted(), moving=("points", "width", "color", "background"))
    assert {name: len(leaves) for name, leaves in everything.parameters.items()} == {
        "points": 3,
        "width": 1,
        "color": 3,
        "background": 1,
    }
    still = loaded(painted(), moving=("color",))
    rasterized([still]).sum().backward()
    assert list(still.parameters) == ["color"]
    assert still.points.grad is None and still.widths.grad is None and still.paper.grad is None
    assert all(leaf.grad is not None for leaf in still.parameters["color"])


def test_opacities_of_groups_are_learned_as_colours_are():
    wanted = translucent()
    outer = wanted.children[1]
    made = loaded(replace(wanted, children=(wanted.children[0], replace(outer, opacity=0.25))), moving=("color",))
    target, optimizer = picture(wanted), Adam([made.opacities], 0.05)
    for _ in range(300):
        loss = (rasterized([made])[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made.constrain()
    group = made.document().children[1]
    assert isinstance(group, Group) and isinstance(inner := group.children[1], Group)
    assert (group.name, group.opacity) == ("outer", pytest.approx(0.75, abs=0.01))
    assert (inner.name, inner.opacity) == ("inner", pytest.approx(0.5, abs=0.02))


def test_gradients_move_by_pixels():
    """A rate of one pixel is one pixel on the canvas, whatever the units of the file."""
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
    curves = cubics_of(made).detach()
    sides, curve = curves[:4], curves[4]
    for third in (1, 2):
        assert torch.allclose(sides[:, third], torch.lerp(sides[:, 0], sides[:, 3], third / 3))
    assert not torch.allclose(curve[1], torch.lerp(curve[0], curve[3], 1 / 3))
    assert "C" not in write(made.document()).split("<path")[1]


def test_corners_have_the_gradient_of_their_sides():
    """As the loss changes when a corner moves and its sides follow."""
    made = loaded(square())
    weight = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss() -> Tensor:
        return (weight * rasterized([made])[0]).sum()

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


def test_colours_and_widths_are_kept_where_they_are_allowed():
    made = loaded(painted(), moving=("points", "width", "color", "background"))
    with torch.no_grad():
        for name in ("width", "color", "background"):
            for leaf in made.parameters[name]:
                leaf.sub_(5)
    made.constrain()
    assert made.widths.min() > 0
    assert all(leaf.min() == 0 for name in ("color", "background") for leaf in made.parameters[name])


def test_paper_that_moves_is_the_documents_lowest_path():
    made = loaded(drawing(1), moving=("points", "color", "background"))
    with torch.no_grad():
        made.paper.copy_(torch.tensor([0.2, 0.4, 0.6]))
    sheet, *rest = made.document().children
    assert sheet.name == "background" and len(rest) == len(drawing(1).children)
    on_black = rasterize([scene(made.document(), SIZE, SIZE, LIKE)], LIKE.new_zeros(1, 3))[0, :3]
    assert (on_black - rasterized([made])[0]).abs().max() < 1e-12
    assert loaded(drawing(1)).document().children[0].name != "background"


def paths(count: int, seed: int = 0) -> Paths:
    return ART_STYLES["painting"].scattered(count, (SIZE, SIZE), torch.Generator().manual_seed(seed))


def brushed(count: int) -> Drawing:
    return ART_STYLES["painting"].drawing(paths(count), (SIZE, SIZE), LIKE)


def test_appended_paths_lie_over_the_others_and_move_with_them():
    made, more = brushed(2), paths(3, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in grouped([made]).items()], lr=0.1)
    rasterized([made]).sum().backward()
    optimizer.step()
    made.constrain()
    both = made.document()
    made.append(more, optimizer)
    expected = replace(both, children=(*both.children, *more.shapes(IDENTITY)))
    assert (rasterized([made])[0] - picture(expected)).abs().max() < 1e-6
    before = [leaf.detach().clone() for leaf in (made.points, made.colors, made.widths)]
    optimizer.zero_grad()
    rasterized([made]).square().sum().backward()
    optimizer.step()
    assert len(made.paths) == 5
    for leaf, old in zip((made.points, made.colors, made.widths), before):
        assert (leaf - old).detach().abs().flatten(1).amax(1).min() > 0 if leaf.ndim > 1 else True
        assert not torch.equal(leaf[-len(leaf) // 5 :], old[-len(leaf) // 5 :])


def test_replaced_paths_are_new_and_the_others_as_they_were():
    made, fresh = brushed(4), paths(2, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in grouped([made]).items()], lr=0.1)
    rasterized([made]).sum().backward()
    optimizer.step()
    old = made.paths.clone(), made.colors.detach().clone()
    made.replace(torch.tensor([1, 3]), fresh, optimizer)
    assert torch.equal(made.paths[[1, 3]], fresh.points.to(LIKE)) and torch.equal(made.paths[[0, 2]], old[0][[0, 2]])
    assert torch.equal(made.colors[[1, 3]], fresh.colors.to(LIKE)) and torch.equal(made.colors[[0, 2]], old[1][[0, 2]])
    moment = optimizer.state[made.points]["exp_avg"].reshape(4, -1)
    assert (moment[[1, 3]] == 0).all() and (moment[[0, 2]] != 0).any(1).all()
    assert (optimizer.state[made.widths]["exp_avg"] == 0).tolist() == [False, True, False, True]


def encode(pictures: Tensor) -> Tensor:
    """Something that every pixel matters to."""
    return torch.nn.functional.avg_pool2d(pictures, 4) ** 2


@pytest.mark.parametrize("with_views", [False, True])
def test_a_batch_is_its_items_alone(with_views: bool):
    def batch(*items: int) -> tuple[Tensor, list[Tensor]]:
        views = Views((SIZE, SIZE), (16, 16), [torch.Generator().manual_seed(n) for n in items])
        made = [loaded(drawing(n), moving=("points", "color", "background")) for n in items]
        generator = Drawings(made, encode, views if with_views else None)
        latent = generator()
        latent.square().sum().backward()
        return latent.detach(), [gradient_of(one.points) for one in made]

    together, gradients = batch(0, 1, 2)
    for n in range(3):
        alone, (gradient,) = batch(n)
        assert torch.allclose(together[n], alone[0], atol=1e-12)
        assert torch.allclose(gradients[n], gradient, atol=1e-12)


def test_views_differ_and_show_the_paper_around():
    made = loaded(drawing(0), moving=("background",), paper=Color(0.0, 1.0, 0.0))
    views = Views((SIZE, SIZE), (16, 16), [torch.Generator().manual_seed(0)])
    generator = Drawings([made], lambda pictures: pictures, views)
    seen = [generator().detach() for _ in range(6)]
    assert all(view.shape == (1, 3, 16, 16) for view in seen)
    assert len({view.sum().item() for view in seen}) == 6
    assert all(view.min() >= -1 - 1e-6 and view.max() <= 1 + 1e-6 for view in seen)
