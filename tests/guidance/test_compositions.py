"""Composed views: what each shows, their gradients, and prompts of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from dreamsampler.guidance.core.denoiser import GuidanceOverride
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.compositions import (
    ARRANGEMENTS,
    TURNS,
    Composition,
    Look,
    per_view,
    permutation,
)
from dreamsampler.guidance.distillation.loop import Plan, descent_at_rates, optimize
from dreamsampler.guidance.distillation.objective import WEIGHTS
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.schedules import Given, Uniform
from support.oracle import MixtureDenoiser, gaussian
from torch import Tensor

every_arrangement = pytest.mark.parametrize("name", ARRANGEMENTS)


def sheets_of(name: str, size: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(ARRANGEMENTS[name].sheets, 3, size, size, generator=generator, dtype=torch.float64)


def shown(name: str, sheets: Tensor, look: Look) -> list[np.ndarray]:
    """The views as NumPy arrays (H, W, 3)."""
    return [view(sheets, look).movedim(0, -1).detach().numpy() for view in ARRANGEMENTS[name].views]


def lit(*sheets: np.ndarray, light: float) -> np.ndarray:
    return np.minimum(1, light * np.prod(sheets, axis=0))


@every_arrangement
def test_views_show_what_the_arrangement_says(name: str):
    sheets, light = sheets_of(name), 2.5
    a, *others = sheets.movedim(1, -1).numpy()
    views = shown(name, sheets, Look(light=light))
    if name == "jigsaw":  # tested below
        expected = [a, views[1]]
    else:
        expected = {
            "flip": lambda: [a, np.flipud(a)],
            "rotate 90": lambda: [a, np.rot90(a)],
            "rotate 180": lambda: [a, np.rot90(a, 2)],
            "rotation overlay": lambda: [lit(a, np.rot90(others[0], k), light=light) for k in range(4)],
            "hidden overlay": lambda: [a, *others, lit(a, *others, light=light)],
            "hidden overlay of 2": lambda: [a, *others, lit(a, *others, light=light)],
        }[name]()
    for view, image in zip(views, expected, strict=True):
        np.testing.assert_allclose(view, image, atol=1e-12)


def test_a_jigsaw_has_the_same_pieces_and_none_in_its_place():
    sheets = sheets_of("jigsaw")
    whole, cut = shown("jigsaw", sheets, Look(seed=3))

    def pieces(image: np.ndarray) -> list[bytes]:
        return [image[y : y + 2, x : x + 2].tobytes() for y in range(0, 8, 2) for x in range(0, 8, 2)]

    assert sorted(pieces(whole)) == sorted(pieces(cut))
    assert all(one != other for one, other in zip(pieces(whole), pieces(cut), strict=True))
    assert not np.array_equal(cut, shown("jigsaw", sheets, Look(seed=4))[1])
    assert permutation(2, 0) == [1, 0] and permutation(1, 0) == [0]


@every_arrangement
def test_gradients_are_those_of_finite_differences(name: str):
    composition = Composition(sheets_of(name), ARRANGEMENTS[name], torch.Tensor.square, look=Look(light=0.9))

    def latents(*changes: Tensor) -> Tensor:
        with torch.no_grad():
            for parameter, change in zip(composition.parameters, changes, strict=True):
                parameter.copy_(change)
        return composition()

    weights = torch.randn(composition().shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad((composition() * weights).sum(), composition.parameters)
    for i, gradient in enumerate(gradients):
        step = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(2 + i), dtype=torch.float64)
        zeros = [torch.zeros_like(parameter) for parameter in composition.parameters]
        up, down = ((latents(*zeros[:i], sign * step, *zeros[i + 1 :]) * weights).sum() for sign in (1e-6, -1e-6))
        assert ((up - down) / 2e-6).item() == pytest.approx((gradient * step).sum().item(), rel=1e-5, abs=1e-8)


def test_a_stack_is_never_brighter_than_the_lit_sheets_and_overexposed_pixels_can_darken():
    sheets = sheets_of("hidden overlay").requires_grad_()
    stack = ARRANGEMENTS["hidden overlay"].views[-1]
    for light in (1.0, 3.0):
        assert (stack(sheets, Look(light=light)) <= light * sheets.amin(0) + 1e-12).all()
    overexposed = stack(sheets, Look(light=1e6))
    assert (overexposed == 1).all()
    assert torch.autograd.grad(overexposed.sum(), sheets)[0].min() > 0
    assert torch.autograd.grad(-stack(sheets, Look(light=1e6)).sum(), sheets)[0].abs().max() == 0


class Numbered(MixtureDenoiser):
    """Prompts of two views over pixels of a sheet, with Gaussian answers."""

    def guided(
        self, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = ("negative", "positive")
    ) -> tuple[Tensor, Tensor]:
        null, target = self(x, sigma, names)
        return null, null + 0.5 * scale * (target - null)


SIDE = 4
MEANS = [torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (1, 2)]
MIXTURES = {f"positive {i}": gaussian(mean.flatten().tolist(), [0.1] * mean.numel()) for i, mean in enumerate(MEANS)}
MIXTURES |= {f"negative {i}": gaussian([0.5] * MEANS[0].numel(), [1.0] * MEANS[0].numel()) for i in range(2)}


@pytest.mark.parametrize("guided", [False, True])
def test_every_item_gets_the_prompts_of_its_view(guided: bool):
    inner = Numbered(MIXTURES) if guided else MixtureDenoiser(MIXTURES)
    current: Sequence[int] = (1, 0, 1)
    denoise = per_view(inner, lambda: current)
    x = torch.randn(3, MEANS[0].numel(), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    sigma = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    null, target = denoise(x, sigma, ("negative", "positive"))
    assert inner.batches == [6]  # all in one call
    for i, view in enumerate(current):
        own = inner(x[i : i + 1], sigma[i : i + 1], (f"negative {view}", f"positive {view}"))
        torch.testing.assert_close([null[i : i + 1], target[i : i + 1]], own)
    pairs = denoise.paired([x, 2 * x], torch.stack([sigma, sigma + 1]), [("positive",), ("negative",)])
    torch.testing.assert_close(pairs[0][0], target)
    torch.testing.assert_close(pairs[1][0], denoise(2 * x, sigma + 1, ("negative",))[0])
    assert isinstance(denoise, GuidanceOverride) == guided
    if isinstance(denoise, GuidanceOverride):
        torch.testing.assert_close(denoise.guided(x, sigma, 3.0)[1], null + 1.5 * (target - null))


@pytest.mark.parametrize("turns", ["all", "in turn"])
def test_the_sheet_becomes_the_compromise_of_its_views(turns: str):
    """With equal Gaussians for both views, the best sheet is the mean of their means, seen from the sheet."""
    composition = Composition(
        torch.full((1, 3, SIDE, SIDE), 0.5, dtype=torch.float64),
        ARRANGEMENTS["flip"],
        lambda images: images.flatten(1),
        TURNS[turns](2, 0),
    )
    prior = Prior(per_view(MixtureDenoiser(MIXTURES), lambda: composition.current), SCALED, lambda t: 0.5 + 0 * t)
    items = len(TURNS[turns](2, 0)(0))
    rates = [0.3 if step < 100 else 0.3 * 40 / (step - 60) for step in range(200)]
    still = torch.zeros(items, MEANS[0].numel(), dtype=torch.float64)
    plan = Plan(200, descent_at_rates("sgd", rates), Uniform(0.1, 0.9), Given(still), WEIGHTS["uniform"])
    for _ in optimize(prior, composition, SDS(1.0), plan=plan, noise=SeededNoise(range(items))):
        pass
    best = (MEANS[0] + MEANS[1].flip(-2)) / 2
    assert (composition.sheets[0] - best).abs().max() < 0.06
    assert composition.views().shape == (2, 3, SIDE, SIDE)


def test_sheets_stay_in_range_and_change_together():
    composition = Composition(sheets_of("flip", 16), ARRANGEMENTS["flip"], lambda images: images)
    before = composition.sheets
    with torch.no_grad():
        for change in composition.parameters:
            change += 0.3
    composition.constrain()
    assert composition.sheets.max() <= 1 + 1e-12 and (composition.sheets >= before - 1e-12).all()
    assert [tuple(change.shape[-2:]) for change in composition.parameters] == [(16, 16), (8, 8), (4, 4)]


def test_the_encoder_sees_views_moved_by_a_few_pixels_and_the_user_does_not():
    sheets = sheets_of("flip", 8)
    composition = Composition(sheets, ARRANGEMENTS["flip"], lambda images: images, shift=2)
    seen = [composition()[0] for _ in range(40)]
    padded = torch.nn.functional.pad(sheets, (2, 2, 2, 2), mode="replicate")[0]
    moved = [padded[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    places = {next(i for i, each in enumerate(moved) if torch.equal(each, image)) for image in seen}
    assert len(places) > 12
    assert torch.equal(composition.views(), torch.stack([sheets[0], sheets[0].flip(-2)]))


def test_one_view_a_step_is_taken_in_turn_or_at_random():
    assert [*TURNS["all"](3, 0)(7)] == [0, 1, 2]
    assert [TURNS["in turn"](3, 0)(step) for step in range(4)] == [(0,), (1,), (2,), (0,)]
    drawn = [TURNS["random"](3, 0)(step)[0] for step in range(300)]
    assert all(70 < drawn.count(view) < 130 for view in range(3))
    assert drawn != [TURNS["random"](3, 1)(step)[0] for step in range(300)]


def test_values_follow_the_views_of_a_step():
    arrangement = ARRANGEMENTS["rotation overlay"]
    composition = Composition(sheets_of("rotation overlay"), arrangement, lambda images: images, TURNS["in turn"](4, 0))
    values = torch.arange(4.0)[:, None]
    followed = composition.following(values)
    seen = []
    for _ in range(5):
        composition()
        seen.append(followed.item())
    assert seen == [0, 1, 2, 3, 0]
