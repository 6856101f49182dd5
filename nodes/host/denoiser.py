"""The host's model as a denoiser of named conditionings."""

from __future__ import annotations

import copy
import logging
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.conds
import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from .gradients import ordinary_conditioning

log = logging.getLogger("dreamsampler")

Cond = list[dict[str, Any]]
"""A CONDITIONING as the host has prepared it for sampling."""
Ask = Callable[[Tensor, Tensor, Sequence[Cond]], list[Tensor]]
Controls = dict[tuple[Any, int], Any]
"""ControlNets that have the hint of one item alone, by the whole ControlNet and the item."""

WHERE_AND_WHEN = (
    "timestep_start", "timestep_end", "area", "strength", "mask", "mask_strength", "hooks", "control", "gligen",
    "default",
)  # fmt: skip
"""What says where, when and by what besides its text a conditioning acts; what it says is in its `model_conds`."""


@dataclass
class HostDenoiser:
    """The host's model as a `PairedDenoiser`: one batched call, several where memory is short.

    Runs in inference mode whatever the mode around it; `with_gradients` is the exception.
    """

    model: Any
    conds: dict[str, Cond]
    model_options: dict[str, Any]
    _one_text: bool = field(default=False, init=False)
    _one_item: bool = field(default=False, init=False)
    _controls: Controls = field(default_factory=dict, init=False)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        with torch.inference_mode():
            return self._estimates(x, sigma.expand(len(x)), [self.conds[name] for name in names])

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        levels = sigma.expand(len(xs[0]))
        with torch.inference_mode():
            joint = [joined([self.conds[name] for name in column], len(xs[0])) for column in zip(*names)]
            columns = [column for column in joint if column is not None]
            if len(columns) < len(joint):
                return [self(x, levels, texts) for x, texts in zip(xs, names)]
            estimates = self._estimates(torch.cat(list(xs)), levels.repeat(len(xs)), columns)
            return [list(row) for row in zip(*(each.chunk(len(xs)) for each in estimates))]

    def with_gradients(self, x: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        """One estimate in the grad mode of the caller, for training."""

        def ask(x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            return self._evaluated(x, levels, [ordinary_conditioning(cond) for cond in conds])

        levels = sigma.expand(len(x))
        if _act_alike([cond], levels):
            return ask(x, levels, [cond])[0]
        return self._item_by_item(ask, x, levels, [cond])[0]

    def of_item(self, index: int) -> HostDenoiser:
        """The denoiser of one item of the batch."""
        conds = {name: item_of(cond, index, self._controls) for name, cond in self.conds.items()}
        return HostDenoiser(self.model, conds, self.model_options)

    def _estimates(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        """All of them at once; where memory does not suffice, text by text, and then picture by picture."""
        if len(x) > 1 and self._one_item or not _act_alike(conds, levels):
            return self._item_by_item(self._estimates, x, levels, conds)
        if len(conds) > 1 and self._one_text:
            return [self._estimates(x, levels, [cond])[0] for cond in conds]
        try:
            return self._evaluated(x, levels, conds)
        except comfy.model_management.OOM_EXCEPTION:
            if len(conds) == 1 and len(x) == 1:
                raise
            self._become_frugal(len(conds))
        comfy.model_management.soft_empty_cache()
        return self._estimates(x, levels, conds)

    def _become_frugal(self, texts: int) -> None:
        if texts > 1:
            log.warning("Out of memory: from now on the model is asked for one text at a time.")
            self._one_text = True
        else:
            log.warning("Out of memory: from now on the model is asked for one picture at a time.")
            self._one_item = True

    def _item_by_item(self, ask: Ask, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        rows = [
            ask(x[i : i + 1], levels[i : i + 1], [item_of(cond, i, self._controls) for cond in conds])
            for i in range(len(x))
        ]
        return [torch.cat(column) for column in zip(*rows)]

    def _evaluated(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        replaced = self.model_options.get("sampler_calc_cond_batch_function")
        if replaced is None:
            return comfy.samplers.calc_cond_batch(self.model, list(conds), x, levels, self.model_options)
        return replaced({
            "conds": list(conds),
            "input": x,
            "sigma": levels,
            "model": self.model,
            "model_options": self.model_options,
        })  # fmt: skip


def _act_alike(conds: Sequence[Cond], levels: Tensor) -> bool:
    """Whether the same acts on all items: the host looks at the first item's time for the whole batch."""
    if len(levels) == 1:
        return True
    ranges = [limits for cond in conds for entry in cond for limits in _time_ranges(entry)]
    return all(((levels <= start) & (levels >= end)).unique().numel() == 1 for start, end in ranges)


def _time_ranges(entry: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """From which noise level down to which an entry acts, and each of its ControlNets."""
    if "timestep_start" in entry or "timestep_end" in entry:
        yield entry.get("timestep_start", math.inf), entry.get("timestep_end", -math.inf)
    for control in _chain(entry.get("control")):
        if control.timestep_range is not None:
            yield control.timestep_range


def _chain(control: Any) -> Iterator[Any]:
    """A ControlNet and those that act before it."""
    while control is not None:
        yield control
        control = control.previous_controlnet


def _hints(control: Any) -> int:
    """How many hints a ControlNet holds."""
    return 1 if control.cond_hint_original is None else len(control.cond_hint_original)


def joined(conds: Sequence[Cond], batch: int) -> Cond | None:
    """One conditioning for several states of `batch` items each stacked along the batch, each acting on its own state.

    None where they differ in more than what they say, so that one cannot stand for all.
    """
    if any(len(cond) != len(conds[0]) for cond in conds):
        return None
    entries = [_joined_entry(entries, batch) for entries in zip(*conds)]
    return None if None in entries else [entry for entry in entries if entry is not None]


def _joined_entry(entries: Sequence[dict[str, Any]], batch: int) -> dict[str, Any] | None:
    first = entries[0]
    if any(
        first.get(key) is not entry.get(key) and not _equal(first, entry, key)
        for entry in entries
        for key in WHERE_AND_WHEN
    ):
        return None
    if any(batch % _hints(control) for control in _chain(first.get("control"))):
        return None
    said = [
        {name: value.process_cond(batch_size=batch, area=None) for name, value in entry["model_conds"].items()}
        for entry in entries
    ]
    if any(not comfy.samplers.cond_equal_size(said[0], other) for other in said[1:]):
        return None
    together = {
        name: value._copy_with(value.concat([other[name] for other in said[1:]])) for name, value in said[0].items()
    }
    where = {"mask": first["mask"][:batch]} if "mask" in first else {}
    return {**first, **where, "model_conds": together, "uuid": uuid.uuid4()}


def _equal(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    """Whether two entries hold the same plain number or area; tensors and nets are the same only if they are one."""
    a, b = one.get(key), other.get(key)
    return isinstance(a, (int, float, tuple, list)) and a == b


def item_of(cond: Cond, index: int, controls: Controls) -> Cond:
    """The conditioning of one item of a batch. `controls` keeps its ControlNets, and what they prepare, for reuse."""
    return [_entry_of_item(entry, index, controls) for entry in cond]


def _entry_of_item(entry: dict[str, Any], index: int, controls: Controls) -> dict[str, Any]:
    said = {name: _value_of_item(value, index) for name, value in entry["model_conds"].items()}
    own = {**entry, "model_conds": said, "uuid": uuid.uuid4()}
    if "mask" in entry:
        own["mask"] = _row(entry["mask"], index)
    if "control" in entry:
        own["control"] = _control_of_item(entry["control"], index, controls)
    return own


def _control_of_item(control: Any, index: int, controls: Controls) -> Any:
    """A ControlNet with one item's hint: the host would give it the first item's."""
    if all(_hints(each) == 1 for each in _chain(control)):
        return control
    if (control, index) not in controls:
        controls[control, index] = own = copy.copy(control)
        place = index % _hints(control)
        own.cond_hint_original = _row(control.cond_hint_original, place)
        own.extra_concat_orig = [_row(each, place) for each in control.extra_concat_orig]
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
    """The row of an item; the host repeats rows where there are fewer than items."""
    place = index % len(rows)
    return rows[place : place + 1]
