"""What a gradient step of DPS takes of memory with Stable Diffusion 1.5 at 512 x 512 in fp16, computed without a GPU.

    .host/venv/bin/python -m benchmarks.gradient_memory     writes benchmarks/results/gradient_memory.json

The host's own model and autoencoder run on tensors without data, so the peak is that of what lives at the same time,
as a GPU's caching allocator would see it before fragmentation: weights, activations and gradients.
"""

from __future__ import annotations

import argparse
import json
import logging
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tools.pack import part
from tools.reference import host_access

from .cost import stable_diffusion

log = logging.getLogger("dreamsampler.benchmarks")
RESULTS = Path(__file__).with_name("results")
GIB = 2**30
KL = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


class Living(TorchDispatchMode):
    """Counts the bytes of the storages that live besides the modules' own, and their peak."""

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


def peak(side: int, recomputed: bool) -> dict[str, float]:
    """GiB of weights and of the rest at the peak of one gradient step."""
    import comfy.ldm.models.autoencoder

    checkpointed = part("nodes.host.checkpoints").checkpointed
    with FakeTensorMode(allow_non_fake_inputs=True), ExitStack() as stack:
        model = stable_diffusion(320, torch.float16).get_model({}, "", device="cpu")
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=KL, embed_dim=4).requires_grad_(False)
        model.diffusion_model.requires_grad_(False)
        if recomputed:
            stack.enter_context(checkpointed(model.diffusion_model))
            stack.enter_context(checkpointed(vae))
        living = stack.enter_context(Living(model, vae))
        x = torch.randn(1, 4, side // 8, side // 8, requires_grad=True)
        text, y = torch.randn(1, 77, 768, dtype=torch.float16), torch.randn(1, 3, side, side)
        z0_hat = model.apply_model(x, torch.full((1,), 2.0), c_crossattn=text)
        distance = (vae.decode(z0_hat) - y).flatten(1).norm(dim=1).sum()
        torch.autograd.grad(distance, x)
        weights = weight(model.diffusion_model) + weight(vae)
        return {"weights": weights / GIB, "step": living.peak / GIB, "total": (weights + living.peak) / GIB}


def main() -> None:
    """Compute and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="width and height of the picture")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    host_access.import_comfy()
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True  # what the host chooses on CUDA
    figures = {name: peak(arguments.side, name == "recomputed") for name in ("kept", "recomputed")}
    log.info("%s", json.dumps(figures, indent=1))
    (arguments.output / "gradient_memory.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
