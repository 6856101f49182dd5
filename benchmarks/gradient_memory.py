"""Memory of steps with gradients for Stable Diffusion 1.5 at 512 x 512 in fp16, computed without a GPU.

    .host/venv/bin/python -m benchmarks.gradient_memory     writes benchmarks/results/gradient_memory.json

ComfyUI's own model and autoencoder run on tensors without data. The peak counts everything alive at the same time, as a
GPU's caching allocator would before fragmentation: weights, activations and gradients.

- KSampler: two predictions without gradients, for comparison.
- Restoration: the DPS gradient through model and decoder, with activations kept, and recomputed in the backward pass.
- Restoration without gradients (consistency only, few steps): two predictions, an estimate decoded and encoded again.
- ding: two predictions, and before the first step an image encoded.
- Images through the encoder (SVG Optimizer, and Distillation Sampler with a `vae`): two predictions while the encoder's
  activations wait for the gradient.
- vsd: a training step of the LoRA on the model's attention.
"""

from __future__ import annotations

import argparse
import json
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.distillation.objectives import METHODS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .networks import WHOLE, autoencoder, stable_diffusion
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
GIB = 2**30


class Living(TorchDispatchMode):
    """Counts the bytes of living storages other than the modules' own, and their peak."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        own = (tensor for m in modules for tensor in (*m.parameters(), *m.buffers()))
        self._seen = {tensor.untyped_storage()._cdata for tensor in own}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.bytes -= size


def weight(module: nn.Module) -> int:
    """Bytes of a module's parameters."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


class Machine:
    """Stable Diffusion 1.5 in fp16 and its autoencoder in float32, as the pack uses them."""

    def __init__(self, side: int):
        self.model = stable_diffusion(WHOLE, torch.float16).get_model({}, "", device="cpu")
        self.vae = autoencoder().requires_grad_(False)
        self.model.diffusion_model.requires_grad_(False)
        self.image_shape, self.latent_shape = (1, 3, side, side), (1, 4, side // 8, side // 8)

    def z0_hat(self, x: Tensor) -> Tensor:
        """The model's clean estimates of latents (B, 4, h, w), each with its own prompt."""
        encoded = torch.randn(len(x), 77, 768, dtype=torch.float16)
        return self.model.apply_model(x, torch.full((len(x),), 2.0), c_crossattn=encoded)

    @torch.no_grad()
    def sampled(self) -> None:
        """A step of KSampler."""
        self.z0_hat(torch.randn(self.latent_shape).repeat(2, 1, 1, 1))

    @torch.no_grad()
    def fitted(self) -> None:
        """A step of a restoration without gradients."""
        z0, _ = self.z0_hat(torch.randn(self.latent_shape).repeat(2, 1, 1, 1)).chunk(2)
        self.vae.encode(self.vae.decode(z0))

    @torch.no_grad()
    def decoupled(self) -> None:
        """The known cells of `ding`, and a step."""
        self.vae.encode(torch.randn(self.image_shape))
        self.sampled()

    def kept(self) -> None:
        """The DPS gradient."""
        x, y = torch.randn(self.latent_shape, requires_grad=True), torch.randn(self.image_shape)
        distance = (self.vae.decode(self.z0_hat(x)) - y).flatten(1).norm(dim=1).sum()
        torch.autograd.grad(distance, x)

    def recomputed(self) -> None:
        """The DPS gradient as computed if memory is short."""
        from dreamsampler.nodes.host.checkpoints import checkpointed

        with checkpointed(self.model.diffusion_model), checkpointed(self.vae):
            self.kept()

    def encoder(self) -> None:
        """A distillation gradient down to pixels."""
        pixels = torch.randn(self.image_shape, requires_grad=True)
        z0: Any = self.vae.encode(pixels)
        with torch.no_grad():
            null, target = self.z0_hat(torch.cat([z0, z0])).chunk(2)
        torch.autograd.grad(z0, pixels, null - target)

    def vsd(self) -> None:
        """A step of the LoRA's training."""
        from dreamsampler.nodes.host import lora

        rank = METHODS["vsd"].settings.lora_rank
        layers = lora.attention_layers(self.model.diffusion_model)
        additions = [(layer, lora.LowRank(layer, rank, torch.Generator())) for layer in layers]
        for layer, addition in additions:
            layer.register_forward_hook(addition)
        loss = (self.z0_hat(torch.randn(self.latent_shape)) - torch.randn(self.latent_shape)).square().mean()
        torch.autograd.grad(loss, [matrix for _, each in additions for matrix in (each.down, each.up)])


STEPS: dict[str, Callable[[Machine], None]] = {
    "KSampler": Machine.sampled,
    "restoration without gradients": Machine.fitted,
    "ding": Machine.decoupled,
    "restoration, kept": Machine.kept,
    "restoration, recomputed": Machine.recomputed,
    "images through the encoder": Machine.encoder,
    "vsd": Machine.vsd,
}


def peak(side: int, step: Callable[[Machine], None]) -> dict[str, float]:
    """GiB of weights, and of everything else at the peak of one step."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        machine = Machine(side)
        networks = machine.model.diffusion_model, machine.vae
        with Living(machine.model, machine.vae) as living:
            step(machine)
    weights = sum(map(weight, networks))
    return {"weights": weights / GIB, "step": living.peak / GIB, "total": (weights + living.peak) / GIB}


def main() -> None:
    """Compute and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="width and height of the image")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True  # what ComfyUI chooses on CUDA, at import
    results = Results(arguments.output / "gradient_memory.json")
    results.table("memory", "computed steps")
    for name, step in STEPS.items():
        results.figures[name] = peak(arguments.side, step)
        results.measured("memory", name, 1)
    log.info("%s", json.dumps(results.figures, indent=1))
    results.write()


if __name__ == "__main__":
    main()
