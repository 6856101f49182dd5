"""Overhead of Proximal DreamSampler beyond its model calls.

    .host/venv/bin/python -m benchmarks.cost            writes benchmarks/results/cost.json

The baseline is ComfyUI's KSampler (`ddim`) with the same model calls at the same batch: as many steps at cfg 1 (one
prediction per step, like the inversion) and as many at cfg 4 (two in one call, like the edit). Runs alternate; the
ratio is the median over pairs.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.reference import in_process

from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")


def stable_diffusion(channels: int, dtype: torch.dtype) -> Any:
    """ComfyUI's configuration of a model like Stable Diffusion 1.5, which has 320 channels."""
    import comfy.supported_models

    config = comfy.supported_models.SD15(
        {
            **comfy.supported_models.SD15.unet_config,
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": channels,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": (1, 2, 4, 4),
            "use_spatial_transformer": True,
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "transformer_depth_middle": 1,
            "legacy": False,
        }
    )
    config.set_inference_dtype(dtype, None)
    return config


def random_model() -> Any:
    """A MODEL like Stable Diffusion 1.5 with over 100 M random weights."""
    import comfy.model_management
    import comfy.model_patcher

    config = stable_diffusion(128, torch.float32)
    model = config.get_model({}, "", device="cpu")
    generator = torch.Generator().manual_seed(0)
    for p in model.diffusion_model.parameters():
        p.data.copy_(torch.randn(p.shape, generator=generator) * 0.02)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def parameters(model: Any) -> int:
    """Number of weights of a MODEL's diffusion model."""
    return sum(p.numel() for p in model.model.diffusion_model.parameters())


def ratio(model: Any, width: int, samples: Tensor, steps: int, pairs: int) -> dict[str, Any]:
    """Time of the node relative to the baseline, on a MODEL whose text encoder has `width` channels."""
    encoded = torch.randn(2, 1, 77, width, generator=torch.Generator().manual_seed(1))
    positive, negative = ([[t, {}]] for t in encoded)
    reference = in_process.Reference(model, None, None)
    latent = {"samples": samples}

    def ours() -> None:
        reference.edited(positive, negative, latent, steps=steps, gamma=0.3)

    def baseline() -> None:
        for cfg in (1.0, 4.0):
            reference.ksampled(positive, negative, latent, steps=steps, cfg=cfg, seed=0)

    size = {"parameters": parameters(model), "latent": list(samples.shape), "steps": steps}
    result = {**size, **paired(ours, baseline, pairs)}
    log.info("%s", json.dumps(result))
    return result


def paired(ours: Callable[[], None], baseline: Callable[[], None], pairs: int) -> dict[str, Any]:
    """Times of two alternating calls, after a warm-up of each; the ratio is the median over pairs."""
    ours()
    baseline()
    times = [(seconds(ours), seconds(baseline)) for _ in range(pairs)]
    ratios = sorted(a / b for a, b in times)
    return {
        "seconds": statistics.median(a for a, _ in times),
        "baseline_seconds": statistics.median(b for _, b in times),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def seconds(run: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Measure both models and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.output / "cost.json")
    results.table("cost", "pairs")
    with torch.inference_mode():
        shipped = in_process.load()
        noise = torch.randn(4, 4, 12, 12, generator=torch.Generator().manual_seed(2))
        results.figures = {
            "reference": ratio(shipped.model, 96, noise, steps=20, pairs=arguments.pairs),
            "random weights": ratio(
                random_model(),
                768,
                torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3)),
                5,
                arguments.pairs,
            ),
        }
    for name in results.figures:
        results.measured("cost", name, arguments.pairs)
    results.write()


if __name__ == "__main__":
    main()
