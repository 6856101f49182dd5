"""SVG styles: properties of all registered styles, the paths of each one, and the registry."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dreamsampler.drawings.drawing import MIN_WIDTH, OPTIMIZABLE, render
from dreamsampler.drawings.initialization import Centers, Paths
from dreamsampler.drawings.styles import ART_STYLES, ArtStyle, register
from support.tensors import generator

CANVAS = (300, 400)
every_style = pytest.mark.parametrize("style", ART_STYLES.values(), ids=ART_STYLES)
placed_styles = pytest.mark.parametrize(
    "style", [style for style in ART_STYLES.values() if style.paths_at], ids=lambda style: style.name
)


def centers(min_radius: float = 0.0) -> Centers:
    points = torch.tensor([[50.0, 60.0], [200.5, 150.5], [390.0, 20.0]])
    return Centers(points, torch.tensor([[0.1, 0.2, 0.9], [1.0, 0.5, 0.0], [0.3, 0.3, 0.3]]), min_radius)


def paths_at(style: ArtStyle, at: Centers) -> Paths:
    assert style.paths_at is not None
    return style.paths_at(at, CANVAS, generator())


def side(points: torch.Tensor) -> torch.Tensor:
    """The longer side of each path's bounding box, (N,)."""
    return (points.amax(1) - points.amin(1)).amax(1)


# Every style


@every_style
def test_style_is_described(style: ArtStyle):
    assert style.name == style.name.lower().strip() and style.elements and style.source
    assert not style.elements.endswith(".")
    assert style.prompt_suffix.startswith(", ") and style.path_count > 0
    assert style.optimized and style.optimized <= set(OPTIMIZABLE)


@every_style
def test_paths_have_colors_and_visible_widths(style: ArtStyle):
    paths = style.random_paths(30, CANVAS, generator())
    assert len(paths.points) == len(paths.colors) > 0
    assert len(paths.points) == 30 or style.paths_at is None
    assert paths.points.isfinite().all()
    assert paths.colors.shape[1] == 4 and 0 <= paths.colors.min() and paths.colors.max() <= 1
    assert (paths.colors[:, 3] > 0.5).all()
    points = paths.points.shape[1]
    if paths.widths is None:
        assert points % 3 == 0
    else:
        assert points % 3 == 1 and paths.widths.shape == (len(paths.points),) and paths.widths.min() > MIN_WIDTH


@every_style
def test_paths_depend_only_on_the_seed(style: ArtStyle):
    first, again, other = (style.random_paths(30, CANVAS, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.points, again.points) and torch.equal(first.colors, again.colors)
    if first.widths is not None and again.widths is not None:
        assert torch.equal(first.widths, again.widths)
    assert not (torch.equal(first.points, other.points) and torch.equal(first.colors, other.colors))


@every_style
def test_lengths_scale_with_the_canvas(style: ArtStyle):
    small, large = (style.random_paths(24, (n * 300, n * 400), generator()) for n in (1, 2))
    torch.testing.assert_close(large.points, 2 * small.points)
    assert torch.equal(large.colors, small.colors)
    if small.widths is not None and large.widths is not None:
        torch.testing.assert_close(large.widths, 2 * small.widths)


@every_style
def test_drawing_optimizes_the_declared_groups(style: ArtStyle):
    drawing = style.random_drawing(6, CANVAS, generator(), torch.empty(0))
    stroked = style.random_paths(6, CANVAS, generator()).widths is not None
    assert set(drawing.parameters) == style.optimized - ({"opacity"} if stroked else {"opacity", "width"})
    assert drawing.background.tolist() == [1, 1, 1]


@placed_styles
def test_paths_are_placed_at_centers(style: ArtStyle):
    paths = paths_at(style, centers())
    assert [each is None for each in paths] == [each is None for each in style.random_paths(3, CANVAS, generator())]
    assert paths.points.shape[1:] == style.random_paths(3, CANVAS, generator()).points.shape[1:]
    inside = (paths.points.amin(1) < centers().points) & (centers().points < paths.points.amax(1))
    assert inside.all()
    assert (paths.colors[:, 3] == 1).all()


@placed_styles
def test_placed_paths_have_the_targets_colors_if_colors_are_optimized(style: ArtStyle):
    same = torch.equal(paths_at(style, centers()).colors[:, :3], centers().colors)
    assert same == ("color" in style.optimized)


@placed_styles
def test_filled_paths_are_not_smaller_than_the_minimum_radius(style: ArtStyle):
    paths = paths_at(style, centers(min_radius=80.0))
    if paths.widths is None:
        assert (side(paths.points) > 80).all() and (side(paths_at(style, centers()).points) < 80).all()


# Each style


def test_iconography_is_made_of_blobs():
    paths = ART_STYLES["iconography"].random_paths(50, (600, 600), generator())
    assert paths.widths is None and paths.points.shape == (50, 12, 2)
    assert (side(paths.points) > 30).all() and (side(paths.points) < 50).all()  # radius 20 plus jitter


@pytest.mark.parametrize("count, canvas, rows, columns", [(1024, (512, 512), 32, 32), (6, (200, 300), 2, 3)])
def test_pixel_art_is_a_grid(count: int, canvas: tuple[int, int], rows: int, columns: int):
    style = ART_STYLES["pixel art"]
    paths = style.random_paths(count, canvas, generator())
    assert len(paths.points) == rows * columns and style.paths_at is None and style.optimized == {"color", "opacity"}
    assert paths.points.amax((0, 1)).tolist() == pytest.approx([canvas[1], canvas[0]])


def test_sketches_are_made_of_black_lines_of_one_width():
    paths = ART_STYLES["sketch"].random_paths(16, (600, 600), generator())
    assert paths.widths is not None and (paths.widths == 6).all() and paths.points.shape == (16, 16, 2)
    assert torch.equal(paths.colors, torch.tensor([0.0, 0, 0, 1]).expand(16, 4))


def test_paintings_are_made_of_brush_strokes_of_many_widths():
    style = ART_STYLES["painting"]
    paths = style.random_paths(500, (600, 600), generator())
    assert paths.widths is not None and paths.points.shape == (500, 10, 2) and "width" in style.optimized
    assert 4 <= paths.widths.min() < 5 and 19 < paths.widths.max() <= 20


def test_low_poly_is_made_of_triangles():
    paths = ART_STYLES["low-poly"].random_paths(50, (600, 600), generator())
    assert paths.widths is None and paths.points.shape == (50, 9, 2)
    corners, following = paths.points[:, ::3], paths.points[:, ::3].roll(-1, 1)
    torch.testing.assert_close(paths.points[:, 1::3], torch.lerp(corners, following, 1 / 3))
    assert (side(paths.points) <= 120).all()


# The registry


def test_style_names_and_order_are_frozen():
    assert list(ART_STYLES)[:5] == ["iconography", "pixel art", "sketch", "painting", "low-poly"]
    assert [style.order for style in ART_STYLES.values()] == list(range(len(ART_STYLES)))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"order": 99}, "clashes with 'sketch' of order 2: choose another name"),
        ({"name": "new"}, "The style 'new' of order 2 clashes with 'sketch'"),
        ({"name": "new", "order": 99, "optimized": frozenset({"size"})}, "optimizes size, which no drawing has"),
    ],
)
def test_invalid_styles_are_rejected(changes: dict, message: str):
    before = dict(ART_STYLES)
    with pytest.raises(ValueError, match=message):
        register(dataclasses.replace(ART_STYLES["sketch"], **changes))
    assert before == ART_STYLES


@pytest.mark.parametrize(
    "style", [style for style in ART_STYLES.values() if style.traced], ids=lambda style: style.name
)
def test_a_traced_drawing_shows_its_image_with_opaque_paths(style: ArtStyle):
    image = torch.ones(3, 24, 32)
    image[:, 8:20, 8:24] = torch.tensor([0.8, 0.3, 0.1])[:, None, None]
    drawing = style.traced_drawing(image, 48)
    if style.descends:
        assert (render([drawing])[0] - image).abs().mean() < 0.04
    assert (drawing.colors[:, 3] == 1).all() and len(drawing.colors) <= 48
    assert set(drawing.parameters) == style.optimized - {
        "opacity",
        "background",
        *([] if drawing.widths.numel() else ["width"]),
    }


def test_traced_pixel_art_leaves_transparent_squares_out():
    alpha = torch.ones(24, 32)
    alpha[:12] = 0
    drawing = ART_STYLES["pixel art"].traced_drawing(torch.zeros(3, 24, 32), 48, alpha)
    assert len(drawing.colors) == 24
    assert (render([drawing])[0, :, :12] == 1).all()
