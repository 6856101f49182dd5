"""Trains a manifold corrective inside the host's sampling, so that the MODEL is asked as it is when it samples."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.denoiser import NULL
from ...guidance.core.noise import MAX_SEED
from ...guidance.networks.corrective.network import Architecture, CorrectiveNetwork, initialised
from ...guidance.networks.corrective.spectral import Bands, SpectralCorrective
from ...guidance.networks.corrective.storage import About, ManifoldCorrective, made_of
from ...guidance.networks.corrective.training import Recipe, Training, fit_spectral
from ...guidance.networks.patches import Pictures
from .. import host
from .distillation import BETWEEN, EVENT

log = logging.getLogger("dreamsampler")

AUTOSAVE = 120.0
"""Seconds after which the state of a training is written again."""
ENOUGH = 256
"""Pictures for each time of a spectral corrective at most: its gains no longer change visibly."""
SMOOTH = 100
"""Steps over which a loss is averaged to be told."""
POINTS = 500
"""What a curve holds at most: the mean loss of as many equal parts of the training."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class CorrectiveTraining:
    """What to train on what: latents (C, [1,] H, W) in the host's scale, patches of `size` cells of them.

    `form` is what is made; `start` one of the same form to go on from.
    """

    model: Any
    negative: Any
    latents: list[Tensor]
    size: tuple[int, int]
    form: Architecture | Bands
    recipe: Recipe
    start: ManifoldCorrective | None = None

    @property
    def key(self) -> str:
        """A name for all that decides how the training goes, besides its length."""
        settings = {**asdict(self.recipe), "steps": None, "size": self.size, **asdict(self.form)}
        begun = None if self.start is None else self.start.network.state_dict()
        return host.fingerprint(host.model_fingerprint(self.model), self.negative, settings, self.latents, begun)


@dataclass(frozen=True)
class TrainedCorrective:
    """A corrective with the loss of each of its steps and their curve, both empty for a spectral one.

    `rate` is how many pictures a second it learned from, None where no step was left to do.
    """

    corrective: ManifoldCorrective
    losses: list[float]
    curve: dict[str, Any]
    rate: float | None


class LossCurve:
    """The loss of a training of some `steps`; the page is told while it grows, as it is of `distillation.Curve`.

    `whole` has lists with one entry for each part of the training: its last step, and in a list its mean loss.
    """

    def __init__(self, steps: int):
        self.whole: dict[str, Any] = {"method": "training", "step": [], "training_loss": []}
        self._steps, self._span = steps, math.ceil(steps / POINTS)
        self._told, self._when = 0, -math.inf

    def follow(self, losses: list[float]) -> None:
        """Add what is new in the losses of all steps so far."""
        ended = len(losses) >= self._steps
        for first in range(len(self.whole["step"]) * self._span, len(losses), self._span):
            part = losses[first : first + self._span]
            if len(part) == self._span or ended:
                self.whole["step"].append(first + len(part) - 1)
                self.whole["training_loss"].append([sum(part) / len(part)])
        if ended or time.monotonic() - self._when >= BETWEEN:
            self._tell()

    def _tell(self) -> None:
        part = {name: self.whole[name][self._told :] for name in ("step", "training_loss")}
        if part["step"]:
            host.tell_page(EVENT, {"curve": {**part, "method": self.whole["method"]}, "steps": self._steps})
        self._told, self._when = len(self.whole["step"]), time.monotonic()


def train(job: CorrectiveTraining, tell: Tell) -> TrainedCorrective:
    """Do a job, from where an interrupted one of the same kind stopped. `tell` is told how it goes."""
    run = _Training(job, tell)
    batch = (job.recipe.batch, *job.latents[0].shape[:-2], *job.size)
    host.run_in_sampler(
        run,
        model=job.model,
        conditionings={NULL: job.negative},
        samples=torch.zeros(batch),
        sigmas=host.whole_range(job.model),
        evaluations=None,
        seed=job.recipe.seed,
    )
    before = 0 if job.start is None else job.start.about.steps
    statistics, steps = job.recipe.statistics, before + len(run.losses)
    about = origin(job.model, size=job.size, statistics=statistics, steps=steps, loss=_recent(run.losses))
    assert run.network is not None
    return TrainedCorrective(ManifoldCorrective(run.network, about), run.losses, run.curve.whole, run.rate)


def origin(model: Any, **training: Any) -> About:
    """Where a corrective of the MODEL comes from; `training` is what `About` has of how it was trained."""
    path, levels = host.noise_schedule(model)
    return About(
        family=host.family(model),
        base=host.base_of(model),
        channels=host.latent_channels(model),
        path=path,
        levels=levels,
        **training,
    )


class _Training:
    """The method that is run in the host's sampling; leaves `network`, and of one that learns the rest."""

    def __init__(self, job: CorrectiveTraining, tell: Tell):
        self.job, self.tell = job, tell
        self.network: CorrectiveNetwork | SpectralCorrective | None = None
        self.losses: list[float] = []
        self.curve = LossCurve(job.recipe.steps)
        self.rate: float | None = None

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            scaled = [run.to_model_scale(host.ordinary(latent)[None])[0] for latent in self.job.latents]
            pictures = Pictures(scaled, self.job.size)
            if isinstance(self.job.form, Bands):
                self.network = self._fitted(run, pictures, self.job.form)
            else:
                self.network = self._learned(run, pictures, self.job.form)
        return (run.latent,)

    def _fitted(self, run: host.Run, pictures: Pictures, form: Bands) -> SpectralCorrective:
        recipe = self.job.recipe
        count = min(max(recipe.steps // form.knots, 1) * recipe.batch, ENOUGH)
        walk = fit_spectral(form, run.prior, pictures, count=count, batch=recipe.batch, seed=recipe.seed)
        *_, fitted = (next(walk) for _ in host.with_progress(range(form.knots)))
        return fitted.cpu()

    def _learned(self, run: host.Run, pictures: Pictures, form: Architecture) -> CorrectiveNetwork:
        job, place = self.job, host.unfinished_training(self.job.key)
        state = host.read_state(place)
        training = Training(self._begun(run, pictures, form, fresh=state is None).to(run.latent.device), job.recipe)
        if state is not None:
            training.restore(state)
            log.info("Train Manifold Corrective: goes on after step %d of an interrupted training.", training.done)
        self._train(training, run, pictures, lambda: host.write_state(place, training.state()))
        place.unlink(missing_ok=True)
        self.losses = training.losses
        network = made_of(form, training.weights())
        assert isinstance(network, CorrectiveNetwork)
        return network

    def _begun(self, run: host.Run, pictures: Pictures, form: Architecture, *, fresh: bool) -> CorrectiveNetwork:
        """Where the training begins: at a network to go on from, or at a new one; `fresh` if that is to be used."""
        if self.job.start is not None:
            begun = copy.deepcopy(self.job.start.network)
            assert isinstance(begun, CorrectiveNetwork)
            return begun
        residual = form.head == "residual" and fresh
        base = self._fitted(run, pictures, Bands(form.channels)) if residual else None
        return initialised(form, torch.Generator().manual_seed(self.job.recipe.seed % MAX_SEED), base)

    def _train(self, training: Training, run: host.Run, pictures: Pictures, keep: Callable[[], None]) -> None:
        """Train to the end; what is interrupted, by the user or by anything else, is kept."""
        walk, steps, before = training.steps(run.prior, pictures), self.job.recipe.steps, training.done
        self.curve = LossCurve(max(steps, before))
        self.curve.follow(training.losses)
        began = told = written = time.monotonic()
        try:
            for _ in host.with_progress(range(before, steps)):
                next(walk)
                self.curve.follow(training.losses)
                now = time.monotonic()
                self.rate = (training.done - before) * self.job.recipe.batch / max(now - began, 1e-9)
                if now - told > 1:
                    told = now
                    self.tell(f"Step {training.done} of {steps}, {progress(training.losses, self.rate)}.")
                if now - written > AUTOSAVE:
                    written = now
                    keep()
        except FloatingPointError as error:
            raise ValueError(
                f"The loss became NaN or infinite at step {training.done + 1} of {steps}. Lower learning_rate, or load "
                "the model in a wider type (bf16 or fp32 instead of fp16)."
            ) from error
        except BaseException:
            keep()
            raise


def progress(losses: list[float], rate: float | None) -> str:
    """How a training goes, or went, in words."""
    return f"loss {_recent(losses):.4f}" + ("" if rate is None else f", {rate:.1f} pictures a second")


def _recent(losses: list[float]) -> float:
    """The mean of the last losses, NaN where there are none."""
    last = losses[-SMOOTH:]
    return sum(last) / len(last) if last else float("nan")
