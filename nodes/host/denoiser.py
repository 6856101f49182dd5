"""The host's model as a denoiser of named conditionings."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...guidance.core.denoiser import NULL, TARGET
from .conds import (
    Cond,
    Controls,
    cond_of_item,
    has_control,
    join_conds,
    same_for_all_items,
    uncovered,
)
from .gradients import ordinary_conditioning
from .keyframes import has_keyframes, set_keyframes
from .oom_fallback import is_oom
from .patches import reads_noise_level, with_host_attention, with_roles

log = logging.getLogger("dreamsampler")

Own = TypeVar("Own", bound="HostDenoiser")

POSITIVE, NEGATIVE = 0, 1
"""The host's numbers for the two branches of classifier-free guidance. Adapters tell them apart by these."""


@dataclass(frozen=True)
class Branch:
    """A conditioning to evaluate, and which branch of guidance each state (one or several of equal batch) belongs to.

    What an image-prompt adapter adds to the positive branch attracts only if everything the method moves away from is
    a negative branch.
    """

    cond: Cond
    roles: tuple[int, ...]

    @property
    def role(self) -> int | None:
        """The role that all states share, or None."""
        return self.roles[0] if len(set(self.roles)) == 1 else None

    def of_item(self, index: int, batch: int, controls: Controls) -> Branch:
        """The branch of one of `batch` items, in all states together. `controls` caches its ControlNets."""
        return Branch(cond_of_item(self.cond, index, controls), (self.roles[index * len(self.roles) // batch],))


Predict = Callable[[Tensor, Tensor, Sequence[Branch]], list[Tensor]]
"""Maps states (B, ...), noise levels (B,) and branches to one clean estimate (B, ...) per branch."""


@dataclass
class Apart:
    """What model calls process apart since memory ran out. A denoiser shares it with those of its items."""

    prompts: bool = False
    items: bool = False


@dataclass
class HostDenoiser:
    """The host's model as a `PairedDenoiser`: one batched model call, or several where memory is short.

    The target prompt is a positive branch of guidance, every other prompt a negative one.

    Runs in inference mode, whatever the mode around it; only `with_gradients` does not.
    """

    model: Any
    conds: dict[str, Cond]
    model_options: dict[str, Any]
    _apart: Apart = field(default_factory=Apart, init=False)
    _controls: Controls = field(default_factory=dict, init=False)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        with torch.inference_mode():
            return self._complete(self._predict, x, sigma.expand(len(x)), names)

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        batch = len(xs[0])
        levels = sigma.expand(len(xs), batch)
        with torch.inference_mode():
            columns = [self._joined(column, batch) for column in zip(*names, strict=True)]
            branches = [column for column in columns if column is not None]
            if len(branches) < len(columns) or any(self._stand_in(name) for prompts in names for name in prompts):
                return [self(x, level, prompts) for x, level, prompts in zip(xs, levels, names, strict=True)]
            estimates = self._predict(torch.cat(list(xs)), levels.flatten(), branches)
            return [list(row) for row in zip(*(each.chunk(len(xs)) for each in estimates), strict=True)]

    def with_gradients(self, x: Tensor, sigma: Tensor, name: str) -> Tensor:
        """Predict the estimate under one conditioning in the caller's grad mode, for training."""
        return self._complete(self._predict_with_gradients, x, sigma.expand(len(x)), [name])[0]

    def each_with_gradients(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> Tensor:
        """The same under a conditioning for each item."""
        levels = sigma.expand(len(x))
        joined = None if any(self._stand_in(name) for name in names) else self._joined(names, 1)
        if joined is not None:
            return self._predict_with_gradients(x, levels, [joined])[0]
        items = zip(x.split(1), levels.split(1), names, strict=True)
        return torch.cat([self.with_gradients(*item) for item in items])

    def _predict_with_gradients(self, x: Tensor, levels: Tensor, branches: Sequence[Branch]) -> list[Tensor]:
        own = copy.copy(self)
        own.model_options = with_host_attention(self.model_options)  # an attached one may have no backward pass

        def predict(x: Tensor, levels: Tensor, branches: Sequence[Branch]) -> list[Tensor]:
            ordinary = [Branch(ordinary_conditioning(branch.cond), branch.roles) for branch in branches]
            return own._call_model(x, levels, ordinary)

        if len(x) == 1 or self._same_for_all_items(levels, branches):
            return predict(x, levels, branches)
        return self._predict_items_apart(predict, x, levels, branches)

    def of_item(self: Own, index: int) -> Own:
        """The denoiser of one batch item."""
        conds = {name: cond_of_item(cond, index, self._controls) for name, cond in self.conds.items()}
        made = type(self)(self.model, conds, self.model_options)
        made._apart = self._apart
        return made

    def _complete(self, predict: Predict, x: Tensor, levels: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Estimates in which another prompt stands in where one does not act."""
        stand_ins = {name: self._stand_in(name) for name in names}
        asked = [*dict.fromkeys([*names, *(other for other in stand_ins.values() if other is not None)])]
        estimates = dict(zip(asked, predict(x, levels, [self._branch(name) for name in asked]), strict=True))
        return [self._filled(estimates, name, stand_ins[name], x, levels) for name in names]

    def _stand_in(self, name: str) -> str | None:
        """The prompt for where a conditioning does not act: the negative, and for the negative the positive."""
        kind, *number = name.split(" ")  # as `numbered` makes names
        other = " ".join([TARGET if kind == NULL else NULL, *number])
        return other if other in self.conds and _is_partial(self.conds[name]) else None

    def _filled(self, estimates: dict[str, Tensor], name: str, other: str | None, x: Tensor, levels: Tensor) -> Tensor:
        if other is None:
            return estimates[name]
        return torch.where(uncovered(self.conds[name], x, levels), estimates[other], estimates[name])

    def _branch(self, name: str) -> Branch:
        return Branch(self.conds[name], (_role(name),))

    def _joined(self, names: Sequence[str], batch: int) -> Branch | None:
        """The conditionings of several states as one branch, or None where that is not possible.

        ControlNets get the host's number of a whole branch, so with them all states have the same role.
        """
        conds, roles = [self.conds[name] for name in names], tuple(_role(name) for name in names)
        if has_control(conds) and len(set(roles)) > 1:
            return None
        cond = join_conds(conds, batch)
        return None if cond is None else Branch(cond, roles)

    def _predict(self, x: Tensor, levels: Tensor, branches: Sequence[Branch]) -> list[Tensor]:
        """Predict all estimates at once, or if memory is short, one prompt at a time, then one image at a time."""
        if len(x) > 1 and (self._apart.items or not self._same_for_all_items(levels, branches)):
            return self._predict_items_apart(self._predict, x, levels, branches)
        if len(branches) > 1 and self._apart.prompts:
            return [self._predict(x, levels, [branch])[0] for branch in branches]
        try:
            return self._call_model(x, levels, branches)
        except Exception as error:
            if not is_oom(error) or len(branches) == 1 and len(x) == 1:
                raise
            self._split_from_now_on(len(branches))
        comfy.model_management.soft_empty_cache()
        return self._predict(x, levels, branches)

    def _same_for_all_items(self, levels: Tensor, branches: Sequence[Branch]) -> bool:
        """Whether one model call does the same to each item as a call of its own.

        Much of what users connect looks at the noise level of the first item only.
        """
        conds = [branch.cond for branch in branches]
        if bool((levels == levels[0]).all()):
            return True
        return same_for_all_items(conds, levels) and not (
            has_keyframes(conds) or reads_noise_level(conds, self.model_options)
        )

    def _split_from_now_on(self, prompts: int) -> None:
        if prompts > 1:
            log.warning("Out of memory: model calls now process one prompt at a time.")
            self._apart.prompts = True
        else:
            log.warning("Out of memory: model calls now process one image at a time.")
            self._apart.items = True

    def _predict_items_apart(
        self, predict: Predict, x: Tensor, levels: Tensor, branches: Sequence[Branch]
    ) -> list[Tensor]:
        rows = [
            predict(x[i : i + 1], levels[i : i + 1], [branch.of_item(i, len(x), self._controls) for branch in branches])
            for i in range(len(x))
        ]
        return [torch.cat(column) for column in zip(*rows, strict=True)]

    def _call_model(self, x: Tensor, levels: Tensor, branches: Sequence[Branch]) -> list[Tensor]:
        """Evaluate branches under the host's numbers: by their place in its list, or where that does not do, told."""
        positive = [i for i, branch in enumerate(branches) if branch.role == POSITIVE]
        negative = [i for i, branch in enumerate(branches) if branch.role == NEGATIVE]
        if len(positive) <= 1 and len(negative) <= 1 and len(positive) + len(negative) == len(branches):
            first = branches[positive[0]].cond if positive else None
            estimates = self._estimates(x, levels, [first, *(branches[i].cond for i in negative)], self.model_options)
            return [estimates[branch.roles[0]] for branch in branches]
        conds = [branch.cond for branch in branches]
        if has_control(conds):  # a ControlNet is asked before the host's numbers can be replaced
            return [self._call_model(x, levels, [branch])[0] for branch in branches]
        return self._estimates(x, levels, conds, with_roles(self.model_options, [branch.roles for branch in branches]))

    def _estimates(
        self, x: Tensor, levels: Tensor, conds: Sequence[Cond | None], model_options: dict[str, Any]
    ) -> list[Tensor]:
        asked: Any = list(conds)  # the host skips None
        given = [cond for cond in conds if cond is not None]
        if any("hooks" in entry for cond in given for entry in cond):
            set_keyframes(self.model.current_patcher, given, float(levels[0]), model_options)
        replacement = model_options.get("sampler_calc_cond_batch_function")
        if replacement is None:
            return comfy.samplers.calc_cond_batch(self.model, asked, x, levels, model_options)
        return replacement({
            "conds": asked,
            "input": x,
            "sigma": levels,
            "model": self.model,
            "model_options": model_options,
        })  # fmt: skip


@dataclass
class PatchedDenoiser(HostDenoiser):
    """The denoiser of a MODEL whose guidance is patched (RescaleCFG, PAG, APG, ...): a `GuidanceOverride`.

    `guided_calls` counts how often a method asked for guidance; where it never does, the patches have no effect.
    """

    guided_calls: int = field(default=0, init=False)

    def guided(
        self, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = (NULL, TARGET)
    ) -> tuple[Tensor, Tensor]:
        """As a `GuidanceOverride` does it, between two conditionings of any name."""
        self.guided_calls += 1
        levels = sigma.expand(len(x))
        with torch.inference_mode():
            if bool((levels == levels[0]).all()):
                return self._guided(x, levels, float(scale), names)
            items = [
                self.of_item(i)._guided(x[i : i + 1], levels[i : i + 1], float(scale), names) for i in range(len(x))
            ]
            nulls, guided = zip(*items, strict=True)
            return torch.cat(nulls), torch.cat(guided)

    def _guided(self, x: Tensor, levels: Tensor, scale: float, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """As the host's samplers do it, with both branches at any scale."""
        null_name, target_name = names
        conds = [self.conds[target_name], self.conds[null_name]]
        asked = {"conds": conds, "cond_scale": scale, "timestep": levels, "input": x, "sigma": levels}
        estimates = self._complete(self._predict, x, levels, [target_name, null_name])
        for patch in self.model_options.get("sampler_pre_cfg_function", ()):
            estimates = patch({
                **asked, "conds_out": estimates, "model": self.model, "model_options": self.model_options
            })  # fmt: skip
        target, null = estimates[:2]
        guided = comfy.samplers.cfg_function(
            self.model, target, null, scale, x, levels, model_options=self.model_options, cond=conds[0], uncond=conds[1]
        )
        return null, guided


def _role(name: str) -> int:
    """The branch of guidance that a conditioning belongs to. Source prompts are what methods move away from."""
    return POSITIVE if name.split(" ")[0] == TARGET else NEGATIVE


def _is_partial(cond: Cond) -> bool:
    """Whether every entry is confined to a part of the image or of the noise levels."""
    limits = ("mask", "area", "timestep_start", "timestep_end")
    return not any("default" in entry or all(name not in entry for name in limits) for entry in cond)
