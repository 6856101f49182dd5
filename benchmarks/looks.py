"""How natural images of the reference world look, beside real ones."""

from __future__ import annotations

from functools import cache
from random import Random

import torch
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Agreement, Scorer, attributes

SEED, REAL = 31_000, 4096
"""Of the captions, and the number of real images to compare with."""
NAMED = ("colour", "shape", "background", "pattern")
"""The attributes of a caption, which the scorer reads in an image."""


def captions(count: int) -> list[world.Scene]:
    """The scenes to generate."""
    return _scenes(SEED, count)


def _scenes(seed: int, count: int) -> list[world.Scene]:
    rng = Random(seed)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(count)]


@cache
def real_images() -> Tensor:
    """Images (REAL, 3, H, W) of other scenes."""
    return in_process.render(_scenes(SEED + 1, REAL))


@cache
def of_real_images() -> tuple[Tensor, float, float]:
    """Of the real images: what the scorer sees in them (REAL, D), their saturation and their high frequencies."""
    real = real_images()
    return features(in_process.load_scorer(), real), saturation(real), high_frequencies(real)


def features(scorer: Scorer, images: Tensor) -> Tensor:
    """What the scorer sees in images (N, 3, H, W) in [0, 1]: (N, D)."""
    return scorer.features(images * 2 - 1)


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of features (N, D) taken as Gaussians (Heusel et al., 2017)."""
    a, b = a.double(), b.double()
    product = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp_min(0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * product).item()


def saturation(images: Tensor) -> float:
    """Mean of (max - min) / max over the channels."""
    top = images.amax(1)
    return ((top - images.amin(1)) / top.clamp_min(1e-3)).mean().item()


def high_frequencies(images: Tensor) -> float:
    """Mean energy above half the Nyquist frequency, in either direction."""
    spectrum = torch.fft.rfft2(images - images.mean((-2, -1), keepdim=True), norm="ortho").abs().square()
    rows = torch.fft.fftfreq(images.shape[-2]).abs()[:, None] > 0.25
    columns = torch.fft.rfftfreq(images.shape[-1])[None] > 0.25
    return spectrum[..., rows | columns].mean().item()


def agreement(scorer: Scorer, images: Tensor, scenes: list[world.Scene]) -> dict[str, float]:
    """How often images show each attribute of their caption."""
    rates = Agreement.of(scorer, images, [attributes(scene) for scene in scenes]).rates
    return {name: rates[name] for name in NAMED}


@torch.no_grad()
def looks(scorer: Scorer, images: Tensor) -> dict[str, float]:
    """How natural images look: a distance from real ones, and what is 1 in real ones."""
    real, saturated, high = of_real_images()
    return {
        "frechet": frechet(features(scorer, images), real),
        "saturation": saturation(images) / saturated,
        "high_frequencies": high_frequencies(images) / high,
    }
