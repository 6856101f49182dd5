"""What PIE-Bench measures of an edited image, on the CPU or on a GPU.

PSNR, MSE and SSIM need no network. LPIPS, the structure distance and CLIP similarity do; their packages are imported
and their weights read when they are first needed, from the caches of PyTorch and Hugging Face.

As in the release of PIE-Bench, a metric of a part is that of the whole image with everything else painted black in
both images.
"""

from __future__ import annotations

import importlib
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kornia import metrics
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CLIP = "openai/clip-vit-large-patch14"
DINO = "facebook/dino-vitb8"
STAND_IN = "stand-in"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colors."""
SHORT_SIDE, LONG_SIDE = 224, 480
"""Pixels that an image gets for the structure distance: its shorter side, and at most its longer one."""
SSIM_WINDOW = 11
"""Pixels of a side of the window, a Gaussian of deviation 1.5."""


class Unavailable(Exception):
    """A network that cannot be used. The message is a sentence that says what to do."""


@dataclass(frozen=True)
class Metric:
    """A column of the table. Values are multiplied by `scale` there. `network` is the key of the network it needs."""

    title: str
    scale: float = 1.0
    decimals: int = 2
    network: str = ""


METRICS: Mapping[str, Metric] = {
    "structure": Metric("structure distance x 1000", 1e3, 2, "structure"),
    "psnr": Metric("PSNR outside"),
    "lpips": Metric("LPIPS outside x 1000", 1e3, 2, "lpips"),
    "mse": Metric("MSE outside x 10000", 1e4),
    "ssim": Metric("SSIM outside x 100", 1e2),
    "clip": Metric("CLIP similarity", network="clip"),
    "clip_edited": Metric("CLIP similarity of the edited part", network="clip"),
    "clip_accuracy": Metric("CLIP accuracy, %", 1e2, 1, "clip"),
    "psnr_whole": Metric("PSNR of the whole image"),
}
"""By name, in the order of the table: PIE-Bench's seven, then two of DreamSampler's tables S1 and S2."""


# Without networks


def pixels(image: Image.Image) -> Tensor:
    """An image as (3, H, W) float in [0, 1]."""
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255).movedim(-1, 0)


def mse(a: Tensor, b: Tensor) -> float:
    """The mean squared error."""
    return (a.double() - b.double()).square().mean().item()


def psnr(error: float) -> float | None:
    """The peak signal-to-noise ratio in dB for a mean squared error of values in [0, 1]. None for equal images."""
    return -10 * math.log10(error) if error > 0 else None


def ssim(a: Tensor, b: Tensor) -> float:
    """The mean structural similarity of images (3, H, W) in [0, 1], over all places where the window fits."""
    a, b = a[None].double(), b[None].double()
    return metrics.ssim(a, b, SSIM_WINDOW, eps=0.0, padding="valid").mean().item()


# With networks


def self_similarity(keys: Tensor) -> Tensor:
    """The cosine similarity of each two of N vectors (N, C): (N, N)."""
    unit = F.normalize(keys, dim=1)
    return unit @ unit.T


def structure_distance(keys: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """The mean squared difference of the self-similarities of two images."""
    return (self_similarity(keys(a)) - self_similarity(keys(b))).square().mean().item()


def prepared(image: Tensor) -> Tensor:
    """An image (3, H, W) in [0, 1] as PIE-Bench hands it to DINO: (1, 3, h, w).

    Its release standardizes values from 0 to 255 with the mean and deviation of values from 0 to 1, and resizes without
    antialiasing. Its figures can be compared only with those of the same input.
    """
    height, width = image.shape[-2:]
    scale = min(SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
    sides = [int(side * scale + 1e-6) for side in (height, width)]
    small = F.interpolate(255 * image[None], sides, mode="bilinear")
    mean, deviation = (small.new_tensor(each).view(1, 3, 1, 1) for each in (MEAN, DEVIATION))
    return (small - mean) / deviation


@dataclass(frozen=True)
class Settings:
    """Which networks measure. Names are those of Hugging Face, or folders."""

    clip: str = CLIP
    dino: str = DINO
    device: str = "cpu"
    download: bool = False
    stand_in: bool = False


class Networks:
    """The networks, each loaded when it is first needed."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._loaded: dict[str, Any] = {}
        self.problems: dict[str, str] = {}
        """What to do about the networks that could not be loaded."""

    @property
    def names(self) -> dict[str, str]:
        """The network of each kind."""
        if self._settings.stand_in:
            return dict.fromkeys(LOADERS, STAND_IN)
        return {"structure": _short(self._settings.dino), "lpips": "squeezenet1_1", "clip": _short(self._settings.clip)}

    def get(self, kind: str) -> Any:
        """The network of a kind, None if it is not available; `problems` then says why."""
        if kind not in self._loaded and kind not in self.problems:
            load = (STAND_INS if self._settings.stand_in else LOADERS)[kind]
            try:
                self._loaded[kind] = load(self._settings)
            except Unavailable as error:
                self.problems[kind] = str(error)
        return self._loaded.get(kind)


def _short(name: str) -> str:
    """A name without the folders of this machine."""
    return Path(name).name if Path(name).is_dir() else name


def _load_keys(settings: Settings) -> Callable[[Tensor], Tensor]:
    """The keys of DINO's last layer: (N, C), its heads side by side."""
    transformers = _imported("transformers", "The structure distance")
    model = _pretrained(
        transformers.ViTModel, settings.dino, settings, "The structure distance", add_pooling_layer=False
    )
    projections = [each for name, each in model.named_modules() if name.rpartition(".")[2] in ("key", "k_proj")]
    found: list[Tensor] = []
    projections[-1].register_forward_hook(lambda _module, _inputs, output: found.append(output[0]))

    def keys(image: Tensor) -> Tensor:
        found.clear()
        model(prepared(image.to(settings.device)), interpolate_pos_encoding=True)
        return found[0].float()

    return keys


def _load_lpips(settings: Settings) -> Callable[[Tensor, Tensor], float]:
    """LPIPS on SqueezeNet, as in PIE-Bench."""
    _imported("torchmetrics", "LPIPS")
    weights = _imported("torchvision", "LPIPS").models.SqueezeNet1_1_Weights.DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not (path.exists() or settings.download):
        raise Unavailable(
            f"LPIPS needs the weights of SqueezeNet (5 MB). Download {weights.url} to PyTorch's folder "
            "hub/checkpoints, or add --download."
        )
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        network = LearnedPerceptualImagePatchSimilarity(net_type="squeeze").to(settings.device).eval()
    except Exception as error:  # the download failed, or the file is not what it should be
        raise Unavailable(f"LPIPS cannot be loaded ({_line(error)}). Remove {path.name} and try again.") from error
    return lambda a, b: network(*(2 * each[None].to(settings.device) - 1 for each in (a, b))).item()


def _load_clip(settings: Settings) -> Callable[[Tensor, str], float]:
    """100 times the cosine similarity of image and prompt, at least 0."""
    transformers = _imported("transformers", "CLIP similarity")
    model = _pretrained(transformers.CLIPModel, settings.clip, settings, "CLIP similarity")
    processor = _pretrained(transformers.CLIPProcessor, settings.clip, settings, "CLIP similarity")

    longest = model.config.text_config.max_position_embeddings
    fits = {"padding": True, "truncation": True, "max_length": longest}

    def similarity(image: Tensor, prompt: str) -> float:
        shown = Image.fromarray((255 * image.movedim(0, -1)).round().byte().numpy())
        inputs = processor(text=[prompt], images=[shown], return_tensors="pt", **fits)
        output = model(**inputs.to(settings.device))
        return 100 * max(0.0, F.cosine_similarity(output.image_embeds, output.text_embeds).item())

    return similarity


def _imported(package: str, what: str) -> Any:
    try:
        return importlib.import_module(package)
    except Exception as error:  # also a package that does not fit this PyTorch
        raise Unavailable(f"{what} needs {package}, which cannot be imported ({_line(error)}). Install it.") from error


def _pretrained(kind: Any, name: str, settings: Settings, what: str, **options: Any) -> Any:
    try:
        found = kind.from_pretrained(name, local_files_only=not settings.download, **options)
    except (OSError, ValueError) as error:
        advice = f"Run 'hf download {name}', or add --download." if not settings.download else f"({_line(error)})"
        raise Unavailable(f"{what} needs {name}, which is not in the cache of Hugging Face. {advice}") from error
    return found.to(settings.device).eval().requires_grad_(False) if hasattr(found, "requires_grad_") else found


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# Stand-ins, which need no weights: deterministic, and without meaning


def _stand_in_keys(_settings: Settings) -> Callable[[Tensor], Tensor]:
    """The colors of patches of 8 x 8 pixels."""
    return lambda image: F.unfold(prepared(image), 8, stride=8)[0].T


def _stand_in_lpips(_settings: Settings) -> Callable[[Tensor, Tensor], float]:
    """The difference of gradients at three scales."""

    def difference(a: Tensor, b: Tensor) -> float:
        error = 0.0
        for size in (1, 2, 4):
            change = F.avg_pool2d((a - b)[None], size)
            error += sum(change.diff(dim=dim).square().mean().item() for dim in (2, 3))
        return error

    return difference


def _stand_in_clip(_settings: Settings) -> Callable[[Tensor, str], float]:
    """A fixed random projection of colors beside one random direction for each word."""
    projection = torch.randn(64, 3 * 8 * 8, generator=torch.Generator().manual_seed(0))

    def direction(word: str) -> Tensor:
        return torch.randn(64, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))

    def similarity(image: Tensor, prompt: str) -> float:
        seen = projection @ (F.adaptive_avg_pool2d(image, 8).flatten() - 0.5)
        read = sum((direction(word) for word in re.findall(r"\w+", prompt.lower())), torch.zeros(64))
        return 100 * max(0.0, F.cosine_similarity(seen, read, dim=0).item())

    return similarity


LOADERS: Mapping[str, Callable[[Settings], Any]] = {
    "structure": _load_keys,
    "lpips": _load_lpips,
    "clip": _load_clip,
}
STAND_INS: Mapping[str, Callable[[Settings], Any]] = {
    "structure": _stand_in_keys,
    "lpips": _stand_in_lpips,
    "clip": _stand_in_clip,
}


# Together


@torch.inference_mode()
def measured(
    source: Image.Image,
    edited: Image.Image,
    mask: np.ndarray | None,
    prompts: tuple[str, str],
    networks: Networks,
) -> dict[str, float | None]:
    """The metrics by name. `mask` (H, W) is what may change; `prompts` are those of source and target.

    None stands for a PSNR of equal images, and for a part that is empty. Metrics whose network is not available are
    left out.
    """
    if edited.size != source.size:
        edited = edited.resize(source.size, Image.Resampling.LANCZOS)
    a, b = pixels(edited), pixels(source)
    change = torch.zeros(a.shape[1:]) if mask is None else torch.from_numpy(np.asarray(mask, np.float32))
    kept_a, kept_b = a * (1 - change), b * (1 - change)
    has_rest, has_change = bool((change < 1).any()), bool(change.any())
    error = mse(kept_a, kept_b) if has_rest else None
    found: dict[str, float | None] = {
        "psnr": None if error is None else psnr(error),
        "mse": error,
        "ssim": ssim(kept_a, kept_b) if has_rest else None,
        "psnr_whole": psnr(mse(a, b)),
    }
    if keys := networks.get("structure"):
        found["structure"] = structure_distance(keys, a, b)
    if lpips := networks.get("lpips"):
        found["lpips"] = lpips(kept_a, kept_b) if has_rest else None
    if clip := networks.get("clip"):
        found["clip"] = clip(a, prompts[1])
        found["clip_edited"] = clip(a * change, prompts[1]) if has_change else None
        found["clip_accuracy"] = float(found["clip"] > clip(a, prompts[0]))
    return found
