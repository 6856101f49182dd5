"""Trains a translator: a small network that edits pictures of one kind in one pass, for the node Apply Translator.

    python -m tools.translator model.safetensors pictures/ --source "a photo of a cat" \\
        --target dog="a photo of a dog" --target bear="a photo of a bear" --name cats

Run it in the pack's folder, with the Python of the ComfyUI the pack is in, or with .host/venv/bin/python. The pictures
are of the kind that is to be edited; what they should become is told by text alone. The file appears in ComfyUI's
folder output/dreamsampler_translators every ten minutes and at the end; Ctrl-C ends the training early.
"""

from __future__ import annotations

import argparse
import logging
import sys
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
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

log = logging.getLogger("dreamsampler.translator")
COMFYUI = Path(__file__).resolve().parents[3]
"""The ComfyUI whose custom_nodes the pack is in, if it is in one."""


def pictures(folder: Path, smallest: int) -> list[Tensor]:
    """All pictures of a folder as IMAGEs (1, H, W, 3) whose sides are multiples of 8.

    Raises ValueError where there is none, or one has fewer than `smallest` pixels on a side.
    """
    found = []
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        try:
            with Image.open(path) as picture:
                rows = np.asarray(picture.convert("RGB"), np.float32) / 255
        except UnidentifiedImageError:
            log.warning("%s is no picture, and is left out.", path.name)
            continue
        height, width = (side // 8 * 8 for side in rows.shape[:2])
        if min(height, width) < smallest:
            raise ValueError(f"{path.name} is smaller than {smallest} pixels: lower --size, or enlarge it.")
        found.append(torch.from_numpy(rows[None, :height, :width]))
    if not found:
        raise ValueError(f"There are no pictures in {folder}: name a folder with PNG, JPEG or WebP files.")
    return found


def targets(given: list[str]) -> dict[str, str]:
    """Texts by name, of "name=text". Raises ValueError."""
    texts = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (equals and name.strip() and text.strip()) or ": " in name:
            raise ValueError(f"--target '{each}' is not of the form name=text, without ': ' in the name.")
        texts[name.strip()] = text.strip()
    return texts


def conditioning(clip: Any, texts: list[str]) -> Any:
    """One CONDITIONING with a row for each text. Raises ValueError where their lengths differ."""
    said = [clip.encode_from_tokens_scheduled(clip.tokenize(text))[0] for text in texts]
    if len({cond.shape for cond, _ in said}) > 1:
        raise ValueError("The model's text encoder gives the texts different lengths: give all as many words.")
    options = dict(said[0][1])
    for name, value in options.items():
        if isinstance(value, Tensor):
            options[name] = torch.cat([each[name] for _, each in said])
    return [[torch.cat([cond for cond, _ in said]), options]]


def told(model: Any, clip: Any, source: str, targets: list[str]) -> dict[str, Any]:
    """What the model is told, as a job has it. Raises ValueError for a model that has no true negative."""
    from dreamsampler.nodes import checks

    texts = {"positive": targets, "source": [source], "negative": [""]}
    conditionings = {name: conditioning(clip, each) for name, each in texts.items()}
    checks.check_prompts(model, {"negative": conditionings["negative"]})
    return conditionings


def check(arguments: argparse.Namespace) -> None:
    """What can be said before anything is loaded. Raises ValueError."""
    if arguments.method not in LISTED:
        raise ValueError(f"There is no method '{arguments.method}': choose one of {', '.join(LISTED)}.")
    if arguments.method == "lmc" and arguments.corrective is None:
        raise ValueError("--method lmc needs the model's manifold corrective: name its file with --corrective.")
    files = {"the model's checkpoint": arguments.checkpoint, "its corrective": arguments.corrective}
    for what, file in {**files, "a translator": arguments.start}.items():
        if file is not None and not file.is_file():
            raise ValueError(f"There is no file {file}: name {what}.")


def job(arguments: argparse.Namespace) -> TranslatorTraining:
    """Everything loaded and encoded. Raises ValueError."""
    import comfy.sd
    from dreamsampler.nodes import checks, host
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

    texts = targets(arguments.target)
    images = pictures(arguments.pictures, arguments.size)
    corrective = host.CORRECTIVES.read_file(arguments.corrective) if arguments.corrective else None
    checkpoint: Any = comfy.sd.load_checkpoint_guess_config(str(arguments.checkpoint))
    model, clip, vae, _ = checkpoint
    if clip is None or vae is None:
        raise ValueError(f"{arguments.checkpoint.name} has no text encoder or no VAE: name a checkpoint with both.")
    if corrective is not None:
        checks.check_corrective(model, corrective)
    conditionings = told(model, clip, arguments.source, list(texts.values()))
    latents = [vae.encode(image)[0] for image in images]
    cells = arguments.size * latents[0].shape[-1] // images[0].shape[2]
    return TranslatorTraining(model, latents, (cells, cells), arguments.source, texts, conditionings, corrective)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tools.translator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("checkpoint", type=Path, help="the model's file, with text encoder and VAE")
    made.add_argument("pictures", type=Path, help="a folder of pictures")
    made.add_argument("--source", required=True, help="what the pictures show")
    made.add_argument("--target", action="append", required=True, metavar="NAME=TEXT", help="what they should become")
    made.add_argument("--name", required=True, help="of the file")
    made.add_argument("--method", default=Recipe.method, help="lmc, dds, sds, or another of Distillation Sampler's")
    made.add_argument("--corrective", type=Path, help="the model's manifold corrective, for lmc")
    made.add_argument("--size", type=int, default=512, help="pixels of the patches that are learned from (512)")
    made.add_argument("--start", type=Path, help="a translator to go on from")
    for name in ("steps", "batch", "seed"):
        made.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    for name in ("guidance_scale", "learning_rate", "source_weight"):
        made.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(Recipe, name))
    return made


def main(given: Sequence[str] | None = None) -> int:
    """Train and save; 1 where something is wrong with what was given."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parser().parse_args(given)
    if COMFYUI.joinpath("comfy").is_dir():
        sys.path.insert(0, str(COMFYUI))
    import_comfy()
    from dreamsampler.nodes import host
    from dreamsampler.nodes.runs.translator_training import train

    settings = ("method", "steps", "batch", "seed", "guidance_scale", "learning_rate", "source_weight")
    recipe = replace(Recipe(), **{name: getattr(arguments, name) for name in settings})
    try:
        check(arguments)
        shelf = host.TRANSLATORS
        place, start = shelf.new_file(arguments.name), shelf.read_file(arguments.start) if arguments.start else None
        with torch.inference_mode():
            shelf.write(place, train(job(arguments), recipe, lambda made: shelf.write(place, made), start))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
