"""The run of Overlay Illusion: distill sheets of pixels that show several images, inside the host's sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.denoiser import TARGET, numbered
from ...guidance.core.noise import SeededNoise
from ...guidance.distillation.compositions import Arrangement, Composition, Look, Turns, per_view
from .. import host
from .distillation import Distillation

GRAY = 0.5
"""The value of the pixels that sheets start with."""


def contact_sheet(images: Tensor) -> Tensor:
    """Images (V, 3, H, W) side by side, in two rows from four on: (3, rows H, columns W)."""
    columns = len(images) if len(images) < 4 else (len(images) + 1) // 2
    white = images.new_ones(-len(images) % columns, *images.shape[1:])
    rows = torch.cat([images, white]).split(columns)
    return torch.cat([torch.cat(list(row), -1) for row in rows], -2)


@dataclass
class Illusion:
    """The result of a run: the sheets (S, 3, H, W) and all views (V, 3, H, W)."""

    sheets: Tensor = field(default_factory=lambda: torch.empty(0))
    views: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True, kw_only=True)
class IllusionDistillation(Distillation):
    """The distillation of sheets of `size` pixels a side, which it leaves in `result`.

    The model sees views moved by up to `shift` pixels. `seeds` holds one seed for each view that a step takes.
    `preview(step, image)` shows an image (3, H, W) in [0, 1].
    """

    arrangement: Arrangement
    size: int
    look: Look
    turns: Turns | None = None
    shift: int
    start: Tensor | None = None
    model: Any
    vae: Any
    preview: Callable[[int, Tensor], None] = lambda step, image: None
    notes: list[str] = field(default_factory=list)
    result: Illusion = field(default_factory=Illusion)

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, host.autoencoder(self.vae, self.model, run) as autoencoder:

            def encode(images: Tensor) -> Tensor:
                return autoencoder.encode(2 * images - 1)

            encoder = host.FrugalEncoder(encode, self.notes)
            composition = Composition(self._sheets(run), self.arrangement, encoder, self.turns, self.look, self.shift)

            def targets() -> list[str]:
                return [numbered(TARGET, view) for view in composition.current]

            noise = SeededNoise(self.seeds)
            reference = self._reference(composition, encode)
            objective = self.objective(run, noise, reference, targets)
            prior = replace(run.prior, denoise=per_view(run.prior.denoise, lambda: composition.current))
            for step in self.steps(replace(run, prior=prior), composition, objective, noise):
                self.preview(step.index + 1, contact_sheet(composition.views()))
            self.result.sheets, self.result.views = composition.sheets.cpu(), composition.views().cpu()
        return (run.latent,)

    def _reference(self, composition: Composition, encode: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The latents of the views at the start, for a method that compares with them; of one view in every step,
        that view's, which the composition changes."""
        if "reference" not in self.chosen.method.needs:
            return None
        with torch.no_grad():
            starts = torch.cat([encode(view) for view in composition.views().split(1)])
        return composition.following(starts)

    def _sheets(self, run: host.Run) -> Tensor:
        if self.start is not None:
            return host.ordinary(self.start.to(run.latent))
        return run.latent.new_full((self.arrangement.sheets, 3, self.size, self.size), GRAY)
