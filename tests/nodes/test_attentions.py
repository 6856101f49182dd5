"""Gradients beside attention functions that have no backward pass: SageAttention and FlashAttention.

Both packages need a GPU. Here PyTorch computes in place of their kernels, inside the host's own functions for them.
"""

from __future__ import annotations

import sys
from typing import Any

import comfy.ldm.modules.attention as attention
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.nodes.host.gradients import plain_attention
from support.host_oracle import assert_differs, assert_same
from support.tiny_models import (
    EPS,
    FLUX,
    Family,
    autoencoder,
    distilled,
    encoded,
    hole,
    restore,
    tiny,
    tiny_vae,
    untouched,
)
from torch import Tensor
from torch.nn import functional as F

CHOICES = ("optimized_attention", "optimized_attention_masked")


def sage_kernel(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, tensor_layout: str = "HND", sm_scale: Any = None, **_: Any
) -> Tensor:
    """Attention as SageAttention gives it: in new memory, which autograd knows nothing of."""
    swap = tensor_layout == "NHD"
    with torch.no_grad():
        q, k, v = (x.transpose(1, 2) if swap else x for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask, scale=sm_scale)
        return out.transpose(1, 2) if swap else out


def flash_kernel(q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous()


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "sageattn", sage_kernel, raising=False)
    monkeypatch.setattr(attention, "flash_attn_func", flash_kernel, raising=False)
    # As on a GPU. The choice on a CPU rounds otherwise, which is enough to flip ReLUs of TAESD.
    choose(attention.attention_pytorch, monkeypatch)


def choose(function: Any, patch: pytest.MonkeyPatch) -> None:
    """As an option of the host does at its start: every module imports the function that the host chose."""
    for module in tuple(sys.modules.values()):
        for name in CHOICES:
            if module.__name__.startswith("comfy.") and callable(vars(module).get(name)):
                patch.setattr(module, name, function)


def attached(model: ModelPatcher, function: Any) -> ModelPatcher:
    """As nodes attach an attention function to a MODEL."""

    def override(_: Any, *args: Any, **kwargs: Any) -> Tensor:
        return function(*args, **kwargs)

    clone = model.clone()
    clone.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
    return clone


def with_attention(family: Family, name: str, by: str, patch: pytest.MonkeyPatch) -> ModelPatcher:
    function = getattr(attention, f"attention_{name}")
    if by == "node":
        return attached(tiny(family), function)
    choose(function, patch)
    return tiny(family)


every_attention = pytest.mark.parametrize(
    ("family", "name", "by"),
    [(EPS, "sage", "option"), (FLUX, "sage", "option"), (EPS, "sage", "node"), (FLUX, "flash", "node")],
    ids=str,
)
STEPS = {"data_until": 0.0, "start_from": "noise", "steps": 2, "skip": 0.0, "eta": 0.0, "projection": False}
"""Options for two gradient steps and no others."""


@every_attention
def test_gradient_steps_of_a_restoration_are_the_same(
    family: Family, name: str, by: str, monkeypatch: pytest.MonkeyPatch
):
    vae = tiny_vae("kl" if family is EPS else "taesd-16")

    def restored(model: ModelPatcher, weight: float) -> Tensor:
        return restore(model, vae, encoded(family), hole(), dps_weight=weight, **STEPS).samples

    expected, pulled = restored(tiny(family), 0.0), restored(tiny(family), 100.0)
    assert_differs(pulled, expected, 0.1)
    model = with_attention(family, name, by, monkeypatch)
    with untouched(model.model):
        assert_same(restored(model, 100.0), pulled, 1e-3)


@every_attention
def test_lora_of_vsd_learns_the_same(family: Family, name: str, by: str, monkeypatch: pytest.MonkeyPatch):
    def made(model: ModelPatcher, rate: float) -> Tensor:
        options = {"optimizer": "sgd", "learning_rate": 0.1, "steps": 3, "lora_learning_rate": rate}
        return distilled(model, encoded(family), method="vsd", **options)

    frozen, learned = made(tiny(family), 0.0), made(tiny(family), 0.1)
    assert_differs(learned, frozen, 5e-3)
    assert_same(made(with_attention(family, name, by, monkeypatch), 0.1), learned, 5e-4)


def test_pixels_follow_the_same_gradient_through_a_vae_with_the_hosts_attention(monkeypatch: pytest.MonkeyPatch):
    """As in the VAE of Mochi, which imports the function that the host chose."""

    def by_host(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows = (x.flatten(2).transpose(1, 2) for x in (q, k, v))
        return attention.optimized_attention(*rows, heads=1).transpose(1, 2).reshape(q.shape)

    monkeypatch.setattr(autoencoder(tiny_vae("kl")).encoder.mid.attn_1, "optimized_attention", by_host)

    def made() -> Tensor:
        options = {"optimizer": "sgd", "learning_rate": 3.0, "steps": 1}
        return distilled(tiny(EPS), encoded(EPS), method="sds", vae=tiny_vae("kl"), **options)

    expected = made()
    choose(attention.attention_sage, monkeypatch)
    assert_same(made(), expected)


def test_the_hosts_choice_is_back_after_a_failure(monkeypatch: pytest.MonkeyPatch):
    choose(attention.attention_sage, monkeypatch)
    with pytest.raises(ZeroDivisionError), plain_attention():
        assert attention.optimized_attention is attention.attention_pytorch
        raise ZeroDivisionError
    assert attention.optimized_attention is attention.attention_sage
