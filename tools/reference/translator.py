"""Trains translators for the reference world: a circle becomes a square, a triangle, a star or a heart.

    .host/venv/bin/python -m tools.reference.translator           writes dreamsampler_reference_translator.safetensors
    .host/venv/bin/python -m tools.reference.translator --method sds --output sds.safetensors

The prompts name only the shape, as the paper's "a photo of a cat" names only the animal. A file that is too large for
the repository is deleted.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.translator import Recipe
from dreamsampler.guidance.networks.translation.storage import Translator

from . import in_process, world
from .corrective import CORRECTIVE, LARGEST

if TYPE_CHECKING:
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

TRANSLATOR = Path(__file__).with_name("dreamsampler_reference_translator.safetensors")
SOURCE, TARGETS = "circle", ("square", "triangle", "star", "heart")
SEED, IMAGES = 50_000, 2048
RECIPE = Recipe(steps=3000, learning_rate=1e-3, source_weight=3.0, width=40, seed=SEED)
"""The prompts name no colors. With the paper's source weight of 1, only a third of the colors stay."""
CHUNK = 256

log = logging.getLogger("dreamsampler.reference")


def scenes(count: int, seed: int = SEED) -> list[world.Scene]:
    """Clean scenes with one circle each."""
    rng = Random(seed)
    sampled = (world.sample_scene(rng, clean=True, objects=1) for _ in range(count))
    return [world.with_attribute(scene, "shape", SOURCE) for scene in sampled]


def job(reference: in_process.Reference, count: int) -> TranslatorTraining:
    """The training job: encoded images of ``count`` scenes, and the prompts."""
    from dreamsampler.nodes import host
    from dreamsampler.nodes.runs.translator_training import TranslatorTraining

    training_scenes, latents = scenes(count), []
    for start in range(0, count, CHUNK):
        latents += list(reference.latent(in_process.render(training_scenes[start : start + CHUNK]))["samples"])
    prompts, source = {target: f"a {target}" for target in TARGETS}, f"a {SOURCE}"
    by_role = {"positive": list(prompts.values()), "source": [source], "negative": [""]}
    return TranslatorTraining(
        reference.model, latents, (world.SIZE // 8, world.SIZE // 8), source, prompts,
        {name: reference.conditioning(each) for name, each in by_role.items()},
        host.CORRECTIVES.read_file(CORRECTIVE),
    )  # fmt: skip


def main() -> None:
    """Train the translator and write it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="training images (default: %(default)s)")
    parser.add_argument(
        "--method", default=RECIPE.method, choices=list(METHODS), help="distillation method (default: %(default)s)"
    )
    parser.add_argument(
        "--guidance", type=float, default=RECIPE.guidance_scale, help="guidance scale (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="training steps (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=TRANSLATOR, help="file to write")
    arguments = parser.parse_args()
    recipe = replace(RECIPE, method=arguments.method, guidance_scale=arguments.guidance, steps=arguments.steps)
    with torch.inference_mode():
        reference = in_process.load()
        from dreamsampler.nodes import host  # only after the model is loaded, which prepares ComfyUI
        from dreamsampler.nodes.runs.translator_training import train

        def keep(translator: Translator) -> None:
            host.TRANSLATORS.write(arguments.output, translator, torch.float16)

        keep(train(job(reference, arguments.images), recipe, keep))
    arguments.output.chmod(0o644)
    size = arguments.output.stat().st_size
    if size > LARGEST:
        arguments.output.unlink()
        raise SystemExit(f"The file has {size} bytes, more than {LARGEST}, and was deleted. Reduce 'width' in RECIPE.")
    log.info("%d bytes", size)


if __name__ == "__main__":
    main()
