"""Runs Overlay Illusion on tiny models."""

from __future__ import annotations

from typing import Any

import torch
from dreamsampler.guidance.distillation.compositions import ARRANGEMENTS
from dreamsampler.nodes.overlay_illusion import OverlayIllusion
from dreamsampler.nodes.widgets import UNSET

from support.tiny_models import EPS, NEGATIVE, QWEN, SD3, Family, V, cond, tiny, tiny_vae

SIZE = 32
VAES = {EPS: "kl", V: "kl", SD3: "taesd-16", QWEN: "wan"}
PROMPTS = {f"conditioning_{number}": cond(10 + number) for number in range(1, 6)}


def illusion(family: Family = EPS, arrangement: str = "flip", *, model: Any = None, **options: Any) -> Any:
    """Run the node like ComfyUI, in inference mode. Prompts that the arrangement does not need are left out."""
    count = len(ARRANGEMENTS[arrangement].views) if arrangement in ARRANGEMENTS else 2
    prompts = {name: prompt for name, prompt in PROMPTS.items() if int(name[-1]) <= count}
    inputs: dict[str, Any] = {
        "model": model or tiny(family),
        "vae": tiny_vae(VAES[family]),
        "negative": NEGATIVE,
        "arrangement": arrangement,
        "size": SIZE,
        "steps": 2,
        "guidance_scale": UNSET,
        "method": "sds",
        "seed": 3,
        **prompts,
        **options,
    }
    with torch.inference_mode():
        return OverlayIllusion.execute(**{name: value for name, value in inputs.items() if value is not None})
