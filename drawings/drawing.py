"""Drawings as parameters: the tensors of an SVG that are optimized, the images they render to, and their latents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..svg.document import WHITE, Color, Contour, Document, Fill, Node, Point, Shape
from ..svg.raster.rasterizer import Rasterizer, rasterize
from ..svg.raster.scene import Scene, scene
from .augmentation import Augmentation
from .initialization import THIRDS, Paths, polygons
from .optimizer import append_rows, reset_state
from .selection import Selection

PARAMETER_GROUPS = ("points", "width", "color", "background")
"""The groups that parameters are optimized in, each with a learning rate of its own (`optimizer.LearningRates`)."""
OPTIMIZABLE = (*PARAMETER_GROUPS, "opacity")
"""What can be optimized: the groups, and opacities, which are in the group of colors."""
MIN_WIDTH = 0.01
"""Smallest width of a stroke in pixels: above 0, where the gradient would vanish."""
SMOOTH = math.cos(math.radians(12))
"""Cosine of the largest turn of a join that counts as smooth."""
STRAIGHT_TOLERANCE = 1e-3
"""How far the handles of a side may be from its thirds for the side to count as straight: in pixels, or for sides
shorter than a pixel as a fraction of their length."""


class Drawing:
    """An SVG document on a canvas of pixels, with its numbers as leaf tensors.

    Straight sides stay straight: their handles follow their end points. Points on the border of the canvas stay on it.

    Args:
        document: The SVG.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        like: A tensor whose dtype and device are used; float32 on the CPU by default.
        optimized: Which of `OPTIMIZABLE` change. Without "opacity", what is opaque stays opaque.
        selected: Which parts change; all by default.
        background: The color of the canvas. If "background" is optimized, the canvas becomes the lowest path of
            `document()`.

    Attributes:
        points: Control points (P, 2) as (x, y), in pixels.
        colors: Straight colors and opacities (L, 4) of fills and strokes, in [0, 1].
        widths: Widths (K,) of the strokes, in pixels.
        opacities: Opacities (G,) of the groups, in [0, 1].
        background: The color (3,) of the canvas, in [0, 1].
    """

    def __init__(
        self,
        document: Document,
        height: int,
        width: int,
        like: Tensor | None = None,
        *,
        optimized: Iterable[str] = ("points", "width", "color"),
        selected: Selection | None = None,
        background: Color = WHITE,
    ):
        self.optimized, self._selected = frozenset(optimized), selected
        self._template = start = scene(document, height, width, like)
        self.points = self._leaf("points", start.points)
        self.colors = self._leaf("color", start.colors)
        self.widths = self._leaf("width", start.widths)
        self.opacities = self._leaf("opacity", start.opacities)
        # In pixels like all other lengths, so that one learning rate means the same step for all points.
        self._gradient_shifts = [self._leaf("points", 0 * paint.geometry) for paint in start.gradients]
        self._gradient_colors = [self._leaf("color", paint.colors) for paint in start.gradients]
        self.background = self._leaf("background", start.colors.new_tensor(background))
        self._hooks: list[RemovableHandle] = []
        self._hold()

    def _leaf(self, group: str, value: Tensor) -> Tensor:
        return value.detach().clone().requires_grad_(group in self.optimized)

    def _hold(self) -> None:
        """Hold what does not change in the leaves, and find what is straight and smooth. For each new template.

        Adam leaves a number alone whose gradient has always been 0, to the bit.
        """
        template, chosen = self._template, self._selected or _everything(self._template)
        for hook in self._hooks:
            hook.remove()
        channels = torch.tensor([True, True, True, "opacity" in self.optimized])
        moving = [
            (self.points, chosen.points[:, None] & ~_on_border(template).cpu()),
            (self.colors, chosen.layers[:, None] & channels),
            (self.widths, chosen.widths),
            (self.opacities, chosen.opacities),
            *zip(self._gradient_shifts, map(torch.tensor, chosen.gradients), strict=True),
            *zip(self._gradient_colors, (moves & channels for moves in chosen.gradients), strict=True),
        ]
        held = [(leaf, mask.to(leaf)) for leaf, mask in moving if leaf.requires_grad and not mask.all()]
        self._hooks = [leaf.register_hook(partial(torch.mul, mask)) for leaf, mask in held]
        moves = chosen.points.to(template.points.device) & self.points.requires_grad
        sides, joins = _straight_sides(template), _smooth_joins(template)
        self._straight, self._smooth = sides[moves[sides[:, 0]]], joins[moves[joins[:, 1]]]

    @property
    def parameters(self) -> dict[str, list[Tensor]]:
        """The optimized leaves by group; groups without a leaf are left out."""
        groups = {
            "points": [self.points, *self._gradient_shifts],
            "width": [self.widths],
            "color": [self.colors, self.opacities, *self._gradient_colors],
            "background": [self.background],
        }
        used = {name: [x for x in leaves if x.numel() and x.requires_grad] for name, leaves in groups.items()}
        return {name: leaves for name, leaves in used.items() if leaves}

    @property
    def control_points(self) -> Tensor:
        """The control points (N, n, 2) of each path in pixels, detached; for drawings made of `Paths` only."""
        return self.points.detach().reshape(len(self.colors), -1, 2)

    def scene(self) -> Scene:
        """What rasterizers draw, differentiable in the parameters."""
        template, points = self._template, self.points
        if len(self._straight):
            start, *handles, end = self._straight.unbind(1)
            thirds = [torch.lerp(points[start], points[end], third) for third in THIRDS[1:]]
            points = points.index_copy(0, torch.cat(handles), torch.cat(thirds))
        gradients = tuple(
            dataclasses.replace(paint, geometry=paint.geometry + shift / template.placement.a, colors=colors)
            for paint, shift, colors in zip(template.gradients, self._gradient_shifts, self._gradient_colors)
        )
        leaves = {"colors": self.colors, "widths": self.widths, "opacities": self.opacities}
        return dataclasses.replace(template, points=points, gradients=gradients, **leaves)

    def on_canvas(self, height: int, width: int) -> Drawing:
        """The same drawing, as it is now, on a canvas of another size in pixels."""
        drawing = Drawing(
            self._template.document,
            height,
            width,
            self.points,
            optimized=self.optimized,
            selected=self._selected,
            background=Color(*self.background.tolist()),
        )
        old, new = self._template.placement, drawing._template.placement
        scale = new.a / old.a
        # Both shifts may be too large for float32; their difference is not.
        shift = self.points.new_tensor([new.e - old.e * scale, new.f - old.f * scale])
        with torch.no_grad():
            drawing.points.copy_(self.points * scale + shift)
            drawing.widths.copy_(self.widths * scale)
            drawing.colors.copy_(self.colors)
            drawing.opacities.copy_(self.opacities)
            for here, there in zip(self._gradient_shifts, drawing._gradient_shifts):
                there.copy_(here * scale)
            for here, there in zip(self._gradient_colors, drawing._gradient_colors):
                there.copy_(here)
        return drawing

    def cubics(self) -> Tensor:
        """The control points (S, 4, 2) of each cubic in pixels, differentiable in the parameters."""
        current = self.scene()
        return current.points[current.layout.curves]

    def smooth_joins(self) -> Tensor:
        """The joins (J, 3, 2) that were smooth at first, for `losses.kinks`, differentiable in the parameters."""
        return self.scene().points[self._smooth]

    def document(self) -> Document:
        """The SVG with the current values."""
        document = self.scene().to_document()
        if "background" not in self.optimized:
            return document
        x, y, width, height = document.view_box
        corners = torch.tensor([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=torch.float64)
        outline = Contour(tuple(Point(*point) for point in polygons(corners[None])[0].tolist()), closed=True)
        lowest = Shape((outline,), Fill(Color(*self.background.detach().clamp(0, 1).tolist())), name="background")
        return dataclasses.replace(document, children=(lowest, *document.children))

    def constrain(self) -> None:
        """Clamp colors and opacities to [0, 1] and widths to `MIN_WIDTH` or more, in place. Call after each step."""
        clamp_colors(self.colors, self.opacities, self.background, *self._gradient_colors)
        with torch.no_grad():
            if self.widths.requires_grad:
                self.widths.clamp_(min=MIN_WIDTH)

    def append(self, paths: Paths, optimizer: Optimizer) -> None:
        """Add paths above a drawing that is made of paths of the same kind. The others keep their optimizer state."""
        old = self._template
        self._renew((*old.document.children, *paths.shapes(old.placement)))
        self.points = self._with_rows("points", self.points, paths.points.flatten(0, 1), optimizer)
        self.colors = self._with_rows("color", self.colors, paths.colors, optimizer)
        if paths.widths is not None:
            self.widths = self._with_rows("width", self.widths, paths.widths, optimizer)
        if self._selected is not None:
            self._selected = _everything(self._template).starting_with(self._selected)
        self._hold()

    def _renew(self, children: Sequence[Node]) -> None:
        """Take a template with other paths."""
        old = self._template
        document = dataclasses.replace(old.document, children=tuple(children))
        self._template = scene(document, old.height, old.width, self.points)

    def _with_rows(self, group: str, leaf: Tensor, rows: Tensor, optimizer: Optimizer) -> Tensor:
        rows = rows.to(leaf)
        return append_rows(optimizer, leaf, rows) if group in self.optimized else torch.cat([leaf, rows])

    def replace(self, rows: Tensor, paths: Paths, optimizer: Optimizer) -> None:
        """Replace the paths with indices `rows` (K,) by K new ones of the same kind, and reset their optimizer state.

        For drawings made of `Paths` only.
        """
        children = list(self._template.document.children)
        for row, shape in zip(rows.tolist(), paths.shapes(self._template.placement), strict=True):
            children[row] = shape
        self._renew(children)
        count = paths.points.shape[1]
        point_rows = (rows[:, None] * count + torch.arange(count, device=rows.device)).flatten()
        changes = [
            ("points", self.points, point_rows, paths.points.flatten(0, 1)),
            ("color", self.colors, rows, paths.colors),
        ]
        if paths.widths is not None:
            changes.append(("width", self.widths, rows, paths.widths))
        for group, leaf, indices, values in changes:
            with torch.no_grad():
                leaf[indices] = values.to(leaf)
            if group in self.optimized:
                reset_state(optimizer, leaf, indices)
        self._hold()


class DrawingBatch:
    """Drawings on canvases of one size as a generator of latents z0 = g(theta). They share no parameter.

    Args:
        drawings: The drawings; they are changed in place.
        encode: Maps images (B, 3, h, w) in [-1, 1] to latents, differentiably.
        views: Makes the views that are encoded in place of the whole images; a new one at each call.
        rasterizer: Renders the drawings.

    Attributes:
        images: The last rendered images (B, 3, H, W) in [0, 1].
        seen: What was last encoded (B, 3, h, w) in [0, 1]: the images or views of them.
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
            self.images = self.seen = self.render()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [leaf for leaves in self.parameter_groups.values() for leaf in leaves]

    @property
    def parameter_groups(self) -> dict[str, list[Tensor]]:
        """The parameters of all drawings, by group."""
        return parameter_groups(self.drawings)

    def render(self) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of the drawings as they are now."""
        return render(self.drawings, self._rasterizer)

    def encode(self, images: Tensor) -> Tensor:
        """The latents of images (B, 3, h, w) in [0, 1]."""
        return self._encode(2 * images - 1)

    def __call__(self) -> Tensor:
        self.images = self.seen = self.render()
        if self._views is not None:
            backgrounds = torch.stack([drawing.background for drawing in self.drawings])
            self.seen = self._views()(self.images, backgrounds)
        return self.encode(self.seen)

    def constrain(self) -> None:
        for drawing in self.drawings:
            drawing.constrain()


def render(drawings: Sequence[Drawing], rasterizer: Rasterizer = rasterize) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] of drawings on canvases of one size, each on its background."""
    backgrounds = torch.stack([drawing.background for drawing in drawings])
    return rasterizer([drawing.scene() for drawing in drawings], backgrounds)[:, :3]


def parameter_groups(drawings: Sequence[Drawing]) -> dict[str, list[Tensor]]:
    """The parameters of several drawings by group, in the order of `PARAMETER_GROUPS`; empty groups are left out."""
    each = [drawing.parameters for drawing in drawings]
    return {
        name: [leaf for parameters in each for leaf in parameters.get(name, [])]
        for name in PARAMETER_GROUPS
        if any(name in parameters for parameters in each)
    }


def _everything(template: Scene) -> Selection:
    """The selection of all parts."""
    counts = (len(each) for each in (template.points, template.colors, template.widths, template.opacities))
    points, layers, widths, opacities = (torch.ones(count, dtype=torch.bool) for count in counts)
    return Selection(points, layers, widths, opacities, [True] * len(template.gradients))


def _straight_sides(template: Scene) -> Tensor:
    """The indices (K, 4) of the control points of cubics that are straight, with handles at their thirds."""
    p0, p1, p2, p3 = template.points[template.layout.curves].unbind(1)
    offsets = torch.stack([p1 - torch.lerp(p0, p3, THIRDS[1]), p2 - torch.lerp(p0, p3, THIRDS[2])])
    # Handles of short sides turn their caps and joins, so they must be straight in proportion to their length.
    tolerance = STRAIGHT_TOLERANCE * (p3 - p0).norm(dim=-1).clamp_max(1)
    return template.layout.curves[offsets.abs().amax((0, -1)) <= tolerance]


def _on_border(template: Scene) -> Tensor:
    """Which coordinates (P, 2) lie on the border of the canvas. They stay there, so that no gap opens along it."""
    size = template.points.new_tensor([template.width, template.height])
    return (template.points.abs() <= STRAIGHT_TOLERANCE) | ((template.points - size).abs() <= STRAIGHT_TOLERANCE)


def _smooth_joins(template: Scene) -> Tensor:
    """The indices (J, 3) of handle, point and handle where one curve of an outline smoothly goes on as the next."""
    curves = template.layout.curves
    starting = curves.new_full((len(template.points),), -1)
    starting[curves[:, 0]] = torch.arange(len(curves), device=curves.device)
    following = starting[curves[:, 3]]
    joins = torch.stack([curves[:, 2], curves[:, 3], curves[following, 1]], 1)[following >= 0]
    into, out = template.points[joins].diff(dim=1).unbind(1)
    return joins[functional.cosine_similarity(into, out) >= SMOOTH]


@torch.no_grad()
def clamp_colors(*colors: Tensor) -> None:
    """Clamp colors and opacities to [0, 1] in place, as PDS does after each step."""
    for color in colors:
        color.clamp_(0, 1)
