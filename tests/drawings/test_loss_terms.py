"""The terms of eq. 21 and the others against their formulas, and the jobs' published numbers."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, Drawings, cubics_of
from dreamsampler.drawings.loss_terms import CalmColors, Crossing, Fidelity, pull_to_estimate
from dreamsampler.drawings.losses import saturation_penalty, xing
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tasks import DEFAULTS, rates_of, renews, restoration_terms
from dreamsampler.guidance.core.path import FLOW, SCALED
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import Colorization, GaussianBlur, MotionBlur, SuperResolution
from support.drawings import drawing, gradient_of
from torch import Tensor

SIZE = 24
LIKE = torch.empty(0, dtype=torch.float64)
both_paths = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)


def made(*seeds: int) -> Drawings:
    drawings = Drawings([Drawing(drawing(seed), SIZE, SIZE, LIKE) for seed in seeds], lambda pictures: pictures)
    drawings()
    return drawings


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(sigma: Tensor) -> Sample:
    z = random(len(sigma), 4, 3, 3)
    return Sample(z, random(*z.shape, seed=1), torch.zeros_like(sigma), sigma, 0.0)


@both_paths
def test_the_weight_makes_sds_the_gradient_of_the_pull(path):
    """d/dz of (1 - alpha_bar) lambda mean |z - z0_hat|^2, z0_hat held fixed (DreamSampler, eq. 21)."""
    sigma = torch.tensor([0.2, 0.7, 0.95], dtype=torch.float64)
    at = sample(sigma)
    eps_hat = random(*at.z.shape, seed=2)
    z0_hat = (at.noised(path) - path.b(sigma)[:, None, None, None] * eps_hat) / path.a(sigma)[:, None, None, None]
    z = at.z.clone().requires_grad_()
    share = 1 - path.alpha_bar(sigma)
    (2.4 * share * (z - z0_hat).square().flatten(1).mean(1)).sum().backward()
    weight = pull_to_estimate(2.4, at.z[0].numel())(path, sigma)
    assert torch.allclose(weight[:, None, None, None] * (eps_hat - at.eps), gradient_of(z))


@both_paths
def test_fidelity_is_the_weighted_error_of_what_was_measured(path):
    drawings, operator = made(0, 1), GaussianBlur(SIZE, SIZE, 9, 1.5)
    y = random(2, 3, SIZE, SIZE, seed=3)
    sigma = torch.tensor([0.3, 0.8], dtype=torch.float64)
    found = Fidelity(drawings, Measurement(operator, y), path, weight=3.0)(sample(sigma))
    seen = operator.forward(2 * drawings.pictures - 1)
    expected = 3 * path.alpha_bar(sigma) @ (seen - y).square().flatten(1).mean(1)
    assert torch.allclose(found, expected)
    found.backward()
    assert all(gradient_of(one.points).abs().sum() > 0 for one in drawings.drawings)


def test_a_drawing_that_explains_its_measurement_is_left_alone():
    drawings, operator = made(2), SuperResolution(SIZE, SIZE, 3)
    y = operator.forward(2 * drawings.pictures.detach() - 1)
    loss = Fidelity(drawings, Measurement(operator, y), SCALED, weight=4.0)(sample(torch.tensor([0.5])))
    loss.backward()
    assert loss.item() == 0 and gradient_of(drawings.drawings[0].points).abs().max() == 0


def test_crossing_and_calm_colours_are_sums_over_drawings():
    drawings = made(0, 1)
    at = sample(torch.tensor([0.5, 0.5], dtype=torch.float64))
    crossings = torch.stack([xing(cubics_of(one)) for one in drawings.drawings]).sum()
    assert torch.allclose(Crossing(drawings, 0.01)(at), 0.01 * crossings) and crossings > 0
    calm = torch.stack([saturation_penalty(picture) for picture in drawings.pictures]).sum()
    assert torch.allclose(CalmColors(drawings, 0.05)(at), 0.05 * calm)


def test_published_terms():
    assert restoration_terms(SuperResolution(64, 64, 8)) == (1.0, 4.0)
    assert restoration_terms(GaussianBlur(64, 64, 61, 5.0)) == (2.4, 3.0)
    assert restoration_terms(MotionBlur(64, 64, 9, 30.0)) == (2.4, 3.0)
    assert restoration_terms(Colorization(64, 64)) == (1.0, 4.0)


def test_published_settings():
    """But for the guidance of a restoration, at which the published noise shows the model the picture."""
    assert all(task.loop.steps == 1000 for task in DEFAULTS.values())
    guidance = {name: task.guidance_scale for name, task in DEFAULTS.items()}
    assert guidance == {"draw": 100, "refine": 100, "edit": 100, "restore": 7.5}
    draw, edit, restore = (DEFAULTS[name].loop for name in ("draw", "edit", "restore"))
    assert (draw.t_min, draw.t_max, draw.weighting) == (0.05, 0.95, "1-alpha_bar")
    assert (edit.t_min, edit.t_max) == (0.1, 0.98)
    assert (restore.time_schedule, restore.noise_policy) == ("descending", "estimated")


def test_rates_grow_with_the_canvas_and_colours_do_not():
    style = ART_STYLES["iconography"]
    published, half = (rates_of("restore", style, (side, side)).at(0.5) for side in (600, 300))
    assert published["points"] == pytest.approx(0.2) and published["color"] == pytest.approx(0.01)
    assert half["points"] == pytest.approx(0.1) and half["color"] == pytest.approx(0.01)
    assert rates_of("edit", style, (600, 600)).at(0.0)["points"] == pytest.approx(0.8)
    assert rates_of("draw", style, (600, 600)).faster(2).at(0.5)["color"] == pytest.approx(0.02)


@pytest.mark.parametrize("steps, every", [(1000, 100), (100, 10), (5, 1)])
def test_dead_paths_start_again_every_tenth_until_the_last_fifth(steps: int, every: int):
    found = [step + 1 for step in range(steps) if renews(step, steps)]
    assert found == [n for n in range(every, steps + 1, every) if n <= 0.8 * steps]


def test_dead_paths_are_those_that_are_faint_or_small():
    style, generator = ART_STYLES["iconography"], torch.Generator().manual_seed(0)
    made = style.start(4, (600, 600), generator, LIKE)
    optimizer = torch.optim.Adam(made.parameters["points"] + made.parameters["color"])
    with torch.no_grad():
        made.colors[1, 3] = 0.01
        made.points[24:36] = made.points[24:36].mean(0) + 0.1 * (made.points[24:36] - made.points[24:36].mean(0))
    before = made.paths.clone()
    assert style.renew(made, (600, 600), generator, optimizer) == 2
    changed = (made.paths != before).flatten(1).any(1)
    assert changed.tolist() == [False, True, True, False]
    assert made.colors[1, 3] >= 0.7
    assert style.renew(made, (600, 600), generator, optimizer) == 0
