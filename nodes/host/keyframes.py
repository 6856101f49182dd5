"""Hook keyframes (strengths of hook LoRAs over time) for algorithms that do not walk straight down.

The host only moves keyframes forward, as its samplers do. Inversion and random noise levels also go back up, so here
the noise level alone chooses the keyframe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .conds import Cond


def has_keyframes(conds: Sequence[Cond]) -> bool:
    """Whether a hook of these conditionings has keyframes."""
    return any(hook.hook_keyframe.keyframes for hook in _hooks(conds))


def set_keyframes(patcher: Any, conds: Sequence[Cond], level: float, model_options: dict[str, Any]) -> None:
    """Select the keyframe of a noise level in all hooks, and drop what the host has cached for other strengths."""
    hooks = list(_hooks(conds))
    groups = {id(hook.hook_keyframe): hook.hook_keyframe for hook in hooks}  # hooks may share one
    moved = {key for key, group in groups.items() if _select(group, level)}
    changed = [hook for hook in hooks if id(hook.hook_keyframe) in moved]
    if changed:
        for each in (patcher, *model_options.get("multigpu_clones", {}).values()):
            _forget(each, changed)


def _hooks(conds: Sequence[Cond]) -> Iterable[Any]:
    groups = [entry["hooks"] for cond in conds for entry in cond if entry.get("hooks") is not None]
    return {id(hook): hook for group in groups for hook in group.hooks}.values()


def _select(group: Any, level: float) -> bool:
    """Select the last keyframe that starts at this level or above, else the first. Whether its strength changed."""
    if group.is_empty():
        return False
    before = group.strength
    started = [i for i, keyframe in enumerate(group.keyframes) if keyframe.start_t >= level]
    index = max(started, default=0)
    group._current_index, group._current_keyframe = index, group.keyframes[index]
    group._current_strength = group.strength
    group._curr_t = level  # the host leaves the group alone at the level it was prepared for
    return group.strength != before


def _forget(patcher: Any, hooks: Sequence[Any]) -> None:
    for cached in list(patcher.cached_hook_patches):
        if any(cached.contains(hook) for hook in hooks):
            del patcher.cached_hook_patches[cached]
    current = patcher.current_hooks
    if current is not None and any(current.contains(hook) for hook in hooks):
        patcher.patch_hooks(None)
