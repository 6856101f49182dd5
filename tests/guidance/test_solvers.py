"""Conjugate gradients, compared with dense solutions of each item."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.restoration.solvers import Solution, conjugate_gradient
from torch import Tensor

SIZE = 12


def system(*conditions: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Symmetric matrices (B, n, n) of the given condition numbers, and right-hand sides (B, 3, 4)."""
    generator = torch.Generator().manual_seed(seed)
    bases, _ = torch.linalg.qr(torch.randn(len(conditions), SIZE, SIZE, generator=generator, dtype=torch.float64))
    spread = torch.linspace(0, 1, SIZE, dtype=torch.float64)
    values = torch.tensor(conditions, dtype=torch.float64)[:, None] ** -spread
    matrices = bases * values[:, None, :] @ bases.mT
    return matrices, torch.randn(len(conditions), 3, 4, generator=generator, dtype=torch.float64)


def product(matrices: Tensor):
    """The linear map of matrices on tensors (B, 3, 4)."""
    return lambda v: (matrices @ v.flatten(1)[:, :, None]).reshape(v.shape)


def solve(matrices: Tensor, rhs: Tensor, start: Tensor | None = None, **settings) -> Solution:
    return conjugate_gradient(product(matrices), rhs, start, **settings)


def dense_solution(matrices: Tensor, rhs: Tensor) -> Tensor:
    return torch.linalg.solve(matrices, rhs.flatten(1)).reshape(rhs.shape)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3])
@pytest.mark.parametrize("with_start", [False, True])
def test_reaches_the_dense_solution(condition, with_start):
    matrices, rhs = system(condition, condition)
    start = torch.full_like(rhs, 3.0) if with_start else None
    solution = solve(matrices, rhs, start, tolerance=1e-13, iterations=60)
    torch.testing.assert_close(solution.x, dense_solution(matrices, rhs), rtol=0, atol=1e-9)
    assert solution.residual.max() < 1e-12


def test_is_exact_after_one_step_per_eigenvalue():
    matrices, rhs = system(1.0, 20.0)
    matrices[1] = torch.diag(torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64).repeat(4))
    solution = solve(matrices, rhs, tolerance=1e-12, iterations=20)
    assert solution.iterations.tolist() == [1, 3]
    assert (solution.residual <= 1e-12).all()


def test_batch_items_are_independent():
    matrices, rhs = system(1.0, 1.5, 1e4, 10.0)
    rhs = rhs * torch.tensor([1e3, 1.0, 1e-5, 10.0], dtype=torch.float64)[:, None, None]
    together = solve(matrices, rhs, tolerance=1e-3, iterations=11)
    alone = [solve(matrices[i : i + 1], rhs[i : i + 1], tolerance=1e-3, iterations=11) for i in range(4)]
    assert together.iterations.tolist() == [one.iterations.item() for one in alone]
    assert len(set(together.iterations.tolist())) > 2
    for i, one in enumerate(alone):
        torch.testing.assert_close(together.x[i : i + 1], one.x, rtol=1e-9, atol=0)


def test_converged_items_do_not_change_while_others_continue():
    matrices, rhs = system(1.3, 1e5)
    first = solve(matrices[:1], rhs[:1], tolerance=1e-3, iterations=50)
    both = solve(matrices, rhs, tolerance=1e-3, iterations=50)
    assert both.iterations[1] > first.iterations[0] + 3
    assert torch.equal(both.x[:1], first.x)
    # Within the tolerance, but more steps would reduce it further.
    assert 1e-5 < both.residual[0] < 1e-3


def test_tolerance_is_relative_to_the_right_hand_side():
    matrices, rhs = system(20.0)
    small, large = (solve(matrices, scale * rhs, tolerance=1e-3, iterations=50) for scale in (2.0**-30, 2.0**30))
    assert small.iterations == large.iterations
    assert torch.equal(small.residual, large.residual)
    assert solve(matrices, rhs, tolerance=0.1, iterations=50).iterations < small.iterations


def test_reports_items_that_did_not_converge():
    matrices, rhs = system(1.0, 1e6)
    solution = solve(matrices, rhs, tolerance=1e-6, iterations=3)
    assert solution.iterations.tolist() == [1, 3]
    assert (solution.residual <= 1e-6).tolist() == [True, False]
    residual = (rhs - product(matrices)(solution.x)).flatten(1).norm(dim=1) / rhs.flatten(1).norm(dim=1)
    torch.testing.assert_close(solution.residual, residual, rtol=1e-6, atol=1e-15)


def test_reports_the_true_residual_instead_of_the_recursive_one():
    # In float32 the recursive residual falls far below the tolerance, but the true one does not.
    matrices, rhs = (part.float() for part in system(1e4))
    solution = solve(matrices, rhs, tolerance=1e-9, iterations=500)
    assert solution.iterations < 500
    residual = (rhs.double() - product(matrices.double())(solution.x.double())).norm() / rhs.double().norm()
    assert residual > 1e-8
    assert solution.residual.item() == pytest.approx(residual.item(), rel=0.5)
    assert solution.residual > 1e-9


def test_start_is_used_and_not_modified():
    matrices, rhs = system(1e3)
    exact = dense_solution(matrices, rhs)
    kept = exact.clone()
    from_exact = solve(matrices, rhs, exact, tolerance=1e-9)
    assert from_exact.iterations.item() == 0
    assert torch.equal(from_exact.x, kept) and torch.equal(exact, kept)
    from_nearby = solve(matrices, rhs, exact + 1e-7, tolerance=1e-6, iterations=50)
    assert from_nearby.iterations < solve(matrices, rhs, tolerance=1e-6, iterations=50).iterations


def test_zero_iterations_return_the_start():
    matrices, rhs = system(10.0)
    solution = solve(matrices, rhs, torch.ones_like(rhs), iterations=0)
    assert torch.equal(solution.x, torch.ones_like(rhs))
    assert solution.residual > 0.1


@pytest.mark.parametrize("with_start", [False, True])
def test_zero_right_hand_side_gives_zero(with_start):
    matrices, rhs = system(10.0, 10.0)
    rhs[0] = 0
    solution = solve(matrices, rhs, torch.ones_like(rhs) if with_start else None, tolerance=1e-10, iterations=50)
    assert torch.equal(solution.x[0], torch.zeros_like(rhs[0]))
    assert solution.iterations[0] == 0 and solution.residual[0] == 0
    assert (solution.residual <= 1e-10).all()
    torch.testing.assert_close(solution.x[1:], dense_solution(matrices, rhs)[1:], rtol=0, atol=1e-8)


def test_semidefinite_system_gives_the_minimum_norm_solution():
    matrices, rhs = system(10.0)
    values, vectors = torch.linalg.eigh(matrices)
    values[:, :4] = 0
    singular = vectors * values[:, None, :] @ vectors.mT
    consistent = product(singular)(rhs)
    solution = solve(singular, consistent, tolerance=1e-12, iterations=50)
    minimum_norm = (torch.linalg.pinv(singular) @ consistent.flatten(1)[:, :, None]).reshape(rhs.shape)
    torch.testing.assert_close(solution.x, minimum_norm, rtol=0, atol=1e-10)


def test_inconsistent_item_stops_and_is_reported():
    diagonal = torch.tensor([[1.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    rhs = torch.ones(2, 2, dtype=torch.float64)
    solution = conjugate_gradient(lambda v: diagonal * v, rhs, tolerance=1e-12, iterations=20)
    assert solution.x.isfinite().all()
    assert solution.iterations.tolist() == [1, 2]
    assert (solution.residual <= 1e-12).tolist() == [False, True]
    assert solution.residual[0] == pytest.approx(1.0)
    torch.testing.assert_close(solution.x[1], torch.tensor([1.0, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype(dtype):
    matrices, rhs = (part.to(dtype) for part in system(10.0, 20.0))
    solution = solve(matrices, rhs)
    assert solution.x.dtype == solution.residual.dtype == dtype
    assert solution.iterations.dtype == torch.int64
    assert solution.x.shape == rhs.shape and solution.iterations.shape == solution.residual.shape == (2,)
