"""Trains the reference model: `python -m tools.reference.train autoencoder text_encoder scorer diffusion export`.

Each stage resumes from its last checkpoint and stops when its minutes are used up. The minutes are the total over all
runs: pass more --minutes to train further. The word `shipped` before the stages makes them start from the shipped
weights.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from pathlib import Path

import torch

from .training import Budget, train

MINUTES = {"autoencoder": 26.0, "text_encoder": 4.0, "scorer": 15.0, "diffusion": 70.0}


def main() -> None:
    """Run the stages named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="+", choices=["shipped", *MINUTES, "export"])
    parser.add_argument("--minutes", type=float, help="training time per stage, in total over all runs")
    parser.add_argument(
        "--folder", type=Path, default=Path("training"), help="folder for the checkpoints (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that share the training, one core each (default: %(default)s)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.environ["DREAMSAMPLER_TRAINING"] = str(arguments.folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in arguments.stages:
        if name in ("shipped", "export"):
            _copy_weights(name, arguments.folder)
            continue
        stage = importlib.import_module(f".{name}", __package__).STAGE
        workers = 1 if device == "cuda" else arguments.workers
        train(stage, Budget(arguments.minutes or MINUTES[name], arguments.folder, workers, device))


def _copy_weights(name: str, folder: Path) -> None:
    """Write checkpoints of the shipped weights, or the weights to ship."""
    if name == "export":
        from .export import export

        export(folder)
    else:
        from .shipped import write_checkpoints

        write_checkpoints(folder)


if __name__ == "__main__":
    main()
