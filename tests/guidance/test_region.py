"""The region of an edit: on fields whose difference is known, and its parts by hand."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import NoisePath
from dreamsampler.guidance.editing.region import energy, relative, soft_mask, velocity_differences
from support.field_oracle import FieldDenoiser, Fields, field_prior
from support.noise_paths import BOTH_PATHS
from support.tensors import normal
from torch import Tensor

SIDE = 16


def white(mean: Tensor) -> Fields:
    """Images (C, SIDE, SIDE) of independent pixels around a mean."""
    return Fields(mean[None], torch.full_like(mean, 0.2))


def change() -> Tensor:
    """What the target prompt adds to the mean: something in a square, and a fifth of it in a corner."""
    delta = torch.zeros(2, SIDE, SIDE, dtype=torch.float64)
    delta[0, 4:10, 5:12], delta[1, 4:10, 5:12] = 0.8, -0.6
    delta[0, :3, :3] = 0.2
    return delta


def differences(path: NoisePath, source: Fields, target: Fields, count: int = 2, steps: int = 8) -> list[Tensor]:
    prior = field_prior({"source": source, "positive": target}, path)
    sigmas = torch.cat([prior.sigma_at(torch.linspace(0.66, 0, steps + 1, dtype=torch.float64)[:-1]), torch.zeros(1)])
    latents, noise = source.sample(count, torch.Generator().manual_seed(4)), SeededNoise(range(count))
    steps_ = list(velocity_differences(prior, latents, sigmas.double(), noise))
    assert isinstance(prior.denoise, FieldDenoiser) and prior.denoise.calls == [2] * steps
    return [step.difference for step in steps_]


@BOTH_PATHS
def test_energy_is_the_difference_of_the_means(path: NoisePath):
    """With equal white variances every step's difference is a multiple of it, whatever the noise and the source."""
    mean, delta = normal(2, SIDE, SIDE, seed=1), change()
    found = energy(differences(path, white(mean), white(mean + delta)))
    expected = delta.norm(dim=0)
    ratio = found[:, expected > 0] / expected[expected > 0]
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-9, atol=0)
    assert found[:, expected == 0].abs().max() < 1e-12 and ratio.min() > 0


@BOTH_PATHS
def test_edited_latent_moves_to_the_target(path: NoisePath):
    mean, delta = normal(2, SIDE, SIDE, seed=1), change()
    source, target = white(mean), white(mean + delta)
    prior = field_prior({"source": source, "positive": target}, path)
    sigmas = torch.cat([prior.sigma_at(torch.linspace(1, 0, 401, dtype=torch.float64)[:-1]), torch.zeros(1)]).double()
    z = source.sample(1, torch.Generator().manual_seed(4))
    *_, last = velocity_differences(prior, z, sigmas, SeededNoise([0]))
    # From pure noise, the flow from N(m, v) to N(m + d, v) moves every image by d.
    torch.testing.assert_close(last.z - z, delta[None], rtol=0, atol=0.03)


def test_equal_prompts_find_nothing():
    source = white(normal(2, SIDE, SIDE, seed=1))
    found = relative(energy(differences_of_equal(source)))
    assert soft_mask(found).max() < 0.002


def differences_of_equal(source: Fields) -> list[Tensor]:
    prior = field_prior({"source": source, "positive": source})
    sigmas = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    return [step.difference for step in velocity_differences(prior, source.means, sigmas, SeededNoise([0]))]


def test_mask_covers_what_changes():
    mean, delta = normal(2, SIDE, SIDE, seed=1), change()
    mask = soft_mask(relative(energy(differences_on_noise(mean, delta))))[0]
    inside, outside = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    inside[5:9, 6:11], outside[:] = True, True
    outside[3:11, 4:13] = False  # the mean of 3 x 3 cells reaches one cell further
    assert mask[inside].min() > 0.9 and mask[outside].max() < 0.1


def differences_on_noise(mean: Tensor, delta: Tensor) -> list[Tensor]:
    return differences(NoisePath("scaled", torch.ones_like, lambda sigma: sigma), white(mean), white(mean + delta))


def test_energy_sums_the_middle_half_before_the_norm():
    steps = [torch.full((1, 2, 3, 3), value) for value in (100.0, 100.0, 1.0, -1.0, 3.0, 1.0, 100.0, 100.0)]
    torch.testing.assert_close(energy(steps), torch.full((1, 3, 3), 4.0 * 2**0.5))
    one_frame = [step[:, :, None] for step in steps]
    torch.testing.assert_close(energy(one_frame), energy(steps))
    torch.testing.assert_close(energy(steps[2:3]), torch.full((1, 3, 3), 2**0.5))


@pytest.mark.parametrize(("side", "reach"), [(8, 1), (64, 1), (128, 2), (256, 4)])
def test_mean_over_neighbors_grows_with_the_latent(side: int, reach: int):
    point = torch.zeros(1, side, side)
    point[0, side // 2, side // 2] = 1.0
    background = torch.linspace(0, 1e-3, side * side).reshape(1, side, side)
    raised = (relative(point + background) > relative(background) + 0.5)[0]
    rows, columns = raised.nonzero().unbind(1)
    assert rows.min() >= side // 2 - reach and columns.max() <= side // 2 + reach
    assert raised[side // 2 - reach, side // 2]


def test_relative_energy_maps_percentiles_of_each_image():
    ramp = torch.arange(100.0).reshape(1, 10, 10).expand(2, 10, 10) * torch.tensor([1.0, 50.0])[:, None, None]
    found = relative(ramp)
    torch.testing.assert_close(found[0], found[1])
    assert found.min() == 0 and found.max() == 1
    assert (found == 0).float().mean() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(relative(torch.ones(1, 10, 10)), torch.zeros(1, 10, 10))


def test_threshold_and_softness():
    values = torch.tensor([[[0.0, 0.4, 0.55, 1.0]]])
    assert soft_mask(values)[0, 0, 2] == 0.5
    harder = soft_mask(values, threshold=0.4, softness=0.01)[0, 0]
    assert harder[0] < 1e-6 and harder[1] == 0.5 and harder[2] > 1 - 1e-6
