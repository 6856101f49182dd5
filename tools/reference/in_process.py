"""The reference checkpoint in the host's own classes, without a server: for measurements, benchmarks and tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.editing.proximal import GammaSchedule
from safetensors.torch import load_file
from torch import Tensor

from . import host_access, world
from .autoencoder import to_tensor
from .export import CHECKPOINT, SCORER
from .scorer import Scorer


@dataclass(frozen=True)
class Reference:
    """MODEL, CLIP and VAE of the reference checkpoint, as the host's checkpoint loader returns them."""

    model: Any
    clip: Any
    vae: Any

    def run_autoencoder_in_bfloat16(self) -> None:
        """Make the autoencoder compute in bfloat16, as on most GPUs. Three times as fast on a CPU."""
        network = self.vae.first_stage_model.to(memory_format=torch.channels_last)
        network.encode, network.decode = _in_bfloat16(network.encode), _in_bfloat16(network.decode)

    def run_model_in_bfloat16(self) -> None:
        """Make the model compute in bfloat16. On a CPU 1.6 times as fast in batches of 64, slower in small batches."""
        network = self.model.model.diffusion_model
        network.forward = _in_bfloat16(network.forward)

    def conditioning(self, prompts: list[str]) -> Any:
        """One CONDITIONING for a batch, with one prompt per item."""
        encoded = [self.clip.encode_from_tokens(self.clip.tokenize(prompt), return_pooled=True) for prompt in prompts]
        return [[torch.cat([c for c, _ in encoded]), {"pooled_output": torch.cat([p for _, p in encoded])}]]

    def latent(self, images: Tensor) -> dict[str, Tensor]:
        """The LATENT of images (B, 3, H, W) in [0, 1]."""
        return {"samples": self.vae.encode(images.movedim(1, -1))}

    def ksampled(
        self,
        positive: Any,
        negative: Any,
        latent: dict[str, Tensor],
        *,
        steps: int,
        cfg: float,
        seed: int,
        denoise: float = 1.0,
    ) -> dict[str, Tensor]:
        """The result of the host's KSampler node with the `ddim` sampler and the `normal` scheduler."""
        import comfy.sample

        samples = latent["samples"]
        noise = comfy.sample.prepare_noise(samples, seed)
        out = comfy.sample.sample(
            self.model, noise, steps, cfg, "ddim", "normal", positive, negative, samples, denoise=denoise, seed=seed
        )
        return {"samples": out}

    def edited(
        self,
        positive: Any,
        negative: Any,
        latent: dict[str, Tensor],
        *,
        steps: int,
        gamma: float,
        gamma_schedule: GammaSchedule = "alpha_bar",
    ) -> dict[str, Tensor]:
        """The result of Proximal DreamSampler, started from the inverted image with the `normal` scheduler."""
        from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler

        return ProximalDreamSampler.execute(
            self.model, positive, negative, latent, steps=steps, gamma=gamma, gamma_schedule=gamma_schedule, eta=0.0,
            renoise="unconditional", start_from="inversion", scheduler="normal", seed=0,
        ).args[0]  # fmt: skip

    def distilled(
        self, positive: Any, negative: Any, latent: dict[str, Tensor], *, method: str, seed: int, **inputs: Any
    ) -> dict[str, Tensor]:
        """The result of Distillation Sampler. `inputs` are further inputs of the node; the rest keep their defaults."""
        from dreamsampler.nodes.distillation_sampler import DistillationSampler

        output = DistillationSampler.execute(self.model, positive, negative, latent, method=method, seed=seed, **inputs)
        return output.args[0]

    def vectorized(self, positive: Any, **inputs: Any) -> tuple[Any, Tensor]:
        """The result of SVG Optimizer: the SVG and its images (B, 3, H, W). `inputs` are further inputs of the node.

        Call `host_access.import_extra_nodes` first.
        """
        from dreamsampler.nodes.svg_optimizer import SVGOptimizer

        settings = {"style": "iconography", "paths": 64, "guidance_scale": -1.0, "canvas_size": world.SIZE, "seed": 0}
        model = {"model": self.model, "vae": self.vae, "positive": positive}
        negative = {} if "negative" in inputs else {"negative": self.conditioning([""])}
        svg, image = SVGOptimizer.execute(**{**settings, **model, **negative, **inputs}).args
        return svg, image.movedim(-1, 1)

    def rescaled(self, multiplier: float) -> Reference:
        """The same behind ComfyUI's RescaleCFG."""
        host_access.import_extra_nodes()
        from comfy_extras.nodes_model_advanced import RescaleCFG

        return replace(self, model=RescaleCFG().patch(self.model, multiplier)[0])

    def decoded(self, latent: dict[str, Tensor]) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of a LATENT."""
        return self.vae.decode(latent["samples"]).movedim(-1, 1).clamp(0, 1)


def load(checkpoint: Path = CHECKPOINT) -> Reference:
    """Load the reference checkpoint with the host's loader."""
    host_access.import_comfy()
    _register_model()
    import comfy.sd

    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(checkpoint), output_vae=True, output_clip=True)
    return Reference(model, clip, vae)


def _in_bfloat16(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def wrapped(*args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return function(*args, **kwargs).float()

    return wrapped


def _register_model() -> None:
    name = "dreamsampler_reference_model"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "host_node" / "__init__.py")
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def load_scorer() -> Scorer:
    """The shipped scorer."""
    scorer = Scorer()
    scorer.load_state_dict({k: v.float() for k, v in load_file(SCORER).items()})
    return scorer.eval()


def render(scenes: list[world.Scene]) -> Tensor:
    """The real images of scenes: (B, 3, SIZE, SIZE) in [0, 1]."""
    return torch.stack([to_tensor(world.render(s)) for s in scenes])


def rasterize(svg: Any, size: int) -> Tensor:
    """Images (B, 3, size, size) of an SVG, on white."""
    from dreamsampler.nodes.svg_to_image import SVGToImage

    image, _ = SVGToImage.execute(svg, size, size, "white").args
    return image.movedim(-1, 1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images in [0, 1], in dB, per item: (B,)."""
    return -10 * (a - b).square().flatten(1).mean(1).log10()
