"""Networks that a node has compiled with torch.compile."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .patches import COMPILED, Options

_set_stance: Any = getattr(torch.compiler, "set_stance", None)
"""PyTorch has it from 2.6 on."""


def uncompiled() -> AbstractContextManager[None]:
    """Within this context, compiled networks run as if they were not.

    Hooks need it: PyTorch does not look whether the hooks of a layer are still those that were there when it compiled.
    """
    return nullcontext() if _set_stance is None else _set_stance("force_eager")


def check_uncompiled(model_options: Options, method: str) -> None:
    """Raise ValueError if `uncompiled` cannot help on this PyTorch, and Torch Compile is attached to the MODEL."""
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    if _set_stance is None and any(by_key.get(COMPILED) for by_key in wrappers.values()):
        raise ValueError(
            f"The method '{method}' trains a LoRA, which a compiled model does not see on PyTorch {torch.__version__}: "
            "remove Torch Compile, choose another method, or update PyTorch to 2.6 or newer."
        )
