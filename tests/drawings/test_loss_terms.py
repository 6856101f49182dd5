"""Loss terms of a distillation step, compared with their formulas."""

from __future__ import annotations

import torch
from dreamsampler.drawings.drawing import Drawing, DrawingBatch
from dreamsampler.drawings.loss_terms import SaturationTerm, XingTerm
from dreamsampler.drawings.losses import saturation_penalty, xing
from dreamsampler.guidance.core.path import SCALED
from dreamsampler.guidance.distillation.objective import Direction, Sample
from dreamsampler.guidance.distillation.regularizers import MeasurementTerm, clean_estimate_weight
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, SuperResolution
from support.drawings import drawing, gradient_of
from support.noise_paths import BOTH_PATHS
from support.tensors import normal
from torch import Tensor

SIZE = 24
LIKE = torch.empty(0, dtype=torch.float64)


def drawing_batch(*seeds: int) -> DrawingBatch:
    drawings = DrawingBatch([Drawing(drawing(seed), SIZE, SIZE, LIKE) for seed in seeds], lambda images: images)
    drawings()
    return drawings


def random_sample(sigma: Tensor) -> Sample:
    z = normal(len(sigma), 4, 3, 3)
    return Sample(z, normal(*z.shape, seed=1), torch.zeros_like(sigma), sigma, 0.0)


@BOTH_PATHS
def test_weight_turns_sds_into_the_distance_to_the_clean_estimate(path):
    """d/dz of (1 - alpha_bar) lambda mean |z - z0_hat|^2, with constant z0_hat (DreamSampler, eq. 21)."""
    sigma = torch.tensor([0.2, 0.7, 0.95], dtype=torch.float64)
    sample = random_sample(sigma)
    eps_hat = normal(*sample.z.shape, seed=2)
    z0_hat = (sample.noised(path) - path.b(sigma)[:, None, None, None] * eps_hat) / path.a(sigma)[:, None, None, None]
    z = sample.z.clone().requires_grad_()
    share = 1 - path.alpha_bar(sigma)
    (2.4 * share * (z - z0_hat).square().flatten(1).mean(1)).sum().backward()
    weight = clean_estimate_weight(2.4, sample.z[0].numel())
    assert torch.allclose(weight(Direction(eps_hat - sample.eps, eps_hat), path, sigma), gradient_of(z))


@BOTH_PATHS
def test_measurement_term_is_the_weighted_error(path):
    drawings, operator = drawing_batch(0, 1), GaussianBlur(SIZE, SIZE, 9, 1.5)
    y = normal(2, 3, SIZE, SIZE, seed=3)
    sigma = torch.tensor([0.3, 0.8], dtype=torch.float64)
    loss = MeasurementTerm(drawings, Measurement(operator, y), path, weight=3.0)(random_sample(sigma))
    measured = operator.forward(2 * drawings.images - 1)
    expected = 3 * path.alpha_bar(sigma) @ (measured - y).square().flatten(1).mean(1)
    assert torch.allclose(loss, expected)
    loss.backward()
    assert all(gradient_of(one.points).abs().sum() > 0 for one in drawings.drawings)


def test_measurement_term_of_a_matching_drawing_has_no_gradient():
    drawings, operator = drawing_batch(2), SuperResolution(SIZE, SIZE, 3)
    y = operator.forward(2 * drawings.images.detach() - 1)
    loss = MeasurementTerm(drawings, Measurement(operator, y), SCALED, weight=4.0)(random_sample(torch.tensor([0.5])))
    loss.backward()
    assert loss.item() == 0 and gradient_of(drawings.drawings[0].points).abs().max() == 0


def test_xing_and_saturation_terms_are_sums_over_drawings():
    drawings = drawing_batch(0, 1)
    sample = random_sample(torch.tensor([0.5, 0.5], dtype=torch.float64))
    xing_loss = torch.stack([xing(one.cubics()) for one in drawings.drawings]).sum()
    assert torch.allclose(XingTerm(drawings, 0.01)(sample), 0.01 * xing_loss) and xing_loss > 0
    penalty = torch.stack([saturation_penalty(image) for image in drawings.images]).sum()
    assert torch.allclose(SaturationTerm(drawings, 0.05)(sample), 0.05 * penalty)
