"""Gradient paints evaluated at pixels, differentiable in their stops and their geometry.

Each pixel center is mapped to the gradient's own space, where the gradient's parameter t is found; the stops then give
the color by linear interpolation in straight RGBA.

Linear: t is the projection on the axis from s to e, t = (p - s) . (e - s) / |e - s|^2.

Radial: circles are interpolated from the focus f with radius 0 to the center c with radius r. The circle with parameter
t goes through p if |p - f - t (c - f)| = t r. With d = c - f and q = p - f, squaring gives

    a t^2 - 2 b t + c0 = 0,    a = |d|^2 - r^2,    b = d . q,    c0 = |q|^2,

and SVG takes the largest root with t >= 0, since a negative t would be a negative radius. For either sign of a, the
larger root is (b + sign(a) sqrt(b^2 - a c0)) / a. With the focus inside the circle, a < 0 and every point has such a
root. With the focus on it, a = 0 and t = c0 / (2 b), for b > 0 only. With the focus outside, some points lie on no
circle and stay transparent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..document import Spread

FOCUS_ON_CIRCLE = 1e-5
"""Below this |a| / r^2, the quadratic of a radial gradient is solved as a linear equation."""


@dataclass(frozen=True)
class GradientPaint:
    """A linear or radial gradient as tensors.

    Attributes:
        geometry: (x1, y1, x2, y2), or (center x, center y, focus x, focus y, radius), in the gradient's own space, with
            its start or center as the origin.
        inverse: The affine map (2, 3) from pixels to that space.
        offsets: Stop offsets (N,), ascending in [0, 1].
        colors: Straight sRGB and opacity (N, 4) of the stops, in [0, 1].
        spread: What happens outside [0, 1].
    """

    geometry: Tensor
    inverse: Tensor
    offsets: Tensor
    colors: Tensor
    spread: Spread

    @property
    def is_radial(self) -> bool:
        """Whether `geometry` is that of a radial gradient."""
        return len(self.geometry) == 5

    def at(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Straight color and opacity (4, height, width) at the pixel centers of a box.

        A gradient without length is the last stop's color, as SVG 2, sections 13.7.2.2 and 13.7.2.3, says.
        """
        if not (self.geometry[4] if self.is_radial else self.geometry[2:] - self.geometry[:2]).any():
            return self.colors[-1][:, None, None].expand(4, height, width)
        y = torch.arange(top, top + height).to(self.inverse) + 0.5
        x = torch.arange(left, left + width).to(self.inverse) + 0.5
        pixels = torch.stack(
            (x.expand(height, -1), y[:, None].expand(-1, width), torch.ones_like(x).expand(height, -1))
        )
        t, defined = self._parameter(torch.einsum("ij,jhw->ihw", self.inverse, pixels))
        color = self._color(_spread(t, self.spread))
        return torch.cat((color[:3], color[3:] * defined))

    def _parameter(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """The parameter t (H, W) at points (2, H, W) of the gradient's space, and 1 where it is defined, else 0."""
        if self.is_radial:
            return self._radial_parameter(p)
        start, axis = self.geometry[:2], self.geometry[2:] - self.geometry[:2]
        t = torch.einsum("i,ihw->hw", axis, p - start[:, None, None]) / axis.square().sum()
        return t, torch.ones_like(t)

    def _radial_parameter(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """SVG 2, section 13.7.2.3; see the module's docstring."""
        center, focus, radius = self.geometry[:2], self.geometry[2:4], self.geometry[4]
        to_center, q = center - focus, p - focus[:, None, None]
        a = to_center.square().sum() - radius.square()
        b, c = torch.einsum("i,ihw->hw", to_center, q), q.square().sum(0)
        if a.abs() < FOCUS_ON_CIRCLE * radius.square():
            return c / (2 * torch.where(b > 0, b, torch.inf)), (b > 0).to(b)
        d = b.square() - a * c
        # The square root is kept above 0, where its derivative is infinite.
        t = (b + a.sign() * d.clamp(min=torch.finfo(p.dtype).tiny).sqrt()) / a
        return t, ((d >= 0) & (t >= 0)).to(t)

    def _color(self, t: Tensor) -> Tensor:
        if len(self.offsets) == 1:
            return self.colors[0][:, None, None].expand(4, *t.shape)
        after = torch.searchsorted(self.offsets, t.detach(), right=True).clamp(1, len(self.offsets) - 1)
        low, high = self.offsets[after - 1], self.offsets[after]
        fraction = ((t - low) / (high - low).clamp(min=torch.finfo(t.dtype).eps)).clamp(0, 1)
        return torch.lerp(self.colors[after - 1].movedim(-1, 0), self.colors[after].movedim(-1, 0), fraction)


def _spread(t: Tensor, spread: Spread) -> Tensor:
    """Bring t into [0, 1]; "pad" is left to the clamp in `_color`."""
    if spread == "repeat":
        return t - t.detach().floor()
    if spread == "reflect":
        return 1 - (1 - (t - 2 * (t.detach() / 2).floor())).abs()
    return t
