"""The host's model as a denoiser of named conditionings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from .conds import Cond, Controls, cond_of_item, join_conds, same_for_all_items
from .gradients import ordinary_conditioning

log = logging.getLogger("dreamsampler")

Predict = Callable[[Tensor, Tensor, Sequence[Cond]], list[Tensor]]
"""Maps states (B, ...), noise levels (B,) and conditionings to one clean estimate (B, ...) per conditioning."""


@dataclass
class HostDenoiser:
    """The host's model as a `PairedDenoiser`: one batched model call, or several where memory is short.

    Runs in inference mode, whatever the mode around it; only `with_gradients` does not.
    """

    model: Any
    conds: dict[str, Cond]
    model_options: dict[str, Any]
    _prompts_apart: bool = field(default=False, init=False)
    _items_apart: bool = field(default=False, init=False)
    _controls: Controls = field(default_factory=dict, init=False)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        with torch.inference_mode():
            return self._predict(x, sigma.expand(len(x)), [self.conds[name] for name in names])

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        batch = len(xs[0])
        levels = sigma.expand(batch)
        with torch.inference_mode():
            columns = [join_conds([self.conds[name] for name in column], batch) for column in zip(*names, strict=True)]
            conds = [column for column in columns if column is not None]
            if len(conds) < len(columns):
                return [self(x, levels, prompts) for x, prompts in zip(xs, names, strict=True)]
            estimates = self._predict(torch.cat(list(xs)), levels.repeat(len(xs)), conds)
            return [list(row) for row in zip(*(each.chunk(len(xs)) for each in estimates), strict=True)]

    def with_gradients(self, x: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        """Predict one estimate in the caller's grad mode, for training."""

        def predict(x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            return self._call_model(x, levels, [ordinary_conditioning(cond) for cond in conds])

        levels = sigma.expand(len(x))
        if len(x) == 1 or same_for_all_items([cond], levels):
            return predict(x, levels, [cond])[0]
        return self._predict_items_apart(predict, x, levels, [cond])[0]

    def of_item(self, index: int) -> HostDenoiser:
        """The denoiser of one batch item."""
        conds = {name: cond_of_item(cond, index, self._controls) for name, cond in self.conds.items()}
        return HostDenoiser(self.model, conds, self.model_options)

    def _predict(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        """Predict all estimates at once, or if memory is short, one prompt at a time, then one image at a time."""
        if len(x) > 1 and (self._items_apart or not same_for_all_items(conds, levels)):
            return self._predict_items_apart(self._predict, x, levels, conds)
        if len(conds) > 1 and self._prompts_apart:
            return [self._predict(x, levels, [cond])[0] for cond in conds]
        try:
            return self._call_model(x, levels, conds)
        except comfy.model_management.OOM_EXCEPTION:
            if len(conds) == 1 and len(x) == 1:
                raise
            self._split_from_now_on(len(conds))
        comfy.model_management.soft_empty_cache()
        return self._predict(x, levels, conds)

    def _split_from_now_on(self, prompts: int) -> None:
        if prompts > 1:
            log.warning("Out of memory: model calls now process one prompt at a time.")
            self._prompts_apart = True
        else:
            log.warning("Out of memory: model calls now process one image at a time.")
            self._items_apart = True

    def _predict_items_apart(self, predict: Predict, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        rows = [
            predict(x[i : i + 1], levels[i : i + 1], [cond_of_item(cond, i, self._controls) for cond in conds])
            for i in range(len(x))
        ]
        return [torch.cat(column) for column in zip(*rows, strict=True)]

    def _call_model(self, x: Tensor, levels: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        replacement = self.model_options.get("sampler_calc_cond_batch_function")
        if replacement is None:
            return comfy.samplers.calc_cond_batch(self.model, list(conds), x, levels, self.model_options)
        return replacement({
            "conds": list(conds),
            "input": x,
            "sigma": levels,
            "model": self.model,
            "model_options": self.model_options,
        })  # fmt: skip
