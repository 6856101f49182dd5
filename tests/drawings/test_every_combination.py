"""Every style with every loss, task and schedule takes steps: it changes what the style optimizes, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from dreamsampler.drawings.drawing import Drawing, DrawingBatch
from dreamsampler.drawings.loss_terms import SaturationTerm, XingTerm
from dreamsampler.drawings.styles import ART_STYLES, ArtStyle
from dreamsampler.drawings.tasks import Task, learning_rates
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.loop import Descent, optimize
from dreamsampler.guidance.distillation.method import LoopSettings
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.regularizers import Loss, MeasurementTerm, PixelTerm
from dreamsampler.guidance.distillation.schedules import NOISE_POLICIES, TIME_SCHEDULES
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import SuperResolution
from support.oracle import sigma_at
from torch import Tensor

CANVAS = (16, 16)
PATHS, STEPS = 4, 2
LOSSES = ("crossing", "saturation", "measurement", "pixels")
TASKS: tuple[Task, ...] = ("draw", "refine", "edit", "restore")
SCHEDULES = list(product(TIME_SCHEDULES, NOISE_POLICIES))


@dataclass(frozen=True)
class GrayWorld:
    """A model of images whose pixels are Gaussian around an image: dark for the prompt, gray for any other."""

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        a, b = (value.reshape(-1, 1, 1, 1) for value in (SCALED.a(sigma), SCALED.b(sigma)))
        means = [-0.5 if name == "positive" else 0.0 for name in names]
        return [mean + a * (x - a * mean) / (a**2 + b**2) for mean in means]

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        return [self(x, sigma, each) for x, each in zip(xs, names, strict=True)]


def drawings(style: ArtStyle) -> list[Drawing]:
    generators = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    return [style.random_drawing(PATHS, CANVAS, generator, torch.empty(0)) for generator in generators]


def leaves(made: Sequence[Drawing]) -> dict[str, list[Tensor]]:
    groups = {"points": "points", "width": "widths", "color": "colors", "background": "background"}
    return {group: [getattr(one, name).detach().clone() for one in made] for group, name in groups.items()}


def losses(batch: DrawingBatch, names: Sequence[str]) -> list[Loss]:
    operator = SuperResolution(*CANVAS, 2)
    measurement = Measurement(operator, operator.forward(torch.zeros(2, 3, *CANVAS)))
    terms: dict[str, Loss] = {
        "crossing": XingTerm(batch, 1.0),
        "saturation": SaturationTerm(batch, 1.0),
        "measurement": MeasurementTerm(batch, measurement, SCALED, 1.0),
        "pixels": PixelTerm(lambda: batch.seen, lambda latents: latents, SCALED, 1.0),
    }
    return [terms[name] for name in names]


def test_the_losses_are_all_there_are():
    from dreamsampler.drawings import loss_terms
    from dreamsampler.guidance.distillation import regularizers

    names = {name for module in (loss_terms, regularizers) for name in vars(module) if name.endswith("Term")}
    assert len(names) == len(LOSSES)


@pytest.mark.parametrize("chosen", [(), *((name,) for name in LOSSES), LOSSES], ids="+".join)
@pytest.mark.parametrize("style", ART_STYLES)
def test_a_style_with_losses_takes_steps_by_every_schedule(style: str, chosen: tuple[str, ...]):
    art_style, prior = ART_STYLES[style], Prior(GrayWorld(), SCALED, sigma_at)
    for number, (time_schedule, noise_policy) in enumerate(SCHEDULES):
        made = drawings(art_style)
        batch = DrawingBatch(made, lambda images: images)
        before = leaves(made)
        rates = learning_rates(TASKS[(number + number // len(TASKS)) % len(TASKS)], art_style, CANVAS)
        optimizer = rates.adam(batch.parameter_groups)
        descent = Descent(optimizer, lambda step, rates=rates, optimizer=optimizer: rates.set(optimizer, step / STEPS))
        settings = LoopSettings(
            STEPS, time_schedule=time_schedule, noise_policy=noise_policy, t_min=0.3, t_max=0.6, inversion_steps=2
        )
        plan = replace(settings.plan(prior, batch()), descent=lambda _, descent=descent: descent)
        walk = optimize(prior, batch, SDS(2.0), plan=plan, noise=SeededNoise([3, 4]), losses=losses(batch, chosen))
        assert [step.index for step in walk] == list(range(STEPS))
        for group, now in leaves(made).items():
            changed = {not torch.equal(*pair) for pair in zip(now, before[group], strict=True) if pair[0].numel()}
            assert changed <= {group in art_style.optimized}, (group, time_schedule, noise_policy)
