"""Losses of a drawing, compared with finite differences, closed forms and brute-force distances."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.losses import data_loss, kinks, saturation_penalty, udf_weight, xing
from support.clock import within
from support.tensors import uniform
from torch import Tensor


def cubic(*points: tuple[float, float]) -> Tensor:
    return torch.tensor([points], dtype=torch.float64)


ARCH = cubic((0, 0), (0, 10), (10, 10), (10, 0))
S_SHAPE = cubic((0, 0), (10, 0), (10, 10), (20, 10))
LOOP = cubic((0, 0), (30, 30), (-20, 30), (10, 0))


def xing_by_angles(points: Tensor) -> float:
    """The paper's formula for one cubic (4, 2), from angles instead of cross products."""
    (x1, y1), (x2, y2), (x3, y3) = (points[1:] - points[:-1]).tolist()
    theta = [torch.atan2(torch.tensor(y), torch.tensor(x)).item() for x, y in [(x1, y1), (x2, y2), (x3, y3)]]
    sin12, sin13 = (torch.sin(torch.tensor(angle - theta[0])).item() for angle in theta[1:])
    d = 1.0 if sin12 >= 0 else 0.0
    return d * max(-sin13, 0.0) + (1 - d) * max(sin13, 0.0)


def test_xing_matches_the_papers_formula():
    cubics = uniform(50, 4, 2, low=-40, high=40)
    expected = sum(xing_by_angles(points) for points in cubics) / 50
    assert expected > 0.1
    assert xing(cubics).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_xing_is_zero_for_an_arch_and_one_for_a_loop(mirrored):
    mirror = torch.tensor([1.0, -1.0] if mirrored else [1.0, 1.0], dtype=torch.float64)
    assert xing(mirror * ARCH) == 0
    assert xing(mirror * S_SHAPE) == 0
    # s1 = (30, 30) and s3 = (30, -30) are perpendicular.
    assert xing(mirror * LOOP).item() == pytest.approx(1.0)
    assert xing(torch.cat([mirror * ARCH, mirror * LOOP])).item() == pytest.approx(0.5)


def test_xing_depends_only_on_angles():
    cubics = uniform(20, 4, 2, low=-40, high=40)
    rotation = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(xing(7 * cubics @ rotation + 100), xing(cubics))


def test_gradient_of_xing():
    cubics = uniform(12, 4, 2, seed=1, low=-40, high=40).requires_grad_()
    assert torch.autograd.gradcheck(xing, cubics)


@pytest.mark.parametrize(
    "points",
    [
        [(3, 3)] * 4,
        [(0, 0), (0, 0), (10, 0), (10, 10)],
        [(0, 0), (10, 0), (10, 10), (10, 10)],
        [(0, 0), (10, 0), (10, 0), (10, 10)],
        [(0, 0), (10, 0), (10, 0), (10, -10)],
        [(0, 0), (1e-30, 0), (10, 10), (10, 0)],
        [(0, 0), (3, 0), (7, 0), (10, 0)],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_cubics_have_zero_loss_and_finite_gradients(points, dtype):
    cubics = torch.tensor([points], dtype=dtype, requires_grad=True)
    loss = xing(cubics)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-20)
    assert cubics.grad is not None and cubics.grad.isfinite().all()


def test_gradient_of_short_legs_is_bounded():
    cubics = (1e-7 * uniform(50, 4, 2, seed=2)).requires_grad_()
    xing(cubics).backward()
    assert cubics.grad is not None and cubics.grad.abs().max() <= 1 / 1e-2


def test_xing_without_cubics():
    assert xing(torch.zeros(0, 4, 2)) == 0


def test_optimizing_xing_removes_a_loop():
    cubics = (LOOP + 0.5 * uniform(1, 4, 2)).requires_grad_()
    optimizer = torch.optim.Adam([cubics], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        xing(cubics).backward()
        optimizer.step()
    assert xing(cubics) == 0


def test_data_loss_is_the_mean_per_image():
    rendered = torch.zeros(2, 3, 4, 5)
    target = torch.stack([torch.full((3, 4, 5), 0.5), torch.zeros(3, 4, 5)])
    target[1, 0, 2, 3] = 1
    torch.testing.assert_close(data_loss(rendered, target), torch.tensor([0.25, 1 / 60]))
    torch.testing.assert_close(data_loss(rendered, target, torch.ones(4, 5)), torch.tensor([0.75, 1 / 20]))


def test_weighted_data_loss():
    rendered, target = uniform(2, 3, 4, 5), uniform(2, 3, 4, 5, seed=1)
    weight = torch.zeros(2, 4, 5, dtype=torch.float64)
    weight[0, 1, 2], weight[1, 3, 4] = 0.5, 2.0
    expected = [
        0.5 * sum((rendered[0, c, 1, 2] - target[0, c, 1, 2]).item() ** 2 for c in range(3)) / 20,
        2.0 * sum((rendered[1, c, 3, 4] - target[1, c, 3, 4]).item() ** 2 for c in range(3)) / 20,
    ]
    assert data_loss(rendered, target, weight).tolist() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: data_loss(x, target, weight), rendered.requires_grad_())


@pytest.mark.parametrize(
    "color, penalty", [((0.5, 0.5, 0.5), 0), ((1, 0, 0), 1), ((1, 1, 1), 1), ((0.75, 0.5, 0.5), 1 / 12)]
)
def test_saturation_penalty_is_the_distance_from_gray(color, penalty):
    fills = torch.tensor([color], dtype=torch.float32).repeat(7, 1)
    assert saturation_penalty(fills).item() == pytest.approx(penalty)
    assert saturation_penalty(fills.mT.reshape(1, 3, 7, 1)).item() == pytest.approx(penalty)


def distances(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distances of points (N, 2) to an edge: the triangle's height, or a side if the foot is outside the edge."""
    to_start, to_end, length = (points - start).norm(dim=1), (points - end).norm(dim=1), (end - start).norm()
    obtuse = (to_start**2 - to_end**2).abs() >= length**2
    perimeter = (to_start + to_end + length) / 2
    heron = perimeter * (perimeter - to_start) * (perimeter - to_end) * (perimeter - length)
    return torch.where(obtuse, to_start.minimum(to_end), 2 * heron.clamp_min(0).sqrt() / length.clamp_min(1e-300))


def brute_force_udf(edges: Tensor, height: int, width: int, reach: float) -> Tensor:
    """Uses the distance of every pixel to every edge."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).reshape(-1, 2).double()
    nearest = torch.stack([distances(pixels, a, b) for a, b in edges]).amin(0)
    return ((reach - nearest.clamp_max(reach)) / reach).reshape(height, width)


EDGES = {
    "long": uniform(6, 2, 2, seed=3, low=-5, high=45),
    "short": uniform(9, 1, 2, seed=4, low=0, high=40) + uniform(9, 2, 2, seed=5),
    "both": torch.cat(
        [uniform(2, 2, 2, seed=6, low=0, high=40), uniform(20, 1, 2, seed=7, high=40) + uniform(20, 2, 2)]
    ),
    "points": uniform(5, 1, 2, seed=8, low=0, high=40).repeat(1, 2, 1),
    "axis-aligned": torch.tensor([[[0.0, 3], [40, 3]], [[7, 40], [7, -10]]], dtype=torch.float64),
    "far end points": torch.tensor([[[-800.0, -900], [600, 700]]], dtype=torch.float64),
    "outside": uniform(6, 2, 2, seed=9, low=41, high=60),
}


@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("reach", [10.0, 3.7, 0.8])
def test_udf_weight_is_the_truncated_distance(edges, reach):
    weight = udf_weight(edges, 35, 40, reach)
    # Heron's formula loses half of its digits near 0.
    torch.testing.assert_close(weight, brute_force_udf(edges, 35, 40, reach), rtol=0, atol=1e-5 / reach)
    single = udf_weight(edges.float(), 35, 40, reach)
    torch.testing.assert_close(single.double(), weight, rtol=0, atol=1e-3)


def test_udf_weight_of_a_line_is_a_ramp():
    weight = udf_weight(torch.tensor([[[-50.0, 20], [90, 20]]]), 40, 30)
    expected = (1 - (torch.arange(40) + 0.5 - 20).abs() / 10).clamp_min(0)[:, None].expand(-1, 30)
    torch.testing.assert_close(weight, expected)


def test_edges_far_outside_the_canvas_are_fast():
    edges = torch.tensor([[[-1e8, -1e8], [1e8, 1e8]], [[1e8, 0], [1e8, 1e8]]], dtype=torch.float64)
    expected = udf_weight(torch.tensor([[[-30.0, -30], [90, 90]]], dtype=torch.float64), 40, 30)
    weight = within(1, lambda: udf_weight(edges, 40, 30))
    torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6)


def test_udf_weight_without_edges_and_with_nan():
    assert (udf_weight(torch.zeros(0, 2, 2), 6, 8) == 0).all()
    edges = torch.tensor([[[3.0, 3], [float("nan"), 3]], [[1, 1], [5, 5]]])
    assert torch.equal(udf_weight(edges, 6, 8), udf_weight(edges[1:], 6, 8))


def test_udf_weight_is_independent_of_edge_subdivision():
    whole = torch.tensor([[[4.0, 6], [51, 33]]], dtype=torch.float64)
    t = torch.linspace(0, 1, 48, dtype=torch.float64)[:, None]
    points = whole[0, 0] + t * (whole[0, 1] - whole[0, 0])
    subdivided = torch.stack([points[:-1], points[1:]], 1)
    torch.testing.assert_close(udf_weight(subdivided, 40, 60), udf_weight(whole, 40, 60), rtol=0, atol=1e-12)


def test_udf_weight_has_no_gradient_and_does_not_modify_edges():
    edges = uniform(4, 2, 2, high=20).requires_grad_()
    before = edges.detach().clone()
    assert not udf_weight(edges, 20, 20).requires_grad
    assert torch.equal(edges, before)


def test_udf_weight_of_many_edges_is_fast():
    """2,000 edges of 8 px on 512 x 512 pixels: 524 million distances by brute force."""
    starts = uniform(2000, 1, 2, low=0, high=512).float()
    edges = torch.cat([starts, starts + uniform(2000, 1, 2, seed=1, low=-8, high=8).float()], 1)
    within(3, lambda: udf_weight(edges, 512, 512))


# Kinks


@pytest.mark.parametrize("degrees, cost", [(0, 0.0), (60, 0.5), (90, 1.0), (180, 2.0)])
def test_a_kink_costs_one_minus_the_cosine_of_its_angle(degrees: float, cost: float):
    out = torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=torch.float64)
    join = torch.stack([torch.tensor([-3.0, 0.0]), torch.zeros(2), 2 * out])
    assert float(kinks(join[None])) == pytest.approx(cost, abs=1e-9)


def test_kinks_are_a_mean_and_nothing_without_joins():
    straight = torch.tensor([[-1.0, 0], [0, 0], [1, 0]])
    back = torch.tensor([[-1.0, 0], [0, 0], [-1, 0]])
    assert float(kinks(torch.stack([straight, back]))) == pytest.approx(1.0)
    assert float(kinks(torch.zeros(0, 3, 2))) == 0


def test_kinks_have_a_finite_gradient_where_handles_are_on_their_point():
    joins = torch.zeros(1, 3, 2, requires_grad=True)
    kinks(joins).backward()
    assert joins.grad is not None and joins.grad.isfinite().all()
