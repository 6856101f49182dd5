"""Trains a translator inside the host's sampler: the distillation loop, with a network as generator."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.noise import SeededNoise, derived_seed, item_seeds
from ...guidance.distillation.loop import Step
from ...guidance.distillation.method import Config
from ...guidance.distillation.objectives import METHODS
from ...guidance.distillation.translator import EasedObjective, Recipe, TranslatorGenerator
from ...guidance.networks.corrective.storage import ManifoldCorrective
from ...guidance.networks.ema import WeightEMA
from ...guidance.networks.patches import LatentPatches
from ...guidance.networks.storage import load_weights
from ...guidance.networks.translation.network import Architecture, TranslatorNetwork, initial_network
from ...guidance.networks.translation.storage import About, Translator
from ...guidance.networks.unet import fitting_levels
from .. import host
from ..sockets import ObjectiveSocket
from .distillation import Distillation

log = logging.getLogger("dreamsampler")

IMAGE_STREAM = 3
"""The noise substream that draws training images; `guidance.distillation` uses the others."""
SAVE_INTERVAL = 600.0
"""Time between two saves, in seconds."""
LOG_EVERY = 50
"""Number of steps between two lines in the log."""
LOOP_SETTINGS = {
    "optimizer": "adam", "learning_rate_schedule": "cosine", "weighting": "uniform", "time_schedule": "uniform",
    "noise_policy": "fresh", "t_min": 0.02, "t_max": 0.98, "sds_stage": 0.0, "whole_image_stage": 0.0,
}  # fmt: skip
"""Settings that differ from those for optimizing an image, for methods that have them."""
Save = Callable[[Translator], None]


@dataclass(frozen=True)
class TranslatorTraining:
    """A training job.

    Attributes:
        latents: training images as latents (C, [1,] H, W) in the host's scale.
        size: height and width of the patches to train on, in latent cells.
        source: the source prompt.
        prompts: the target prompts by the names of the targets.
        conditionings: the same prompts encoded: "positive" has one row per target, "source" and "negative" have one.
    """

    model: Any
    latents: list[Tensor]
    size: tuple[int, int]
    source: str
    prompts: dict[str, str]
    conditionings: dict[str, Any]
    corrective: ManifoldCorrective | None = None


def train(
    job: TranslatorTraining, recipe: Recipe, save: Save | None = None, start: Translator | None = None
) -> Translator:
    """Train a translator, or continue training `start`. Ctrl-C ends the training early and returns the translator.

    `save` gets the translator every `SAVE_INTERVAL` seconds; if it raises UnwritableFileError, that is logged.

    Raises ValueError for a batch that is not a multiple of the number of targets, and if the gradient becomes NaN or
    infinite.
    """
    if recipe.batch % len(job.prompts):
        raise ValueError(
            f"A batch of {recipe.batch} cannot hold each of {len(job.prompts)} targets equally often: choose a "
            f"multiple of {len(job.prompts)}."
        )
    run = _Training(job, recipe, save, start)
    host.run_in_sampler(
        run,
        model=job.model,
        conditionings=job.conditionings,
        samples=torch.zeros(recipe.batch, *job.latents[0].shape[:-2], *job.size),
        sigmas=host.full_range(job.model),
        evaluations=None,
        seed=recipe.seed,
    )
    return run.translator()


class _Training:
    """The algorithm for the host's sampler."""

    def __init__(self, job: TranslatorTraining, recipe: Recipe, save: Save | None, start: Translator | None):
        self.job, self.recipe, self.save = job, recipe, save
        self.steps_before, self.steps_taken = start.about.steps if start else 0, 0
        with torch.inference_mode(False):
            self.latents = [host.ordinary(latent).detach() for latent in job.latents]
            self.network = copy.deepcopy(start.network) if start else self._new_network()
            self.average = WeightEMA(self.network)

    def _new_network(self) -> TranslatorNetwork:
        levels = fitting_levels(min(self.job.size), self.recipe.levels)
        form = Architecture(len(self.latents[0]), self.recipe.width, levels)
        return initial_network(form, self.latents, torch.Generator().manual_seed(self.recipe.seed))

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            self.network.to(run.latent.device)
            self.average = WeightEMA(self.network)
            try:
                self._take_steps(self._steps(run))
            except KeyboardInterrupt:
                log.warning("Interrupted after %d steps. The translator so far is kept.", self.steps_taken)
        return (run.latent,)

    def _steps(self, run: host.Run) -> Iterator[Step]:
        recipe = self.recipe
        seed = derived_seed(recipe.seed, "steps before", self.steps_before)
        noise = SeededNoise(item_seeds(seed, range(recipe.batch)))
        patches = LatentPatches([latent.to(run.latent) for latent in self.latents], self.job.size)
        generator = TranslatorGenerator(
            self.network, patches, len(self.job.prompts), noise.substream(IMAGE_STREAM), run.to_model_scale
        )
        chosen = ObjectiveSocket(METHODS[recipe.method], self.job.conditionings, corrective=self.job.corrective)
        distillation = Distillation(chosen, self._config(), [recipe.seed])
        objective = distillation.objective(run, noise, generator.sources)
        # Our lmc is the paper's loss divided by the guidance scale.
        weight = recipe.source_weight / (recipe.guidance_scale if recipe.method == "lmc" else 1.0)
        return distillation.steps(run, generator, EasedObjective(objective, generator.sources, weight), noise)

    def _config(self) -> Config:
        names = ("guidance_scale", "steps", "learning_rate")
        config = METHODS[self.recipe.method].config()
        values = {**LOOP_SETTINGS, **{name: getattr(self.recipe, name) for name in names}}
        return config.updated({name: value for name, value in values.items() if config.has(name)})

    def _take_steps(self, steps: Iterator[Step]) -> None:
        started = saved = time.monotonic()
        for step in steps:
            self.average.update(self.network, self.steps_before + step.index)
            self.steps_taken = step.index + 1
            now = time.monotonic()
            if self.steps_taken % LOG_EVERY == 0:
                seconds, norm = (now - started) / self.steps_taken, step.gradient_norm.mean().item()
                log.info(
                    "Step %d of %d, gradient norm %.3f, %.2f s per step.",
                    self.steps_taken,
                    self.recipe.steps,
                    norm,
                    seconds,
                )
            if self.save and now - saved > SAVE_INTERVAL:
                saved = now
                self._autosave(self.save)

    def _autosave(self, save: Save) -> None:
        """Save the translator so far. If that fails, the training goes on and the last saved file is kept."""
        try:
            save(self.translator())
        except host.UnwritableFileError as error:
            log.warning("Not saved after %d steps; the training goes on. %s", self.steps_taken, error)

    def translator(self) -> Translator:
        """The translator so far, with averaged weights."""
        job, recipe, form = self.job, self.recipe, self.network.architecture
        about = About(
            family=host.family(job.model),
            channels=form.channels,
            source=job.source,
            targets=tuple(job.prompts),
            texts=tuple(job.prompts.values()),
            method=recipe.method,
            guidance_scale=recipe.guidance_scale,
            steps=self.steps_before + self.steps_taken,
        )
        return Translator(load_weights(lambda: TranslatorNetwork(form), self.average.on_cpu()), about)
