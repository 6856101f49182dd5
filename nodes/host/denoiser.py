"""The host's model as a denoiser of named conditionings."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

import comfy.conds
import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

log = logging.getLogger("dreamsampler")

Cond = list[dict[str, Any]]
"""A CONDITIONING as the host has prepared it for sampling."""

WHERE_AND_WHEN = (
    "timestep_start", "timestep_end", "area", "strength", "mask", "mask_strength", "hooks", "control", "gligen",
    "default",
)  # fmt: skip
"""What says where, when and by what besides its text a conditioning acts; what it says is in its `model_conds`."""


class HostDenoiser:
    """The host's model as a `PairedDenoiser`: one batched call, several where memory is short.

    Runs in inference mode whatever the mode around it; `with_gradients` is the exception.
    """

    def __init__(self, model: Any, conds: dict[str, Cond], model_options: dict[str, Any]):
        self.model, self.conds, self.model_options = model, conds, model_options
        self._one_text, self._one_item = False, False

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
        return self._evaluated(x, sigma.expand(len(x)), [cond])[0]

    def _estimates(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        """All of them at once; where memory does not suffice, text by text, and then picture by picture."""
        if len(x) > 1 and (self._one_item or _depends_on_time(conds) and len(levels.unique()) > 1):
            return self._item_by_item(x, levels, conds)
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

    def _item_by_item(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        rows = [
            self._estimates(x[i : i + 1], levels[i : i + 1], [item_of(cond, i) for cond in conds])
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


def _depends_on_time(conds: Sequence[Cond]) -> bool:
    """Whether some text acts at certain times only: the host looks at the first item's time for the whole batch."""
    entries = [entry for cond in conds for entry in cond]
    return any(
        "timestep_start" in e or "timestep_end" in e or getattr(e.get("control"), "timestep_range", None)
        for e in entries
    )


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
    said = [
        {name: value.process_cond(batch_size=batch, area=None) for name, value in entry["model_conds"].items()}
        for entry in entries
    ]
    if any(not comfy.samplers.cond_equal_size(said[0], other) for other in said[1:]):
        return None
    together = {
        name: value._copy_with(value.concat([other[name] for other in said[1:]])) for name, value in said[0].items()
    }
    return {**first, "model_conds": together, "uuid": uuid.uuid4()}


def _equal(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    """Whether two entries hold the same plain number or area; tensors and nets are the same only if they are one."""
    a, b = one.get(key), other.get(key)
    return isinstance(a, (int, float, tuple, list)) and a == b


def item_of(cond: Cond, index: int) -> Cond:
    """The conditioning of one item of a batch."""
    return [_entry_of_item(entry, index) for entry in cond]


def _entry_of_item(entry: dict[str, Any], index: int) -> dict[str, Any]:
    said = {name: _value_of_item(value, index) for name, value in entry["model_conds"].items()}
    own = {**entry, "model_conds": said, "uuid": uuid.uuid4()}
    if "mask" in entry:
        own["mask"] = _row(entry["mask"], index)
    return own


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
