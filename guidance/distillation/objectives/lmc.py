"""Score distillation with a learned manifold corrective (LMC-SDS), of whole pictures and of patches of large ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.denoiser import NULL, TARGET, guided
from ...core.noise import SeededNoise
from ...core.prior import Prior
from ...networks.corrective.normalisation import Statistics, normalised
from ...networks.patches import as_pictures
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample

PATCHES = 2
"""How many patches of an image a step looks at."""
PATCH_PLACES, TEXT_NOISE = 1, 2
"""Streams of random numbers apart from the run's noise: where patches lie, and noise that stays for the whole run."""


class Corrective(Protocol):
    """b_hat(z, t) of LMC-SDS before its normalisation: (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W)."""

    def __call__(self, z: Tensor, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class View:
    """A part of what is optimised: `look` is linear, (B, C, ..., H, W) to (B, C, ..., h, w), and `back` its adjoint.

    `noise` makes noise for what is looked at of noise for the whole.
    """

    look: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    noise: Callable[[Tensor], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


WHOLE = View(_same, _same, _same)


@dataclass(frozen=True)
class Patching:
    """How pictures larger than `size` cells (height, width), the model's native resolution, are looked at.

    For the first `whole_share` of the steps it is the whole picture made small, then `PATCHES` random patches a step,
    their places drawn from `noise` (LMC-SDS, section 5). A picture that fits is always looked at as it is.
    """

    size: tuple[int, int]
    whole_share: float
    noise: SeededNoise

    def views(self, sample: Sample) -> Sequence[View]:
        """What is looked at in this step."""
        height, width = sample.z.shape[-2:]
        if height <= self.size[0] and width <= self.size[1]:
            return [WHOLE]
        if sample.progress < self.whole_share:
            return [shrunk(sample.z, self._inside(height, width))]
        size = min(self.size[0], height), min(self.size[1], width)
        return [patches(sample.z, size, self.noise) for _ in range(PATCHES)]

    def _inside(self, height: int, width: int) -> tuple[int, int]:
        """The largest size of these proportions that fits."""
        scale = min(self.size[0] / height, self.size[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))


def patches(like: Tensor, size: tuple[int, int], noise: SeededNoise) -> View:
    """A patch of each item of `like` (B, ..., H, W), at a place of its own."""
    (height, width), (h, w) = like.shape[-2:], size
    down, right = noise.uniform().tolist(), noise.uniform().tolist()
    places = [(int(y * (height - h + 1)), int(x * (width - w + 1))) for y, x in zip(down, right)]

    def look(z: Tensor) -> Tensor:
        return torch.stack([item[..., y : y + h, x : x + w] for item, (y, x) in zip(z, places)])

    def back(g: Tensor) -> Tensor:
        around = [(x, width - w - x, y, height - h - y) for y, x in places]
        return torch.stack([F.pad(item, sides) for item, sides in zip(g, around)])

    return View(look, back, look)


def shrunk(like: Tensor, size: tuple[int, int]) -> View:
    """The whole picture averaged down to a size. Noise is cut instead, as its average would be weaker."""
    rows, columns = (_averages(side, to, like) for side, to in zip(like.shape[-2:], size))
    height, width = size
    return View(lambda z: rows @ z @ columns.T, lambda g: rows.T @ g @ columns, lambda eps: eps[..., :height, :width])


def _averages(side: int, to: int, like: Tensor) -> Tensor:
    """Each of `to` cells is the mean of those of `side` that it covers: (to, side)."""
    return F.adaptive_avg_pool1d(torch.eye(side, dtype=like.dtype, device=like.device), to).T


@dataclass(frozen=True)
class Seen:
    """What the model says of one view: the `clean` estimate for L_lmc, and those for L_cond of its state, `x`."""

    clean: Tensor
    x: Tensor
    null: Tensor
    target: Tensor


@dataclass(frozen=True)
class LMC:
    """LMC-SDS (section 4): `(b_hat(z, t) - z0_hat(0)) / w + (eps_hat(y) - eps_hat(0))`.

    That is the sum of L_lmc (eq. 9), with b_hat normalised as it was trained (eq. 10), and L_cond (eq. 6b) over the
    guidance scale w, which so does not change the size of a step. `statistics` are those of eq. 10. With `text_noise`,
    L_cond has noise from the beginning of that stream at every step, while L_lmc goes on with the sample's: results
    then differ by seed ("increasing sample diversity"). One call of 2 for each view, of 3 with noise of its own.
    """

    corrective: Corrective
    statistics: Statistics
    guidance_scale: float
    patching: Patching | None = None
    text_noise: SeededNoise | None = None

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        views = [WHOLE] if self.patching is None else self.patching.views(sample)
        seen = self._seen(prior, sample, views)
        answers = [self._answer(prior, sample, view.look(sample.z), each) for view, each in zip(views, seen)]
        gradient = sum((view.back(a.gradient) for view, a in zip(views, answers)), torch.zeros_like(sample.z))
        # Of a picture looked at in parts the model has not seen the noise as a whole.
        return Direction(gradient, answers[0].eps_hat if views == [WHOLE] else sample.eps)

    def _seen(self, prior: Prior, sample: Sample, views: Sequence[View]) -> list[Seen]:
        """What the model sees in each view, from one batched call."""
        states, count = self._states(prior, sample, views, sample.eps), len(views)
        if self.text_noise is None:
            pairs = prior.denoise.paired(states, sample.sigma, [(NULL, TARGET)] * count)
            return [Seen(null, x, null, target) for x, (null, target) in zip(states, pairs)]
        texts = self._states(prior, sample, views, self.text_noise.apart(0).like(sample.z))
        names = [(NULL,)] * (2 * count) + [(TARGET,)] * count
        answers = [z0 for (z0,) in prior.denoise.paired([*states, *texts, *texts], sample.sigma, names)]
        return [Seen(*each) for each in zip(answers, texts, answers[count:], answers[2 * count :])]

    @staticmethod
    def _states(prior: Prior, sample: Sample, views: Sequence[View], eps: Tensor) -> list[Tensor]:
        return [prior.path.noised(view.look(sample.z), view.noise(eps), sample.sigma) for view in views]

    def _answer(self, prior: Prior, sample: Sample, z: Tensor, seen: Seen) -> Direction:
        """The gradient on one view z (B, ...)."""
        b_hat = self.corrective(as_pictures(z), sample.t).reshape_as(z)
        lmc = normalised(b_hat, seen.clean, self.statistics) - seen.clean
        null, target = (prior.path.eps_hat(seen.x, z0, sample.sigma) for z0 in (seen.null, seen.target))
        gradient = lmc / self.guidance_scale + (target - null)
        return Direction(gradient, guided(null, target, self.guidance_scale))


@dataclass(frozen=True)
class LMCSettings:
    """LMC-SDS, section 5, for images from scratch.

    For the first `whole_image_stage` of the steps an image larger than the corrective's patches is seen downscaled.
    """

    guidance_scale: float = 8.0
    whole_image_stage: float = 0.3
    diversity: bool = False


LOOP = LoopSettings(
    steps=500, learning_rate=0.1, learning_rate_schedule="cosine to 0.03", optimizer="adam", weighting="uniform"
)
EDIT = {
    "guidance_scale": 15.0,
    "learning_rate": 0.02,
    "learning_rate_schedule": "cosine to 0.8",
    "whole_image_stage": 0.4,
}
"""LMC-SDS, section 5, for edits."""


def build(s: LMCSettings, resources: Resources) -> LMC:
    corrective = resources.need("corrective")
    patching = Patching(corrective.about.size, s.whole_image_stage, resources.noise.apart(PATCH_PLACES))
    text_noise = resources.noise.apart(TEXT_NOISE) if s.diversity else None
    return LMC(corrective, corrective.about.statistics, s.guidance_scale, patching, text_noise)


register(
    Method(
        "lmc", build, LMCSettings(), LOOP, needs=frozenset({"corrective"}), from_image=EDIT, from_zeros=True, order=9
    )
)
