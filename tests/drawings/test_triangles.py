"""Low-poly starts: bounded, without gaps, along the edges of the image."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.drawings.drawing import render
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.styles.registry import document_of
from dreamsampler.drawings.triangles import triangulated
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.clock import within
from support.tensors import psnr
from torch import Tensor

HEIGHT, WIDTH = 60, 80


def slanted() -> torch.Tensor:
    """Red above the diagonal, blue below."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    above = (x / WIDTH - y / HEIGHT > 0).float()
    return torch.stack([above, torch.zeros_like(above), 1 - above])


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    inside = (20.5 - ((x - 40) ** 2 + (y - 30) ** 2).sqrt()).clamp(0, 1)
    return torch.stack([inside, 0.5 * inside, 1 - inside])


def image_of(most: int, image: torch.Tensor) -> torch.Tensor:
    return render([ART_STYLES["low-poly"].traced_drawing(image, most)])[0].detach()


@pytest.mark.parametrize("most", [1, 2, 3, 7, 40, 200])
def test_there_are_at_most_so_many_triangles(most: int):
    paths = triangulated(disc(), most)
    assert len(paths.points) <= most
    assert len(paths.points) >= min(most, 40) - 2
    assert (paths.colors[:, 3] == 1).all()


def test_one_triangle_has_the_mean_color():
    assert triangulated(disc(), 1).colors[0, :3] == pytest.approx(disc().mean((1, 2)), abs=1e-6)


def test_a_flat_image_is_two_triangles_on_one():
    assert len(triangulated(torch.full((3, 20, 30), 0.25), 64).points) == 3


@pytest.mark.parametrize("most", [2, 9, 60])
def test_they_leave_no_gaps(most: int):
    covered = rasterize([scene(document_of(triangulated(disc(), most), (HEIGHT, WIDTH)), HEIGHT, WIDTH)])[0, 3]
    assert float(covered.min()) > 1 - 1e-5


def test_more_triangles_come_closer():
    quality = [psnr(image_of(most, disc()), disc()) for most in (2, 16, 64)]
    assert quality == sorted(quality)
    assert quality[-1] > quality[0] + 10


def test_sides_run_along_edges():
    """Sixteen triangles are enough for one straight edge."""
    assert psnr(image_of(16, slanted()), slanted()) > 22


def test_a_point_is_added_to_the_triangle_with_the_largest_error():
    """A large soft disc on the left is worth more than a small hard dot on the right, which has the strongest edge."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    soft = 0.6 * ((20 - ((x - 20) ** 2 + (y - 30) ** 2).sqrt()) / 10).clamp(0, 1)
    dot = (((x - 70) ** 2 + (y - 30) ** 2) < 4).float()
    corners = triangulated((soft + dot).expand(3, -1, -1), 5).points[1:, ::3].reshape(-1, 2)
    inside = corners[(corners > 4).all(1) & (corners < torch.tensor([WIDTH, HEIGHT]) - 4).all(1)]
    assert len(inside) >= 3 and float(inside[:, 0].max()) < 42


def test_thin_triangles_grow_no_spikes():
    canvas = triangulated(disc(), 200).points[1:, ::3]
    assert float(canvas.min()) > -1.6
    assert float((canvas - torch.tensor([WIDTH, HEIGHT])).max()) < 1.6


def test_transparent_pixels_have_no_triangle():
    alpha = (torch.arange(WIDTH) < 30).float().expand(HEIGHT, WIDTH)
    centers = triangulated(disc(), 100, alpha).points[:, ::3].mean(1)
    assert 0 < len(centers) < 100
    assert float(centers[:, 0].max()) < 45


def black_at(*where: tuple[int | slice, int | slice]) -> Tensor:
    """A white image with black pixels."""
    image = torch.ones(3, 64, 64)
    for place in where:
        image[:, place[0], place[1]] = 0
    return image


@pytest.mark.parametrize(
    "image",
    [black_at((0, 0)), black_at((slice(None), 0)), black_at((0, slice(None)), (-1, slice(None)))],
    ids=["corner", "left column", "first and last row"],
)
def test_thin_details_at_the_border_end_the_search(image: Tensor):
    """Their pixels stand for points on the border, of which there are few."""
    triangles = within(20, lambda: triangulated(image, 256))
    assert 2 <= len(triangles.colors) <= 256
