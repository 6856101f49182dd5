"""Trains the reference model's own manifold corrective, with the node that users train theirs with.

    .host/venv/bin/python -m tools.reference.corrective           writes dreamsampler_reference_corrective.safetensors

What is interrupted goes on at the next call with the same numbers. The file is kept only if it is as small as the
repository wants it.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from random import Random
from typing import Any

import torch

from . import in_process, world

CORRECTIVE = Path(__file__).with_name("dreamsampler_reference_corrective.safetensors")
LOSSES = Path(__file__).with_name("CORRECTIVE.json")
SEED, PICTURES = 40_000, 2048
RECIPE: dict[str, Any] = {
    "kind": "residual network", "steps": 3000, "batch_size": 32, "learning_rate": 1e-3, "patch_size": world.SIZE,
    "seed": SEED, "width": 40,
}  # fmt: skip
LARGEST = 3_000_000
"""Bytes of the file."""
CHUNK = 256
SPAN = 200
"""Steps of which the written loss curve holds the mean."""

log = logging.getLogger("dreamsampler.reference")


def scenes(count: int) -> list[world.Scene]:
    """What it is trained on: clean pictures, as the paper's are natural ones."""
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True) for _ in range(count)]


def trained(reference: in_process.Reference, pictures: int, **inputs: Any) -> Any:
    """What Train Manifold Corrective makes of the reference model: the corrective, and what it tells of itself."""
    from dreamsampler.nodes.train_manifold_corrective import ManifoldCorrectiveTrain

    drawn = scenes(pictures)
    images = [in_process.pictures(drawn[i : i + CHUNK]).movedim(1, -1) for i in range(0, pictures, CHUNK)]
    values = {"model": reference.model, "vae": reference.vae, "negative": reference.conditioning([""]), **inputs}
    output = ManifoldCorrectiveTrain.execute(images=images, **{name: [value] for name, value in values.items()})
    assert isinstance(output.ui, dict)
    return output.args[0], output.ui["corrective"][0]


def main() -> None:
    """Train and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--steps", type=int, default=RECIPE["steps"])
    parser.add_argument("--output", type=Path, default=CORRECTIVE)
    arguments = parser.parse_args()
    with torch.inference_mode():
        made, told = trained(in_process.load(), arguments.pictures, **RECIPE | {"steps": arguments.steps})
    from dreamsampler.nodes import host  # after the model is loaded, which prepares ComfyUI

    host.CORRECTIVES.write(arguments.output, made, torch.float16)
    arguments.output.chmod(0o644)
    size = arguments.output.stat().st_size
    if size > LARGEST:
        arguments.output.unlink()
        raise SystemExit(f"The file has {size} bytes, more than {LARGEST}: it was not kept.")
    losses, rate = told["loss"], told["pictures_per_second"]
    means = [sum(losses[i : i + SPAN]) / len(losses[i : i + SPAN]) for i in range(0, len(losses), SPAN)]
    figures = {"bytes": size, "pictures": arguments.pictures, "steps": len(losses), "batch": RECIPE["batch_size"]}
    figures |= {"learning_rate": RECIPE["learning_rate"], "pictures per second": rate and round(rate, 1)}
    figures |= {f"mean loss of {SPAN} steps": [round(mean, 5) for mean in means]}
    LOSSES.with_name(LOSSES.name if arguments.output == CORRECTIVE else arguments.output.stem + ".json").write_text(
        json.dumps(figures, indent=2) + "\n"
    )
    log.info("%d bytes, loss %.4f", size, made.about.loss)


if __name__ == "__main__":
    main()
