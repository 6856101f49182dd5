"""Mask Localized Guidance: a prompt for each region of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..guidance.prompts.regions import coverage, feather_mask, partition, resize_mask
from . import checks, widgets

Conditioning = list[list[Any]]
Region = tuple[Tensor, Conditioning]
"""A mask (B or 1, H, W) in [0, 1] and the prompt that applies there."""
TimeRange = tuple[float, float]
"""A part of the sampling: start and end as fractions of the way from noise (0) to the image (1)."""

MAX_REGIONS = 4
FULL_RANGE: TimeRange = (0.0, 1.0)
MIN_BASE_SHARE = 1e-6
"""The base's share under a prompt that is confined to an area: it only matters outside the area."""


class MaskLocalizedGuidance(io.ComfyNode):
    """DreamSampler's localized guidance, eq. 19, as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSMaskLocalizedGuidance",
            display_name="Mask Localized Guidance",
            category="DreamSampler",
            description=(
                "Gives each region of an image its own prompt. Masks are normalized to sum to one: overlaps are "
                "blended, and uncovered areas use the base prompt. Works with any sampler; chain two nodes for more "
                "than four regions."
            ),
            search_aliases=(
                "regional prompt, regional prompting, area prompt, attention couple, prompt per region, mask "
                "conditioning"
            ),
            inputs=[
                io.Conditioning.Input("base", tooltip="Prompt for everything that no mask covers."),
                *_region_inputs(1),
                io.Float.Input(
                    "feather",
                    default=8.0,
                    min=0.0,
                    max=512.0,
                    step=1.0,
                    tooltip="Softness of the mask edges to each side, in pixels of the largest mask. 8 (one latent "
                    "cell) is the smallest visible amount; 0 keeps the masks as they are; 16 to 64 blends more.",
                ),
                *(part for number in range(2, MAX_REGIONS + 1) for part in _region_inputs(number)),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning", tooltip="All prompts with their masks."),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="All regions together, after feathering: 1 where the base prompt has no effect. Connect it "
                    "to the mask of an editing or inpainting node.",
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
        prompts = (conditioning_1, conditioning_2, conditioning_3, conditioning_4)
        connected = _checked_regions(masks, prompts)
        size = _checked_size(base, connected)
        regions = [(feather_mask(resize_mask(mask, size), feather), prompt) for mask, prompt in connected.values()]
        union = coverage([mask for mask, _ in regions]).clamp(max=1)
        return io.NodeOutput(localized(base, regions), union)


def _region_inputs(number: int) -> list[io.Input]:
    optional = number > 1
    return [
        io.Mask.Input(
            f"mask_{number}",
            optional=optional,
            tooltip=f"Where conditioning_{number} applies: 1 = fully, 0 = not at all, in between = blended. Any "
            "resolution; one mask, or one per image of the batch.",
        ),
        io.Conditioning.Input(f"conditioning_{number}", optional=optional, tooltip=f"Prompt for mask_{number}."),
    ]


# Checks


def _checked_regions(masks: Sequence[Tensor | None], prompts: Sequence[Any]) -> dict[int, Region]:
    """The connected regions by number. Raises ValueError for a mask without a prompt, or a prompt without a mask."""
    found = {}
    for number, (mask, prompt) in enumerate(zip(masks, prompts, strict=True), start=1):
        if mask is None and prompt is None:
            continue
        if prompt is None:
            raise ValueError(
                f"mask_{number} has no prompt: connect a CLIP Text Encode node to input 'conditioning_{number}', or "
                f"disconnect mask_{number}."
            )
        if mask is None:
            raise ValueError(
                f"conditioning_{number} has no mask: connect one to input 'mask_{number}', or disconnect "
                f"conditioning_{number}."
            )
        checks.check_conditioning(f"conditioning_{number}", prompt)
        found[number] = _checked_mask(f"mask_{number}", mask), prompt
    return found


def _checked_mask(name: str, value: Tensor) -> Tensor:
    """A MASK as (B, H, W) in [0, 1]."""
    checks.check_masks(name, value)
    return _on_cpu(value)


def _on_cpu(mask: Tensor) -> Tensor:
    """A MASK as (B, H, W) in [0, 1] on the CPU. Masks may come from several devices; the host moves them to its own."""
    return mask.reshape(-1, *mask.shape[-2:]).float().cpu().clamp(0, 1)


def _checked_size(base: Conditioning, regions: dict[int, Region]) -> torch.Size:
    """The largest resolution (H, W) of all masks. Raises ValueError where their counts or proportions differ."""
    masks = _named_masks(base, regions)
    most = max(masks, key=lambda name: len(masks[name]))
    for name, mask in masks.items():
        _check_counts(name, len(mask), most, len(masks[most]))
    # The host gives an image without transparency an empty mask of unrelated size.
    painted = {name: mask for name, mask in masks.items() if mask.any()} or masks
    largest = max(painted, key=lambda name: painted[name][0].numel())
    for name, mask in painted.items():
        _check_proportions(name, mask, largest, painted[largest])
    return painted[largest].shape[-2:]


def _named_masks(base: Conditioning, regions: dict[int, Region]) -> dict[str, Tensor]:
    """All masks (B, H, W), those already attached to the prompts included, by the name to use in an error message."""
    masks = {f"mask_{number}": mask for number, (mask, _) in regions.items()}
    prompts = {"base": base, **{f"conditioning_{number}": prompt for number, (_, prompt) in regions.items()}}
    for name, prompt in prompts.items():
        attached = [values["mask"] for _, values in prompt if "mask" in values]
        named = {f"{name}'s own mask {number}": mask for number, mask in enumerate(attached, start=1)}
        masks |= {owner: _checked_mask(owner, mask) for owner, mask in named.items()}
    return masks


def _check_proportions(name: str, mask: Tensor, other_name: str, other: Tensor) -> None:
    (height, width), (rows, columns) = mask.shape[-2:], other.shape[-2:]
    if not math.isclose(height / rows, width / columns, rel_tol=1 / min(height, width, rows, columns)):
        raise ValueError(
            f"{name} is {width}x{height} pixels and {other_name} is {columns}x{rows}, which has another aspect ratio: "
            "crop or resize both masks like the image."
        )


def _check_counts(name: str, count: int, other_name: str, other: int) -> None:
    if count not in (1, other):
        raise ValueError(
            f"{name} holds {count} masks and {other_name} holds {other}: connect one mask, or one for each image of "
            "the batch."
        )


# Composition


def localized(base: Conditioning, regions: Sequence[Region]) -> Conditioning:
    """One CONDITIONING from a base prompt and the prompts of regions (DreamSampler, eq. 19).

    All masks have the same (H, W). The host averages the predictions of all entries that are active at a noise level,
    weighted by their masks, so it needs masks that sum to 1 at every level. The entries of one prompt keep their
    relative weights; where they leave out a part of its region, or of the sampling, the base takes over.

    Raises:
        ValueError: the base leaves out a part of the image or of the sampling that no region covers.
    """
    used = [(mask, prompt) for mask, prompt in regions if mask.any()]
    if not used:
        return base
    time_ranges = _time_ranges([base, *(prompt for _, prompt in used)])
    return [entry for time_range in time_ranges for entry in _composed(base, used, time_range)]


def _time_ranges(prompts: Sequence[Conditioning]) -> list[TimeRange]:
    """The sampling, split wherever an entry becomes active or inactive."""
    limits = {limit for prompt in prompts for _, values in prompt for limit in _limits(values)}
    edges = sorted(limits | set(FULL_RANGE))
    return list(pairwise(edges))


def _limits(values: dict[str, Any]) -> TimeRange:
    """When an entry is active; hooks of its text encoder may limit that as well."""
    starts = (values.get(key, 0.0) for key in ("start_percent", "clip_start_percent"))
    ends = (values.get(key, 1.0) for key in ("end_percent", "clip_end_percent"))
    return max(starts), min(ends)


def _composed(base: Conditioning, regions: Sequence[Region], time_range: TimeRange) -> Conditioning:
    """The entries of one time range."""
    zeros = torch.zeros_like(regions[0][0][:1])
    rest, *active = (_ActiveEntries.of(each, time_range, zeros) for each in (base, *(prompt for _, prompt in regions)))
    masks = [mask * each.total.clamp(max=1) for (mask, _), each in zip(regions, active, strict=True)]
    shares = partition(masks, base_at_least=MIN_BASE_SHARE if any(each.has_area for each in active) else 0.0)
    if ((rest.total == 0) & (shares[0] == 1)).any():
        raise ValueError(
            "A part of the image or of the sampling has no prompt: the masks or time ranges of 'base' leave it out, "
            "and no region covers it. Connect a conditioning without mask and time range to 'base'."
        )
    pairs = zip((rest, *active), shares, strict=True)
    return [entry for each, share in pairs for entry in each.within(share, time_range)]


@dataclass(frozen=True)
class _ActiveEntries:
    """The entries of a CONDITIONING that are active in a time range, with the weight (B or 1, H, W) of each."""

    entries: Conditioning
    weights: list[Tensor]
    total: Tensor

    @classmethod
    def of(cls, prompt: Conditioning, time_range: TimeRange, zeros: Tensor) -> _ActiveEntries:
        """`zeros` is (1, H, W). An entry that the host marks as default gets what the others leave."""
        entries = [entry for entry in prompt if _is_active(entry[1], time_range)]
        default = ["default" in values for _, values in entries]
        own = [zeros if rest else _weight(values, zeros) for (_, values), rest in zip(entries, default, strict=True)]
        left = (1 - coverage([zeros, *own])).clamp(min=0)
        weights = [left if rest else weight for weight, rest in zip(own, default, strict=True)]
        return cls(entries, weights, coverage([zeros, *weights]))

    @property
    def has_area(self) -> bool:
        """Whether an entry is confined to an area. Its weight does not show that: areas are in latent cells."""
        return any("area" in values for _, values in self.entries)

    def within(self, share: Tensor, time_range: TimeRange) -> Conditioning:
        """The entries, confined to a share (B or 1, H, W) of the image, without those that get none of it."""
        if (share == 1).all():
            return [[embedding, _timed(values, time_range)] for embedding, values in self.entries]
        total = self.total.where(self.total > 0, 1)
        masks = [share * (weight / total) for weight in self.weights]
        return [
            [embedding, _masked(_timed(values, time_range), mask)]
            for (embedding, values), mask in zip(self.entries, masks, strict=True)
            if mask.any()
        ]


def _is_active(values: dict[str, Any], time_range: TimeRange) -> bool:
    start, end = _limits(values)
    return start <= time_range[0] and time_range[1] <= end


def _weight(values: dict[str, Any], zeros: Tensor) -> Tensor:
    """The weight (B or 1, H, W) of an entry: its strength, on its mask if it has one."""
    strength = values.get("strength", 1.0)
    if "mask" not in values:
        return zeros + strength
    return resize_mask(_on_cpu(values["mask"]), zeros.shape[-2:]) * values.get("mask_strength", 1.0) * strength


def _timed(values: dict[str, Any], time_range: TimeRange) -> dict[str, Any]:
    if time_range == FULL_RANGE:
        return values
    return {**values, "start_percent": time_range[0], "end_percent": time_range[1]}


def _masked(values: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    """The values with `mask` as their only weight."""
    rest = {key: value for key, value in values.items() if key != "default"}
    return {**rest, "mask": mask, "mask_strength": 1.0, "strength": 1.0}
