"""Gradients as colours of pixels, differentiable in their stops and in their geometry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..document import Spread

ON_THE_CIRCLE = 1e-5
"""Below this, relative to the radius' square, the quadratic of a radial gradient is a linear equation."""


@dataclass(frozen=True)
class GradientPaint:
    """A linear or radial gradient as tensors.

    `geometry` is (x1, y1, x2, y2) or (centre x, centre y, focus x, focus y, radius) in the gradient's own space, to
    which `inverse` (2, 3) takes pixels. `offsets` (N,) rise from 0 to 1; `colors` (N, 4) are straight sRGB and opacity.
    """

    geometry: Tensor
    inverse: Tensor
    offsets: Tensor
    colors: Tensor
    spread: Spread

    def at(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Straight colour and opacity (4, height, width) at the centres of a box of pixels."""
        y = torch.arange(top, top + height).to(self.inverse) + 0.5
        x = torch.arange(left, left + width).to(self.inverse) + 0.5
        pixels = torch.stack(
            (x.expand(height, -1), y[:, None].expand(-1, width), torch.ones_like(x).expand(height, -1))
        )
        t, seen = self._along(torch.einsum("ij,jhw->ihw", self.inverse, pixels))
        color = self._color(_spread(t, self.spread))
        return torch.cat((color[:3], color[3:] * seen))

    def _along(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient's parameter at places (2, H, W) of its own space, and whether there is one."""
        if len(self.geometry) == 4:
            start, along = self.geometry[:2], self.geometry[2:] - self.geometry[:2]
            t = torch.einsum("i,ihw->hw", along, p - start[:, None, None]) / along.square().sum()
            return t, torch.ones_like(t)
        return self._between_circles(p)

    def _between_circles(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """The largest t >= 0 whose circle, between the focus and the outer circle, goes through p (SVG 2, 13.7.2.3).

        It solves a t² - 2 b t + c = 0. With the focus on the outer circle a is 0, outside it there are places that no
        circle reaches.
        """
        centre, focus, radius = self.geometry[:2], self.geometry[2:4], self.geometry[4]
        to_centre, q = centre - focus, p - focus[:, None, None]
        a = to_centre.square().sum() - radius.square()
        b, c = torch.einsum("i,ihw->hw", to_centre, q), q.square().sum(0)
        if a.abs() < ON_THE_CIRCLE * radius.square():
            return c / (2 * torch.where(b > 0, b, torch.inf)), (b > 0).to(b)
        d = b.square() - a * c
        t = (b + a.sign() * d.clamp(min=torch.finfo(p.dtype).tiny).sqrt()) / a
        return t, ((d >= 0) & (t >= 0)).to(t)

    def _color(self, t: Tensor) -> Tensor:
        if len(self.offsets) == 1:
            return self.colors[0][:, None, None].expand(4, *t.shape)
        after = torch.searchsorted(self.offsets, t.detach(), right=True).clamp(1, len(self.offsets) - 1)
        low, high = self.offsets[after - 1], self.offsets[after]
        share = ((t - low) / (high - low).clamp(min=torch.finfo(t.dtype).eps)).clamp(0, 1)
        return torch.lerp(self.colors[after - 1].movedim(-1, 0), self.colors[after].movedim(-1, 0), share)


def _spread(t: Tensor, spread: Spread) -> Tensor:
    if spread == "repeat":
        return t - t.detach().floor()
    if spread == "reflect":
        return 1 - (1 - (t - 2 * (t.detach() / 2).floor())).abs()
    return t
