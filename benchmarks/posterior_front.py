"""Edits by distillation: Posterior Latent Match (PDS) against other distillation methods and against sampling.

    .host/venv/bin/python -m benchmarks.posterior_front       writes benchmarks/results/posterior_front.{json,md,png}

Held-out sources of the reference world are edited in one attribute each, with full source and target prompts. A scorer
network checks for the target attribute; PSNR and SSIM are measured outside the edited region. Distillation takes 200
steps of Adam at 0.01 with the guidance in the row's name; "normalized" gives all gradients the same length, as LUSD
does, and takes as many steps of plain gradient descent at 0.01. Inversions and img2img take 200 steps, flowedit, dvrf,
flowalign and chord the 33, 50, 33 and 1 of their papers. Points already in the JSON are kept; delete the file to start
over.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from dreamsampler.guidance.distillation.objectives.pds import POSTERIOR_FORMS, PosteriorForm
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler

from .editing import SEED, Batch, Bench, Line, Point, Setting, measure_front, plot_front

STEPS, GUIDANCE, CFG = 200, 7.5, 4.0
ADAM = {"steps": STEPS, "optimizer": "adam", "learning_rate": 0.01, "t_min": 0.02, "t_max": 0.98}
IDENTITY_WEIGHTS = (0.0, 0.5, 1.0, 2.0)
NORMALIZED = {**ADAM, "optimizer": "sgd", "weighting": "normalized"}
"""Each step moves by the learning rate. Adam would divide the lengths out itself."""
FLOW_EDITS = ("flowedit", "dvrf", "flowalign", "chord")
"""Methods with the settings of their papers."""
DENOISE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


class DistillationBench(Bench):
    """The edits, and every way to make them."""

    def point(self, setting: Setting) -> Point:
        """All jobs by one setting."""
        method, strength, _ = setting
        return self.measure(setting, self.edit(method, strength))

    def edit(self, method: str, strength: float) -> Callable[[Batch], dict]:
        """How a method edits a batch at a strength."""
        if method.startswith("PDS"):
            return lambda batch: self.pds(batch, method, strength)
        if method == "img2img":
            return lambda batch: self.reference.ksampled(
                batch.target, batch.nothing, batch.latent, steps=STEPS, cfg=CFG, seed=SEED, denoise=strength
            )
        if method in ("DDPM inversion", "Proximal DreamSampler"):
            return lambda batch: self.inverted(batch, method, strength)
        name, _, how = method.partition(", ")
        loop = NORMALIZED if how == "normalized" else ADAM
        settings = {} if method in FLOW_EDITS else {**loop, "guidance_scale": strength}
        return lambda batch: self.reference.distilled(
            batch.target, batch.nothing, batch.latent, source=batch.source, method=name, seed=SEED, **settings
        )

    def pds(self, batch: Batch, method: str, weight: float) -> dict:
        """Posterior distillation; `method` names the posterior and the guidance."""
        target, source, nothing, latent = batch.target, batch.source, batch.nothing, batch.latent
        name, guidance = method.removeprefix("PDS ").rsplit(", s = ", 1)
        posterior: PosteriorForm = next(each for each in POSTERIOR_FORMS if each == name)
        conditionings = source, target, nothing
        objective = PosteriorLatentMatch.execute(latent, *conditionings, float(guidance), posterior, weight).args[0]
        return self.reference.distilled(target, nothing, latent, objective=objective, method="sds", seed=SEED, **ADAM)

    def inverted(self, batch: Batch, method: str, gamma: float) -> dict:
        """Editing by inversion: stochastic with a source prompt, or deterministic without."""
        target, source, nothing, latent = batch.target, batch.source, batch.nothing, batch.latent
        execute, model = ProximalDreamSampler.execute, self.reference.model
        if method == "DDPM inversion":
            return execute(
                model, target, source, latent, steps=STEPS, gamma=gamma, gamma_schedule="constant", eta=0.0,
                renoise="unconditional", start_from="stochastic inversion", scheduler="normal", seed=SEED, skip=0.36,
            ).args[0]  # fmt: skip
        return self.reference.edited(target, nothing, latent, steps=STEPS, gamma=gamma)


def settings() -> list[Setting]:
    """Every setting of the table, in its order."""
    rows = [(method, GUIDANCE) for method in ("sds", "sds, normalized", "dds")]
    rows += [(method, 0.0) for method in FLOW_EDITS]
    rows += [
        (f"PDS {p}, s = {GUIDANCE:g}", w) for p in POSTERIOR_FORMS for w in IDENTITY_WEIGHTS if p != "exact" or not w
    ]
    rows += [("PDS official, s = 100", w) for w in IDENTITY_WEIGHTS]
    rows += [("DDPM inversion", gamma) for gamma in (3.0, 7.5, 15.0)]
    rows += [("Proximal DreamSampler", gamma) for gamma in (0.3, 0.5, 1.0)]
    rows += [("img2img", denoise) for denoise in DENOISE]
    return [(method, strength, "full") for method, strength in rows]


def plot(points: list[Point], path: Path) -> None:
    """Accuracy against what is kept, a line for each method."""
    from matplotlib import colormaps

    methods, colors = dict.fromkeys(p.method for p in points), itertools.cycle(map(colormaps["tab20"], range(20)))
    lines = [Line(method, [p for p in points if p.method == method], color) for method, color in zip(methods, colors)]
    plot_front({"": lines}, path, width=8)


def main() -> None:
    """Measure, write and print."""
    measure_front(__doc__ or "", "posterior_front", 32, settings(), DistillationBench, lambda bench: bench.point, plot)


if __name__ == "__main__":
    main()
