"""Mask Localized Guidance: a text for each region of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..guidance.prompts.regions import covered, feathered, partition, resized
from . import checks

Conditioning = list[list[Any]]
Region = tuple[Tensor, Conditioning]
"""Where a text acts, (B or 1, H, W) in [0, 1], and the text."""
Stretch = tuple[float, float]
"""A part of the sampling, in shares of the way from noise (0) to the picture (1)."""

REGIONS = 4
WHOLE: Stretch = (0.0, 1.0)
REMNANT = 1e-6
"""The base's share under a text that is confined to an area: it decides only where the area leaves the base alone."""


class MaskLocalizedGuidance(io.ComfyNode):
    """DreamSampler's localised guidance, eq. 19, as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSMaskLocalizedGuidance",
            display_name="Mask Localized Guidance",
            category="DreamSampler",
            description=(
                "Gives each region of the picture its own text. The masks become shares that sum to one everywhere: "
                "overlaps are shared, and what no mask covers takes the base. Works with any sampler; chain two for "
                "more regions."
            ),
            inputs=[
                io.Conditioning.Input("base", tooltip="The text of everything that no mask covers."),
                *_region(1),
                io.Float.Input(
                    "feather",
                    default=8.0,
                    min=0.0,
                    max=512.0,
                    step=1.0,
                    tooltip="How soft the masks' edges become, in pixels of the largest mask to each side: pixels of "
                    "the picture if it has its size. 8 is one cell of the latent, the least it can show; 0 leaves the "
                    "masks as they are; 16 to 64 blends wider.",
                ),
                *(part for number in range(2, REGIONS + 1) for part in _region(number)),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="All texts, each with its share of the picture."
                ),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="All regions together, after feathering: 1 where the base has no share. For the mask of "
                    "an editing or inpainting node.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        base: Any,
        mask_1: Tensor,
        conditioning_1: Any,
        feather: float,
        mask_2: Tensor | None = None,
        conditioning_2: Any = None,
        mask_3: Tensor | None = None,
        conditioning_3: Any = None,
        mask_4: Tensor | None = None,
        conditioning_4: Any = None,
    ) -> io.NodeOutput:
        checks.check_conditioning("base", base)
        masks = (mask_1, mask_2, mask_3, mask_4)
        texts = (conditioning_1, conditioning_2, conditioning_3, conditioning_4)
        connected = _connected(masks, texts)
        size = _common_size(base, connected)
        regions = [(feathered(resized(mask, size), feather), text) for mask, text in connected.values()]
        union = covered([mask for mask, _ in regions]).clamp(max=1)
        return io.NodeOutput(localized(base, regions), union)


def _region(number: int) -> list[io.Input]:
    optional = number > 1
    return [
        io.Mask.Input(
            f"mask_{number}",
            optional=optional,
            tooltip=f"Where conditioning_{number} acts: 1 there, 0 not, values between share. Any resolution; one "
            "mask, or one for each picture of the batch.",
        ),
        io.Conditioning.Input(
            f"conditioning_{number}", optional=optional, tooltip=f"What the picture shows in mask_{number}."
        ),
    ]


# What is connected


def _connected(masks: Sequence[Tensor | None], texts: Sequence[Any]) -> dict[int, Region]:
    """The regions by number."""
    found = {}
    for number, (mask, text) in enumerate(zip(masks, texts), start=1):
        if mask is None and text is None:
            continue
        if text is None:
            raise ValueError(
                f"mask_{number} has no text: connect a CLIP Text Encode node to input 'conditioning_{number}', or "
                f"disconnect mask_{number}."
            )
        if mask is None:
            raise ValueError(
                f"conditioning_{number} has no place: connect a mask to input 'mask_{number}', or disconnect "
                f"conditioning_{number}."
            )
        checks.check_conditioning(f"conditioning_{number}", text)
        found[number] = _mask(f"mask_{number}", mask), text
    return found


def _mask(name: str, value: Tensor) -> Tensor:
    """A MASK as (B, H, W) in [0, 1]."""
    checks.check_finite(name, value)
    return _plain(value)


def _plain(mask: Tensor) -> Tensor:
    """On the CPU: the host takes masks to its device, and they may come from several."""
    return mask.reshape(-1, *mask.shape[-2:]).float().cpu().clamp(0, 1)


def _common_size(base: Conditioning, regions: dict[int, Region]) -> torch.Size:
    """The largest resolution (H, W) of all masks, those that the texts bring along too; they must fit each other."""
    masks = {f"mask_{number}": mask for number, (mask, _) in regions.items()}
    texts = {"base": base, **{f"conditioning_{number}": text for number, (_, text) in regions.items()}}
    for name, text in texts.items():
        own = [values["mask"] for _, values in text if "mask" in values]
        named = {f"{name}'s own mask {place}": mask for place, mask in enumerate(own, start=1)}
        masks |= {whose: _mask(whose, mask) for whose, mask in named.items()}
    most = max(masks, key=lambda name: len(masks[name]))
    for name, mask in masks.items():
        _check_counts(name, len(mask), most, len(masks[most]))
    # The host gives a picture without transparency an empty mask of a size of its own.
    painted = {name: mask for name, mask in masks.items() if mask.any()} or masks
    largest = max(painted, key=lambda name: painted[name][0].numel())
    for name, mask in painted.items():
        _check_shapes(name, mask, largest, painted[largest])
    return painted[largest].shape[-2:]


def _check_shapes(name: str, mask: Tensor, other_name: str, other: Tensor) -> None:
    (height, width), (rows, columns) = mask.shape[-2:], other.shape[-2:]
    if not math.isclose(height / rows, width / columns, rel_tol=1 / min(height, width, rows, columns)):
        raise ValueError(
            f"{name} is {width}x{height} pixels and {other_name} is {columns}x{rows}, which is another shape of "
            "picture. Crop or resize them like the picture."
        )


def _check_counts(name: str, count: int, other_name: str, other: int) -> None:
    if count not in (1, other):
        raise ValueError(
            f"{name} holds {count} masks and {other_name} holds {other}: connect one mask, or one for each picture of "
            "the batch."
        )


# What the host composes


def localized(base: Conditioning, regions: Sequence[Region]) -> Conditioning:
    """One CONDITIONING of a base and the texts of regions, whose masks all have the same (H, W) (DreamSampler, eq. 19).

    The host averages the predictions of all entries that act at a noise level, weighted by their masks, so what is
    needed are masks that sum to 1 at all levels. Within a text its entries share as they did before; where they leave
    a part of its region, or a part of the time, the base has it.
    """
    used = [(mask, text) for mask, text in regions if mask.any()]
    if not used:
        return base
    stretches = _stretches([base, *(text for _, text in used)])
    return [entry for stretch in stretches for entry in _composed(base, used, stretch)]


def _stretches(texts: Sequence[Conditioning]) -> list[Stretch]:
    """The sampling, cut wherever an entry begins or ends to act."""
    limits = {limit for text in texts for _, values in text for limit in _limits(values)}
    edges = sorted(limits | set(WHOLE))
    return list(zip(edges, edges[1:]))


def _limits(values: dict[str, Any]) -> Stretch:
    """When an entry acts; its text encoder's hooks may limit that as well."""
    starts = (values.get(key, 0.0) for key in ("start_percent", "clip_start_percent"))
    ends = (values.get(key, 1.0) for key in ("end_percent", "clip_end_percent"))
    return max(starts), min(ends)


def _composed(base: Conditioning, regions: Sequence[Region], stretch: Stretch) -> Conditioning:
    """The entries of one stretch."""
    canvas = torch.zeros_like(regions[0][0][:1])
    rest, *texts = (_Acting.of(text, stretch, canvas) for text in (base, *(text for _, text in regions)))
    masks = [mask * text.total.clamp(max=1) for (mask, _), text in zip(regions, texts)]
    shares = partition(masks, base_at_least=REMNANT if any(text.confined for text in texts) else 0.0)
    if ((rest.total == 0) & (shares[0] == 1)).any():
        raise ValueError(
            "A part of the picture or of the sampling has no text: the masks or time ranges that 'base' brings along "
            "leave it out, and no region covers it. Connect a conditioning to 'base' that acts everywhere and always."
        )
    return [entry for text, share in zip((rest, *texts), shares) for entry in text.within(share, stretch)]


@dataclass(frozen=True)
class _Acting:
    """The entries of a CONDITIONING that act in a stretch, with the weight (B or 1, H, W) that each has there."""

    entries: Conditioning
    weights: list[Tensor]
    total: Tensor

    @classmethod
    def of(cls, text: Conditioning, stretch: Stretch, canvas: Tensor) -> _Acting:
        """`canvas` is zeros (1, H, W). An entry that the host calls a default has what the others leave."""
        entries = [entry for entry in text if _acts(entry[1], stretch)]
        defaults = ["default" in values for _, values in entries]
        weights = [canvas if default else _weight(values, canvas) for (_, values), default in zip(entries, defaults)]
        left = (1 - covered([canvas, *weights])).clamp(min=0)
        weights = [left if default else weight for weight, default in zip(weights, defaults)]
        return cls(entries, weights, covered([canvas, *weights]))

    @property
    def confined(self) -> bool:
        """Whether an entry acts on an area alone, which its weight does not tell: areas are in cells of the latent."""
        return any("area" in values for _, values in self.entries)

    def within(self, share: Tensor, stretch: Stretch) -> Conditioning:
        """The entries with this share (B or 1, H, W) of the picture, without those that have none of it."""
        if (share == 1).all():
            return [[said, _timed(values, stretch)] for said, values in self.entries]
        whole = self.total.where(self.total > 0, 1)
        masks = [share * (weight / whole) for weight in self.weights]
        return [
            [said, _masked(_timed(values, stretch), mask)]
            for (said, values), mask in zip(self.entries, masks)
            if mask.any()
        ]


def _acts(values: dict[str, Any], stretch: Stretch) -> bool:
    start, end = _limits(values)
    return start <= stretch[0] and stretch[1] <= end


def _weight(values: dict[str, Any], canvas: Tensor) -> Tensor:
    """The weight (B or 1, H, W) that an entry brings along."""
    strength = values.get("strength", 1.0)
    if "mask" not in values:
        return canvas + strength
    return resized(_plain(values["mask"]), canvas.shape[-2:]) * values.get("mask_strength", 1.0) * strength


def _timed(values: dict[str, Any], stretch: Stretch) -> dict[str, Any]:
    if stretch == WHOLE:
        return values
    return {**values, "start_percent": stretch[0], "end_percent": stretch[1]}


def _masked(values: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    """The same with its weight all in the mask."""
    rest = {key: value for key, value in values.items() if key != "default"}
    return {**rest, "mask": mask, "mask_strength": 1.0, "strength": 1.0}
