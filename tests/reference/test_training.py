"""The training loop: optimizer, multiple workers and resuming."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tools.reference.training import Budget, Stage, averaged_weights, orthogonalize, train


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 16)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int]):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.min() > 0.5 and values.max() < 1.3


def regression() -> Stage:
    """Fit a known linear map."""
    truth = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))

    def loss(model: nn.Module, rank: int):
        def batch(step: int):
            x = torch.randn(32, 8)
            error = (model(x) - x @ truth).square().mean()
            return error, {"mse": error.item()}

        return batch

    return Stage("regression", lambda: nn.Linear(8, 8), loss, muon_lr=0.1, ema=0.9)


def error_of(weights: dict[str, torch.Tensor]) -> float:
    truth = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    return (weights["weight"] - truth.T).abs().max().item()


@pytest.mark.parametrize("workers", [1, 2])
def test_training_learns_and_resumes(tmp_path: Path, workers: int):
    path = train(regression(), Budget(math.inf, tmp_path, workers, steps=40))
    first = torch.load(path, weights_only=True)
    train(regression(), Budget(math.inf, tmp_path, workers, steps=200))
    second = torch.load(path, weights_only=True)
    assert (first["step"], second["step"]) == (40, 200) and second["seconds"] > first["seconds"]
    assert error_of(averaged_weights(path)) < min(0.1, error_of(first["average"]))


def test_training_ends_after_its_minutes(tmp_path: Path):
    path = train(regression(), Budget(0.01, tmp_path, workers=1))
    assert 0.6 <= torch.load(path, weights_only=True)["seconds"] < 2
