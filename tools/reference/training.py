"""The training loop of the reference model. It is resumable and runs data-parallel on CPU cores or on one GPU.

Every network (autoencoder, text encoder, scorer, U-Net) is a `Stage`. `train` runs it for a given number of minutes
with Muon for matrices, AdamW for the rest, a decaying learning rate and an exponential moving average of the weights.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

log = logging.getLogger("dreamsampler.reference")


@dataclass(frozen=True)
class Stage:
    """One network and how to train it.

    `loss(model, rank)` prepares the data of a worker and returns a function of the step number that gives the loss of a
    new batch and named figures for the log. `adamw` selects, by name, matrices to train with AdamW instead of Muon.
    """

    name: str
    build: Callable[[], nn.Module]
    loss: Callable[[Any, int], Callable[[int], tuple[Tensor, dict[str, float]]]]
    adamw: Callable[[str], bool] = lambda name: False
    muon_lr: float = 0.02
    adamw_lr: float = 2e-3
    ema: float = 0.998
    decay_from: float = 0.55


@dataclass(frozen=True)
class Budget:
    """How long to train, and on which device: for so many minutes or steps in all resumed runs, whichever ends first.

    `minutes` is processor time of one worker, so that a run at low priority beside other work takes as many steps.
    """

    minutes: float
    folder: Path
    workers: int = 2
    device: str = "cpu"
    save_every: float = 120.0
    steps: float = math.inf

    def spent(self, seconds: float, steps: int) -> float:
        """The share of the budget that so many seconds and steps have used; 1 at its end."""
        return max(seconds / (60 * self.minutes), steps / self.steps)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximate nearest semi-orthogonal matrix, by Muon's quintic Newton-Schulz iteration (Jordan et al., 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / (x.norm() + 1e-7)).bfloat16()  # near enough, and nearly twice as fast
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix)


class Muon(torch.optim.Optimizer):
    """Muon for parameters with two or more dimensions; a convolution is a matrix with one row per output channel.

    The matrices are divided among `workers`. Each worker orthogonalizes its share, then the updates are summed.
    `torch.optim.Muon` takes only two-dimensional parameters, which excludes convolutions.
    """

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95, rank: int = 0, workers: int = 1):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.rank, self.workers = rank, workers

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        for group in self.param_groups:
            updates = [self._update(i, p, group["momentum"]) for i, p in enumerate(group["params"])]
            _sum_over_workers(updates, self.workers)
            for p, update in zip(group["params"], updates, strict=True):
                rows, columns = p.shape[0], p[0].numel()
                p.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _update(self, index: int, p: nn.Parameter, momentum: float) -> Tensor:
        assert p.grad is not None
        buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
        buffer.lerp_(p.grad, 1 - momentum)
        if index % self.workers != self.rank:
            return torch.zeros_like(p)
        direction = p.grad.lerp(buffer, momentum)
        return orthogonalize(direction.flatten(1)).view_as(p)


def _sum_over_workers(tensors: list[Tensor], workers: int) -> None:
    if workers == 1:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(part.view_as(t))


def train(stage: Stage, budget: Budget) -> Path:
    """Train `stage` for `budget.minutes`, resuming from its last checkpoint. Returns the path of the checkpoint."""
    path = budget.folder / f"{stage.name}.pt"
    budget.folder.mkdir(parents=True, exist_ok=True)
    if budget.workers == 1:
        _work(0, stage, budget, path)
        return path
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ["MASTER_PORT"] = str(29500 + os.getpid() % 1000)
    context = mp.get_context("fork")
    workers = [context.Process(target=_work, args=(rank, stage, budget, path)) for rank in range(budget.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"A worker that trained the stage {stage.name} failed. See its traceback above.")
    return path


def write_start(stage: Stage, network: nn.Module, folder: Path) -> None:
    """Write a checkpoint at step 0 with the weights of `network`. Raises FileExistsError if there is one already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage.name}.pt"
    if path.exists():
        raise FileExistsError(f"{path} exists. Delete it, or train in another folder.")
    run = _Run(stage, Budget(0, folder, workers=1), 0, path)
    run.start_from(network)
    run.save()


def _work(rank: int, stage: Stage, budget: Budget, path: Path) -> None:
    if budget.workers > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", rank=rank, world_size=budget.workers)
    torch.manual_seed(0)
    run = _Run(stage, budget, rank, path)
    torch.manual_seed(1000 * run.step + rank)
    run.until_done()
    if budget.workers > 1:
        dist.destroy_process_group()


class _Run:
    """The state of one worker: model, moving average, optimizers and progress."""

    def __init__(self, stage: Stage, budget: Budget, rank: int, path: Path):
        self.stage, self.budget, self.rank, self.path = stage, budget, rank, path
        self.model = stage.build().to(budget.device)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizers = self._optimizers()
        self.peak_rates = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.step, self.seconds = 0, 0.0
        if path.exists():
            self._restore(torch.load(path, map_location=budget.device, weights_only=True))

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        muon = [p for n, p in named if p.ndim >= 2 and not self.stage.adamw(n)]
        rest = [p for n, p in named if p.ndim < 2 or self.stage.adamw(n)]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=self.stage.adamw_lr, betas=(0.9, 0.99), weight_decay=0)
        ]
        if muon:
            optimizers.append(Muon(muon, self.stage.muon_lr, rank=self.rank, workers=self.budget.workers))
        return optimizers

    def start_from(self, network: nn.Module) -> None:
        """Take the weights of a network of the same kind."""
        self.model.load_state_dict(network.state_dict())
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def until_done(self) -> None:
        loss_of = self.stage.loss(self.model, self.rank)
        last_save = last_log = self.seconds
        figures: dict[str, float] = {}
        started = time.process_time() - self.seconds
        while self._all_continue(self.budget.spent(self.seconds, self.step) < 1):
            loss, figures = self._one_step(loss_of)
            self.seconds = time.process_time() - started
            if self.rank == 0 and self.seconds - last_log > 20:
                last_log = self.seconds
                shown = " ".join(f"{k}={v:.4g}" for k, v in figures.items())
                log.info(
                    "%s step %d, %.1f min: loss %.4f %s", self.stage.name, self.step, self.seconds / 60, loss, shown
                )
            if self.rank == 0 and self.seconds - last_save > self.budget.save_every:
                last_save = self.seconds
                self.save()
        if self.rank == 0:
            self.save()

    def _all_continue(self, wish: bool) -> bool:
        if self.budget.workers == 1:
            return wish
        vote = torch.tensor([float(wish)])
        dist.all_reduce(vote, dist.ReduceOp.MIN)
        return bool(vote.item())

    def _one_step(self, loss_of: Callable[[int], tuple[Tensor, dict[str, float]]]) -> tuple[float, dict[str, float]]:
        factor = self._lr_factor()
        for optimizer, peak in zip(self.optimizers, self.peak_rates, strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor
        self.model.zero_grad()
        loss, figures = loss_of(self.step)
        loss.backward()
        norm = self._share_gradients()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._update_average()
        return loss.item(), figures | {"norm": norm}

    def _share_gradients(self) -> float:
        """Average the gradients over the workers and clip them to norm 1. Unused weights get a zero gradient."""
        for p in self.weights:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        gradients = [p.grad for p in self.weights if p.grad is not None]
        _sum_over_workers(gradients, self.budget.workers)
        for gradient in gradients:
            gradient.div_(self.budget.workers)
        return torch.nn.utils.clip_grad_norm_(self.weights, 1.0).item()

    def _lr_factor(self) -> float:
        done = self.budget.spent(self.seconds, self.step)
        warm_up = min(1.0, (self.step + 1) / 100)
        decay = min(1.0, (1 - done) / (1 - self.stage.decay_from))
        return max(warm_up * decay, 0.01)

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.stage.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def _restore(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]


def device_of(model: nn.Module) -> torch.device:
    """The device of a network."""
    return next(model.parameters()).device


def averaged_weights(path: Path) -> dict[str, Tensor]:
    """The averaged weights in the checkpoint that `train` wrote to `path`."""
    return torch.load(path, map_location="cpu", weights_only=True)["average"]
