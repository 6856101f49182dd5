"""Measures the shipped checkpoint with the host's own KSampler and writes the figures to FIGURES.json."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from random import Random

import torch

from . import in_process, world
from .export import CHECKPOINT
from .scorer import Agreement, Scorer, attributes

log = logging.getLogger("dreamsampler.reference")
FIGURES = Path(__file__).with_name("FIGURES.json")
SEED, PROMPTS, STEPS, CFG, BATCH = 20_000, 256, 30, 4.0, 32


def text_to_image(
    reference: in_process.Reference, scorer: Scorer, objects: int | None = None
) -> dict[str, dict[str, float]]:
    """How often images sampled from full captions, and real images of the same scenes, show the wanted attributes."""
    rng = Random(SEED)
    scenes = [world.sample_scene(rng, clean=True, objects=objects) for _ in range(PROMPTS)]
    wanted = [attributes(s) for s in scenes]
    sampled_images = []
    for start in range(0, PROMPTS, BATCH):
        positive = reference.conditioning([world.describe(s) for s in scenes[start : start + BATCH]])
        negative = reference.conditioning([""])
        empty = {"samples": torch.zeros(BATCH, 4, world.SIZE // 8, world.SIZE // 8)}
        latent = reference.ksampled(positive, negative, empty, steps=STEPS, cfg=CFG, seed=SEED + start)
        sampled_images.append(reference.decoded(latent))
        log.info("%d of %d prompts sampled", start + BATCH, PROMPTS)
    sampled = Agreement.of(scorer, torch.cat(sampled_images), wanted).rates
    real = Agreement.of(scorer, in_process.render(scenes), wanted).rates
    return {"sampled": sampled, "real": real, "relative": {k: sampled[k] / real[k] for k in sampled}}


def autoencoder(reference: in_process.Reference, scorer: Scorer) -> dict[str, object]:
    """PSNR of clean images after encoding and decoding, and how often the scorer still reads them correctly."""
    rng = Random(SEED + 1)
    scenes = [world.sample_scene(rng, clean=True) for _ in range(PROMPTS)]
    x = in_process.render(scenes)
    y = reference.decoded(reference.latent(x))
    wanted = [attributes(s) for s in scenes]
    return {"psnr": in_process.psnr(x, y).mean().item(), "seen": Agreement.of(scorer, y, wanted).rates}


def main() -> None:
    """Log the figures and write them to FIGURES.json."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argparse.ArgumentParser(description=__doc__).parse_args()
    with torch.inference_mode():
        reference, scorer = in_process.load(), in_process.load_scorer()
        figures = {
            "checkpoint_bytes": CHECKPOINT.stat().st_size,
            "prompts": PROMPTS,
            "sampler": f"KSampler ddim, normal, {STEPS} steps, cfg {CFG}",
            "autoencoder": autoencoder(reference, scorer),
            "one_object": text_to_image(reference, scorer, objects=1),
            "one_or_two_objects": text_to_image(reference, scorer),
        }
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    log.info("%s", json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
