"""Change parts of an encoded network, to test that unusable files are refused."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

Encoded = tuple[dict[str, Tensor], dict[str, str]]
"""The tensors and the metadata of a safetensors file."""


def with_metadata(encoded: Encoded, **changes: str) -> Encoded:
    tensors, metadata = encoded
    return tensors, {**metadata, **changes}


def with_json(encoded: Encoded, key: str, **changes: Any) -> Encoded:
    """Change values of the JSON object stored as `key` of the metadata."""
    tensors, metadata = encoded
    return tensors, {**metadata, key: json.dumps({**json.loads(metadata[key]), **changes})}


def with_value(encoded: Encoded, name: str, value: float) -> Encoded:
    """Fill a tensor with one value."""
    tensors, metadata = encoded
    return {**tensors, name: torch.full_like(tensors[name], value)}, metadata


def without_tensor(encoded: Encoded, name: str) -> Encoded:
    tensors, metadata = encoded
    return {key: tensor for key, tensor in tensors.items() if key != name}, metadata
