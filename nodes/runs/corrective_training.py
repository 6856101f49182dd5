"""Trains a manifold corrective inside the host's sampler, so that it learns from the MODEL as it samples."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.denoiser import NULL
from ...guidance.core.noise import MAX_SEED
from ...guidance.networks.corrective.network import Architecture, CorrectiveNetwork, initial_network
from ...guidance.networks.corrective.spectral import SpectralCorrective, SpectralForm
from ...guidance.networks.corrective.storage import About, ManifoldCorrective, build_network
from ...guidance.networks.corrective.training import Recipe, Training, UnusableStateError, fit_spectral
from ...guidance.networks.patches import LatentPatches
from .. import host
from .distillation import EVENT, EVENT_INTERVAL

log = logging.getLogger("dreamsampler")

SAVE_INTERVAL = 120.0
"""Time between two saves of the training state, in seconds."""
REPORT_INTERVAL = 1.0
"""Minimum time between two reports, in seconds."""
MAX_SPECTRAL_IMAGES = 256
"""Maximum number of images per time for a spectral corrective: more no longer change its gains visibly."""
LOSS_WINDOW = 100
"""Number of steps that a reported loss is averaged over."""
MAX_CURVE_POINTS = 500
"""Maximum number of points of a curve: mean losses of equal parts of the training."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class CorrectiveTraining:
    """A training job.

    Attributes:
        latents: training images as latents (C, [1,] H, W) in the host's scale.
        size: height and width of the patches to train on, in latent cells.
        form: what to train.
        start: a corrective of the same form to continue training, or None.
    """

    model: Any
    negative: Any
    latents: list[Tensor]
    size: tuple[int, int]
    form: Architecture | SpectralForm
    recipe: Recipe
    start: ManifoldCorrective | None = None

    @property
    def key(self) -> str:
        """A fingerprint of everything that affects the training, except its length."""
        settings = {**asdict(self.recipe), "steps": None, "size": self.size, **asdict(self.form)}
        initial = None if self.start is None else self.start.network.state_dict()
        return host.fingerprint(host.model_fingerprint(self.model), self.negative, settings, self.latents, initial)


@dataclass(frozen=True)
class TrainedCorrective:
    """A corrective with the losses of its steps and their curve, both empty for a spectral one.

    `rate` is the training speed in images per second, None if no step was left to do.
    """

    corrective: ManifoldCorrective
    losses: list[float]
    curve: dict[str, Any]
    rate: float | None


class LossCurve:
    """The loss of a training with `steps` steps, sent to the page while it grows, like `distillation.Curve`.

    `data` holds lists with one entry per part of the training: its last step, and a list with its mean loss.
    """

    def __init__(self, steps: int):
        self.data: dict[str, Any] = {"method": "training", "step": [], "training_loss": []}
        self._steps, self._span = steps, math.ceil(steps / MAX_CURVE_POINTS)
        self._sent, self._sent_at = 0, -math.inf

    def update(self, losses: list[float]) -> None:
        """Append what is new in the losses of all steps so far, and send it if it is time."""
        ended = len(losses) >= self._steps
        for first in range(len(self.data["step"]) * self._span, len(losses), self._span):
            part = losses[first : first + self._span]
            if len(part) == self._span or ended:
                self.data["step"].append(first + len(part) - 1)
                self.data["training_loss"].append([sum(part) / len(part)])
        if ended or time.monotonic() - self._sent_at >= EVENT_INTERVAL:
            self._send()

    def _send(self) -> None:
        new = {name: self.data[name][self._sent :] for name in ("step", "training_loss")}
        if new["step"]:
            host.send_event(EVENT, {"curve": {**new, "method": self.data["method"]}, "steps": self._steps})
        self._sent, self._sent_at = len(self.data["step"]), time.monotonic()


def train(job: CorrectiveTraining, report: Report) -> TrainedCorrective:
    """Train a corrective, resuming an interrupted training of the same job. `report` gets the status as text.

    Raises ValueError if the loss becomes NaN or infinite.
    """
    run = _Training(job, report)
    batch = (job.recipe.batch, *job.latents[0].shape[:-2], *job.size)
    host.run_in_sampler(
        run,
        model=job.model,
        conditionings={NULL: job.negative},
        samples=torch.zeros(batch),
        sigmas=host.full_range(job.model),
        evaluations=None,
        seed=job.recipe.seed,
    )
    before = 0 if job.start is None else job.start.about.steps
    statistics, steps = job.recipe.statistics, before + len(run.losses)
    about = about_corrective(
        job.model, size=job.size, statistics=statistics, steps=steps, loss=_recent_loss(run.losses)
    )
    assert run.network is not None
    return TrainedCorrective(ManifoldCorrective(run.network, about), run.losses, run.curve.data, run.rate)


def about_corrective(model: Any, **training: Any) -> About:
    """The description of a corrective for the MODEL; `training` holds the fields of `About` on its training."""
    path, levels = host.noise_schedule(model)
    return About(
        family=host.family(model),
        base=host.weights_digest(model),
        channels=host.latent_channels(model),
        path=path,
        levels=levels,
        **training,
    )


class _Training:
    """The algorithm for the host's sampler. Sets `network`, and unless it is spectral the other attributes."""

    def __init__(self, job: CorrectiveTraining, report: Report):
        self.job, self.report = job, report
        self.network: CorrectiveNetwork | SpectralCorrective | None = None
        self.losses: list[float] = []
        self.curve = LossCurve(job.recipe.steps)
        self.rate: float | None = None
        self.warning = ""

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            scaled = [run.to_model_scale(host.ordinary(latent)[None])[0] for latent in self.job.latents]
            patches = LatentPatches(scaled, self.job.size)
            if isinstance(self.job.form, SpectralForm):
                self.network = self._fit_spectral(run, patches, self.job.form)
            else:
                self.network = self._train_network(run, patches, self.job.form)
        return (run.latent,)

    def _fit_spectral(self, run: host.Run, patches: LatentPatches, form: SpectralForm) -> SpectralCorrective:
        recipe = self.job.recipe
        count = min(max(recipe.steps // form.knots, 1) * recipe.batch, MAX_SPECTRAL_IMAGES)
        walk = fit_spectral(form, run.prior, patches, count=count, batch=recipe.batch, seed=recipe.seed)
        *_, fitted = (next(walk) for _ in host.with_progress(range(form.knots)))
        return fitted.cpu()

    def _train_network(self, run: host.Run, patches: LatentPatches, form: Architecture) -> CorrectiveNetwork:
        host.remove_old_states()
        path = host.training_state_path(self.job.key)
        training = self._resumed_training(path, run, patches, form)
        if training is None:
            network = self._initial_network(run, patches, form, resumed=False)
            training = Training(network.to(run.latent.device), self.job.recipe)
        self._take_steps(training, run, patches, path)
        with contextlib.suppress(OSError):  # a state that stays does no harm
            path.unlink(missing_ok=True)
        self.losses = training.losses
        network = build_network(form, training.weights())
        assert isinstance(network, CorrectiveNetwork)
        return network

    def _resumed_training(
        self, path: Path, run: host.Run, patches: LatentPatches, form: Architecture
    ) -> Training | None:
        """The interrupted training of this job, None if there is none that can be resumed."""
        state = host.read_state(path)
        if state is None:
            return None
        network = self._initial_network(run, patches, form, resumed=True)
        training = Training(network.to(run.latent.device), self.job.recipe)
        try:
            training.restore(state)
        except UnusableStateError:
            host.set_aside(path, "does not fit")
            return None
        log.info("Train Manifold Corrective: resuming after step %d.", training.steps_taken)
        return training

    def _initial_network(
        self, run: host.Run, patches: LatentPatches, form: Architecture, *, resumed: bool
    ) -> CorrectiveNetwork:
        """The network to continue, or a new one. If `resumed`, its weights are about to be replaced."""
        if self.job.start is not None:
            network = copy.deepcopy(self.job.start.network)
            assert isinstance(network, CorrectiveNetwork)
            return network
        needs_base = form.head == "residual" and not resumed
        base = self._fit_spectral(run, patches, SpectralForm(form.channels)) if needs_base else None
        return initial_network(form, torch.Generator().manual_seed(self.job.recipe.seed % MAX_SEED), base)

    def _save(self, path: Path, training: Training) -> None:
        """Save the state of the training. If that fails, the training goes on and the last saved state is kept."""
        try:
            host.write_state(path, training.state())
        except host.UnwritableFileError as error:
            self.warning = f"The training is not saved, and if interrupted continues from its last save. {error}"
            log.warning("Train Manifold Corrective: %s", self.warning)
        else:
            self.warning = ""

    def _take_steps(self, training: Training, run: host.Run, patches: LatentPatches, path: Path) -> None:
        """Train to the end. Saves now and then, and when interrupted by the user or an error."""
        walk, steps, before = training.steps(run.prior, patches), self.job.recipe.steps, training.steps_taken
        self.curve = LossCurve(max(steps, before))
        self.curve.update(training.losses)
        started = reported = saved = time.monotonic()
        try:
            for _ in host.with_progress(range(before, steps)):
                next(walk)
                self.curve.update(training.losses)
                now = time.monotonic()
                self.rate = (training.steps_taken - before) * self.job.recipe.batch / max(now - started, 1e-9)
                if now - reported > REPORT_INTERVAL:
                    reported = now
                    status = f"Step {training.steps_taken} of {steps}, {progress_text(training.losses, self.rate)}."
                    self.report("\n".join(filter(None, [status, self.warning])))
                if now - saved > SAVE_INTERVAL:
                    saved = now
                    self._save(path, training)
        except FloatingPointError as error:
            raise ValueError(
                f"The loss became NaN or infinite at step {training.steps_taken + 1} of {steps}. Lower learning_rate, "
                "or load the model in a wider type (bf16 or fp32 instead of fp16)."
            ) from error
        except BaseException:
            self._save(path, training)
            raise


def progress_text(losses: list[float], rate: float | None) -> str:
    """Loss and speed of a training, such as "loss 0.0123, 4.5 images per second"."""
    return f"loss {_recent_loss(losses):.4f}" + ("" if rate is None else f", {rate:.1f} images per second")


def _recent_loss(losses: list[float]) -> float:
    """The mean of the last losses, NaN if there are none."""
    recent = losses[-LOSS_WINDOW:]
    return sum(recent) / len(recent) if recent else float("nan")
