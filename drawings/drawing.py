"""Drawings as what is optimised: leaves by the way they move, the pictures and latents they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..svg.document import WHITE, Color, Contour, Document, Fill, Point, Shape
from ..svg.raster.rasterizer import Rasterizer, rasterize
from ..svg.raster.scene import Scene, scene
from .augmentation import Augmentation
from .initialization import THIRDS, Paths, polygons
from .optimizer import extended, reset_state

GROUPS = ("points", "width", "color", "background")
"""How parameters are grouped, by the names that `schedules.LearningRates` knows."""
THINNEST = 0.01
"""Pixels that a stroke's width stays above, so that it keeps a gradient."""
STRAIGHT = 1e-3
"""Pixels by which a side's handles may be off its thirds and the side still counts as straight."""


class Drawing:
    """A document on a canvas, with its numbers as leaves.

    `moving` names which of `GROUPS` are optimised. Straight sides stay straight: their handles follow their ends. The
    canvas has the colour `paper`; where that is optimised it becomes part of the document, as its lowest path.
    """

    def __init__(
        self,
        document: Document,
        height: int,
        width: int,
        like: Tensor | None = None,
        *,
        moving: Iterable[str] = ("points", "width", "color"),
        paper: Color = WHITE,
    ):
        self.moving = frozenset(moving)
        self._made = made = scene(document, height, width, like)
        self.points, self.colors = self._leaf("points", made.points), self._leaf("color", made.colors)
        self.widths = self._leaf("width", made.widths)
        self.opacities = self._leaf("color", made.opacities)
        self._geometries = [self._leaf("points", paint.geometry * made.placement.a) for paint in made.gradients]
        self._stops = [self._leaf("color", paint.colors) for paint in made.gradients]
        self.paper = self._leaf("background", made.colors.new_tensor(paper))
        self._sides = _straight_sides(made)

    def _leaf(self, group: str, value: Tensor) -> Tensor:
        return value.detach().clone().requires_grad_(group in self.moving)

    @property
    def parameters(self) -> dict[str, list[Tensor]]:
        """What is optimised, by group."""
        groups = {
            "points": [self.points, *self._geometries],
            "width": [self.widths],
            "color": [self.colors, self.opacities, *self._stops],
            "background": [self.paper],
        }
        found = {name: [leaf for leaf in leaves if leaf.numel()] for name, leaves in groups.items()}
        return {name: leaves for name, leaves in found.items() if leaves and name in self.moving}

    def scene(self) -> Scene:
        """What the rasteriser draws, differentiable in the parameters."""
        made, points = self._made, self.points
        if len(self._sides):
            start, *handles, end = self._sides.unbind(1)
            thirds = [torch.lerp(points[start], points[end], third) for third in THIRDS[1:]]
            points = points.index_copy(0, torch.cat(handles), torch.cat(thirds))
        gradients = tuple(
            dataclasses.replace(paint, geometry=geometry / made.placement.a, colors=stops)
            for paint, geometry, stops in zip(made.gradients, self._geometries, self._stops)
        )
        leaves = {"colors": self.colors, "widths": self.widths, "opacities": self.opacities}
        return dataclasses.replace(made, points=points, gradients=gradients, **leaves)

    def document(self) -> Document:
        """The drawing as it is now."""
        found = self.scene().to_document()
        if "background" not in self.moving:
            return found
        x, y, width, height = found.view_box
        corners = torch.tensor([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=torch.float64)
        outline = Contour(tuple(Point(*place) for place in polygons(corners[None])[0].tolist()), closed=True)
        sheet = Shape((outline,), Fill(Color(*self.paper.detach().clamp(0, 1).tolist())), name="background")
        return dataclasses.replace(found, children=(sheet, *found.children))

    def constrain(self) -> None:
        """Bring colours into [0, 1] and widths above 0."""
        clamp_colors(self.colors, self.opacities, self.paper, *self._stops)
        with torch.no_grad():
            self.widths.clamp_(min=THINNEST)

    def append(self, paths: Paths, optimizer: Optimizer) -> None:
        """Lay more paths, of the kind it is made of, over it; the optimiser keeps what it knows of the others."""
        made = self._made
        children = (*made.document.children, *paths.shapes(made.placement))
        self._made = scene(dataclasses.replace(made.document, children=children), made.height, made.width, self.points)
        self._sides = _straight_sides(self._made)
        self.points = self._extended("points", self.points, paths.points.flatten(0, 1), optimizer)
        self.colors = self._extended("color", self.colors, paths.colors, optimizer)
        if paths.widths is not None:
            self.widths = self._extended("width", self.widths, paths.widths, optimizer)

    def _extended(self, group: str, leaf: Tensor, rows: Tensor, optimizer: Optimizer) -> Tensor:
        rows = rows.to(leaf)
        return extended(optimizer, leaf, rows) if group in self.moving else torch.cat([leaf, rows])

    @property
    def paths(self) -> Tensor:
        """The control points (N, n, 2) of a drawing of `Paths`."""
        return self.points.detach().reshape(len(self.colors), -1, 2)

    def replace(self, rows: Tensor, paths: Paths, optimizer: Optimizer) -> None:
        """Put new paths in the place of some, `rows` (K,), of a drawing of such paths; the optimiser forgets those."""
        count = paths.points.shape[1]
        of_points = (rows[:, None] * count + torch.arange(count, device=rows.device)).flatten()
        changes = [
            ("points", self.points, of_points, paths.points.flatten(0, 1)),
            ("color", self.colors, rows, paths.colors),
        ]
        if paths.widths is not None:
            changes.append(("width", self.widths, rows, paths.widths))
        for group, leaf, where, values in changes:
            with torch.no_grad():
                leaf[where] = values.to(leaf)
            if group in self.moving:
                reset_state(optimizer, leaf, where)


class Drawings:
    """A batch of drawings on canvases of one size as a generator of latents; no two share a parameter.

    `encode` takes pictures (B, 3, h, w) in [-1, 1] to latents. Where `views` is given, each call makes the views that
    are encoded instead of the pictures themselves.
    """

    def __init__(
        self,
        drawings: Sequence[Drawing],
        encode: Callable[[Tensor], Tensor],
        views: Callable[[], Augmentation] | None = None,
        rasterizer: Rasterizer = rasterize,
    ):
        self.drawings, self._encode, self._views, self._rasterizer = drawings, encode, views, rasterizer
        with torch.no_grad():
            self.pictures = self.rasterized()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [leaf for leaves in self.groups.values() for leaf in leaves]

    @property
    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters of all drawings, by group."""
        return grouped(self.drawings)

    def rasterized(self) -> Tensor:
        """The pictures (B, 3, H, W) in [0, 1] of the drawings as they are now."""
        return rasterized(self.drawings, self._rasterizer)

    def encoded(self, pictures: Tensor) -> Tensor:
        """The latents of pictures (B, 3, h, w) in [0, 1]."""
        return self._encode(2 * pictures - 1)

    def __call__(self) -> Tensor:
        self.pictures = self.rasterized()
        if self._views is None:
            return self.encoded(self.pictures)
        paper = torch.stack([drawing.paper for drawing in self.drawings])
        return self.encoded(self._views()(self.pictures, paper))

    def constrain(self) -> None:
        for drawing in self.drawings:
            drawing.constrain()


def rasterized(drawings: Sequence[Drawing], rasterizer: Rasterizer = rasterize) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] of drawings on canvases of one size."""
    papers = torch.stack([drawing.paper for drawing in drawings])
    return rasterizer([drawing.scene() for drawing in drawings], papers)[:, :3]


def cubics_of(drawing: Drawing) -> Tensor:
    """The control points (S, 4, 2) of a drawing's curves, in pixels."""
    made = drawing.scene()
    return made.points[made.layout.curves]


def grouped(drawings: Sequence[Drawing]) -> dict[str, list[Tensor]]:
    """The parameters of several drawings, by group."""
    found = [drawing.parameters for drawing in drawings]
    return {
        name: [leaf for parameters in found for leaf in parameters.get(name, [])]
        for name in GROUPS
        if any(name in parameters for parameters in found)
    }


def _straight_sides(made: Scene) -> Tensor:
    """The control points (K, 4) of straight cubics whose handles lie at the thirds."""
    p0, p1, p2, p3 = made.points[made.layout.curves].unbind(1)
    off = torch.stack([p1 - torch.lerp(p0, p3, THIRDS[1]), p2 - torch.lerp(p0, p3, THIRDS[2])])
    return made.layout.curves[(off.abs() <= STRAIGHT).all(0).all(-1)]


@torch.no_grad()
def clamp_colors(*colors: Tensor) -> None:
    """Bring colours and opacities back into [0, 1], in place, as PDS does after each step."""
    for color in colors:
        color.clamp_(0, 1)
