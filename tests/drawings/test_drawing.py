"""Drawings as parameters: optimized groups, constraints, the resulting document, and batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dreamsampler.drawings.augmentation import RandomViews
from dreamsampler.drawings.drawing import OPTIMIZABLE, Drawing, DrawingBatch, clamp_colors, parameter_groups, render
from dreamsampler.drawings.initialization import Paths, polygons
from dreamsampler.drawings.optimizer import FROM_SCRATCH
from dreamsampler.drawings.selection import NothingSelected, Selection, selection
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.styles.registry import document_of
from dreamsampler.svg.document import (
    IDENTITY,
    Color,
    Contour,
    Document,
    Fill,
    Group,
    LinearGradient,
    Paint,
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
from support.tensors import generator, uniform
from torch import Tensor
from torch.optim import Adam

SIZE = 24
LIKE = torch.empty(0, dtype=torch.float64)
SQUARE = """<svg viewBox="0 0 24 24">
  <path d="M5.3 5.4H19.2V18.7H5.3Z" fill="#369"/>
  <path d="M2 2C2 12 12 2 22 22" stroke="red" fill="none"/>
</svg>"""
STOPS = (Stop(0.0, Color(1.0, 0.0, 0.0)), Stop(1.0, Color(0.0, 0.0, 1.0), 0.5))


def load(document: Document, **options) -> Drawing:
    return Drawing(document, SIZE, SIZE, LIKE, **options)


def image_of(document: Document) -> Tensor:
    """The document on white, (3, SIZE, SIZE)."""
    return rasterize([scene(document, SIZE, SIZE, LIKE)], LIKE.new_ones(1, 3))[0, :3]


def square() -> Document:
    return parse(SQUARE).document


def with_gradients() -> Document:
    """A shape with a linear gradient fill and a radial gradient stroke."""
    loop = (Contour(tuple(Point(*p) for p in ((2, 2), (10, 1), (20, 3), (22, 12), (19, 22), (6, 20))), closed=True),)
    linear = LinearGradient(Point(2.0, 2.0), Point(20.0, 15.0), STOPS)
    radial = RadialGradient(Point(12.0, 12.0), 9.0, Point(10.0, 11.0), STOPS)
    return Document(ViewBox(0, 0, 24, 24), (Shape(loop, Fill(linear), Stroke(radial, width=3.0)),))


def with_groups() -> Document:
    """A group within a group."""
    first, second = square().children
    inner = Group((first, replace(second, stroke=Stroke(Color(0.0, 1.0, 0.0), width=4.0))), 0.5, "inner")
    return Document(ViewBox(0, 0, 24, 24), (first, Group((second, inner), 0.75, "outer")))


def perturb(loaded: Drawing, amount: float = 0.3, seed: int = 0) -> None:
    random = generator(seed)
    with torch.no_grad():
        for leaves in loaded.parameters.values():
            for leaf in leaves:
                leaf += amount * (2 * torch.rand(leaf.shape, generator=random, dtype=leaf.dtype) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_new_drawing_equals_its_document(seed: int):
    document = drawing(seed)
    loaded = load(document)
    assert torch.equal(render([loaded])[0], image_of(document))
    assert write(loaded.document()) == write(document)


@pytest.mark.parametrize(
    "document", [drawing(0), square(), with_gradients(), with_groups()], ids=["blobs", "square", "gradients", "groups"]
)
def test_document_contains_the_changes(document: Document):
    loaded = load(document)
    perturb(loaded)
    loaded.constrain()
    assert (image_of(loaded.document()) - render([loaded])[0]).abs().max() < 1e-12
    assert (image_of(loaded.document()) - image_of(document)).abs().max() > 0.05


def test_only_optimized_groups_are_parameters():
    all_groups = load(with_gradients(), optimized=("points", "width", "color", "background"))
    assert {name: len(leaves) for name, leaves in all_groups.parameters.items()} == {
        "points": 3,
        "width": 1,
        "color": 3,
        "background": 1,
    }
    colors_only = load(with_gradients(), optimized=("color",))
    render([colors_only]).sum().backward()
    assert list(colors_only.parameters) == ["color"]
    assert colors_only.points.grad is None and colors_only.widths.grad is None and colors_only.background.grad is None
    assert all(leaf.grad is not None for leaf in colors_only.parameters["color"])


def test_group_opacities_are_optimized_with_colors():
    document = with_groups()
    outer = document.children[1]
    loaded = load(
        replace(document, children=(document.children[0], replace(outer, opacity=0.25))), optimized=("color", "opacity")
    )
    target, optimizer = image_of(document), Adam([loaded.opacities], 0.05)
    for _ in range(300):
        loss = (render([loaded])[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loaded.constrain()
    group = loaded.document().children[1]
    assert isinstance(group, Group) and isinstance(inner := group.children[1], Group)
    assert (group.name, group.opacity) == ("outer", pytest.approx(0.75, abs=0.01))
    assert (inner.name, inner.opacity) == ("inner", pytest.approx(0.5, abs=0.02))


def test_gradient_points_are_in_pixels():
    """A change of 1 is one pixel on the canvas, whatever the units of the file."""
    far = replace(with_gradients(), view_box=ViewBox(0, 0, 48, 48))
    loaded = load(far)
    with torch.no_grad():
        loaded.parameters["points"][1][0] += 1.0
    shape = loaded.document().children[0]
    assert isinstance(shape, Shape) and shape.fill and isinstance(shape.fill.paint, LinearGradient)
    assert shape.fill.paint.start.x == pytest.approx(2.0 + 2.0)


def test_straight_sides_stay_straight():
    loaded = load(square())
    perturb(loaded, amount=2.0)
    curves = loaded.cubics().detach()
    sides, curve = curves[:4], curves[4]
    for third in (1, 2):
        assert torch.allclose(sides[:, third], torch.lerp(sides[:, 0], sides[:, 3], third / 3))
    assert not torch.allclose(curve[1], torch.lerp(curve[0], curve[3], 1 / 3))
    assert "C" not in write(loaded.document()).split("<path")[1]


def test_corners_get_the_gradient_of_their_sides():
    """Compared with finite differences for a corner that moves together with its sides."""
    loaded = load(square())
    weight = uniform(3, SIZE, SIZE, seed=1)

    def loss() -> Tensor:
        return (weight * render([loaded])[0]).sum()

    loss().backward()
    assert loaded.points.grad is not None
    slope = loaded.points.grad[3].clone()
    assert loaded.points.grad[1:3].abs().max() == 0
    for axis in range(2):
        ends = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                loaded.points[3, axis] += step
            ends.append(loss().item())
        with torch.no_grad():
            loaded.points[3, axis] += 1e-5
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[axis].item(), rel=1e-4)


def test_constrain_clamps_colors_and_widths():
    loaded = load(with_gradients(), optimized=("points", "width", "color", "background"))
    with torch.no_grad():
        for name in ("width", "color", "background"):
            for leaf in loaded.parameters[name]:
                leaf.sub_(5)
    loaded.constrain()
    assert loaded.widths.min() > 0
    assert all(leaf.min() == 0 for name in ("color", "background") for leaf in loaded.parameters[name])


def test_colors_are_clamped_in_place_and_stay_leaves():
    color = torch.tensor([[-0.2, 0.5, 1.7]], requires_grad=True)
    opacity = torch.tensor([1.01], requires_grad=True)
    clamp_colors(color, opacity)
    assert torch.equal(color.detach(), torch.tensor([[0.0, 0.5, 1.0]])) and opacity.item() == 1
    assert color.is_leaf and color.requires_grad


def test_optimized_background_is_the_bottom_path_of_the_document():
    loaded = load(drawing(1), optimized=("points", "color", "background"))
    with torch.no_grad():
        loaded.background.copy_(torch.tensor([0.2, 0.4, 0.6]))
    bottom, *rest = loaded.document().children
    assert bottom.name == "background" and len(rest) == len(drawing(1).children)
    on_black = rasterize([scene(loaded.document(), SIZE, SIZE, LIKE)], LIKE.new_zeros(1, 3))[0, :3]
    assert (on_black - render([loaded])[0]).abs().max() < 1e-12
    assert load(drawing(1)).document().children[0].name != "background"


def paths(count: int, seed: int = 0) -> Paths:
    return ART_STYLES["painting"].random_paths(count, (SIZE, SIZE), generator(seed))


def painting(count: int) -> Drawing:
    return ART_STYLES["painting"].drawing(paths(count), (SIZE, SIZE), LIKE)


def test_appended_paths_are_on_top_and_optimized_with_the_others():
    painted, more = painting(2), paths(3, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in parameter_groups([painted]).items()], lr=0.1)
    render([painted]).sum().backward()
    optimizer.step()
    painted.constrain()
    before_append = painted.document()
    painted.append(more, optimizer)
    expected = replace(before_append, children=(*before_append.children, *more.shapes(IDENTITY)))
    assert (render([painted])[0] - image_of(expected)).abs().max() < 1e-6
    before = [leaf.detach().clone() for leaf in (painted.points, painted.colors, painted.widths)]
    optimizer.zero_grad()
    render([painted]).square().sum().backward()
    optimizer.step()
    assert len(painted.control_points) == 5
    for leaf, old in zip((painted.points, painted.colors, painted.widths), before):
        assert (leaf - old).detach().abs().flatten(1).amax(1).min() > 0 if leaf.ndim > 1 else True
        assert not torch.equal(leaf[-len(leaf) // 5 :], old[-len(leaf) // 5 :])


def test_replacing_paths_leaves_the_others_unchanged():
    painted, fresh = painting(4), paths(2, seed=1)
    optimizer = Adam([{"params": leaves, "name": name} for name, leaves in parameter_groups([painted]).items()], lr=0.1)
    render([painted]).sum().backward()
    optimizer.step()
    old = painted.control_points.clone(), painted.colors.detach().clone()
    painted.replace(torch.tensor([1, 3]), fresh, optimizer)
    assert torch.equal(painted.control_points[[1, 3]], fresh.points.to(LIKE)) and torch.equal(
        painted.control_points[[0, 2]], old[0][[0, 2]]
    )
    assert torch.equal(painted.colors[[1, 3]], fresh.colors.to(LIKE)) and torch.equal(
        painted.colors[[0, 2]], old[1][[0, 2]]
    )
    moment = optimizer.state[painted.points]["exp_avg"].reshape(4, -1)
    assert (moment[[1, 3]] == 0).all() and (moment[[0, 2]] != 0).any(1).all()
    assert (optimizer.state[painted.widths]["exp_avg"] == 0).tolist() == [False, True, False, True]


TOP, INSIDE = 0.0, 7.2


def rectangles(top: float, *lefts: float) -> Paths:
    """Half-transparent rectangles with straight sides."""
    corners = torch.tensor([[[x, top], [x + 5, top], [x + 5, top + 9], [x, top + 9]] for x in lefts])
    return Paths(polygons(corners), torch.tensor([[0.9, 0.4, 0.2, 0.5]]).expand(len(lefts), 4))


def made_of(paths: Paths, optimized: set[str], selected: Selection | None = None) -> tuple[Drawing, Adam]:
    made = load(document_of(paths, (SIZE, SIZE)), optimized=optimized, selected=selected)
    return made, Adam([{"params": leaves, "name": name} for name, leaves in made.parameters.items()], lr=0.1)


def moved(made: Drawing, optimizer: Adam, steps: int = 3) -> tuple[Tensor, Tensor]:
    """By how much the control points (N, n, 2) and colors (N, 4) of paths move towards another image."""
    before = made.control_points.clone(), made.colors.detach().clone()
    target = uniform(1, 3, SIZE, SIZE, seed=3)
    for _ in range(steps):
        optimizer.zero_grad()
        (render([made]) - target).square().sum().backward()
        optimizer.step()
        made.constrain()
    return made.control_points - before[0], made.colors.detach() - before[1]


@pytest.mark.parametrize("optimized", [{"points", "color"}, {"points", "color", "opacity"}])
@pytest.mark.parametrize("how", ["start", "append", "replace"])
def test_added_and_replaced_paths_are_held_like_the_first_ones(how: str, optimized: set[str]):
    """Points on the border stay on it, and opacities stay unless they are optimized."""
    made, optimizer = made_of(rectangles(TOP if how == "start" else INSIDE, 2.5, 9.5), optimized)
    if how != "start":
        moved(made, optimizer)
    if how == "append":
        made.append(rectangles(TOP, 2.5, 9.5), optimizer)
    elif how == "replace":
        made.replace(torch.tensor([0, 1]), rectangles(TOP, 2.5, 9.5), optimizer)
    points, colors = (change[-2:] for change in moved(made, optimizer))
    assert (points[:, :4, 1] == 0).all() and points[:, [6, 9], 1].abs().min() > 0.01
    assert colors[:, :3].abs().min() > 0.01 and bool(colors[:, 3].any()) == ("opacity" in optimized)


def test_paths_that_replace_others_on_the_border_are_free():
    made, optimizer = made_of(rectangles(TOP, 2.5, 9.5), {"points"})
    made.replace(torch.tensor([1]), rectangles(INSIDE, 9.5), optimizer)
    points, _ = moved(made, optimizer)
    assert (points[0, :4, 1] == 0).all() and points[1, [0, 3], 1].abs().min() > 0.01


def test_paths_that_replace_straight_ones_keep_their_curves():
    bent = rectangles(INSIDE, 9.5)
    bent = bent._replace(points=bent.points + torch.tensor([[0.0, 3.0], [1.0, 3.5], [0.0, 2.0]]).repeat(4, 1))
    made, optimizer = made_of(rectangles(INSIDE, 2.5, 9.5), {"points"})
    made.replace(torch.tensor([1]), bent, optimizer)
    assert torch.equal(made.scene().points[12:], bent.points[0].to(LIKE))


@pytest.mark.parametrize("optimized", [{"color"}, {"points", "color"}])
def test_paths_added_to_a_selection_change_and_the_others_stay(optimized: set[str]):
    first, second = document_of(rectangles(INSIDE, 2.5, 9.5), (SIZE, SIZE)).children
    assert isinstance(first, Shape)
    selected = selection(Document(ViewBox(0, 0, SIZE, SIZE), (replace(first, name="first"), second)), ["first"])
    made, optimizer = made_of(rectangles(INSIDE, 2.5, 9.5), optimized, selected)
    made.append(rectangles(INSIDE, 16.5), optimizer)
    _, colors = moved(made, optimizer)
    assert colors[:, :3].any(1).tolist() == [True, False, True]
    larger = made.on_canvas(2 * SIZE, 2 * SIZE)
    larger.colors.sum().backward()
    assert gradient_of(larger.colors)[:, 0].tolist() == [1, 0, 1]


def encode(images: Tensor) -> Tensor:
    """A nonlinear encoder that depends on every pixel."""
    return torch.nn.functional.avg_pool2d(images, 4) ** 2


@pytest.mark.parametrize("with_views", [False, True])
def test_batch_items_are_independent(with_views: bool):
    def batch(*items: int) -> tuple[Tensor, list[Tensor]]:
        views = RandomViews((SIZE, SIZE), (16, 16), [generator(n) for n in items])
        drawings = [load(drawing(n), optimized=("points", "color", "background")) for n in items]
        latent = DrawingBatch(drawings, encode, views if with_views else None)()
        latent.square().sum().backward()
        return latent.detach(), [gradient_of(one.points) for one in drawings]

    together, gradients = batch(0, 1, 2)
    for n in range(3):
        alone, (gradient,) = batch(n)
        assert torch.allclose(together[n], alone[0], atol=1e-12)
        assert torch.allclose(gradients[n], gradient, atol=1e-12)


def test_views_differ_and_show_the_background_outside_the_image():
    loaded = load(drawing(0), optimized=("background",), background=Color(0.0, 1.0, 0.0))
    views = RandomViews((SIZE, SIZE), (16, 16), [generator(0)])
    drawings = DrawingBatch([loaded], lambda images: images, views)
    samples = [drawings().detach() for _ in range(6)]
    assert all(view.shape == (1, 3, 16, 16) for view in samples)
    assert len({view.sum().item() for view in samples}) == 6
    assert all(view.min() >= -1 - 1e-6 and view.max() <= 1 + 1e-6 for view in samples)


# What moves


def test_opaque_stays_opaque_unless_asked():
    document = parse('<svg viewBox="0 0 8 8"><path fill="#f80" fill-opacity=".5" d="M1 1H7V7H1Z"/></svg>').document
    for optimized, changes in ((("points", "color"), False), (("points", "color", "opacity"), True)):
        drawing = Drawing(document, 8, 8, optimized=optimized)
        _descended(drawing)
        assert (drawing.colors[0, 3].item() != 0.5) is changes
        assert drawing.colors[0, 0].item() != 1


@pytest.mark.parametrize("optimized", [("color",), ("color", "opacity")])
def test_with_colors_only_the_document_keeps_its_points_to_the_bit(optimized: tuple[str, ...]):
    start = with_gradients()
    drawing = Drawing(start, 33, 47, optimized=optimized)
    _descended(drawing)
    end = drawing.document()
    assert [shape.contours for shape in end.shapes()] == [shape.contours for shape in start.shapes()]
    assert end != start


def test_with_shapes_only_the_document_keeps_its_colors_to_the_bit():
    start = with_gradients()
    drawing = Drawing(start, 33, 47, optimized=("points", "width"))
    _descended(drawing)
    paints = [[part.paint for part in (shape.fill, shape.stroke) if part] for shape in drawing.document().shapes()]
    colors = [[_colors_of(paint) for paint in each] for each in paints]
    assert colors == [
        [_colors_of(part.paint) for part in (shape.fill, shape.stroke) if part] for shape in start.shapes()
    ]
    assert drawing.document() != start


def _colors_of(paint: Paint) -> object:
    return paint if isinstance(paint, Color) else paint.stops


def _descended(drawing: Drawing) -> None:
    """Three steps of Adam towards gray."""
    optimizer = FROM_SCRATCH.adam(drawing.parameters)
    for _ in range(3):
        optimizer.zero_grad()
        (render([drawing]) - 0.4).square().sum().backward()
        optimizer.step()
        drawing.constrain()


NAMED = """<svg viewBox="0 0 30 10">
  <g id="pair"><path id="one" fill="#f00" d="M1 1H9V9H1Z"/>
  <path id="two" fill="#0f0" d="M11 1H19V9H11Z"/></g>
  <path id="three" fill="#00f" stroke="#ff0" d="M21 1H29V9H21Z"/>
</svg>"""
LEFT = torch.zeros(20, 60)
LEFT[:, :20] = 1


@pytest.mark.parametrize(
    "names, area, changed",
    [
        (["one"], None, ["one"]),
        (["pair"], None, ["one", "two"]),
        (["one", "three"], None, ["one", "three"]),
        ([], LEFT, ["one"]),
        (["pair"], 1 - LEFT, ["two"]),
        ([], None, ["one", "two", "three"]),
    ],
)
def test_only_what_is_selected_changes(names: list[str], area: Tensor | None, changed: list[str]):
    start = parse(NAMED).document
    drawing = Drawing(start, 10, 30, selected=selection(start, names, area))
    _descended(drawing)
    pairs = zip(start.shapes(), drawing.document().shapes(), strict=True)
    assert [before.name for before, after in pairs if before != after] == changed


CLASSES = """<svg id="card" viewBox="0 0 30 10"><style>.skin { fill: #fa8 }</style>
  <g class="skin"><path id="one" d="M1 1H9V9H1Z"/></g>
  <path id="two" class="skin hair" d="M11 1H19V9H11Z"/><path id="three" fill="#00f" d="M21 1H29V9H21Z"/>
</svg>"""


@pytest.mark.parametrize(
    "names, changed",
    [
        ([".skin"], ["one", "two"]),
        ([".hair", "three"], ["two", "three"]),
        (["card"], ["one", "two", "three"]),
        ([".skin", "card"], ["one", "two", "three"]),
    ],
)
def test_classes_and_the_id_of_the_drawing_select_what_has_them(names: list[str], changed: list[str]):
    start = parse(CLASSES).document
    drawing = Drawing(start, 10, 30, selected=selection(start, names))
    _descended(drawing)
    pairs = zip(start.shapes(), drawing.document().shapes(), strict=True)
    assert [before.name for before, after in pairs if before != after] == changed


def test_an_unknown_class_is_refused_with_those_there_are():
    with pytest.raises(NothingSelected, match="no part named '.nose'. Its names are: '.hair', '.skin', 'card', 'one'"):
        selection(parse(CLASSES).document, [".nose"])


@pytest.mark.parametrize(
    "names, area, message", [(["four"], None, "'one', 'pair', 'three', 'two'"), ([], torch.zeros(5, 5), "area")]
)
def test_a_selection_of_nothing_is_refused(names: list[str], area: Tensor | None, message: str):
    with pytest.raises(NothingSelected, match=message):
        selection(parse(NAMED).document, names, area)


CLIPPED = """<svg viewBox="0 0 30 10">
  <clipPath id="c"><circle cx="9" cy="5" r="4"/></clipPath>
  <g id="pair" clip-path="url(#c)">
    <path id="one" fill="#f00" d="M1 1H9V9H1Z"/><path id="two" fill="#0f0" d="M9 1H19V9H9Z"/>
  </g>
  <path id="three" fill="#00f" stroke="#ff0" d="M21 1H29V9H21Z"/>
</svg>"""


@pytest.mark.parametrize(
    "names, area, changed, clip_changes",
    [
        ([], None, ["one", "two", "three"], True),
        (["pair"], None, ["one", "two"], True),
        (["two"], None, ["two"], False),
        (["three"], None, ["three"], False),
        ([], LEFT, ["one"], False),
    ],
)
def test_clips_change_with_their_group(names: list[str], area: Tensor | None, changed: list[str], clip_changes: bool):
    """Only their outlines: what a clip is painted with has no effect."""
    start = parse(CLIPPED).document
    drawing = Drawing(start, 10, 30, selected=selection(start, names, area))
    _descended(drawing)
    found = drawing.document()
    pairs = zip(start.shapes(), found.shapes(), strict=True)
    assert [before.name for before, after in pairs if before != after] == changed
    (before, *_), (after, *_) = start.children, found.children
    assert isinstance(before, Group) and isinstance(after, Group)
    (old,), (new,) = before.clip, after.clip
    assert isinstance(old, Shape) and isinstance(new, Shape)
    assert (old.contours != new.contours) == clip_changes and old.fill == new.fill
    assert parse(write(found)).warnings == ()


def test_points_on_the_border_of_the_canvas_stay_on_it():
    document = parse('<svg viewBox="0 0 24 24"><path fill="#369" d="M0 0H24V12L12 20 0 12Z"/></svg>').document
    drawing = Drawing(document, SIZE, SIZE)
    _descended(drawing)
    (contour,) = next(drawing.document().shapes()).contours
    corners = contour.points[::3]
    assert [(p.x, p.y) for p in corners[:2]] == [(0, 0), (24, 0)]
    assert [p.x for p in corners] == [0, 24, 24, pytest.approx(12, abs=1), 0]
    assert corners[2].y != 12 and corners[3].y != 20


@pytest.mark.parametrize("height, width", [(SIZE, SIZE), (60, 60), (30, 44)])
def test_a_drawing_moves_to_another_canvas_as_it_is(height: int, width: int):
    """Its document is the same, and there it looks like its document."""
    fill, stroke = LinearGradient(Point(0.0, 0.0), Point(24.0, 24.0), STOPS), Stroke(Color(0.1, 0.4, 0.2), 0.8, 2.5)
    shape = Shape(next(square().shapes()).contours, Fill(fill, 0.9), stroke)
    document = replace(square(), children=(Group((shape,), opacity=0.7), *square().children[1:]))
    drawn = load(document, optimized=OPTIMIZABLE, background=Color(0.9, 0.8, 1.0))
    with torch.no_grad():
        for n, leaf in enumerate(leaf for leaves in drawn.parameters.values() for leaf in leaves):
            leaf += 0.05 * uniform(*leaf.shape, seed=n).to(leaf)
    drawn.constrain()
    moved = drawn.on_canvas(height, width)
    document, background = drawn.document(), LIKE.new_tensor([drawn.background.tolist()])
    assert torch.allclose(scene(moved.document(), 240, 240, LIKE).points, scene(document, 240, 240, LIKE).points)
    seen = rasterize([scene(document, height, width, LIKE)], background)[:, :3]
    assert torch.allclose(render([moved]), seen, atol=1e-9)
    assert {name: len(leaves) for name, leaves in moved.parameters.items()} == {
        name: len(leaves) for name, leaves in drawn.parameters.items()
    }


def test_a_drawing_far_from_the_origin_moves_to_another_canvas():
    """In float32, which has steps of 16 at the 200 million pixels between the origin and the view box."""
    corners = [Point(500_001.0 + x, 4_000_001.0 + y) for x, y in ((0, 0), (2, 0), (8, 0), (8, 3), (8, 8), (4, 9))]
    shape = Shape((Contour(tuple(corners), closed=True),), Fill(Color(0.1, 0.4, 0.2)))
    drawn = Drawing(Document(ViewBox(500_000, 4_000_000, 10, 10), (shape,)), 500, 500)
    for height, width in ((200, 200), (1000, 1200)):
        points = drawn.on_canvas(height, width).points.detach().double()
        left, scale = (width - height) / 2, height / 10
        expected = torch.tensor([(left + (x - 5e5) * scale, (y - 4e6) * scale) for x, y in corners]).double()
        assert torch.allclose(points, expected, atol=1e-3)
