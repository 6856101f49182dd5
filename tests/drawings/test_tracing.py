"""Tracing: known drawings are recovered, new paths start at errors, items of a batch are independent."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, render
from dreamsampler.drawings.initialization import Paths, circle
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import ANYWHERE, PLACEMENTS, Tracer, TracingSettings, TracingStep, group_sizes
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
    """Images of random drawings, (B, 3, SIZE, SIZE)."""
    made = [Drawing(drawing(seed, float(SIZE)), SIZE, SIZE) for seed in seeds]
    return render(made).detach()


def last(steps) -> TracingStep:
    return list(steps)[-1]


def test_a_perturbed_drawing_is_recovered():
    """Points may slide along an outline, so only outlines and colors are compared."""
    centers = torch.tensor([[9.0, 10.0], [21.0, 18.0], [12.0, 23.0]])
    discs = circle(centers, 5.0, 4)
    colors = torch.tensor([[0.9, 0.1, 0.1, 1.0], [0.1, 0.6, 0.2, 1.0], [0.2, 0.3, 0.8, 1.0]])
    style = ART_STYLES["iconography"]
    wanted = render([style.drawing(Paths(discs, colors), (SIZE, SIZE), colors)]).detach()
    shaken = discs + 2 * torch.rand(discs.shape, generator=generators(0)[0]) - 1
    start = style.drawing(Paths(shaken, 0.7 * colors + 0.2), (SIZE, SIZE), colors)
    before = psnr(render([start])[0], wanted[0])
    fit = last(Tracer(wanted, TracingSettings(steps=200, udf_weighting=False)).fit([start]))
    assert before < 21 and psnr(fit.images[0], wanted[0]) > 50
    assert (fit.drawings[0].colors - colors).abs().max() < 0.05
    radii = (fit.drawings[0].control_points[:, ::3] - centers[:, None]).norm(dim=-1)
    assert (radii - 5).abs().max() < 0.1


@pytest.mark.parametrize("style", ART_STYLES)
@pytest.mark.parametrize("udf_weighting", [True, False])
def test_every_style_reduces_the_error(style: str, udf_weighting: bool):
    settings = TracingSettings(groups=2, steps=15, udf_weighting=udf_weighting)
    steps = list(Tracer(target(0), settings).trace(ART_STYLES[style], 16, generators(0)))
    assert psnr(steps[-1].images, target(0)) > psnr(steps[0].images, target(0)) + 0.2
    assert [step.index for step in steps] == list(range(len(steps)))
    assert len(steps[-1].drawings[0].control_points) == 16


def test_paths_start_at_the_error_with_its_color():
    loop = circle(torch.tensor([20.0, 12.0]), 6.0, 4)
    disc = Paths(loop[None], torch.tensor([[0.1, 0.2, 0.9, 1.0]]))
    wanted = render([ART_STYLES["iconography"].drawing(disc, (SIZE, SIZE), loop)]).detach()
    for placement in PLACEMENTS:
        first = next(
            Tracer(wanted, TracingSettings(groups=1, steps=1, placement=placement)).trace(
                ART_STYLES["iconography"], 1, generators(0)
            )
        )
        middle = first.drawings[0].control_points[0].mean(0)
        assert (middle - torch.tensor([20.0, 12.0])).norm() < 6.5
        assert torch.allclose(first.drawings[0].colors[0, :3], disc.colors[0, :3], atol=0.05)


def test_a_batch_equals_its_items_alone():
    settings = TracingSettings(groups=2, steps=4)
    style = ART_STYLES["iconography"]
    together = last(Tracer(target(0, 1), settings).trace(style, 6, generators(3, 4)))
    for n in range(2):
        alone = last(Tracer(target(n), settings).trace(style, 6, generators(3 + n)))
        assert torch.allclose(together.drawings[n].points, alone.drawings[0].points, atol=1e-4)
        assert torch.allclose(together.losses[n], alone.losses[0])


@pytest.mark.parametrize("count, groups", [(64, 8), (10, 3), (2, 8), (1, 1), (128, 8)])
def test_groups_have_similar_sizes_and_hold_all_paths(count: int, groups: int):
    sizes = group_sizes(count, groups)
    assert sum(sizes) == count and max(sizes) - min(sizes) <= 1 and len(sizes) == min(groups, count)


def test_pixel_art_changes_only_the_colors_of_its_squares():
    wanted = target(0)
    fit = last(
        Tracer(wanted, TracingSettings(steps=150, udf_weighting=False)).trace(
            ART_STYLES["pixel art"], 64, generators(0)
        )
    )
    corners = fit.drawings[0].control_points[:, ::3]
    assert torch.equal(corners, corners.round())
    best = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(wanted, 4), scale_factor=4)
    assert fit.losses.item() < 1.02 * (best - wanted).square().mean().item()


def test_a_drawing_that_fits_is_unchanged():
    """A white image on a white background."""
    blank = torch.ones(1, 3, SIZE, SIZE)
    blob = drawing(0, SIZE).children[0]
    assert isinstance(blob, Shape)
    document = Document(ViewBox(0, 0, SIZE, SIZE), (Shape(blob.contours, Fill(Color(1, 1, 1))),))
    fit = last(Tracer(blank, TracingSettings(steps=5, xing_weight=0.0)).fit([Drawing(document, SIZE, SIZE)]))
    assert fit.losses.item() < 1e-10


@pytest.mark.parametrize(
    "operator", [GaussianBlur(SIZE, SIZE, 15, 3.0), SuperResolution(SIZE, SIZE, 4)], ids=["blurred", "small"]
)
def test_a_measurement_is_traced_sharper_than_its_back_projection(operator):
    """The drawing matches the measurement and is nearer to the sharp image than the back-projection."""
    disc = Paths(circle(torch.tensor([[17.0, 15.0]]), 8.0, 4), torch.tensor([[0.9, 0.1, 0.1, 1.0]]))
    style = ART_STYLES["iconography"]
    sharp = render([style.drawing(disc, (SIZE, SIZE), disc.points)]).detach()
    measurement = Measurement(operator, operator.forward(2 * sharp - 1))
    seen = (operator.back_projected(measurement.y) + 1) / 2
    tracer = Tracer(seen, TracingSettings(groups=2, steps=60), measurement=measurement)
    fit = last(tracer.trace(style, 4, generators(0)))
    assert fit.losses.item() < 1e-3
    assert psnr(fit.images, sharp) > psnr(seen, sharp) + 3


@pytest.mark.parametrize("style, least", [("iconography", 5.7), ("low-poly", 4.5)])
def test_paths_are_no_smaller_than_the_measurement_resolves(style: str, least: float):
    """A blur of sigma 3 averages 4 pi 9 pixels: a disc of radius 6. Corners of low-poly lie inside their circle."""
    operator = GaussianBlur(SIZE, SIZE, 25, 3.0)
    y = operator.forward(2 * target(0) - 1)
    settings = TracingSettings(groups=1, steps=1)
    seen = (operator.back_projected(y) + 1) / 2
    sharp, blurred = (
        last(Tracer(seen, settings, measurement=measurement).trace(ART_STYLES[style], 4, generators(0)))
        .drawings[0]
        .control_points
        for measurement in (None, Measurement(operator, y))
    )
    reach = [(paths - paths.mean(1, keepdim=True))[:, ::3].norm(dim=-1).max().item() for paths in (sharp, blurred)]
    assert reach[0] < 3 and least < reach[1] < 7


def test_paths_at_random_positions_start_all_at_once():
    settings = TracingSettings(groups=4, steps=10, placement=ANYWHERE)
    steps = list(Tracer(target(0), settings).trace(ART_STYLES["iconography"], 8, generators(0)))
    assert [len(step.drawings[0].control_points) for step in steps] == [8] * 10
