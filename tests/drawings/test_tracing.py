"""Tracing: recovers known drawings, starts new paths at errors, and treats batch items independently."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, render
from dreamsampler.drawings.initialization import Paths, circle
from dreamsampler.drawings.losses import kinks
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tracing import (
    ANYWHERE,
    FROM_REGIONS,
    PLACEMENTS,
    TRACE,
    Tracer,
    TracingSettings,
    TracingStep,
    group_sizes,
    tracing_size,
)
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, SuperResolution
from dreamsampler.svg.document import Color, Document, Fill, Shape, ViewBox
from support.drawings import drawing
from support.tensors import generator, psnr
from torch import Tensor

SIZE = 32
INK = torch.tensor([[0.1, 0.1, 0.4, 1.0]])


def generators(*seeds: int) -> list[torch.Generator]:
    return [generator(seed) for seed in seeds]


def target(*seeds: int) -> Tensor:
    """Images (B, 3, SIZE, SIZE) of random drawings."""
    drawings = [Drawing(drawing(seed, float(SIZE)), SIZE, SIZE) for seed in seeds]
    return render(drawings).detach()


def last_step(steps) -> TracingStep:
    return list(steps)[-1]


def test_perturbed_drawing_is_recovered():
    """Compares only outlines and colors, because points may slide along an outline."""
    centers = torch.tensor([[9.0, 10.0], [21.0, 18.0], [12.0, 23.0]])
    discs = circle(centers, 5.0, 4)
    colors = torch.tensor([[0.9, 0.1, 0.1, 1.0], [0.1, 0.6, 0.2, 1.0], [0.2, 0.3, 0.8, 1.0]])
    style = ART_STYLES["iconography"]
    target_image = render([style.drawing(Paths(discs, colors), (SIZE, SIZE), colors)]).detach()
    perturbed = discs + 2 * torch.rand(discs.shape, generator=generators(0)[0]) - 1
    start = style.drawing(Paths(perturbed, 0.7 * colors + 0.2), (SIZE, SIZE), colors)
    before = psnr(render([start])[0], target_image[0])
    fit = last_step(Tracer(target_image, TracingSettings(steps=200, udf_weighting=False)).fit([start]))
    assert before < 21 and psnr(fit.images[0], target_image[0]) > 50
    assert (fit.drawings[0].colors - colors).abs().max() < 0.05
    radii = (fit.drawings[0].control_points[:, ::3] - centers[:, None]).norm(dim=-1)
    assert (radii - 5).abs().max() < 0.1


@pytest.mark.parametrize("style", ART_STYLES)
@pytest.mark.parametrize("udf_weighting", [True, False])
def test_every_style_reduces_the_error(style: str, udf_weighting: bool):
    settings = TracingSettings(groups=2, steps=15, udf_weighting=udf_weighting)
    steps = list(Tracer(target(0), settings).trace(ART_STYLES[style], 16, generators(0)))
    assert psnr(steps[-1].images, target(0)) > psnr(steps[0].images, target(0)) + 1.5
    assert [step.index for step in steps] == list(range(len(steps)))
    assert len(steps[-1].drawings[0].control_points) == 16


def test_paths_start_at_the_error_with_its_color():
    loop = circle(torch.tensor([20.0, 12.0]), 6.0, 4)
    disc = Paths(loop[None], torch.tensor([[0.1, 0.2, 0.9, 1.0]]))
    target_image = render([ART_STYLES["iconography"].drawing(disc, (SIZE, SIZE), loop)]).detach()
    for placement in PLACEMENTS:
        first = next(
            Tracer(target_image, TracingSettings(groups=1, steps=1, placement=placement)).trace(
                ART_STYLES["iconography"], 1, generators(0)
            )
        )
        middle = first.drawings[0].control_points[0].mean(0)
        assert (middle - torch.tensor([20.0, 12.0])).norm() < 6.5
        assert torch.allclose(first.drawings[0].colors[0, :3], disc.colors[0, :3], atol=0.05)


def test_batch_items_are_independent():
    settings = TracingSettings(groups=2, steps=4)
    style = ART_STYLES["iconography"]
    together = last_step(Tracer(target(0, 1), settings).trace(style, 6, generators(3, 4)))
    for n in range(2):
        alone = last_step(Tracer(target(n), settings).trace(style, 6, generators(3 + n)))
        assert torch.allclose(together.drawings[n].points, alone.drawings[0].points, atol=1e-4)
        assert torch.allclose(together.losses[n], alone.losses[0])


@pytest.mark.parametrize("count, groups", [(64, 8), (10, 3), (2, 8), (1, 1), (128, 8)])
def test_groups_have_similar_sizes_and_contain_all_paths(count: int, groups: int):
    sizes = group_sizes(count, groups)
    assert sum(sizes) == count and max(sizes) - min(sizes) <= 1 and len(sizes) == min(groups, count)


def test_pixel_art_changes_only_the_colors_of_its_squares():
    target_image = target(0)
    fit = last_step(
        Tracer(target_image, TracingSettings(steps=150, udf_weighting=False)).trace(
            ART_STYLES["pixel art"], 64, generators(0)
        )
    )
    corners = fit.drawings[0].control_points[:, ::3]
    assert torch.equal(corners, corners.round())
    best = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(target_image, 4), scale_factor=4)
    assert fit.losses.item() < 1.02 * (best - target_image).square().mean().item()


def test_drawing_that_matches_is_unchanged():
    """A white image on a white background."""
    blank = torch.ones(1, 3, SIZE, SIZE)
    shape = drawing(0, SIZE).children[0]
    assert isinstance(shape, Shape)
    document = Document(ViewBox(0, 0, SIZE, SIZE), (Shape(shape.contours, Fill(Color(1, 1, 1))),))
    fit = last_step(Tracer(blank, TracingSettings(steps=5, xing_weight=0.0)).fit([Drawing(document, SIZE, SIZE)]))
    assert fit.losses.item() < 1e-10


@pytest.mark.parametrize(
    "operator", [GaussianBlur(SIZE, SIZE, 15, 3.0), SuperResolution(SIZE, SIZE, 4)], ids=["blurred", "small"]
)
@pytest.mark.parametrize("placement", [TRACE, TracingSettings.placement])
def test_traced_measurement_is_sharper_than_its_back_projection(operator, placement: str):
    """The drawing matches the measurement and is closer to the sharp image than the back projection."""
    disc = Paths(circle(torch.tensor([[17.0, 15.0]]), 8.0, 4), torch.tensor([[0.9, 0.1, 0.1, 1.0]]))
    style = ART_STYLES["iconography"]
    sharp = render([style.drawing(disc, (SIZE, SIZE), disc.points)]).detach()
    measurement = Measurement(operator, operator.forward(2 * sharp - 1))
    back_projection = (operator.back_projected(measurement.y) + 1) / 2
    settings = replace(FROM_REGIONS, steps=60) if placement == TRACE else TracingSettings(groups=2, steps=60)
    tracer = Tracer(back_projection, settings, measurement=measurement)
    fit = last_step(tracer.trace(style, 4, generators(0)))
    assert fit.losses.item() < 1e-3
    assert psnr(fit.images, sharp) > psnr(back_projection, sharp) + 3


@pytest.mark.parametrize("style, minimum_radius", [("iconography", 5.7), ("low-poly", 4.5)])
def test_paths_are_not_smaller_than_the_resolution_of_the_measurement(style: str, minimum_radius: float):
    """A blur of sigma 3 averages 36 pi pixels, a disc of radius 6. The corners of low-poly are inside the circle."""
    operator = GaussianBlur(SIZE, SIZE, 25, 3.0)
    y = operator.forward(2 * target(0) - 1)
    settings = TracingSettings(groups=1, steps=1)
    back_projection = (operator.back_projected(y) + 1) / 2
    sharp, blurred = (
        last_step(Tracer(back_projection, settings, measurement=measurement).trace(ART_STYLES[style], 4, generators(0)))
        .drawings[0]
        .control_points
        for measurement in (None, Measurement(operator, y))
    )
    radii = [(paths - paths.mean(1, keepdim=True))[:, ::3].norm(dim=-1).max().item() for paths in (sharp, blurred)]
    assert radii[0] < 3 and minimum_radius < radii[1] < 7


def test_randomly_placed_paths_start_all_at_once():
    settings = TracingSettings(groups=4, steps=10, placement=ANYWHERE)
    steps = list(Tracer(target(0), settings).trace(ART_STYLES["iconography"], 8, generators(0)))
    assert [len(step.drawings[0].control_points) for step in steps] == [8] * 10


def test_regions_are_fitted_with_smooth_joins_and_opaque():
    images = target(0, 1)
    steps = list(Tracer(images, replace(FROM_REGIONS, steps=40)).trace(ART_STYLES["iconography"], 24, generators(0, 1)))
    first, last = steps[0], steps[-1]
    assert len(steps) == 40
    assert (last.losses < 0.6 * first.losses).all()
    for drawn in last.drawings:
        assert len(drawn.colors) <= 24 and (drawn.colors[:, 3] == 1).all()
        assert float(kinks(drawn.smooth_joins().detach())) < 0.02


@pytest.mark.parametrize(
    "canvas, image, times, expected",
    [
        ((256, 256), (96, 96), 1.0, (96, 96)),
        ((256, 256), (96, 96), 2.0, (192, 192)),
        ((256, 256), (200, 200), 2.0, (256, 256)),
        ((256, 256), (512, 512), 1.0, (256, 256)),
        ((384, 512), (75, 100), 1.0, (75, 100)),
        ((256, 256), (1, 1), 1.0, (1, 1)),
    ],
)
def test_images_are_compared_at_their_own_size_at_most(canvas, image, times, expected):
    assert tracing_size(canvas, image, times) == expected


def test_small_images_are_enlarged_to_find_their_regions():
    """Where a disc is, is known more precisely from pixels that are cut up than from few pixels."""
    style, disc = ART_STYLES["iconography"], circle(torch.tensor([[15.3, 16.4]]), 5.7, 4)
    image = render([style.drawing(Paths(disc, INK), (SIZE, SIZE), INK)]).detach()
    tracer = Tracer(image, replace(FROM_REGIONS, steps=0))
    (small,), (enlarged,) = tracer.started(style, 24), tracer.started(style, 24, (4 * SIZE, 4 * SIZE))
    assert small.document().view_box.width == SIZE and enlarged.document().view_box.width == 2 * SIZE
    reached = [psnr(each, image[0]) for each in render([small, enlarged]).detach()]
    assert reached[1] > reached[0] + 1
