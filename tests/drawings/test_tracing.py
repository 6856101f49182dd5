"""Drawings fitted to pictures: what is known is found again, new paths go where they are missed, batches are alone."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, rasterized
from dreamsampler.drawings.initialization import Paths, circle
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import ANYWHERE, PLACES, Fit, Tracer, Tracing, group_sizes
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, SuperResolution
from dreamsampler.svg.document import Color, Document, Fill, Shape, ViewBox
from support.drawings import drawing
from torch import Tensor

SIZE = 32


def psnr(a: Tensor, b: Tensor) -> float:
    return (-10 * (a - b).square().mean().log10()).item()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def target(*seeds: int) -> Tensor:
    """Drawings in colours, (B, 3, SIZE, SIZE)."""
    made = [Drawing(drawing(seed, float(SIZE)), SIZE, SIZE) for seed in seeds]
    return rasterized(made).detach()


def last(fits) -> Fit:
    return list(fits)[-1]


def test_a_drawing_that_was_shaken_is_found_again():
    """Points may slide along an outline, so outlines and colours are compared."""
    centres = torch.tensor([[9.0, 10.0], [21.0, 18.0], [12.0, 23.0]])
    discs = circle(centres, 5.0, 4)
    colors = torch.tensor([[0.9, 0.1, 0.1, 1.0], [0.1, 0.6, 0.2, 1.0], [0.2, 0.3, 0.8, 1.0]])
    style = ART_STYLES["iconography"]
    wanted = rasterized([style.drawing(Paths(discs, colors), (SIZE, SIZE), colors)]).detach()
    shaken = discs + 2 * torch.rand(discs.shape, generator=generators(0)[0]) - 1
    start = style.drawing(Paths(shaken, 0.7 * colors + 0.2), (SIZE, SIZE), colors)
    before = psnr(rasterized([start])[0], wanted[0])
    fit = last(Tracer(wanted, Tracing(steps=200, near_outlines=False)).fitted([start]))
    assert before < 21 and psnr(fit.pictures[0], wanted[0]) > 50
    assert (fit.drawings[0].colors - colors).abs().max() < 0.05
    radii = (fit.drawings[0].paths[:, ::3] - centres[:, None]).norm(dim=-1)
    assert (radii - 5).abs().max() < 0.1


@pytest.mark.parametrize("style", ART_STYLES)
@pytest.mark.parametrize("near_outlines", [True, False])
def test_every_style_comes_nearer(style: str, near_outlines: bool):
    how = Tracing(groups=2, steps=15, near_outlines=near_outlines)
    fits = list(Tracer(target(0), how).traced(ART_STYLES[style], 16, generators(0)))
    assert psnr(fits[-1].pictures, target(0)) > psnr(fits[0].pictures, target(0)) + 0.2
    assert [fit.index for fit in fits] == list(range(len(fits)))
    assert len(fits[-1].drawings[0].paths) == 16


def test_paths_start_in_what_is_missed_in_its_colour():
    loop = circle(torch.tensor([20.0, 12.0]), 6.0, 4)
    disc = Paths(loop[None], torch.tensor([[0.1, 0.2, 0.9, 1.0]]))
    wanted = rasterized([ART_STYLES["iconography"].drawing(disc, (SIZE, SIZE), loop)]).detach()
    for places in PLACES:
        first = next(
            Tracer(wanted, Tracing(groups=1, steps=1, places=places)).traced(
                ART_STYLES["iconography"], 1, generators(0)
            )
        )
        middle = first.drawings[0].paths[0].mean(0)
        assert (middle - torch.tensor([20.0, 12.0])).norm() < 6.5
        assert torch.allclose(first.drawings[0].colors[0, :3], disc.colors[0, :3], atol=0.05)


def test_a_batch_is_its_items_alone():
    how = Tracing(groups=2, steps=4)
    style = ART_STYLES["iconography"]
    together = last(Tracer(target(0, 1), how).traced(style, 6, generators(3, 4)))
    for n in range(2):
        alone = last(Tracer(target(n), how).traced(style, 6, generators(3 + n)))
        assert torch.allclose(together.drawings[n].points, alone.drawings[0].points, atol=1e-4)
        assert torch.allclose(together.loss[n], alone.loss[0])


@pytest.mark.parametrize("count, groups", [(64, 8), (10, 3), (2, 8), (1, 1), (128, 8)])
def test_groups_are_alike_and_hold_all_paths(count: int, groups: int):
    sizes = group_sizes(count, groups)
    assert sum(sizes) == count and max(sizes) - min(sizes) <= 1 and len(sizes) == min(groups, count)


def test_pixel_art_only_colours_its_squares_by_what_lies_under_them():
    wanted = target(0)
    fit = last(
        Tracer(wanted, Tracing(steps=150, near_outlines=False)).traced(ART_STYLES["pixel art"], 64, generators(0))
    )
    corners = fit.drawings[0].paths[:, ::3]
    assert torch.equal(corners, corners.round())
    best = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(wanted, 4), scale_factor=4)
    assert fit.loss.item() < 1.02 * (best - wanted).square().mean().item()


def test_what_fits_is_left_alone():
    """A picture that is as white as the paper asks for nothing."""
    blank = torch.ones(1, 3, SIZE, SIZE)
    blob = drawing(0, SIZE).children[0]
    assert isinstance(blob, Shape)
    document = Document(ViewBox(0, 0, SIZE, SIZE), (Shape(blob.contours, Fill(Color(1, 1, 1))),))
    fit = last(Tracer(blank, Tracing(steps=5, crossing=0.0)).fitted([Drawing(document, SIZE, SIZE)]))
    assert fit.loss.item() < 1e-10


@pytest.mark.parametrize(
    "operator", [GaussianBlur(SIZE, SIZE, 15, 3.0), SuperResolution(SIZE, SIZE, 4)], ids=["blurred", "small"]
)
def test_what_was_measured_is_traced_as_it_was_before(operator):
    """The fit is to the measurement, and comes nearer to the sharp picture than what can be seen of it."""
    disc = Paths(circle(torch.tensor([[17.0, 15.0]]), 8.0, 4), torch.tensor([[0.9, 0.1, 0.1, 1.0]]))
    style = ART_STYLES["iconography"]
    sharp = rasterized([style.drawing(disc, (SIZE, SIZE), disc.points)]).detach()
    measurement = Measurement(operator, operator.forward(2 * sharp - 1))
    seen = (operator.back_projected(measurement.y) + 1) / 2
    tracer = Tracer(seen, Tracing(groups=2, steps=60), measurement=measurement)
    fit = last(tracer.traced(style, 4, generators(0)))
    assert fit.loss.item() < 1e-3
    assert psnr(fit.pictures, sharp) > psnr(seen, sharp) + 3


@pytest.mark.parametrize("style, least", [("iconography", 5.7), ("low-poly", 4.5)])
def test_paths_start_no_smaller_than_the_measurement_resolves(style: str, least: float):
    """A blur of sigma 3 averages 4 pi 9 pixels: a disc of radius 6. Corners of low-poly lie inside their circle."""
    operator = GaussianBlur(SIZE, SIZE, 25, 3.0)
    y = operator.forward(2 * target(0) - 1)
    how = Tracing(groups=1, steps=1)
    seen = (operator.back_projected(y) + 1) / 2
    sharp, blurred = (
        last(Tracer(seen, how, measurement=measurement).traced(ART_STYLES[style], 4, generators(0))).drawings[0].paths
        for measurement in (None, Measurement(operator, y))
    )
    reach = [(paths - paths.mean(1, keepdim=True))[:, ::3].norm(dim=-1).max().item() for paths in (sharp, blurred)]
    assert reach[0] < 3 and least < reach[1] < 7


def test_paths_anywhere_are_fitted_all_at_once():
    how = Tracing(groups=4, steps=10, places=ANYWHERE)
    fits = list(Tracer(target(0), how).traced(ART_STYLES["iconography"], 8, generators(0)))
    assert [len(fit.drawings[0].paths) for fit in fits] == [8] * 10
