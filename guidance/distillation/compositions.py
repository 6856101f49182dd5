"""Composed generators: sheets of pixels, seen in several ways at once, each under a prompt of its own.

`ARRANGEMENTS` lists how sheets make views. A new one is an entry: its number of sheets, and a function for each view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.denoiser import NULL, TARGET, GuidanceOverride, PairedDenoiser, numbered
from ..core.noise import derived_seed

# Arrangements


@dataclass(frozen=True)
class Look:
    """How views are looked at: the `seed` of the jigsaw's permutation, and the `light` behind stacked sheets.

    Light 1 is as bright as white paper.
    """

    seed: int = 0
    light: float = 1.0


View = Callable[[Tensor, Look], Tensor]
"""Maps sheets (S, C, H, W) in [0, 1] to the image (C, H, W) in [0, 1] that one sees. Differentiable."""


def alone(sheets: Tensor, look: Look, *, sheet: int = 0) -> Tensor:
    """One sheet as it is."""
    return sheets[sheet]


def flipped(sheets: Tensor, look: Look) -> Tensor:
    """The sheet upside down, as a mirror image."""
    return sheets[0].flip(-2)


def turned(sheets: Tensor, look: Look, *, quarters: int) -> Tensor:
    """The sheet, turned counterclockwise by quarter turns."""
    return sheets[0].rot90(quarters, (-2, -1))


def jigsaw(sheets: Tensor, look: Look, *, cells: int) -> Tensor:
    """The sheet, cut into `cells` x `cells` square pieces that are put together in another order."""
    return permuted(sheets[0], cells, permutation(cells**2, look.seed))


def stacked(sheets: Tensor, look: Look, *, quarters: int = 0) -> Tensor:
    """All sheets on top of each other, in front of the light; the last one is turned by quarter turns."""
    *lower, top = sheets
    return exposed(torch.stack([*lower, top.rot90(quarters, (-2, -1))]).prod(0), look.light)


@dataclass(frozen=True)
class Arrangement:
    """A number of sheets, and what is seen of them: `views`, one for each prompt.

    `light` is how bright the light behind stacked sheets should be. Sides are multiples of `cells` pixels.
    """

    sheets: int
    views: Sequence[View]
    light: float = 1.0
    cells: int = 1


ARRANGEMENTS: dict[str, Arrangement] = {
    "flip": Arrangement(1, [alone, flipped]),
    "rotate 90": Arrangement(1, [alone, partial(turned, quarters=1)]),
    "rotate 180": Arrangement(1, [alone, partial(turned, quarters=2)]),
    "jigsaw": Arrangement(1, [alone, partial(jigsaw, cells=4)], cells=4),
    "rotation overlay": Arrangement(2, [partial(stacked, quarters=quarters) for quarters in range(4)], light=2.0),
    "hidden overlay": Arrangement(4, [*(partial(alone, sheet=sheet) for sheet in range(4)), stacked], light=3.0),
    "hidden overlay of 2": Arrangement(2, [alone, partial(alone, sheet=1), stacked], light=2.0),
}
"""By name. Overlays are those of Diffusion Illusions (Burgert et al., 2023). A product of sheets is darker than each
of them, hence the brighter light."""


def permutation(count: int, seed: int) -> list[int]:
    """A random order of `count` pieces, in which no piece stays where it is if that is possible."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "jigsaw"))
    order = torch.randperm(count, generator=generator).tolist()
    moved = dict(zip(order, order[1:] + order[:1]))  # a single cycle
    return [moved[place] for place in range(count)]


def permuted(image: Tensor, cells: int, order: Sequence[int]) -> Tensor:
    """An image (C, H, W) cut into `cells` x `cells` pieces, row by row; place i gets piece `order[i]`."""
    height, width = (side // cells for side in image.shape[-2:])
    pieces = image.unfold(-2, height, height).unfold(-2, width, width).flatten(1, 2)[:, order]
    return pieces.unflatten(1, (cells, cells)).transpose(2, 3).flatten(3).flatten(1, 2)


def exposed(product: Tensor, light: float) -> Tensor:
    """`min(1, light product)`. Where it is overexposed, only gradients that make it darker pass."""
    return _Exposed.apply(product, light)


class _Exposed(torch.autograd.Function):
    """Plain clamping would pass no gradient at all, and a white spot would stay white."""

    @staticmethod
    def forward(ctx: Any, product: Tensor, light: float) -> Tensor:
        lit = light * product
        ctx.save_for_backward(lit <= 1)
        ctx.light = light
        return lit.clamp(max=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (within,), (gradient,) = ctx.saved_tensors, gradients
        return ctx.light * gradient * (within | (gradient > 0)), None


# The generator

Turns = Callable[[int], Sequence[int]]
"""Maps the index of a step to the views that it takes, always equally many."""


def all_views(count: int, seed: int) -> Turns:
    """Every view in every step."""
    return lambda step: range(count)


def in_turn(count: int, seed: int) -> Turns:
    """One view in each step, one after another."""
    return lambda step: (step % count,)


def at_random(count: int, seed: int) -> Turns:
    """One view in each step, drawn at random."""
    return lambda step: (derived_seed(seed, "view", step) % count,)


TURNS: dict[str, Callable[[int, int], Turns]] = {"all": all_views, "in turn": in_turn, "random": at_random}
"""Which views a step takes, by name; each takes the number of views and a seed."""


FINE_SHARES = (0.25, 0.5)
"""How much the changes at full and at half size count; all coarser ones count whole. Tuned on the reference model:
with 1 everywhere, noise builds up in single pixels."""
COARSEST = 4
"""The side in pixels below which there are no coarser changes."""


class Composition:
    """Sheets (S, 3, H, W) in [0, 1] that start at `start`; the latents are those of the views that a step takes.

    The parameters are changes of the sheets at full size, at half of it, a quarter, and so on, which add up. Adam
    moves every parameter equally far, so large areas change together and little noise builds up in single pixels.
    What leaves the range [0, 1] is taken back from the finest change.
    `encode` maps images (K, 3, H, W) to latents differentiably; it sees them moved by up to `shift` pixels, so that no
    texture builds up that fits the grid of its cells. Unlike the items of other generators, views share
    parameters: their gradients add up. `current` holds the views of the latest step.
    """

    def __init__(
        self,
        start: Tensor,
        arrangement: Arrangement,
        encode: Callable[[Tensor], Tensor],
        turns: Turns | None = None,
        look: Look = Look(),
        shift: int = 0,
    ):
        self._start, self._arrangement, self._encode, self._look = start, arrangement, encode, look
        self._turns = turns or all_views(len(arrangement.views), 0)
        self._step, self._shift = 0, shift
        self._followers: list[tuple[Tensor, Tensor]] = []
        sizes = [start.shape[-2:]]
        while max(sizes[-1]) > COARSEST:
            sizes.append(torch.Size(max(side // 2, 1) for side in sizes[-1]))
        self._changes = [start.new_zeros(*start.shape[:2], *size).requires_grad_() for size in sizes]
        self.current: tuple[int, ...] = ()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return self._changes

    @property
    def sheets(self) -> Tensor:
        """The current sheets (S, 3, H, W), without gradients."""
        with torch.no_grad():
            return self._sheets()

    def views(self) -> Tensor:
        """The images (V, 3, H, W) of all views, without gradients."""
        with torch.no_grad():
            return self._seen(range(len(self._arrangement.views)))

    def __call__(self) -> Tensor:
        self.current = tuple(self._turns(self._step))
        self._step += 1
        for every, chosen in self._followers:
            chosen.copy_(every[list(self.current)])
        return self._encode(self._shifted(self._seen(self.current)))

    def following(self, values: Tensor) -> Tensor:
        """Of values of all views (V, ...), those of a step's views (K, ...). Every step overwrites them."""
        chosen = values[list(self._turns(0))].clone()
        self._followers.append((values, chosen))
        return chosen

    def _sheets(self) -> Tensor:
        finest, *others = self._changes
        shares = [*FINE_SHARES, *(1.0 for _ in others)]
        larger = [F.interpolate(change, finest.shape[-2:], mode="bilinear") for change in others]
        return self._start + sum(share * change for share, change in zip(shares, [finest, *larger]))

    def _seen(self, chosen: Sequence[int]) -> Tensor:
        sheets = self._sheets()
        return torch.stack([self._arrangement.views[i](sheets, self._look) for i in chosen])

    def _shifted(self, images: Tensor) -> Tensor:
        """Each image moved by up to `shift` pixels, other ones in every step; border pixels are repeated."""
        if not self._shift:
            return images
        draws = [derived_seed(self._look.seed, "shift", self._step, i) for i in range(len(images))]
        span, (height, width) = 2 * self._shift + 1, images.shape[-2:]
        padded = F.pad(images, (self._shift,) * 4, mode="replicate")
        places = [(draw % span, draw // span % span) for draw in draws]
        return torch.stack(
            [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)]
        )

    def constrain(self) -> None:
        with torch.no_grad():
            sheets = self._sheets()
            self._changes[0] += (sheets.clamp(0, 1) - sheets) / FINE_SHARES[0]


# The denoiser


def conditionings_of_views(kinds: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The conditionings of each kind, one per view, by the names that `ViewDenoiser` asks for."""
    return {numbered(kind, i): value for kind, values in kinds.items() for i, value in enumerate(values)}


@dataclass(frozen=True)
class ViewDenoiser:
    """A `PairedDenoiser` that gives each item the prompts of its view: `numbered(TARGET, i)` for view i, and so on.

    `current` says which view each item is now. One model call wherever the denoiser can batch the prompts.
    """

    denoise: PairedDenoiser
    current: Callable[[], Sequence[int]]

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return self.paired([x], sigma, [names])[0]

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        views = self.current()
        levels = sigma.expand(len(xs), len(views))
        states = [x[i : i + 1] for x in xs for i in range(len(views))]
        prompts = [[numbered(name, view) for name in each] for each in names for view in views]
        found = self.denoise.paired(states, levels.reshape(-1, 1), prompts)
        rows = [found[at : at + len(views)] for at in range(0, len(found), len(views))]
        return [[torch.cat(column) for column in zip(*row, strict=True)] for row in rows]


@dataclass(frozen=True)
class GuidedViewDenoiser(ViewDenoiser):
    """A `ViewDenoiser` of a denoiser with a rule of guidance of its own: a `GuidanceOverride`."""

    def guided(
        self, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = (NULL, TARGET)
    ) -> tuple[Tensor, Tensor]:
        rule: Any = self.denoise
        levels = sigma.expand(len(x))
        null, target = names
        pairs = [
            rule.guided(x[i : i + 1], levels[i : i + 1], scale, (numbered(null, view), numbered(target, view)))
            for i, view in enumerate(self.current())
        ]
        nulls, guided = zip(*pairs, strict=True)
        return torch.cat(nulls), torch.cat(guided)


def per_view(denoise: PairedDenoiser, current: Callable[[], Sequence[int]]) -> ViewDenoiser:
    """The `ViewDenoiser` of a denoiser, which keeps its rule of guidance."""
    kind = GuidedViewDenoiser if isinstance(denoise, GuidanceOverride) else ViewDenoiser
    return kind(denoise, current)
