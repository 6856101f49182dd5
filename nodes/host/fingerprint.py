"""Fingerprints of MODELs and other values that stay the same when the host restarts."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .model import noise_schedule, weights_digest

MAX_NUMBERS = 2**20
"""A larger tensor is subsampled to about this many numbers."""
ATTRIBUTES = ("weights", "hooks", "strength_model")
"""Attributes of the host's objects that affect a model's predictions: adapters such as LoRAs, hooks on conditioning."""
PLAIN_TYPES = (bool, int, float, str, type(None), torch.dtype)


def fingerprint(*values: Any) -> str:
    """A fingerprint of values, nested ones and tensors included. Other objects count by class and `ATTRIBUTES` only."""
    digest = hashlib.sha256()
    for part in _parts(values):
        digest.update(part)
    return digest.hexdigest()[:24]


def model_fingerprint(model: Any) -> str:
    """A fingerprint of all that affects a MODEL's predictions: weights, patches, options and noise schedule."""
    sampling, (path, levels) = model.get_model_object("model_sampling"), noise_schedule(model)
    timesteps = sampling.timestep(torch.tensor(levels))
    kinds = [kind.__qualname__ for kind in type(sampling).__mro__]
    patches = (model.patches, model.object_patches, model.model_options, model.wrappers, model.injections)
    return fingerprint(weights_digest(model), path, levels, timesteps, kinds, *patches)


def _parts(value: Any) -> Iterator[bytes]:
    """The bytes that identify a value."""
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
    elif isinstance(value, PLAIN_TYPES):
        yield f"{value!r};".encode()
    else:
        named = value if hasattr(value, "__qualname__") else type(value)
        yield f"{named.__module__}.{named.__qualname__};".encode()
        yield from _parts([_closure_constants(value), *(getattr(value, name, None) for name in ATTRIBUTES)])


def _numbers(tensor: Tensor) -> bytes:
    numbers = tensor.detach().flatten()
    sample = numbers[:: max(1, len(numbers) // MAX_NUMBERS)]
    return sample.to("cpu", torch.float32).contiguous().numpy().tobytes()


def _closure_constants(value: Any) -> dict[str, Any]:
    """The plain values that a nested function captures and does not change, such as a node's widget values.

    Lists are left out, because functions use them as state.
    """
    code = getattr(value, "__code__", None)
    if code is None or not value.__closure__:
        return {}
    changed = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
    cells = zip(code.co_freevars, value.__closure__, strict=True)
    captured = {name: _cell_contents(cell) for name, cell in cells if name not in changed}
    return {name: contents for name, contents in captured.items() if _is_plain(contents)}


def _cell_contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the cell is empty
        return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, dict)):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, PLAIN_TYPES)
