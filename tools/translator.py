"""Trains a translator: a small network that edits images of one kind in a single pass, for the node Apply Translator.

    python -m tools.translator model.safetensors images/ --source "a photo of a cat" \\
        --target dog="a photo of a dog" --target bear="a photo of a bear" --name cats

Run it in the pack's folder, with ComfyUI's Python or with .host/venv/bin/python. Choose images of the kind you want to
edit. Prompts alone define the edits, so you need no edited examples. The file is saved to ComfyUI's folder
output/dreamsampler_translators every ten minutes and at the end. Press Ctrl-C to stop early.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .reference.host_access import import_comfy, import_pack

import_pack()

from dreamsampler.guidance.distillation.objectives import LISTED  # noqa: E402
from dreamsampler.guidance.distillation.translator import Recipe  # noqa: E402

if TYPE_CHECKING:
    from dreamsampler.guidance.networks.translation.storage import Translator
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

log = logging.getLogger("dreamsampler.translator")
COMFYUI = Path(__file__).resolve().parents[3]
"""The ComfyUI that the pack is installed in, if any."""
_SETTINGS = {
    "steps": "training steps",
    "batch": "images per step, a multiple of the number of targets",
    "seed": "seed of weights and noise",
    "guidance_scale": "weight of the target prompt",
    "learning_rate": "learning rate of adam",
    "source_weight": "weight of the distance to the source image",
}
"""Fields of `Recipe` that are options, and what they mean."""


def load_images(folder: Path, min_side: int) -> list[Tensor]:
    """All images of a folder as IMAGEs (1, H, W, 3) with sides that are multiples of 8.

    Raises ValueError if there are none, or if a side is shorter than `min_side` pixels.
    """
    images = []
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"), np.float32) / 255
        except UnidentifiedImageError:
            log.warning("%s is not an image and was skipped.", path.name)
            continue
        height, width = (side // 8 * 8 for side in pixels.shape[:2])
        if min(height, width) < min_side:
            raise ValueError(f"{path.name} is smaller than {min_side} pixels: lower --size, or enlarge the image.")
        images.append(torch.from_numpy(pixels[None, :height, :width]))
    if not images:
        raise ValueError(f"{folder} contains no images: choose a folder with PNG, JPEG or WebP files.")
    return images


def parse_targets(arguments: list[str]) -> dict[str, str]:
    """Target prompts by name, from "name=prompt" arguments. Raises ValueError for other arguments."""
    prompts = {}
    for argument in arguments:
        name, equals, prompt = argument.partition("=")
        if not (equals and name.strip() and prompt.strip()) or ": " in name:
            raise ValueError(f"--target '{argument}' is invalid: write name=prompt, without ': ' in the name.")
        prompts[name.strip()] = prompt.strip()
    return prompts


def encode(clip: Any, prompts: list[str]) -> Any:
    """One CONDITIONING with one row per prompt. Raises ValueError if their encoded lengths differ."""
    encoded = [clip.encode_from_tokens_scheduled(clip.tokenize(prompt))[0] for prompt in prompts]
    if len({cond.shape for cond, _ in encoded}) > 1:
        raise ValueError("The text encoder gives the prompts different lengths: use the same number of words in each.")
    options = dict(encoded[0][1])
    for name, value in options.items():
        if isinstance(value, Tensor):
            options[name] = torch.cat([each[name] for _, each in encoded])
    return [[torch.cat([cond for cond, _ in encoded]), options]]


def encode_prompts(model: Any, clip: Any, source: str, targets: list[str]) -> dict[str, Any]:
    """The conditionings of a training job. Raises ValueError for a model without true negative conditioning."""
    from dreamsampler.nodes import checks

    prompts = {"positive": targets, "source": [source], "negative": [""]}
    conditionings = {name: encode(clip, each) for name, each in prompts.items()}
    checks.check_prompts(model, {"negative": conditionings["negative"]})
    return conditionings


def check(arguments: argparse.Namespace) -> None:
    """Check the arguments before anything is loaded. Raises ValueError."""
    if arguments.method not in LISTED:
        raise ValueError(f"--method cannot be '{arguments.method}': choose one of {', '.join(LISTED)}.")
    if arguments.method == "lmc" and arguments.corrective is None:
        raise ValueError("--method lmc needs the model's manifold corrective: pass its file with --corrective.")
    files = {"checkpoint": arguments.checkpoint, "--corrective": arguments.corrective, "--start": arguments.start}
    for argument, file in files.items():
        if file is not None and not file.is_file():
            raise ValueError(f"{argument}: the file {file} does not exist. Check the path.")


def job(arguments: argparse.Namespace) -> TranslatorTraining:
    """Load the model and encode images and prompts. Raises ValueError for files that do not fit."""
    import comfy.sd
    from dreamsampler.nodes import checks, host
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

    prompts = parse_targets(arguments.target)
    images = load_images(arguments.images, arguments.size)
    corrective = host.CORRECTIVES.read_file(arguments.corrective) if arguments.corrective else None
    checkpoint: Any = comfy.sd.load_checkpoint_guess_config(str(arguments.checkpoint))
    model, clip, vae, _ = checkpoint
    if clip is None or vae is None:
        raise ValueError(f"{arguments.checkpoint.name} has no text encoder or no VAE: choose a checkpoint with both.")
    if corrective is not None:
        checks.check_corrective(model, corrective)
    conditionings = encode_prompts(model, clip, arguments.source, list(prompts.values()))
    latents = [vae.encode(image)[0] for image in images]
    cells = arguments.size * latents[0].shape[-1] // images[0].shape[2]
    return TranslatorTraining(model, latents, (cells, cells), arguments.source, prompts, conditionings, corrective)


class KeptTranslator:
    """The file of a translator that is saved again and again. `path` is None until it is saved first."""

    def __init__(self, name: str):
        self.name = name
        self.path: Path | None = None

    def save(self, trained: Translator) -> None:
        """Save to a file of our own, under a number if the name is taken. Raises UnwritableFileError."""
        from dreamsampler.nodes import host

        if self.path is None:
            self.path = host.TRANSLATORS.save(self.name, trained)
        else:
            host.TRANSLATORS.write(self.path, trained)

    def save_at_last(self, trained: Translator) -> None:
        """Save the result of the training: to the folder for temporary files if its own place cannot be written."""
        from dreamsampler.nodes import host

        try:
            self.save(trained)
        except host.UnwritableFileError as error:
            name = f"{Path(self.name).name.removesuffix('.safetensors')}.safetensors"
            path = Path(tempfile.mkdtemp(prefix="translator_"), name)
            host.TRANSLATORS.write(path, trained)
            log.warning("%s The translator was saved as %s: move it to output/dreamsampler_translators.", error, path)
            self.path = path


def parser() -> argparse.ArgumentParser:
    """The command line parser."""
    options = argparse.ArgumentParser(
        prog="python -m tools.translator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("checkpoint", type=Path, help="checkpoint file with text encoder and VAE")
    options.add_argument("images", type=Path, help="folder of training images")
    options.add_argument("--source", required=True, help="source prompt: what the images show")
    options.add_argument(
        "--target", action="append", required=True, metavar="NAME=PROMPT", help="a target and its prompt"
    )
    options.add_argument("--name", required=True, help="name of the file to write")
    options.add_argument(
        "--method", default=Recipe.method, help="lmc (default), dds, sds or another method of Distillation Sampler"
    )
    options.add_argument("--corrective", type=Path, help="file with the model's manifold corrective, for lmc")
    options.add_argument(
        "--size", type=int, default=512, help="side of the training patches in pixels (default: %(default)s)"
    )
    options.add_argument("--start", type=Path, help="translator file to continue from")
    for name, meaning in _SETTINGS.items():
        default, text = getattr(Recipe, name), f"{meaning} (default: %(default)s)"
        options.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=text)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Train and save. Returns 1 if an argument or file is invalid."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parser().parse_args(argv)
    if COMFYUI.joinpath("comfy").is_dir():
        sys.path.insert(0, str(COMFYUI))
    import_comfy()
    from dreamsampler.nodes import host
    from dreamsampler.nodes.runs.translator_training import train

    recipe = replace(Recipe(), **{name: getattr(arguments, name) for name in ("method", *_SETTINGS)})
    try:
        check(arguments)
        start = host.TRANSLATORS.read_file(arguments.start) if arguments.start else None
        host.TRANSLATORS.check_name(arguments.name)
        kept = KeptTranslator(arguments.name)
        with torch.inference_mode():
            kept.save_at_last(train(job(arguments), recipe, kept.save, start))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(kept.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
