"""The scorer: a small classifier, trained on real images of the world, that reads the attributes an image shows.

All quality tables are measured with it. Training varies blur, noise, brightness and the position of the pattern, so
that a soft autoencoder or a shifted pattern does not change the result. Its score on real images is reported next to
every figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import world
from .autoencoder import to_tensor
from .training import Stage, device_of

HEADS: dict[str, tuple[str, ...]] = {
    "colour": world.COLORS,
    "shape": world.SHAPES,
    "second": ("none", *world.SHAPES),
    "background": world.COLORS,
    "pattern": world.PATTERNS,
    "corruption": ("none", *world.CORRUPTIONS),
    "style": world.STYLES,
}
"""The values of each attribute. The names of the attributes are part of the trained weights."""
BATCH = 48
SHIFTS = (0, 0, 8, 16, 24)
"""Pattern shifts in training, in pixels; a checkerboard repeats every 32."""


class Scorer(nn.Module):
    """(B, 3, 96, 96) images in [0, 1] to logits of each attribute in `HEADS`."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 96)
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 36, 256), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.features(images * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: Tensor) -> list[dict[str, str]]:
        """The attributes that each image shows, in the words of the world."""
        best = {name: logits.argmax(-1).tolist() for name, logits in self(images).items()}
        return [{name: HEADS[name][best[name][i]] for name in HEADS} for i in range(len(images))]


def attributes(scene: world.Scene) -> dict[str, str]:
    """The correct answer of `Scorer.read` for a scene."""
    return {
        "colour": scene.things[0].color,
        "shape": scene.things[0].shape,
        "second": scene.things[1].shape if len(scene.things) > 1 else "none",
        "background": scene.background,
        "pattern": scene.pattern,
        "corruption": scene.corruption or "none",
        "style": scene.style,
    }


@dataclass(frozen=True)
class Agreement:
    """How often images show the wanted attributes, by attribute, in [0, 1]."""

    rates: dict[str, float]

    @classmethod
    def of(cls, scorer: Scorer, images: Tensor, wanted: list[dict[str, str]]) -> Agreement:
        """Compare images (B, 3, 96, 96) in [0, 1] with B sets of wanted attributes; other attributes do not count."""
        seen = scorer.read(images)
        rates = {}
        for name in HEADS:
            pairs = [(s[name], w[name]) for s, w in zip(seen, wanted, strict=True) if name in w]
            if pairs:
                rates[name] = sum(a == b for a, b in pairs) / len(pairs)
        return cls(rates)


def _degraded(x: Tensor) -> Tensor:
    sigma = 0.2 + 1.0 * torch.rand(()).item()
    offsets = torch.arange(-3, 4)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), 0).repeat(3, 1)
    x = F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), kernel[:, None, None, :], groups=3)
    x = F.conv2d(x, kernel[:, None, :, None], groups=3)
    gain = 1 + 0.06 * torch.randn(len(x), 3, 1, 1)
    return (x * gain + 0.03 * torch.rand(()).item() * torch.randn_like(x)).clamp(0, 1)


def _loss(model: nn.Module, rank: int):
    rng = Random(torch.initial_seed() + rank)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        scenes = [world.sample_scene(rng) for _ in range(BATCH)]
        x = _degraded(torch.stack([to_tensor(world.render(s, rng.choice(SHIFTS))) for s in scenes])).to(
            device_of(model)
        )
        logits, wanted = model(x), [attributes(s) for s in scenes]
        is_colored = torch.tensor([s.style != "sketch" for s in scenes], device=x.device)
        losses, right = [], []
        for name, values in HEADS.items():
            target = torch.tensor([values.index(w[name]) for w in wanted], device=x.device)
            counts = is_colored if name in ("colour", "background", "pattern") else torch.ones_like(is_colored)
            losses.append(F.cross_entropy(logits[name][counts], target[counts]))
            right.append((logits[name].argmax(-1) == target)[counts].float().mean().item())
        return torch.stack(losses).sum(), {"right": sum(right) / len(right), "worst": min(right)}

    return loss


STAGE = Stage("scorer", Scorer, _loss, adamw=lambda n: "heads" in n or n == "features.0.weight", muon_lr=0.02)
