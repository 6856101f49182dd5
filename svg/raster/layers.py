"""Layers whose outlines are edges: what coverage, paint and compositing work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from .paint import GradientPaint


@dataclass(frozen=True)
class Layers:
    """Layers with their outlines, numbered in the order of painting.

    Attributes:
        edges: End points (E, 2, 2), in pixels.
        layer: The layer (E,) of each edge.
        colors: Straight color and opacity (L, 4).
        even_odd: Whether each is filled by the even-odd rule (L,).
        gradients: For each, its gradient paint, or None.
    """

    edges: Tensor
    layer: Tensor
    colors: Tensor
    even_odd: Tensor
    gradients: Sequence[GradientPaint | None]

    @cached_property
    def painted(self) -> list[bool]:
        """Whether each has a gradient paint."""
        return [gradient is not None for gradient in self.gradients]

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that a gradient can flow to."""
        paints = [paint for paint in self.gradients if paint is not None]
        return [self.edges, self.colors, *(t for p in paints for t in (p.geometry, p.inverse, p.offsets, p.colors))]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Layers:
        """The same layers with other `tensors`."""
        edges, colors, *others = tensors
        left = iter(others)
        gradients = [
            paint and GradientPaint(next(left), next(left), next(left), next(left), paint.spread)
            for paint in self.gradients
        ]
        return dataclasses.replace(self, edges=edges, colors=colors, gradients=gradients)

    def sorted(self) -> Layers:
        """The same layers with their edges sorted by layer; edges of a layer keep their order."""
        return self._with_edges(self.layer.argsort(stable=True))

    def near(self, first: int, last: int) -> Layers:
        """The same layers with only the edges that reach the rows from `first` to `last`, borders included."""
        begin, end = self.edges.detach()[:, :, 1].unbind(1)
        hidden = (torch.maximum(begin, end) < first) | (torch.minimum(begin, end) > last)
        return self._with_edges((~hidden).nonzero().squeeze(1))

    def portion(self, first: int, last: int) -> Layers:
        """The layers from `first` to `last`, exclusive, numbered from 0. Edges must be `sorted`."""
        begin, end = torch.searchsorted(self.layer, self.layer.new_tensor([first, last])).tolist()
        return Layers(
            self.edges[begin:end],
            self.layer[begin:end] - first,
            self.colors[first:last],
            self.even_odd[first:last],
            self.gradients[first:last],
        )

    def _with_edges(self, index: Tensor) -> Layers:
        return dataclasses.replace(
            self, edges=self.edges.index_select(0, index), layer=self.layer.index_select(0, index)
        )


def joined(each: Sequence[Layers]) -> tuple[Layers, list[int]]:
    """All layers, numbered through, and the number of the first one of each."""
    starts = list(accumulate((len(layers.colors) for layers in each[:-1]), initial=0))
    if len(each) == 1:
        return each[0], starts
    together = Layers(
        torch.cat([layers.edges for layers in each]),
        torch.cat([layers.layer + start for layers, start in zip(each, starts, strict=True)]),
        torch.cat([layers.colors for layers in each]),
        torch.cat([layers.even_odd for layers in each]),
        [gradient for layers in each for gradient in layers.gradients],
    )
    return together, starts
