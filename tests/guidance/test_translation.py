"""Translators: networks that edit in one pass, trained against closed-form models, and their files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath, per_item
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
from support.oracle import matched, sigma_at
from torch import Tensor

BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
SOURCE_MEAN, MEANS = -0.5, (1.0, -2.0)
"""Means of the sources and of the targets, all of variance 1."""


def images(count: int = 64, *, channels: int = 1, side: int = 4, mean: float = SOURCE_MEAN) -> LatentPatches:
    noise = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return LatentPatches(list(mean + noise), (side, side))


def network(drawn: LatentPatches, width: int = 8) -> TranslatorNetwork:
    form = Architecture(drawn.latents[0].shape[0], width, 1)
    return initial_network(form, drawn.latents, torch.Generator().manual_seed(1)).double()


# The network


def test_items_cycle_through_the_targets():
    assert target_codes(4, 8).tolist() == [0, 0.25, 0.5, 0.75] * 2
    assert [target_code(i, 4) for i in range(4)] == target_codes(4, 4).tolist()


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_target_codes_are_distinct(count: int):
    code = frequency_code(target_codes(count, count))
    apart = torch.cdist(code, code) + 10 * torch.eye(count)
    assert apart.min() > 0.04


def test_an_initial_network_returns_its_input_and_is_normalized():
    drawn = images(channels=3, mean=4.0)
    made = network(drawn)
    z = drawn.draw(SeededNoise(range(4)))
    assert torch.equal(made(z, target_codes(2, 4).double()), z)
    cells = torch.stack(list(drawn.latents)).movedim(1, 0).flatten(1)
    torch.testing.assert_close(made.centre.flatten(), cells.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(made.spread.flatten(), cells.std(1), rtol=1e-6, atol=0)


def test_the_network_is_invariant_to_the_scale_of_the_latents():
    drawn = images()
    scaled = LatentPatches([5 * latent + 3 for latent in drawn.latents], drawn.size)
    one, other = network(drawn), network(scaled)
    for each in (one, other):
        torch.nn.init.normal_(each.last.weight, generator=torch.Generator().manual_seed(2))
    z, at = torch.stack(list(drawn.latents[:4])), target_codes(2, 4).double()
    torch.testing.assert_close(other(5 * z + 3, at), 5 * one(z, at) + 3, rtol=1e-5, atol=1e-5)


# The generator and the objective


def test_every_step_draws_patches_and_translates_each_to_its_target():
    drawn, targets, count = images(), 3, 6
    made = network(drawn)
    torch.nn.init.normal_(made.last.weight, generator=torch.Generator().manual_seed(2))
    generator = TranslatorGenerator(made, drawn, targets, SeededNoise(range(count)), lambda z: 2 * z - 1)
    known = {tuple((2 * latent - 1).flatten().tolist()) for latent in drawn.latents}
    seen, buffer = [], generator.sources
    for _ in range(3):
        latent = generator()
        assert generator.sources is buffer and latent.requires_grad and not buffer.requires_grad
        sources = buffer.clone()
        assert {tuple(source.flatten().tolist()) for source in sources} <= known
        for i in range(count):
            number = torch.tensor([i % targets / targets], dtype=torch.float64)
            expected = 2 * made((sources[i : i + 1] + 1) / 2, number) - 1
            torch.testing.assert_close(latent[i : i + 1], expected, rtol=1e-9, atol=1e-9)
        seen.append(sources)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
    assert len(generator.parameters) == len(list(made.parameters()))


def one_third(prior: Prior, sample: Sample) -> Direction:
    return Direction(torch.full_like(sample.z, 1 / 3), sample.eps)


@pytest.mark.parametrize(
    "progress, text, source", [(0.0, 0.1, 1.0), (0.05, 0.55, 0.55), (0.1, 1.0, 0.1), (0.9, 1.0, 0.1)]
)
def test_the_weight_moves_from_the_source_to_the_objective(progress: float, text: float, source: float):
    z, sources = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), 1.0)
    sample = Sample(z, torch.zeros_like(z), torch.zeros(2), torch.zeros(2), progress)
    direction = EasedObjective(one_third, sources, 0.25)(Prior(None, SCALED, sigma_at), sample)  # type: ignore[arg-type]
    # text G + source 0.25 d|z - source|^2 / dz
    torch.testing.assert_close(direction.gradient, torch.full_like(z, text / 3 + source * 0.25 * 2 * 2.0))
    assert direction.eps_hat is sample.eps


@dataclass(frozen=True)
class ByItem:
    """A `PairedDenoiser` of Gaussians of variance 1 whose "positive" has the mean of each item's target."""

    path: NoisePath

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [self._estimate(x, sigma, name) for name in names]

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        return [self(x, sigma, texts) for x, texts in zip(xs, names)]

    def _estimate(self, x: Tensor, sigma: Tensor, name: str) -> Tensor:
        a, b = (per_item(level(sigma.expand(len(x))), x) for level in (self.path.a, self.path.b))
        wanted = x.new_tensor([MEANS[i % len(MEANS)] for i in range(len(x))])
        said = {"negative": torch.zeros_like(wanted), "source": torch.full_like(wanted, SOURCE_MEAN)}
        mean = per_item(said.get(name, wanted), x)
        return mean + a / (a * a + b * b) * (x - a * mean)


@BOTH_PATHS
@pytest.mark.parametrize("method", ["dds", "sds"])
def test_learns_to_translate_to_each_target(path: NoisePath, method: str):
    """DDS with equal variances moves each image by the difference of the means; SDS at guidance 1 moves it to the mean.

    With the remaining pull p (z - s), a gradient k (z - m) vanishes at z = (k m + p s) / (k + p).
    """
    drawn, items = images(256), 16
    clock = sigma_at if path is SCALED else lambda t: matched(sigma_at(t))
    prior = Prior(ByItem(path), path, clock)
    loop = LoopSettings(
        steps=300, learning_rate=1e-2, optimizer="adam", learning_rate_schedule="cosine", weighting="uniform",
        t_min=0.5, t_max=0.5,
    )  # fmt: skip
    noise = SeededNoise(range(items))
    made = network(drawn, width=12)
    generator = TranslatorGenerator(made, drawn, len(MEANS), noise.substream(3), lambda z: z)
    settings = replace(METHODS[method].settings, guidance_scale=1.0)
    objective = METHODS[method].build(settings, Resources(noise, generator.sources))
    eased, pull = EasedObjective(objective, generator.sources, 0.5), 0.1  # of 2 v 0.5, v being 0.1 in the end
    how = loop.plan(prior, generator.sources)
    for _ in optimize(prior, generator, eased, plan=how, noise=noise):
        pass

    z = torch.stack(list(drawn.latents[:32]))
    sigma = prior.sigma_at(torch.tensor([0.5], dtype=torch.float64))
    slope = (path.a(sigma) * path.b(sigma) / (path.a(sigma) ** 2 + path.b(sigma) ** 2)).item()
    for target, mean in enumerate(MEANS):
        with torch.no_grad():
            result = made(z, torch.full((len(z),), target_code(target, len(MEANS)), dtype=torch.float64))
        goal = z + mean - SOURCE_MEAN if method == "dds" else torch.full_like(z, mean)
        expected = (slope * goal + pull * z) / (slope + pull)
        off = (result.mean() - expected.mean()).item()
        error = ((result - expected).square().mean() / (expected - z).square().mean()).sqrt().item()
        print(f"{method}, target {mean:g}: mean off by {off:.3f}, {error:.3f} of the way off in each cell")
        assert abs(off) < 0.05
        assert error < (0.05 if method == "dds" else 0.5)  # sds has to erase each image, from noisy gradients


# Files

ABOUT = About("SD15", 2, "a cat", ("dog", "bear"), ("a photo of a dog", "a photo of a bear"), "lmc", 15.0, 100)


def translator() -> Translator:
    made = network(images(channels=2), width=4).float()
    torch.nn.init.normal_(made.last.weight, std=0.1, generator=torch.Generator().manual_seed(2))
    return Translator(made.requires_grad_(False), ABOUT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_decode_restores_what_encode_wrote(dtype: torch.dtype):
    written, z = translator(), torch.stack(list(images(2, channels=2).latents)).float()
    tensors, text = written.encode(dtype)
    assert all(tensor.dtype == dtype for tensor in tensors.values())
    read = decode(tensors, text)
    assert read.about == ABOUT and not any(weight.requires_grad for weight in read.network.parameters())
    for target in ABOUT.targets:
        tolerance = 0 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(read(z, target), written(z, target), rtol=tolerance, atol=tolerance)
    assert not torch.equal(written(z, "dog"), written(z, "bear"))


def test_latents_with_a_frame_and_of_any_type_and_size():
    made, z = translator(), torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    framed = made(z[:, :, None], "bear")
    assert framed.shape == (3, 2, 1, 5, 7) and torch.equal(framed[:, :, 0], made(z, "bear"))
    assert made(z.half(), "bear").dtype == torch.float16


def test_a_copy_for_a_device_shares_no_weights():
    made = translator()
    copied = made.to(torch.device("cpu"))
    theirs, own = copied.network.last.bias, made.network.last.bias
    assert theirs is not None and own is not None
    theirs.fill_(1.0)
    assert not own.any()


def with_text(**changes: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors, text = translator().encode()
    return tensors, {**text, **changes}


def with_about(**changes: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors, text = translator().encode()
    return tensors, {**text, "about": json.dumps({**json.loads(text["about"]), **changes})}


def with_tensor(name: str, value: float) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors, text = translator().encode()
    return {**tensors, name: torch.full_like(tensors[name], value)}, text


DAMAGED = "Its description cannot be read: the file is damaged."
REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (({}, {}), "It is not a translator: choose a file that tools/translator wrote."),
    "a corrective": (with_text(format="dreamsampler manifold corrective"), "It is not a translator: choose a file"),
    "a later version": (with_text(version="2"), "Its version is 2, and this pack reads version 1: update the pack."),
    "no form": (with_text(form="{"), DAMAGED),
    "a list": (with_text(form="[]"), DAMAGED),
    "a huge form": (with_text(form=json.dumps({"channels": 2, "width": 10**9})), DAMAGED),
    "a large form": (with_text(form=json.dumps({"channels": 2, "width": 1024, "levels": 8})), "Its tensors do not"),
    "no targets": (with_about(targets=[], texts=[]), DAMAGED),
    "a target twice": (with_about(targets=["dog", "dog"]), DAMAGED),
    "a text too few": (with_about(texts=["a photo of a dog"]), DAMAGED),
    "other channels": (with_about(channels=4), "Its description contradicts itself: the file is damaged."),
    "NaN": (with_tensor("last.bias", math.nan), "It holds NaN or infinite weights: the file is damaged, or the"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_unusable_files(case: str):
    (tensors, text), words = REFUSED[case]
    with pytest.raises(UnusableFileError) as refusal:
        decode(tensors, text)
    assert str(refusal.value).startswith(words) and str(refusal.value).endswith(".")
