"""Loss terms of a distillation step, against their formulas."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, DrawingBatch
from dreamsampler.drawings.loss_terms import MeasurementTerm, SaturationTerm, XingTerm, clean_estimate_weight
from dreamsampler.drawings.losses import saturation_penalty, xing
from dreamsampler.guidance.core.path import FLOW, SCALED
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, SuperResolution
from support.drawings import drawing, gradient_of
from torch import Tensor

SIZE = 24
LIKE = torch.empty(0, dtype=torch.float64)
both_paths = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)


def made(*seeds: int) -> DrawingBatch:
    drawings = DrawingBatch([Drawing(drawing(seed), SIZE, SIZE, LIKE) for seed in seeds], lambda images: images)
    drawings()
    return drawings


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(sigma: Tensor) -> Sample:
    z = random(len(sigma), 4, 3, 3)
    return Sample(z, random(*z.shape, seed=1), torch.zeros_like(sigma), sigma, 0.0)


@both_paths
def test_the_weight_turns_sds_into_the_pull_to_the_clean_estimate(path):
    """d/dz of (1 - alpha_bar) lambda mean |z - z0_hat|^2, z0_hat held fixed (DreamSampler, eq. 21)."""
    sigma = torch.tensor([0.2, 0.7, 0.95], dtype=torch.float64)
    at = sample(sigma)
    eps_hat = random(*at.z.shape, seed=2)
    z0_hat = (at.noised(path) - path.b(sigma)[:, None, None, None] * eps_hat) / path.a(sigma)[:, None, None, None]
    z = at.z.clone().requires_grad_()
    share = 1 - path.alpha_bar(sigma)
    (2.4 * share * (z - z0_hat).square().flatten(1).mean(1)).sum().backward()
    weight = clean_estimate_weight(2.4, at.z[0].numel())(path, sigma)
    assert torch.allclose(weight[:, None, None, None] * (eps_hat - at.eps), gradient_of(z))


@both_paths
def test_the_measurement_term_is_the_weighted_error(path):
    drawings, operator = made(0, 1), GaussianBlur(SIZE, SIZE, 9, 1.5)
    y = random(2, 3, SIZE, SIZE, seed=3)
    sigma = torch.tensor([0.3, 0.8], dtype=torch.float64)
    found = MeasurementTerm(drawings, Measurement(operator, y), path, weight=3.0)(sample(sigma))
    seen = operator.forward(2 * drawings.images - 1)
    expected = 3 * path.alpha_bar(sigma) @ (seen - y).square().flatten(1).mean(1)
    assert torch.allclose(found, expected)
    found.backward()
    assert all(gradient_of(one.points).abs().sum() > 0 for one in drawings.drawings)


def test_a_drawing_that_matches_its_measurement_has_no_gradient():
    drawings, operator = made(2), SuperResolution(SIZE, SIZE, 3)
    y = operator.forward(2 * drawings.images.detach() - 1)
    loss = MeasurementTerm(drawings, Measurement(operator, y), SCALED, weight=4.0)(sample(torch.tensor([0.5])))
    loss.backward()
    assert loss.item() == 0 and gradient_of(drawings.drawings[0].points).abs().max() == 0


def test_xing_and_saturation_are_sums_over_drawings():
    drawings = made(0, 1)
    at = sample(torch.tensor([0.5, 0.5], dtype=torch.float64))
    crossings = torch.stack([xing(one.cubics()) for one in drawings.drawings]).sum()
    assert torch.allclose(XingTerm(drawings, 0.01)(at), 0.01 * crossings) and crossings > 0
    calm = torch.stack([saturation_penalty(image) for image in drawings.images]).sum()
    assert torch.allclose(SaturationTerm(drawings, 0.05)(at), 0.05 * calm)
