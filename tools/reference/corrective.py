"""Trains the manifold corrective of the reference model, with the same node that users train theirs with.

    .host/venv/bin/python -m tools.reference.corrective           writes dreamsampler_reference_corrective.safetensors

An interrupted training resumes when you run the command again with the same options. A file that is too large for the
repository is deleted.
"""

from __future__ import annotations

import argparse
import json
import logging
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import torch

from . import in_process, world

CORRECTIVE = Path(__file__).with_name("dreamsampler_reference_corrective.safetensors")
LOSSES = Path(__file__).with_name("CORRECTIVE.json")
SEED, IMAGES = 40_000, 2048
RECIPE: dict[str, Any] = {
    "kind": "residual network", "steps": 3000, "batch_size": 32, "learning_rate": 1e-3, "patch_size": world.SIZE,
    "seed": SEED, "width": 40,
}  # fmt: skip
LARGEST = 3_000_000
"""Largest file size in bytes."""
CHUNK = 256
SPAN = 200
"""Number of steps averaged for each entry of the loss curve."""

log = logging.getLogger("dreamsampler.reference")


def scenes(count: int) -> list[world.Scene]:
    """The training scenes: clean, as the paper trains on natural images."""
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True) for _ in range(count)]


def trained(reference: in_process.Reference, count: int, **inputs: Any) -> Any:
    """Run Train Manifold Corrective on the reference model. Returns the corrective and its training figures."""
    from dreamsampler.nodes.train_manifold_corrective import ManifoldCorrectiveTrain

    training_scenes = scenes(count)
    images = [in_process.render(training_scenes[i : i + CHUNK]).movedim(1, -1) for i in range(0, count, CHUNK)]
    values = {"model": reference.model, "vae": reference.vae, "negative": reference.conditioning([""]), **inputs}
    output = ManifoldCorrectiveTrain.execute(images=images, **{name: [value] for name, value in values.items()})
    assert isinstance(output.ui, dict)
    return output.args[0], {**output.ui["corrective"][0], "curve": output.ui["distillation"]}


def mean_losses(curve: dict[str, Any]) -> list[float]:
    """The mean loss of every `SPAN` steps, from a curve of means of equal parts; a part counts where it ends."""
    parts = list(zip(curve["step"], (loss for (loss,) in curve["training_loss"]), strict=True))
    groups = [list(group) for _, group in groupby(parts, key=lambda part: part[0] // SPAN)]
    return [sum(loss for _, loss in group) / len(group) for group in groups]


def main() -> None:
    """Train the corrective and write it with its figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="training images (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=RECIPE["steps"], help="training steps (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=CORRECTIVE, help="file to write")
    arguments = parser.parse_args()
    with torch.inference_mode():
        corrective, training = trained(in_process.load(), arguments.images, **RECIPE | {"steps": arguments.steps})
    from dreamsampler.nodes import host  # only after the model is loaded, which prepares ComfyUI

    host.CORRECTIVES.write(arguments.output, corrective, torch.float16)
    arguments.output.chmod(0o644)
    size = arguments.output.stat().st_size
    if size > LARGEST:
        arguments.output.unlink()
        raise SystemExit(f"The file has {size} bytes, more than {LARGEST}, and was deleted. Reduce 'width' in RECIPE.")
    rate, means = training["images_per_second"], mean_losses(*training["curve"])
    figures = {"bytes": size, "images": arguments.images, "steps": arguments.steps, "batch": RECIPE["batch_size"]}
    figures |= {"learning_rate": RECIPE["learning_rate"], "images per second": rate and round(rate, 1)}
    figures |= {f"mean loss of {SPAN} steps": [round(mean, 5) for mean in means]}
    LOSSES.with_name(LOSSES.name if arguments.output == CORRECTIVE else arguments.output.stem + ".json").write_text(
        json.dumps(figures, indent=2) + "\n"
    )
    log.info("%d bytes, loss %.4f", size, corrective.about.loss)


if __name__ == "__main__":
    main()
