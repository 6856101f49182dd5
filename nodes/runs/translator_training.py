"""Trains a translator inside the host's sampling: the loop of all distillation methods, with a network as generator."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.noise import SeededNoise
from ...guidance.distillation.method import Config
from ...guidance.distillation.objectives import METHODS
from ...guidance.distillation.optimize import Step
from ...guidance.distillation.translator import Eased, Recipe, Translated
from ...guidance.networks.corrective.storage import ManifoldCorrective
from ...guidance.networks.ema import MovingAverage
from ...guidance.networks.patches import Pictures
from ...guidance.networks.storage import with_weights
from ...guidance.networks.translation.network import Architecture, TranslatorNetwork, initialised
from ...guidance.networks.translation.storage import About, Translator
from ...guidance.networks.unet import fitting_levels
from .. import host
from ..sockets import ObjectiveSocket
from .distillation import Distillation

log = logging.getLogger("dreamsampler")

DRAWN = 3
"""The stream of random numbers that draws pictures, beside those of `guidance.methods`."""
AUTOSAVE, TOLD = 600.0, 50
"""Seconds after which what is trained so far is kept, and steps after which it is said how it goes."""
TRAINING = {
    "optimizer": "adam", "learning_rate_schedule": "cosine", "weighting": "uniform", "time_schedule": "uniform",
    "noise_policy": "fresh", "t_min": 0.02, "t_max": 0.98, "sds_stage": 0.0, "whole_image_stage": 0.0,
}  # fmt: skip
"""How training a network differs from optimizing an image, where a method has these settings."""
Keep = Callable[[Translator], None]


@dataclass(frozen=True)
class TranslatorTraining:
    """What to train on: a MODEL, latents (C, [1,] H, W) in the host's scale, patches of `size` cells of them.

    `texts` are what the model is told of each target, by its name, and `source` what of the pictures as they are;
    `conditionings` says the same to the model: "positive" has a row for each target, "source" and "negative" one.
    """

    model: Any
    latents: list[Tensor]
    size: tuple[int, int]
    source: str
    texts: dict[str, str]
    conditionings: dict[str, Any]
    corrective: ManifoldCorrective | None = None


def train(
    job: TranslatorTraining, recipe: Recipe, keep: Keep | None = None, start: Translator | None = None
) -> Translator:
    """The translator that a job makes. `keep` gets what it is so far, now and then; Ctrl-C ends the training early.

    `start` is a translator to go on from. Raises ValueError for what cannot be trained.
    """
    if recipe.batch % len(job.texts):
        raise ValueError(
            f"A batch of {recipe.batch} cannot hold each of {len(job.texts)} targets equally often: choose a multiple."
        )
    run = _Training(job, recipe, keep, start)
    host.run_in_sampler(
        run,
        model=job.model,
        conditionings=job.conditionings,
        samples=torch.zeros(recipe.batch, *job.latents[0].shape[:-2], *job.size),
        sigmas=host.whole_range(job.model),
        evaluations=None,
        seed=recipe.seed,
    )
    return run.translator()


class _Training:
    """The method that is run in the host's sampling."""

    def __init__(self, job: TranslatorTraining, recipe: Recipe, keep: Keep | None, start: Translator | None):
        self.job, self.recipe, self.keep = job, recipe, keep
        self.before, self.done = start.about.steps if start else 0, 0
        with torch.inference_mode(False):
            self.latents = [host.ordinary(latent).detach() for latent in job.latents]
            self.network = copy.deepcopy(start.network) if start else self._new_network()
            self.average = MovingAverage(self.network)

    def _new_network(self) -> TranslatorNetwork:
        levels = fitting_levels(min(self.job.size), self.recipe.levels)
        form = Architecture(len(self.latents[0]), self.recipe.width, levels)
        return initialised(form, self.latents, torch.Generator().manual_seed(self.recipe.seed))

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            self.network.to(run.latent.device)
            self.average = MovingAverage(self.network)
            try:
                self._descend(self._walk(run))
            except KeyboardInterrupt:
                log.warning("Interrupted after %d steps, which are kept.", self.done)
        return (run.latent,)

    def _walk(self, run: host.Run) -> Iterator[Step]:
        recipe, first = self.recipe, self.recipe.seed + self.before
        noise = SeededNoise(range(first, first + recipe.batch))
        pictures = Pictures([latent.to(run.latent) for latent in self.latents], self.job.size)
        generator = Translated(self.network, pictures, len(self.job.texts), noise.apart(DRAWN), run.to_model_scale)
        chosen = ObjectiveSocket(METHODS[recipe.method], self.job.conditionings, corrective=self.job.corrective)
        distillation = Distillation(chosen, self._config(), [recipe.seed])
        objective = distillation.objective(run, noise, generator.sources)
        # lmc is the paper's loss over the guidance scale.
        weight = recipe.source_weight / (recipe.guidance_scale if recipe.method == "lmc" else 1.0)
        return distillation.steps(run, generator, Eased(objective, generator.sources, weight), noise)

    def _config(self) -> Config:
        names = ("guidance_scale", "steps", "learning_rate")
        own, config = {name: getattr(self.recipe, name) for name in names}, METHODS[self.recipe.method].config()
        values = {**TRAINING, **own}
        return config.updated({name: value for name, value in values.items() if config.has(name)})

    def _descend(self, walk: Iterator[Step]) -> None:
        began = kept = time.monotonic()
        for step in walk:
            self.average.follow(self.network, self.before + step.index)
            self.done = step.index + 1
            now = time.monotonic()
            if self.done % TOLD == 0:
                each, norm = (now - began) / self.done, step.gradient_norm.mean().item()
                log.info("%d of %d, gradient %.3f, %.2f s a step", self.done, self.recipe.steps, norm, each)
            if self.keep and now - kept > AUTOSAVE:
                kept = now
                self.keep(self.translator())

    def translator(self) -> Translator:
        """What the training has made so far."""
        job, recipe, form = self.job, self.recipe, self.network.architecture
        about = About(
            family=host.family(job.model),
            channels=form.channels,
            source=job.source,
            targets=tuple(job.texts),
            texts=tuple(job.texts.values()),
            method=recipe.method,
            guidance_scale=recipe.guidance_scale,
            steps=self.before + self.done,
        )
        return Translator(with_weights(lambda: TranslatorNetwork(form), self.average.on_cpu()), about)
