"""Score distillation with a learned manifold corrective (LMC-SDS); large images are optimized in patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.denoiser import NULL, TARGET, guide
from ...core.noise import SeededNoise
from ...core.prior import Prior
from ...networks.corrective.normalization import Statistics, normalize
from ...networks.patches import without_frame_dim
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample, in_clean_estimates

PATCHES = 2
"""Patches of a large image in each step."""
PATCH_PLACES, PROMPT_NOISE = 1, 2
"""Keys of the random substreams for the places of patches, and for noise of L_cond that is the same at every step."""


class Corrective(Protocol):
    """b_hat(z, t) of LMC-SDS before normalization: maps (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W)."""

    def __call__(self, z: Tensor, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class View:
    """A linear map from the latent to a part of it, or to a smaller version.

    `apply` maps (B, C, ..., H, W) to (B, C, ..., h, w), and `adjoint` back. `noise` maps standard normal noise of the
    large size to standard normal noise of the small size.
    """

    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    noise: Callable[[Tensor], Tensor]


def _identity(x: Tensor) -> Tensor:
    return x


WHOLE = View(_identity, _identity, _identity)


@dataclass(frozen=True)
class Patching:
    """How images larger than `size` cells (height, width), the model's native resolution, are shown to the model.

    For the first fraction `whole_share` of the steps the whole image is downscaled; after that each step takes
    `PATCHES` random patches, at places drawn from `noise` (LMC-SDS, section 5). An image that fits is always shown as
    it is.
    """

    size: tuple[int, int]
    whole_share: float
    noise: SeededNoise

    def views(self, sample: Sample) -> Sequence[View]:
        """The views of one step."""
        height, width = sample.z.shape[-2:]
        if height <= self.size[0] and width <= self.size[1]:
            return [WHOLE]
        if sample.progress < self.whole_share:
            return [downscaled_view(sample.z, self._fitting_size(height, width))]
        size = min(self.size[0], height), min(self.size[1], width)
        return [patch_view(sample.z, size, self.noise) for _ in range(PATCHES)]

    def _fitting_size(self, height: int, width: int) -> tuple[int, int]:
        """The largest size of the same aspect ratio that fits."""
        scale = min(self.size[0] / height, self.size[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))


def patch_view(like: Tensor, size: tuple[int, int], noise: SeededNoise) -> View:
    """A random patch of `size` cells of each item of `like` (B, ..., H, W)."""
    (height, width), (h, w) = like.shape[-2:], size
    down, right = noise.uniform().tolist(), noise.uniform().tolist()
    corners = [(int(y * (height - h + 1)), int(x * (width - w + 1))) for y, x in zip(down, right, strict=True)]

    def crop(z: Tensor) -> Tensor:
        return torch.stack([item[..., y : y + h, x : x + w] for item, (y, x) in zip(z, corners, strict=True)])

    def pad(g: Tensor) -> Tensor:
        margins = [(x, width - w - x, y, height - h - y) for y, x in corners]
        return torch.stack([F.pad(item, sides) for item, sides in zip(g, margins, strict=True)])

    return View(crop, pad, crop)


def downscaled_view(like: Tensor, size: tuple[int, int]) -> View:
    """The whole of `like` (B, ..., H, W), averaged down to `size`. Noise is cropped, because its average is weaker."""
    rows, columns = (_averages(side, to, like) for side, to in zip(like.shape[-2:], size, strict=True))
    height, width = size
    return View(lambda z: rows @ z @ columns.T, lambda g: rows.T @ g @ columns, lambda eps: eps[..., :height, :width])


def _averages(side: int, to: int, like: Tensor) -> Tensor:
    """The matrix (to, side) by which each of `to` cells is the mean of the cells that it covers."""
    return F.adaptive_avg_pool1d(torch.eye(side, dtype=like.dtype, device=like.device), to).T


@dataclass(frozen=True)
class Predictions:
    """The model's predictions for one view, (B, ...) each.

    `clean` is the unconditional estimate for L_lmc; `null` and `target` are the estimates for L_cond of its state `x`.
    """

    clean: Tensor
    x: Tensor
    null: Tensor
    target: Tensor


@dataclass(frozen=True)
class LMC:
    """LMC-SDS (section 4): `(b_hat(z, t) - z0_hat(0)) / w + (eps_hat(y) - eps_hat(0))`.

    This is L_lmc (eq. 9), with b_hat normalized as in its training (eq. 10), plus L_cond (eq. 6b), divided by the
    guidance scale w, so that w does not change the step size. The clean estimate is z + (z0_hat^w(y) - b_hat) / w, as
    far as a view shows it. `statistics` selects the form of eq. 10. With `prompt_noise`, L_cond gets the same noise
    from that stream at every step while L_lmc keeps the sample's: results then differ more between seeds (the paper's
    "increasing sample diversity"). One model call of 2 for each view, of 3 with `prompt_noise`.
    """

    corrective: Corrective
    statistics: Statistics
    guidance_scale: float
    patching: Patching | None = None
    prompt_noise: SeededNoise | None = None

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        views = [WHOLE] if self.patching is None else self.patching.views(sample)
        predictions = self._predictions(prior, sample, views)
        directions = [
            self._direction(prior, sample, view.apply(sample.z), seen)
            for view, seen in zip(views, predictions, strict=True)
        ]

        def whole(parts: Sequence[Tensor]) -> Tensor:
            placed = (view.adjoint(part) for view, part in zip(views, parts, strict=True))
            return sum(placed, torch.zeros_like(sample.z))

        gradient = whole([each.gradient for each in directions])
        pull = whole([each.pull_at(prior.path, sample.sigma) for each in directions])
        # Patches and downscaled images give no noise prediction of the whole image.
        return Direction(gradient, directions[0].eps_hat if views == [WHOLE] else sample.eps, pull)

    def _predictions(self, prior: Prior, sample: Sample, views: Sequence[View]) -> list[Predictions]:
        """The predictions for all views, from one batched model call."""
        states, count = self._states(prior, sample, views, sample.eps), len(views)
        if self.prompt_noise is None:
            pairs = prior.denoise.paired(states, sample.sigma, [(NULL, TARGET)] * count)
            return [Predictions(null, x, null, target) for x, (null, target) in zip(states, pairs, strict=True)]
        prompted = self._states(prior, sample, views, self.prompt_noise.substream(0).like(sample.z))
        names = [(NULL,)] * (2 * count) + [(TARGET,)] * count
        z0_hats = [z0 for (z0,) in prior.denoise.paired([*states, *prompted, *prompted], sample.sigma, names)]
        columns = z0_hats[:count], prompted, z0_hats[count : 2 * count], z0_hats[2 * count :]
        return [Predictions(*each) for each in zip(*columns, strict=True)]

    @staticmethod
    def _states(prior: Prior, sample: Sample, views: Sequence[View], eps: Tensor) -> list[Tensor]:
        return [prior.path.noised(view.apply(sample.z), view.noise(eps), sample.sigma) for view in views]

    def _direction(self, prior: Prior, sample: Sample, z: Tensor, seen: Predictions) -> Direction:
        """The gradient on one view z (B, ...)."""
        b_hat = self.corrective(without_frame_dim(z), sample.t).reshape_as(z)
        lmc = normalize(b_hat, seen.clean, self.statistics) - seen.clean
        null, target = (prior.path.eps_hat(seen.x, z0, sample.sigma) for z0 in (seen.null, seen.target))
        correction, prompt = lmc / self.guidance_scale, target - null
        pull = correction + in_clean_estimates(prompt, prior.path, sample.sigma)
        return Direction(correction + prompt, guide(null, target, self.guidance_scale), pull)


@dataclass(frozen=True)
class LMCSettings:
    """LMC-SDS, section 5, for images from scratch.

    For the first fraction `whole_image_stage` of the steps, images larger than the corrective's patches are downscaled.
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
    patching = Patching(corrective.about.size, s.whole_image_stage, resources.noise.substream(PATCH_PLACES))
    prompt_noise = resources.noise.substream(PROMPT_NOISE) if s.diversity else None
    return LMC(corrective, corrective.about.statistics, s.guidance_scale, patching, prompt_noise)


register(
    Method(
        "lmc", build, LMCSettings(), LOOP, needs=frozenset({"corrective"}), from_image=EDIT, from_zeros=True, order=9
    )
)
