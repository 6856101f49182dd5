"""LMC-SDS against SDS, DDS and NFSD, on the reference world.

    .host/venv/bin/python -m benchmarks.corrective         writes benchmarks/results/corrective.{json,md}

- Editing: held-out sources are edited in one attribute each by 500 steps of Adam at 0.005 without a pull to the
  source, as in the paper's numerical experiment, at every guidance. A scorer network checks for the target attribute;
  PSNR and SSIM are measured outside the edit.
- Spectra: power of the edited images relative to the sources, by octave of frequency, at guidance 5.
- Synthesis: images from zero latents with the papers' settings.
- Diversity: 1 - SSIM between edits with ten seeds, at guidance 30.
- Cost: CPU seconds per step.

Rows already in the JSON are kept; delete the files to start over. Everything but the cost is computed in bfloat16, as
on most GPUs: the PSNR between such edits and float32 edits is 56 dB; between two seeds it is 47 dB (sds, 40 steps).

"lmc" uses the shipped corrective, normalized as printed in the paper. "lmc, not normalized" uses one trained the same
way without normalization, kept in benchmarks/work/. "lmc, spectral" uses one fitted here in closed form, not
normalized.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from dreamsampler.guidance.prompts.descriptors import PRESETS
from dreamsampler.nodes import host
from kornia.metrics import ssim
from torch import Tensor

from tools.reference import corrective, in_process, world
from tools.reference.scorer import Agreement, attributes

from . import markdown
from .editing import POINTS, SEED, Edit, Point, Setting, edits, label, measured, measured_points, table
from .provenance import RESULTS, Results, work_folder

log = logging.getLogger("dreamsampler.benchmarks")
GUIDANCES = (2.0, 5.0, 8.0, 15.0, 30.0, 100.0)
METHODS = ("sds", "dds", "nfsd", "lmc", "lmc, not normalized", "lmc, spectral")
STEPS, BATCH, SEEDS = 500, 32, 10
COST_EDITS, DIVERSE_EDITS = 8, 4
EDITING = {
    "optimizer": "adam", "learning_rate": 0.005, "learning_rate_schedule": "cosine to 0.8", "weighting": "uniform",
    "t_min": 0.02, "t_max": 0.98, "first_stage": 0.0,
}  # fmt: skip
SYNTHESIS = {
    "sds, 8": ("sds", {"guidance_scale": 8.0}),
    "sds, 100": ("sds", {"guidance_scale": 100.0}),
    **{name: (name, {}) for name in METHODS if name.startswith("lmc")},
}
FROM_GRAY = {
    "optimizer": "adam", "learning_rate": 0.1, "learning_rate_schedule": "cosine to 0.03", "weighting": "uniform",
    "start_from": "latent", "guidance_scale": 8.0,
}  # fmt: skip
SPECTRA_AT = 5.0
SPECTRA, SYNTHESES, DIVERSITY, COST = "spectra", "synthesis", "diversity", "cost"
COUNTED = {SPECTRA: "edits", SYNTHESES: "images", DIVERSITY: "edits by ten seeds", COST: "images"}
OCTAVES = ((1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 48))
"""Periods per image."""

Found = dict[str, Any]


@dataclass(frozen=True)
class Others:
    """The result file of everything but points; `case` is what all of its figures have in common."""

    path: Path
    case: dict[str, Any]

    def kept(self, title: str, key: str, count: int, measure: Callable[[], Any]) -> Any:
        """A figure of `count` edits that an earlier run of the case measured, or a new measurement, which is saved."""
        results = Results(self.path, resume=True)
        results.begin(self.case)
        if results.count(title, key) != count:
            results.figures[key] = measure()
            log.info("%s: %s", key, results.figures[key])
            results.table(title, COUNTED[title])
            results.measured(title, key, count)
            results.write()
        return results.figures[key]


class Bench:
    """The reference model, its correctives and the edits. `folder` is the work folder."""

    def __init__(self, jobs: list[Edit], steps: int, others: Others, folder: Path):
        self.others, self.folder = others, folder
        self.reference, self.scorer, self.jobs, self.steps = in_process.load(), in_process.load_scorer(), jobs, steps
        self.nothing = self.reference.conditioning([""])
        fitted, _ = corrective.trained(
            self.reference, 512, kind="spectral", steps=128, batch_size=BATCH, learning_rate=1e-3,
            patch_size=world.SIZE, seed=SEED, normalisation="none",
        )  # fmt: skip
        self.correctives = {
            "lmc": host.CORRECTIVES.read_file(corrective.CORRECTIVE),
            "lmc, not normalized": self.not_normalized(),
            "lmc, spectral": fitted,
        }

    def not_normalized(self) -> ManifoldCorrective:
        """A corrective trained like the shipped one but without normalization, from the work folder if it is there."""
        file = self.folder / "not_normalized.safetensors"
        if not file.exists():
            recipe = corrective.RECIPE | {"normalisation": "none"}
            made, _ = corrective.trained(self.reference, corrective.IMAGES, **recipe)
            file.parent.mkdir(parents=True, exist_ok=True)
            host.CORRECTIVES.write(file, made, torch.float16)
        return host.CORRECTIVES.read_file(file)

    def distilled(
        self, method: str, target: Any, latent: dict, *, source: Any = None, seed: int, **inputs: Any
    ) -> dict:
        """The LATENT that a method of `METHODS` makes."""
        name, own = method.split(",")[0], {} if source is None else {"source": source}
        if method in self.correctives:
            own["corrective"] = self.correctives[method]
        if name == "nfsd":
            own["source"] = self.reference.conditioning([PRESETS["low quality"].source] * len(latent["samples"]))
        settings = {"steps": self.steps, **own, **inputs}
        return self.reference.distilled(target, self.nothing, latent, method=name, seed=seed, **settings)

    def edited(self, method: str, guidance: float, jobs: list[Edit], *, seed: int = SEED, **inputs: Any) -> Tensor:
        """The edits (B, 3, H, W) of a method, in batches."""
        made = []
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            target = self.reference.conditioning([job.prompt("full") for job in some])
            source = self.reference.conditioning([job.source_prompt("full") for job in some])
            latent = self.reference.latent(in_process.render([e.source for e in some]))
            settings = {**EDITING, "guidance_scale": guidance, **inputs}
            source = source if method == "dds" else None
            made.append(
                self.reference.decoded(self.distilled(method, target, latent, source=source, seed=seed, **settings))
            )
        return torch.cat(made)

    def point(self, setting: Setting) -> Point:
        """All jobs by one method at one guidance."""
        method, guidance, _ = setting
        made = self.edited(method, guidance, self.jobs)
        if guidance == SPECTRA_AT:
            self.spectrum(method, made)
        point = measured(setting, self.jobs, made, self.scorer)
        figures = point.accuracy, point.psnr, point.structure
        log.info("%s %g: accuracy %.3f, %.2f dB, SSIM %.3f", method, guidance, *figures)
        return point

    def spectrum(self, method: str, made: Tensor | None = None) -> list[float]:
        """The power of edits by octave, relative to the sources as the autoencoder returns them. `made` are the edits,
        if they are known already."""

        def measure() -> list[float]:
            jobs = self.jobs[:BATCH]
            after = self.edited(method, SPECTRA_AT, jobs) if made is None else made[:BATCH]
            before = self.reference.decoded(self.reference.latent(in_process.render([e.source for e in jobs])))
            return (octaves(after) / octaves(before)).tolist()

        return self.others.kept(SPECTRA, f"spectrum {method}", len(self.jobs[:BATCH]), measure)

    def synthesis(self, name: str) -> dict[str, float]:
        """How often images from zero latents show what the prompt says, and their power at periods 16 to 32."""
        method, settings = SYNTHESIS[name]
        rng = Random(SEED + 1)
        scenes = [world.sample_scene(rng, clean=True, objects=1) for _ in range(min(BATCH, len(self.jobs)))]
        target = self.reference.conditioning([world.describe(scene) for scene in scenes])
        side = world.SIZE // 8
        empty = {"samples": torch.zeros(len(scenes), 4, side, side)}
        own = {} if name.startswith("lmc") else FROM_GRAY
        made = self.reference.decoded(self.distilled(method, target, empty, seed=SEED, **{**own, **settings}))
        rates = Agreement.of(self.scorer, made, [attributes(scene) for scene in scenes]).rates
        power = octaves(made) / octaves(in_process.render(scenes))
        return {**rates, "power at 16-32": power[4].item()}

    def diversity(self, same_noise: bool) -> float:
        """The mean of 1 - SSIM between the edits of the first seed and those of the others, at guidance 30."""
        jobs = self.jobs[:DIVERSE_EDITS]
        runs = [self.edited("lmc", 30.0, jobs, seed=SEED + 1000 * n, diversity=same_noise) for n in range(SEEDS)]
        return sum(1 - ssim(runs[0], other, 7).mean().item() for other in runs[1:]) / (SEEDS - 1)

    def cost(self) -> dict[str, float]:
        """CPU seconds per step of 8 images, the least of 3 alternating measurements; lmc relative to sds."""
        jobs, best = self.jobs[:COST_EDITS], {}
        for _ in range(3):
            for method in ("sds", "lmc", "lmc, spectral"):
                took = []
                for steps in (2, 12):
                    start = time.process_time()
                    self.edited(method, 8.0, jobs, steps=steps)
                    took.append(time.process_time() - start)
                best[method] = min(best.get(method, float("inf")), (took[1] - took[0]) / 10)
        return {**best, "lmc / sds": best["lmc"] / best["sds"]}


def octaves(images: Tensor) -> Tensor:
    """The mean power of images (B, 3, H, W) in each of `OCTAVES`."""
    power = torch.fft.fft2(images).abs().square().mean((0, 1))
    rows, columns = (torch.fft.fftfreq(side, 1 / side) for side in power.shape)
    radius = (rows[:, None].square() + columns.square()).sqrt()
    return torch.stack([power[(radius >= low) & (radius < high)].mean() for low, high in OCTAVES])


def report(points: list[Point], path: Path, others: Others) -> str:
    """Everything as Markdown."""
    results = Results(others.path, resume=True)
    found: Found = results.figures
    lines = [f"{Results(path, resume=True).line(POINTS)}\n\n", table(points)]
    lines += [f"\n{results.line(SPECTRA)}\n"]
    head = [f"power at guidance {SPECTRA_AT:g}", *(f"{low}-{high}" for low, high in OCTAVES)]
    rows = ([method, *(f"{share:.2f}" for share in found[f"spectrum {method}"])] for method in METHODS)
    lines += ["\n", markdown.table(head, rows)]
    names = list(found["synthesis lmc"])
    lines += [f"\n{results.line(SYNTHESES)}\n"]
    rows = ([name, *(f"{found[f'synthesis {name}'][n]:.2f}" for n in names)] for name in SYNTHESIS)
    lines += ["\n", markdown.table(["from zero latents", *map(label, names)], rows)]
    off, on = found["diversity off"], found["diversity on"]
    lines += [f"\nDifference between seeds (1 - SSIM): {off:.4f}, with `diversity` {on:.4f}. "]
    lines += [f"{results.line(DIVERSITY)}\n"]
    lines += ["\nCPU seconds per step: ", ", ".join(f"{name}: {value:.4g}" for name, value in found["cost"].items())]
    lines += [f". {results.line(COST)}\n"]
    return "".join(lines)


def main() -> None:
    """Measure, write and print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=16, help="held-out images; each is edited in every attribute")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidances", type=float, nargs="+", default=GUIDANCES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "corrective.json"
    others = Others(arguments.output / "corrective_other.json", {"steps": arguments.steps})
    with torch.inference_mode():
        folder = work_folder("corrective", arguments.output)
        bench = Bench(edits(arguments.sources), arguments.steps, others, folder)
        others.kept(COST, "cost", min(COST_EDITS, len(bench.jobs)), bench.cost)
        bench.reference.run_model_in_bfloat16()
        bench.reference.run_autoencoder_in_bfloat16()
        settings = [(method, guidance, "full") for guidance in arguments.guidances for method in METHODS]
        case = {"sources": arguments.sources, "steps": arguments.steps}
        points = measured_points(settings, case, path, bench.point)
        for method in METHODS:
            bench.spectrum(method)
        images = min(BATCH, len(bench.jobs))
        for name in SYNTHESIS:
            others.kept(SYNTHESES, f"synthesis {name}", images, partial(bench.synthesis, name))
        diverse = min(DIVERSE_EDITS, len(bench.jobs))
        for word, same_noise in (("off", False), ("on", True)):
            others.kept(DIVERSITY, f"diversity {word}", diverse, partial(bench.diversity, same_noise))
    text = report(points, path, others)
    path.with_suffix(".md").write_text(text, "utf-8")
    log.info("%s", text)


if __name__ == "__main__":
    main()
