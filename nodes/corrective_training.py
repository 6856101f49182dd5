"""Trains a manifold corrective inside the host's sampling, so that the MODEL is asked as it is when it samples."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..guidance.corrective.network import Architecture, CorrectiveNetwork, initialised
from ..guidance.corrective.spectral import Bands, SpectralCorrective
from ..guidance.corrective.storage import About, ManifoldCorrective, made_of
from ..guidance.corrective.training import Recipe, Training, fit_spectral
from ..guidance.noise import MAX_SEED
from ..guidance.objectives.base import NULL
from ..guidance.pictures import Pictures
from . import host

log = logging.getLogger("dreamsampler")

AUTOSAVE = 120.0
"""Seconds after which the state of a training is written again."""
ENOUGH = 256
"""Pictures for each time of a spectral corrective at most: its gains no longer change visibly."""
SMOOTH = 100
"""Steps over which a loss is averaged to be told."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
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
        digest = hashlib.sha256(json.dumps([host.base_of(self.model), settings]).encode())
        said = [entry[0] for entry in self.negative]
        begun = [] if self.start is None else list(self.start.network.state_dict().values())
        for tensor in (*said, *self.latents, *begun):
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Trained:
    """A corrective and the loss of each of its steps; a spectral one has none."""

    corrective: ManifoldCorrective
    losses: list[float]


def trained(job: Job, tell: Tell) -> Trained:
    """Do a job, from where an interrupted one of the same kind stopped. `tell` is told how it goes."""
    run = _Training(job, tell)
    batch = (job.recipe.batch, *job.latents[0].shape[:-2], *job.size)
    host.run_method(
        run,
        model=job.model,
        conditionings={NULL: job.negative},
        samples=torch.zeros(batch),
        sigmas=host.whole_range(job.model),
        evaluations=None,
        seed=job.recipe.seed,
    )
    before = 0 if job.start is None else job.start.about.steps
    path, levels = host.noise_schedule(job.model)
    about = About(
        family=host.family(job.model),
        base=host.base_of(job.model),
        channels=job.form.channels,
        path=path,
        levels=levels,
        size=job.size,
        statistics=job.recipe.statistics,
        steps=before + len(run.losses),
        loss=_recent(run.losses),
    )
    assert run.network is not None
    return Trained(ManifoldCorrective(run.network, about), run.losses)


class _Training:
    """The method that is run in the host's sampling; leaves `network` and `losses`."""

    def __init__(self, job: Job, tell: Tell):
        self.job, self.tell = job, tell
        self.network: CorrectiveNetwork | SpectralCorrective | None = None
        self.losses: list[float] = []

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with host.gradients():
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
        walk, steps, written = training.steps(run.prior, pictures), self.job.recipe.steps, time.monotonic()
        told = written
        try:
            for _ in host.with_progress(range(training.done, steps)):
                next(walk)
                now = time.monotonic()
                if now - told > 1:
                    told = now
                    self.tell(f"Step {training.done} of {steps}, loss {_recent(training.losses):.4f}")
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


def _recent(losses: list[float]) -> float:
    """The mean of the last losses, NaN where there are none."""
    last = losses[-SMOOTH:]
    return sum(last) / len(last) if last else float("nan")
