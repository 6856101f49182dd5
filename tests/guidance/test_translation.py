"""Translators, networks that edit in one forward pass: training on models in closed form, and files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath, per_item
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import LoopSettings, Resources
from dreamsampler.guidance.distillation.objective import Direction, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.translator import EasedObjective, TranslatorGenerator
from dreamsampler.guidance.networks.patches import LatentPatches
from dreamsampler.guidance.networks.storage import UnusableFileError
from dreamsampler.guidance.networks.translation.network import (
    Architecture,
    TranslatorNetwork,
    initial_network,
    target_code,
    target_codes,
)
from dreamsampler.guidance.networks.translation.storage import About, Translator, decode
from dreamsampler.guidance.networks.unet import frequency_code
from support.network_files import Encoded, with_json, with_metadata, with_value
from support.noise_paths import BOTH_PATHS, clock
from support.oracle import sigma_at
from support.tensors import generator, normal
from torch import Tensor

SOURCE_MEAN, MEANS = -0.5, (1.0, -2.0)
"""Means of the sources and the targets. All variances are 1."""


def random_patches(count: int = 64, *, channels: int = 1, side: int = 4, mean: float = SOURCE_MEAN) -> LatentPatches:
    noise = normal(count, channels, side, side, seed=7)
    return LatentPatches(list(mean + noise), (side, side))


def new_network(patches: LatentPatches, width: int = 8) -> TranslatorNetwork:
    form = Architecture(patches.latents[0].shape[0], width, 1)
    return initial_network(form, patches.latents, generator(1)).double()


# The network


def test_items_cycle_through_the_targets():
    assert target_codes(4, 8).tolist() == [0, 0.25, 0.5, 0.75] * 2
    assert [target_code(i, 4) for i in range(4)] == target_codes(4, 4).tolist()


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_target_codes_are_distinct(count: int):
    code = frequency_code(target_codes(count, count))
    apart = torch.cdist(code, code) + 10 * torch.eye(count)
    assert apart.min() > 0.04


def test_initial_network_is_the_identity_and_knows_the_statistics():
    patches = random_patches(channels=3, mean=4.0)
    network = new_network(patches)
    z = patches.draw(SeededNoise(range(4)))
    assert torch.equal(network(z, target_codes(2, 4).double()), z)
    cells = torch.stack(list(patches.latents)).movedim(1, 0).flatten(1)
    torch.testing.assert_close(network.centre.flatten(), cells.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(network.spread.flatten(), cells.std(1), rtol=1e-6, atol=0)


def test_network_is_invariant_to_the_scale_of_the_latents():
    patches = random_patches()
    scaled = LatentPatches([5 * latent + 3 for latent in patches.latents], patches.size)
    plain, rescaled = new_network(patches), new_network(scaled)
    for each in (plain, rescaled):
        torch.nn.init.normal_(each.last.weight, generator=generator(2))
    z, at = torch.stack(list(patches.latents[:4])), target_codes(2, 4).double()
    torch.testing.assert_close(rescaled(5 * z + 3, at), 5 * plain(z, at) + 3, rtol=1e-5, atol=1e-5)


# The generator and the objective


def test_generator_draws_new_patches_and_translates_each_to_its_target():
    patches, targets, count = random_patches(), 3, 6
    network = new_network(patches)
    torch.nn.init.normal_(network.last.weight, generator=generator(2))
    translated = TranslatorGenerator(network, patches, targets, SeededNoise(range(count)), lambda z: 2 * z - 1)
    known = {tuple((2 * latent - 1).flatten().tolist()) for latent in patches.latents}
    draws, buffer = [], translated.sources
    for _ in range(3):
        latent = translated()
        assert translated.sources is buffer and latent.requires_grad and not buffer.requires_grad
        sources = buffer.clone()
        assert {tuple(source.flatten().tolist()) for source in sources} <= known
        for i in range(count):
            number = torch.tensor([i % targets / targets], dtype=torch.float64)
            expected = 2 * network((sources[i : i + 1] + 1) / 2, number) - 1
            torch.testing.assert_close(latent[i : i + 1], expected, rtol=1e-9, atol=1e-9)
        draws.append(sources)
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[1], draws[2])
    assert len(translated.parameters) == len(list(network.parameters()))


def one_third(prior: Prior, sample: Sample) -> Direction:
    return Direction(torch.full_like(sample.z, 1 / 3), sample.eps)


@pytest.mark.parametrize(
    "progress, weight, source", [(0.0, 0.1, 1.0), (0.05, 0.55, 0.55), (0.1, 1.0, 0.1), (0.9, 1.0, 0.1)]
)
def test_weight_moves_from_the_source_term_to_the_objective(progress: float, weight: float, source: float):
    z, sources = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), 1.0)
    sample = Sample(z, torch.zeros_like(z), torch.zeros(2), torch.zeros(2), progress)
    direction = EasedObjective(one_third, sources, 0.25)(Prior(None, SCALED, sigma_at), sample)  # type: ignore[arg-type]
    # weight G + source 0.25 d|z - source|^2 / dz
    torch.testing.assert_close(direction.gradient, torch.full_like(z, weight / 3 + source * 0.25 * 2 * 2.0))
    assert direction.eps_hat is sample.eps


@dataclass(frozen=True)
class TargetPerItem:
    """A `PairedDenoiser` of Gaussians of variance 1. The mean for "positive" depends on each item's target."""

    path: NoisePath

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [self._estimate(x, sigma, name) for name in names]

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        return [self(x, sigma, prompts) for x, prompts in zip(xs, names)]

    def _estimate(self, x: Tensor, sigma: Tensor, name: str) -> Tensor:
        a, b = (per_item(level(sigma.expand(len(x))), x) for level in (self.path.a, self.path.b))
        targets = x.new_tensor([MEANS[i % len(MEANS)] for i in range(len(x))])
        means = {"negative": torch.zeros_like(targets), "source": torch.full_like(targets, SOURCE_MEAN)}
        mean = per_item(means.get(name, targets), x)
        return mean + a / (a * a + b * b) * (x - a * mean)


@BOTH_PATHS
@pytest.mark.parametrize("method", ["dds", "sds"])
def test_training_reaches_each_target(path: NoisePath, method: str):
    """DDS with equal variances shifts each image by the difference of the means; SDS at guidance 1 reaches the mean.

    With the final pull p (z - s) to the source, a gradient k (z - m) is zero at z = (k m + p s) / (k + p).
    """
    patches, items = random_patches(256), 16
    prior = Prior(TargetPerItem(path), path, clock(path))
    loop = LoopSettings(
        steps=300, learning_rate=1e-2, optimizer="adam", learning_rate_schedule="cosine", weighting="uniform",
        t_min=0.5, t_max=0.5,
    )  # fmt: skip
    noise = SeededNoise(range(items))
    network = new_network(patches, width=12)
    translated = TranslatorGenerator(network, patches, len(MEANS), noise.substream(3), lambda z: z)
    settings = replace(METHODS[method].settings, guidance_scale=1.0)
    objective = METHODS[method].build(settings, Resources(noise, translated.sources))
    eased, pull = EasedObjective(objective, translated.sources, 0.5), 0.1  # 2 v 0.5, where v ends at 0.1
    plan = loop.plan(prior, translated.sources)
    for _ in optimize(prior, translated, eased, plan=plan, noise=noise):
        pass

    z = torch.stack(list(patches.latents[:32]))
    sigma = prior.sigma_at(torch.tensor([0.5], dtype=torch.float64))
    slope = (path.a(sigma) * path.b(sigma) / (path.a(sigma) ** 2 + path.b(sigma) ** 2)).item()
    for target, mean in enumerate(MEANS):
        with torch.no_grad():
            result = network(z, torch.full((len(z),), target_code(target, len(MEANS)), dtype=torch.float64))
        target_latent = z + mean - SOURCE_MEAN if method == "dds" else torch.full_like(z, mean)
        expected = (slope * target_latent + pull * z) / (slope + pull)
        bias = (result.mean() - expected.mean()).item()
        error = ((result - expected).square().mean() / (expected - z).square().mean()).sqrt().item()
        print(f"{method}, target {mean:g}: error of the mean {bias:.3f}, relative error {error:.3f}")
        assert abs(bias) < 0.05
        assert error < (0.05 if method == "dds" else 0.5)  # SDS has to erase each image, with noisy gradients


# Files

ABOUT = About("SD15", 2, "a cat", ("dog", "bear"), ("a photo of a dog", "a photo of a bear"), "lmc", 15.0, 100)


def translator() -> Translator:
    network = new_network(random_patches(channels=2), width=4).float()
    torch.nn.init.normal_(network.last.weight, std=0.1, generator=generator(2))
    return Translator(network.requires_grad_(False), ABOUT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_decode_restores_what_encode_wrote(dtype: torch.dtype):
    written, z = translator(), torch.stack(list(random_patches(2, channels=2).latents)).float()
    tensors, metadata = written.encode(dtype)
    assert all(tensor.dtype == dtype for tensor in tensors.values())
    decoded = decode(tensors, metadata)
    assert decoded.about == ABOUT and not any(weight.requires_grad for weight in decoded.network.parameters())
    for target in ABOUT.targets:
        tolerance = 0 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(decoded(z, target), written(z, target), rtol=tolerance, atol=tolerance)
    assert not torch.equal(written(z, "dog"), written(z, "bear"))


def test_translates_latents_with_a_frame_and_of_any_dtype_and_size():
    translate, z = translator(), torch.randn(3, 2, 5, 7, generator=generator(0))
    framed = translate(z[:, :, None], "bear")
    assert framed.shape == (3, 2, 1, 5, 7) and torch.equal(framed[:, :, 0], translate(z, "bear"))
    assert translate(z.half(), "bear").dtype == torch.float16


def test_a_copy_for_a_device_shares_no_weights():
    original = translator()
    copied = original.to(torch.device("cpu"))
    copied_bias, bias = copied.network.last.bias, original.network.last.bias
    assert copied_bias is not None and bias is not None
    copied_bias.fill_(1.0)
    assert not bias.any()


ENCODED = translator().encode()
UNREADABLE = "Its description cannot be read: the file is damaged."
REFUSED: dict[str, tuple[Encoded, str]] = {
    "empty file": (({}, {}), "It is not a translator: choose a file that tools/translator wrote."),
    "corrective": (
        with_metadata(ENCODED, format="dreamsampler manifold corrective"),
        "It is not a translator: choose a file",
    ),
    "later version": (
        with_metadata(ENCODED, version="2"),
        "Its version is 2, and this pack reads version 1: update the pack.",
    ),
    "invalid form": (with_metadata(ENCODED, form="{"), UNREADABLE),
    "list": (with_metadata(ENCODED, form="[]"), UNREADABLE),
    "huge form": (with_metadata(ENCODED, form=json.dumps({"channels": 2, "width": 10**9})), UNREADABLE),
    "large form": (
        with_metadata(ENCODED, form=json.dumps({"channels": 2, "width": 1024, "levels": 8})),
        "Its tensors do not",
    ),
    "no targets": (with_json(ENCODED, "about", targets=[], texts=[]), UNREADABLE),
    "duplicate target": (with_json(ENCODED, "about", targets=["dog", "dog"]), UNREADABLE),
    "missing prompt": (with_json(ENCODED, "about", texts=["a photo of a dog"]), UNREADABLE),
    "contradicting channels": (
        with_json(ENCODED, "about", channels=4),
        "Its description contradicts itself: the file is damaged.",
    ),
    "NaN": (
        with_value(ENCODED, "last.bias", math.nan),
        "It holds NaN or infinite weights: the file is damaged, or the",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_unusable_files(case: str):
    (tensors, metadata), message = REFUSED[case]
    with pytest.raises(UnusableFileError) as error:
        decode(tensors, metadata)
    assert str(error.value).startswith(message) and str(error.value).endswith(".")
