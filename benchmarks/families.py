"""What works with each model family of the running ComfyUI: the pack's nodes on tiny random models.

    .host/venv/bin/python -m benchmarks.families                         writes benchmarks/results/families.{json,md}
    .host/venv/bin/python -m benchmarks.families --only Flux --output FOLDER

Every model is built from ComfyUI's own class, a few layers small, with random weights (family_models.py). In inference
mode, as ComfyUI runs nodes, the pack edits, distills and restores with it, and samples beside ComfyUI's own sampler.
This shows that the nodes run, and that noise levels and predictions are right, not how good images are. The autoencoder
of restorations is random and linear: latents of any shape need one.

A cell is "works", "refused: " and the sentence of the pack, or "error: " and the error of another part. The column
`euler` holds the largest difference from ComfyUI's result, relative to its standard deviation.

Results are kept for each version of ComfyUI. With `--comfyui FOLDER` the ComfyUI in this folder is tried as well.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.supported_models
import torch
from torch import Tensor, nn

from tools.devhost import add_options

from . import markdown
from .family_models import ROWS, Row
from .hosts import environment_of, other_host
from .provenance import CHECKOUT, RESULTS, Results, comfyui_version

sys.path.append(str(CHECKOUT / "tests"))

from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch  # noqa: E402
from support.tiny_models import (  # noqa: E402
    Latent,
    distilled,
    edit,
    measure,
    randomize,
    restore,
    tiny_vae,
)

log = logging.getLogger("dreamsampler.benchmarks")
PACK = Path(sys.modules["dreamsampler"].__path__[0]).resolve()

AGREES = 0.01
"""The largest difference from ComfyUI's sampler that rounding explains."""


# The autoencoder


class Patches(nn.Module):
    """Maps patches of images, with or without a frame dimension, linearly to latent cells and back."""

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.side = side
        self.to_cells = nn.Parameter(torch.empty(channels, 3 * side * side))
        self.to_pixels = nn.Parameter(torch.empty(3 * side * side, channels))

    def encode(self, images: Tensor) -> Tensor:
        cells = nn.functional.pixel_unshuffle(images.reshape(-1, 3, *images.shape[-2:]), self.side)
        latents = self._mixed(self.to_cells, cells)
        return latents.unsqueeze(2) if images.ndim == 5 else latents

    def decode(self, latents: Tensor) -> Tensor:
        cells = latents.reshape(-1, latents.shape[1], *latents.shape[-2:])
        pixels = nn.functional.pixel_shuffle(self._mixed(self.to_pixels, cells), self.side)
        return pixels.unsqueeze(2) if latents.ndim == 5 else pixels

    def _mixed(self, matrix: Tensor, cells: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", matrix.to(cells), cells)


def autoencoder(row: Row, model: comfy.model_patcher.ModelPatcher) -> comfy.sd.VAE:
    """A VAE of the model's latents: 3 pixels of a color for pixel models, patches of 2 x 2 for others."""
    latent_format: Any = model.get_model_object("latent_format")
    channels: int = latent_format.latent_channels
    vae: Any = tiny_vae.__wrapped__("taesd")
    side = 1 if channels == 3 else 2
    network = Patches(channels, side)
    randomize(network, seed=3)
    vae.first_stage_model, vae.latent_channels, vae.upscale_ratio, vae.downscale_ratio = network, channels, side, side
    vae.latent_dim = len(row.shape) - 1
    vae.patcher = comfy.model_patcher.ModelPatcher(
        network, load_device=vae.device, offload_device=comfy.model_management.vae_offload_device()
    )
    return vae


# What is tried


@dataclass(frozen=True)
class Trial:
    """A model with its prompts and an image."""

    row: Row
    model: comfy.model_patcher.ModelPatcher
    latent: Latent
    prompts: dict[str, Any]

    @property
    def guided(self) -> dict[str, Any]:
        """The prompts of nodes that need no source prompt."""
        return {name: self.prompts[name] for name in ("positive", "negative")}

    def edit(self) -> Tensor:
        return edit(self.model, self.latent, steps=4, gamma=0.5, **self.guided)[0]["samples"]

    def distill(self, method: str) -> Tensor:
        return distilled(self.model, self.latent, method=method, steps=2, **self.prompts)

    def pds(self) -> Tensor:
        with torch.inference_mode():
            (objective,) = PosteriorLatentMatch.execute(
                source_latent=self.latent,
                source=self.prompts["source"],
                target=self.prompts["positive"],
                negative=self.prompts["negative"],
                guidance_scale=7.5,
                posterior="official",
                identity_weight=1.0,
            ).args
        # Enough steps for one at a noise level of Stable Diffusion: others weigh nothing.
        return distilled(self.model, self.latent, objective=objective, steps=8, **self.guided)

    def restore(self, consistency: str) -> Tensor:
        vae: Any = autoencoder(self.row, self.model)
        height, width = (side * vae.upscale_ratio for side in self.row.shape[-2:])
        image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(2))
        measurement, _ = measure(image, "gaussian blur", kernel_size=5, sigma=1.0)
        options: dict[str, Any] = {"steps": 3, "consistency": consistency, "projection": False}
        restored = restore(self.model, vae, self.latent, measurement, **options, **self.guided)
        if restored.notes:
            raise RuntimeError(restored.notes[0])
        return restored.samples

    def euler(self) -> float:
        """The largest difference from ComfyUI's own sampler, relative to the standard deviation of its result."""
        options: dict[str, Any] = {"steps": 5, "gamma": 2.5, "renoise": "guided", "start_from": "noise"}
        own, start = (latent["samples"] for latent in edit(self.model, self.latent, **options, **self.guided))
        sampling: Any = self.model.get_model_object("model_sampling")
        noise, latent = torch.zeros_like(start), start
        if isinstance(sampling, comfy.model_sampling.CONST):  # the state at the top is the noise alone
            noise = self.model.model.process_latent_in(start) / getattr(sampling, "noise_scale", 1.0)
            latent = torch.zeros_like(start)
        with torch.inference_mode():
            expected = comfy.sample.sample_custom(
                self.model,
                noise,
                2.5,
                comfy.samplers.ksampler("euler"),
                comfy.samplers.calculate_sigmas(sampling, "normal", 5),
                self.prompts["positive"],
                self.prompts["negative"],
                latent,
                disable_pbar=True,
                seed=0,
            )
        return ((own - expected).abs().max() / expected.std()).item()


COLUMNS: dict[str, Callable[[Trial], Tensor | float]] = {
    "edit": Trial.edit,
    "euler": Trial.euler,
    **{method: lambda trial, method=method: trial.distill(method) for method in ("sds", "dds", "flowedit")},
    "pds": Trial.pds,
    "consistency only": lambda trial: trial.restore("consistency only"),
    "gradients": lambda trial: trial.restore("both"),
    "vsd": lambda trial: trial.distill("vsd"),
}
"""Columns of the table. `gradients` is a restoration with consistency "both"."""


def verdict(trial: Trial, run: Callable[[Trial], Tensor | float]) -> str | float:
    """What comes of a run."""
    try:
        result: Any = run(trial)
    except ValueError as error:
        if PACK not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve().parents:
            return _unexpected(error)
        return f"refused: {sentence(str(error))}"
    except Exception as error:
        return _unexpected(error)
    if isinstance(result, float):
        return result
    if not result.isfinite().all():
        return "error: the result is not finite"
    return "error: nothing has changed" if torch.equal(result, trial.latent["samples"]) else "works"


def _unexpected(error: Exception) -> str:
    log.warning("%s", "".join(traceback.format_exception(error)[-6:]))
    first, *_ = [*str(error).strip().splitlines(), ""]
    return f"error: {type(error).__name__}: {first}"


def sentence(message: str) -> str:
    """The first sentence of a message, without the words of PyTorch."""
    first = re.split(r" \(PyTorch says|(?<=[a-z0-9')])\.(?= [A-Z]|$)", message)[0]
    return first.rstrip(".") + "."


def tried(row: Row) -> dict[str, str | float]:
    """The verdicts of a row by column."""
    try:
        with torch.inference_mode():
            model = row.model()
    except Exception as error:
        return dict.fromkeys(COLUMNS, _unexpected(error))
    prompts = {name: row.conditioning(seed) for seed, name in enumerate(("positive", "negative", "source"), start=1)}
    trial = Trial(row, model, row.latent(), prompts)
    return {name: verdict(trial, run) for name, run in COLUMNS.items()}


# Results


def document(results: Results) -> str:
    """The tables of all versions."""
    parts = [
        "# Model families\n\nMade by `benchmarks.families`: tiny random models of ComfyUI's own classes. A number "
        "refers to a sentence below the table, with which the pack refuses. `euler`: the largest difference from "
        "ComfyUI's own sampler, relative to the standard deviation of its result; up to "
        f"{AGREES:g} is rounding. `gradients` and `consistency only` are restorations.\n"
    ]
    for version, table in sorted(results.tables.items(), reverse=True):
        notes: list[str] = []
        cells = {name: results.figures[name][version] for name in table.rows}
        rows = [[name, *(_cell(each[column], notes) for column in COLUMNS)] for name, each in cells.items()]
        numbered = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
        parts.append(
            "\n".join(
                [f"## {version}\n", markdown.table(["model", *COLUMNS], rows), *numbered, "", results.line(version), ""]
            )
        )
    return "\n".join(parts)


def _cell(value: str | float, notes: list[str]) -> str:
    if not isinstance(value, str):
        return f"{value:.1e}"
    kind, _, note = value.partition(": ")
    if not note:
        return value
    if note not in notes:
        notes.append(note)
    return f"{kind} ({notes.index(note) + 1})"


def main() -> None:
    """Try all families and write the results."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", default="", help="only models whose names contain this")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    try_all(arguments.only, arguments.output)
    if other := other_host(arguments, log.info):
        command = [str(other.python), "-m", "benchmarks.families", "--only", arguments.only]
        command += ["--output", str(arguments.output.resolve())]
        subprocess.run(command, cwd=CHECKOUT, env=environment_of(other), check=True)


def try_all(only: str, output: Path) -> None:
    """Try the families of this ComfyUI and write its table, beside those of other versions."""
    version = f"ComfyUI {comfyui_version()}"
    results = Results(output / "families.json", resume=True)
    results.table(version, "trials")
    for row in ROWS:
        if only.lower() not in row.name.lower() or not row.known:
            continue
        cells = tried(row)
        log.info("%s: %s", row.name, cells)
        results.figures.setdefault(row.name, {})[version] = cells
        results.measured(version, row.name, len(cells))
        results.write()
    (output / "families.md").write_text(document(results), "utf-8")


if __name__ == "__main__":
    main()
