"""Prepared conditionings: when they are active, joining several into one batch, taking one item out of a batch."""

from __future__ import annotations

import copy
import math
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.conds
import comfy.samplers
import torch
from torch import Tensor

Cond = list[dict[str, Any]]
"""A CONDITIONING as the host has prepared it for sampling."""
Controls = dict[tuple[Any, int], Any]
"""Cached ControlNets with the hint of a single item, by the original ControlNet and the item."""

SCOPE_KEYS = (
    "timestep_start", "timestep_end", "area", "strength", "mask", "mask_strength", "hooks", "control", "gligen",
    "default",
)  # fmt: skip
"""Keys of an entry that say where and when it applies, and with what besides its prompt, which is in "model_conds"."""


def has_control(conds: Sequence[Cond]) -> bool:
    """Whether a ControlNet is part of one of these conditionings."""
    return any("control" in entry for cond in conds for entry in cond)


def same_for_all_items(conds: Sequence[Cond], levels: Tensor) -> bool:
    """Whether the same entries are active for all noise levels (B,). The host only looks at the first item's."""
    ranges = [limits for cond in conds for entry in cond for limits in _level_ranges(entry)]
    return all(((levels <= start) & (levels >= end)).unique().numel() == 1 for start, end in ranges)


def _level_ranges(entry: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """The noise levels, highest and lowest, between which an entry and each of its ControlNets are active."""
    if "timestep_start" in entry or "timestep_end" in entry:
        yield entry.get("timestep_start", math.inf), entry.get("timestep_end", -math.inf)
    for control in chain(entry.get("control")):
        if control.timestep_range is not None:
            yield control.timestep_range


def parts_of_whole_images(cond: Cond) -> list[str]:
    """What a conditioning holds, in words, that lies over a whole image and does not fit a patch of it."""
    words = {"mask": "a mask", "area": "an area", "control": "a ControlNet", "gligen": "boxes (GLIGEN)"}
    found = {word for entry in cond for key, word in words.items() if key in entry}
    if any("c_concat" in entry["model_conds"] for entry in cond):
        found.add("an image to inpaint")
    return sorted(found)


def chain(control: Any) -> Iterator[Any]:
    """A ControlNet and those before it."""
    while control is not None:
        yield control
        control = control.previous_controlnet


def _hint_count(control: Any) -> int:
    return 1 if control.cond_hint_original is None else len(control.cond_hint_original)


# Coverage


def uncovered(cond: Cond, x: Tensor, levels: Tensor) -> Tensor:
    """Where no entry acts on states `x` (B, ...) at noise levels (B,): a mask of the shape of `x`.

    The host predicts zero there.
    """
    if not bool((levels == levels[0]).all()):
        items = [(cond_of_item(cond, i, {}), x[i : i + 1], levels[i : i + 1]) for i in range(len(x))]
        return torch.cat([uncovered(*item) for item in items])
    total = torch.zeros_like(x)
    for entry in cond:
        part = comfy.samplers.get_area_and_mult(entry, x, levels)
        if part is not None:
            _narrowed(total, part.area).add_(part.mult)
    return total <= 0


def _narrowed(x: Tensor, area: Sequence[int] | None) -> Tensor:
    """The part of `x` in an area of the host: sizes, then offsets, of the last dimensions."""
    dims = 0 if area is None else len(area) // 2
    for i in range(dims):
        assert area is not None
        x = x.narrow(i + 2, area[dims + i], area[i])
    return x


# Joining


def join_conds(conds: Sequence[Cond], batch: int) -> Cond | None:
    """One conditioning for several states of `batch` items each, stacked along the batch, in the order of `conds`.

    None where they differ in more than their prompts, so that one cannot stand for all.
    """
    if any(len(cond) != len(conds[0]) for cond in conds):
        return None
    entries = [_join_entries(entries, batch) for entries in zip(*conds, strict=True)]
    return None if None in entries else [entry for entry in entries if entry is not None]


def _join_entries(entries: Sequence[dict[str, Any]], batch: int) -> dict[str, Any] | None:
    first = entries[0]
    if not all(_same_scope(first, entry) for entry in entries):
        return None
    if any(batch % _hint_count(control) for control in chain(first.get("control"))):
        return None
    batched = [
        {name: value.process_cond(batch_size=batch, area=None) for name, value in entry["model_conds"].items()}
        for entry in entries
    ]
    own, others = batched[0], batched[1:]
    if any(not comfy.samplers.cond_equal_size(own, other) for other in others):
        return None
    joined = {name: value._copy_with(value.concat([other[name] for other in others])) for name, value in own.items()}
    mask = {"mask": first["mask"][:batch]} if "mask" in first else {}
    return {**first, **mask, "model_conds": joined, "uuid": uuid.uuid4()}


def _same_scope(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two entries apply alike. Plain numbers and areas compare by value, tensors and networks by identity."""
    return all(one.get(key) is other.get(key) or _equal(one.get(key), other.get(key)) for key in SCOPE_KEYS)


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, (int, float, tuple, list)) and one == other


# Single items


def cond_of_item(cond: Cond, index: int, controls: Controls) -> Cond:
    """The conditioning of one batch item. `controls` caches its ControlNets together with what they prepare."""
    return [_entry_of_item(entry, index, controls) for entry in cond]


def _entry_of_item(entry: dict[str, Any], index: int, controls: Controls) -> dict[str, Any]:
    model_conds = {name: _value_of_item(value, index) for name, value in entry["model_conds"].items()}
    own = {**entry, "model_conds": model_conds, "uuid": uuid.uuid4()}
    if "mask" in entry:
        own["mask"] = _row(entry["mask"], index)
    if "control" in entry:
        own["control"] = _control_of_item(entry["control"], index, controls)
    return own


def _control_of_item(control: Any, index: int, controls: Controls) -> Any:
    """A ControlNet with the hint of one item. The host would use that of the first item."""
    if all(_hint_count(each) == 1 for each in chain(control)):
        return control
    if (control, index) not in controls:
        controls[control, index] = own = copy.copy(control)
        row = index % _hint_count(control)
        own.cond_hint_original = _row(control.cond_hint_original, row)
        own.extra_concat_orig = [_row(each, row) for each in control.extra_concat_orig]
        own.cond_hint = own.control_input = None
        own.previous_controlnet = _control_of_item(control.previous_controlnet, index, controls)
    return controls[control, index]


def _value_of_item(value: Any, index: int) -> Any:
    if isinstance(value.cond, Tensor):
        return value._copy_with(_row(value.cond, index))
    if isinstance(value, comfy.conds.CONDList):
        return value._copy_with([_row(each, index) for each in value.cond])
    return value


def _row(rows: Tensor, index: int) -> Tensor:
    """The row of an item; the host repeats rows if there are fewer than items."""
    row = index % len(rows)
    return rows[row : row + 1]
