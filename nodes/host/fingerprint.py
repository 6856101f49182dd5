"""Names for MODELs and other values by what they hold, so that they are the same after the host was restarted."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .model import base_of, noise_schedule

MANY = 2**20
"""Numbers of a larger tensor that are looked at, about."""
HELD = ("weights", "hooks", "strength_model")
"""What objects of the host hold that change what a model says: adapters such as LoRAs, and hooks on conditioning."""
WORDS = (bool, int, float, str, type(None), torch.dtype)


def fingerprint(*values: Any) -> str:
    """A name for values, tensors and nested ones included; of objects it knows no more than their class and `HELD`."""
    digest = hashlib.sha256()
    for part in _parts(values):
        digest.update(part)
    return digest.hexdigest()[:24]


def model_fingerprint(model: Any) -> str:
    """A name for all that a MODEL says: its weights, what is patched into them and around them, and its noise."""
    sampling, (path, levels) = model.get_model_object("model_sampling"), noise_schedule(model)
    asked = sampling.timestep(torch.tensor(levels))
    kinds = [kind.__qualname__ for kind in type(sampling).__mro__]
    patched = (model.patches, model.object_patches, model.model_options, model.wrappers, model.injections)
    return fingerprint(base_of(model), path, levels, asked, kinds, *patched)


def _parts(value: Any) -> Iterator[bytes]:
    """The bytes to know a value by."""
    if isinstance(value, Tensor):
        yield f"tensor {tuple(value.shape)};".encode()
        yield _numbers(value)
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)};".encode()
        for key in sorted(value, key=str):
            yield from _parts((str(key), value[key]))
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)};".encode()
        for each in value:
            yield from _parts(each)
    elif isinstance(value, WORDS):
        yield f"{value!r};".encode()
    else:
        named = value if hasattr(value, "__qualname__") else type(value)
        yield f"{named.__module__}.{named.__qualname__};".encode()
        yield from _parts([_settings(value), *(getattr(value, name, None) for name in HELD)])


def _numbers(tensor: Tensor) -> bytes:
    numbers = tensor.detach().flatten()
    few = numbers[:: max(1, len(numbers) // MANY)]
    return few.to("cpu", torch.float32).contiguous().numpy().tobytes()


def _settings(value: Any) -> dict[str, Any]:
    """What a function inside another took from that one and does not change, such as the numbers of a node's widgets.

    Lists are left out, as functions keep in them what they have seen.
    """
    code = getattr(value, "__code__", None)
    if code is None or not value.__closure__:
        return {}
    changed = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
    held = {name: _content(cell) for name, cell in zip(code.co_freevars, value.__closure__) if name not in changed}
    return {name: content for name, content in held.items() if _is_plain(content)}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, dict)):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, WORDS)
