"""What sits between loader and sampler: patches, wrappers and caches attached to a MODEL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .conds import Cond, chain

GUIDANCE_PATCHES = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")
"""Options with which users replace classifier-free guidance."""

COMPILED = "torch.compile"
"""The key of the wrappers of Torch Compile, which do what the model does."""
OWN_ATTENTION = "optimized_attention_override"
"""The transformer option with which users replace the attention function of a network."""
Options = dict[str, Any]
"""A MODEL's `model_options`."""


def with_host_attention(model_options: Options) -> Options:
    """Options under which networks use the host's attention function, not an attached one (SageAttention)."""
    options = model_options.get("transformer_options", {})
    if OWN_ATTENTION not in options:
        return model_options
    kept = {name: value for name, value in options.items() if name != OWN_ATTENTION}
    return {**model_options, "transformer_options": kept}


def with_roles(model_options: Options, roles: Sequence[Sequence[int]]) -> Options:
    """Options under which patches see each state of branch i of a model call as `roles[i]`, not as the number i."""
    own = model_options.get("model_function_wrapper")

    def call(apply_model: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        branches, c = arguments["cond_or_uncond"], arguments["c"]
        numbers = [role for branch in branches for role in roles[branch]]
        told = {"cond_or_uncond": numbers}
        if "uuids" in c["transformer_options"]:
            ids = zip(branches, c["transformer_options"]["uuids"], strict=True)
            told["uuids"] = [uuid for branch, uuid in ids for _ in roles[branch]]
        c = {**c, "transformer_options": {**c["transformer_options"], **told}}
        if own is not None:
            return own(apply_model, {**arguments, "c": c, "cond_or_uncond": numbers})
        return apply_model(arguments["input"], arguments["timestep"], **c)

    return {**model_options, "model_function_wrapper": call}


def reads_noise_level(conds: Sequence[Cond], model_options: Options) -> bool:
    """Whether something attached could depend on the noise level, of which patches see the first item's only.

    The host's own ControlNets do not: they get a level per item.
    """
    if "model_function_wrapper" in model_options or "sampler_calc_cond_batch_function" in model_options:
        return True
    options = model_options.get("transformer_options", {})
    wrappers = [by_key for kind in options.get("wrappers", {}).values() for by_key in kind.items()]
    attached = [
        *_leaves([options.get("patches"), options.get("patches_replace")]),
        *_leaves([functions for key, functions in wrappers if key != COMPILED]),
    ]
    if attached:
        return True
    controls = (control for cond in conds for entry in cond for control in chain(entry.get("control")))
    return any(not type(control).__module__.startswith("comfy.") for control in controls)


def note_on_guidance(model_options: Options) -> str:
    """A sentence for methods that patches of the guidance have no effect on."""
    functions = [each for kind in GUIDANCE_PATCHES for each in _leaves(model_options.get(kind))]
    return (
        f"No effect here: {', '.join(sorted({title(each) for each in functions}))}. It changes how samplers apply "
        "classifier-free guidance, and this method combines the prompts by an equation of its own."
    )


def note_on_masks(model_options: Options) -> str:
    """A sentence on a patch that changes masks during sampling."""
    patch = title(model_options["denoise_mask_function"])
    return f"No effect here: {patch}. It changes masks during sampling; here they are the same in all steps."


def title(function: Any) -> str:
    """What a user knows a patch by: the node that made it, as far as its function tells."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    node = name.split(".")[0]
    return "a patch of the model" if node == "ModelPatcher" else node


def _leaves(attached: Any) -> Iterator[Any]:
    """All functions in the nested dictionaries and lists that the host keeps patches in."""
    if isinstance(attached, dict):
        for each in attached.values():
            yield from _leaves(each)
    elif isinstance(attached, (list, tuple)):
        for each in attached:
            yield from _leaves(each)
    elif attached is not None:
        yield attached


# Compiled networks

set_stance: Any = getattr(torch.compiler, "set_stance", None)
"""PyTorch has it from 2.6 on."""


def uncompiled() -> AbstractContextManager[None]:
    """Within this context, compiled networks run as if they were not.

    Hooks need it: PyTorch does not look whether the hooks of a layer are still those that were there when it compiled.
    """
    return nullcontext() if set_stance is None else set_stance("force_eager")
