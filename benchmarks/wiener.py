"""Restoration against an exact posterior: the distance of its mean to the Wiener solution, by choice of consistency.

    .host/venv/bin/python -m benchmarks.wiener       writes benchmarks/results/wiener.{json,md,png}

With `--modes` it measures some modes again and keeps the other rows.

The prior is a Gaussian of 16 x 16 images with a natural (1/f) spectrum, its denoiser exact and its latents the
images, in float64. Each operator measures one of its draws with noise of deviation s = 0.01. The mean over seeds is
compared with the Wiener solution, which is the exact posterior mean, and the deviation over seeds with the posterior's;
first for growing numbers of steps with the paper's settings, then with one setting changed at a time. Noise levels are
Karras's from 14.6 to 0.03, gamma is 0. `ding` fills holes only. This takes about four minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED
from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.guidance.restoration.decoupled import decoupled_restore, known_cells
from dreamsampler.guidance.restoration.few_steps import few_step_restore
from dreamsampler.guidance.restoration.measurement import CONTRAST, DECODED_ERROR, DataConsistency, Measurement
from dreamsampler.guidance.restoration.operators import (
    Colorization,
    GaussianBlur,
    Inpainting,
    LinearOperator,
    MotionBlur,
    SuperResolution,
)
from dreamsampler.guidance.restoration.proximal import proximal_restore
from torch import Tensor

from . import markdown
from .images import save_figure
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
SIDE, NOISE_STD, LAMBDA, SEEDS = 16, 0.01, 1e-4, 32
SHAPE = (3, SIDE, SIDE)
STEPS = (10, 20, 50, 100, 200, 500)
NOISIER = 10
"""Factor on the noise variance of a second Wiener solution, which blurs restored by DPS are compared with."""
COMPARED = 200
"""Steps of the comparison of settings, as in the paper."""
ERRORS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Ticks of the axis of errors."""
MODES = ("both", "consistency only", "dps only")
OTHER_ALGORITHMS = {"few steps": None, "ding": ("inpainting",)}
"""Algorithms other than the paper's Algorithm 4, and the operators they restore (None: all)."""
FOLLOWING = "consistency only, lambda = s^2 / sigma^2"
CHANGES: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("both", "eta 0.5", {"eta": 0.5}),
    ("consistency only", "eta 0.5", {"eta": 0.5}),
    ("consistency only", "eta 0", {"eta": 0.0}),
    ("consistency only", "lambda 0.01", {"weight": 0.01}),
    ("consistency only", "3 iterations", {"iterations": 3}),
    ("consistency only", "30 iterations", {"iterations": 30}),
    ("dps only", "dps_weight 0.3", {"dps_weight": 0.3}),
    ("dps only", "dps_weight 3", {"dps_weight": 3.0}),
    ("few steps", "eta 0.5", {"eta": 0.5}),
    ("few steps", "errors as for a VAE", {"decoded_error": DECODED_ERROR, "contrast": CONTRAST}),
)
"""A mode, and its one setting that differs from the paper's."""
WHY = """Where the bias comes from: Algorithm 4 does not sample the exact posterior. With a Gaussian prior its limit is
known. If data-consistency steps stayed at one noise level sigma and each fit were exact, the clean estimate would
converge to the Wiener solution for measurement noise with covariance sigma^2 (1 - sqrt(1 - alpha_bar)) / alpha_bar
(A A^T + lambda) instead of s^2 (for eta 1; tested in tests/guidance/test_restoration.py). Therefore:

- Components that A measures with a small singular value a are trusted to a variance of about sigma^2 (a^2 + lambda),
  far below s^2. A blur has many such components, and its inverse amplifies noise: the bias grows with the steps and
  with the iterations of each fit, which the paper limits to 10. The other operators have no small singular values
  except 0.
- With lambda = s^2 / sigma^2 the covariance falls to s^2, and the bias of every operator falls with the steps.
- A DPS step is at most about dps_weight long, whatever the distance. A few steps do not reach the solution. Near the
  end they overshoot, so |A z0 - y| stays large and blurs are fitted too weakly, as with a noise variance of about
  sigma^2 |A z0 - y| / dps_weight.
- few steps is not Algorithm 4. It weights the data by the error of each estimate, here sigma^2 / (1 + sigma^2), because
  this autoencoder makes none, and its fresh noise falls with the flow time, which keeps the spread. At rest the noise
  variance is sigma^2 (a^2 + lambda) as above, without the root, so blurs approach the solution slowly.
- ding takes the noise of the known cells from a proxy of the next state and not from that state, and draws another
  share of fresh noise than the exact posterior between two levels, so its bias falls slowly with the steps.
- Fully fresh noise is Langevin dynamics at half the temperature: the deviation over seeds tends to 1 / sqrt(2) of the
  posterior's, and with a share eta of fresh noise to sqrt((1 + sqrt(1 - eta^2)) / 2) of it.
"""


class Plain:
    """An autoencoder whose latents are the images."""

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class Prior:
    """A Gaussian of images: correlated channels, and power 1 / (1 + f^2) at f half-waves a side."""

    def __init__(self) -> None:
        places = torch.arange(SIDE, dtype=torch.float64)
        waves = torch.cos(math.pi / SIDE * (places + 0.5) * places[:, None]) * (2 / SIDE) ** 0.5
        self.waves = waves / torch.where(places == 0, 2**0.5, 1.0)[:, None]
        colors = torch.tensor([[1.0, 0.7, 0.5], [0.7, 1.0, 0.6], [0.5, 0.6, 1.0]], dtype=torch.float64)
        power, self.colors = torch.linalg.eigh(colors)
        spectrum = 1 / (1 + places[:, None] ** 2 + places**2)
        self.values = 0.09 * power[:, None, None] * spectrum / spectrum.mean()
        self.mean = (0.2 * torch.sin(5 * places / SIDE))[:, None].expand(SHAPE)

    def to_waves(self, x: Tensor) -> Tensor:
        """Coordinates (B, *SHAPE) in which the covariance is diagonal."""
        return torch.einsum("dc,bdij->bcij", self.colors, self.waves @ x @ self.waves.T)

    def to_pixels(self, waves: Tensor) -> Tensor:
        """The inverse of `to_waves`."""
        return self.waves.T @ torch.einsum("cd,bdij->bcij", self.colors, waves) @ self.waves

    def draw(self, seed: int) -> Tensor:
        noise = SeededNoise([seed]).like(self.values[None])
        return self.mean + self.to_pixels(self.values.sqrt() * noise)

    def posterior_mean(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[z0 | z0 + sigma eps = x]."""
        return self.mean + self.to_pixels(self.values / (self.values + sigma**2) * self.to_waves(x - self.mean))

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [self.posterior_mean(x, sigma)] * len(names)

    @cached_property
    def covariance(self) -> Tensor:
        return self.to_pixels(self.values * self.to_waves(pixels())).flatten(1)


def pixels() -> Tensor:
    """The images of one pixel each."""
    return torch.eye(math.prod(SHAPE), dtype=torch.float64).reshape(-1, *SHAPE)


class Problem:
    """The measurement of one operator, and the exact posterior of the image."""

    def __init__(self, prior: Prior, operator: LinearOperator):
        clean = operator.forward(prior.draw(5))
        noise = SeededNoise([77]).like(clean)
        self.prior, self.operator = prior, operator
        self.measurement = Measurement(operator, clean + NOISE_STD * noise, NOISE_STD)
        self.a = operator.forward(pixels()).flatten(1).T
        self.values, self.vectors = torch.linalg.eigh(self.a @ self.a.T)
        self.wiener, self.noisier = (
            self.conditional(torch.full_like(self.values, factor * NOISE_STD**2)) for factor in (1, NOISIER)
        )

    def conditional(self, noise: Tensor) -> Tensor:
        """The posterior mean (1, *SHAPE) if the noise had these variances along the singular vectors of A."""
        mean = self.prior.mean
        residual = (self.measurement.y - self.operator.forward(mean[None])).flatten()
        return mean + (self._gain(noise) @ residual).reshape(1, *SHAPE)

    def at_rest(self, sigma: float) -> Tensor:
        """The limit of the clean estimate if data-consistency steps with eta 1 stay at one level, in closed form."""
        alpha_bar = 1 / (1 + sigma**2)
        return self.conditional(sigma**2 * (1 - (1 - alpha_bar) ** 0.5) / alpha_bar * (self.values + LAMBDA))

    def spread(self) -> float:
        """The exact posterior's deviation of a pixel, as the root of the mean variance."""
        covariance = self.prior.covariance
        seen = self._gain(torch.full_like(self.values, NOISE_STD**2)) @ self.a @ covariance
        return math.sqrt((covariance - seen).trace().item() / len(covariance))

    def fitted(self, z0_hat: Tensor, weight: Tensor) -> Tensor:
        """argmin |y - A x|^2 + weight |x - z0_hat|^2, exactly."""
        residual = (self.measurement.y - self.operator.forward(z0_hat)).flatten(1) @ self.vectors
        dual = residual / (self.values.clamp(min=0) + weight) @ self.vectors.T
        return z0_hat + self.operator.adjoint(dual.reshape(-1, *self.measurement.y.shape[1:]))

    def _gain(self, noise: Tensor) -> Tensor:
        """S A^T (A S A^T + noise)^-1."""
        covariance = self.prior.covariance
        inner = self.a @ covariance @ self.a.T + self.vectors * noise @ self.vectors.T
        return torch.linalg.solve(inner, self.a @ covariance).T


class Solved(LinearOperator):
    """The operator of a problem, with its proximal map solved exactly by dense matrices, which is faster here."""

    def __init__(self, problem: Problem):
        super().__init__(problem.operator.image_shape, problem.operator.measurement_shape)
        self.problem = problem

    def forward(self, x: Tensor) -> Tensor:
        return self.problem.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.problem.operator.adjoint(y)

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        return self.problem.fitted(x0, torch.tensor(weight))


class Following:
    """Data consistency solved exactly with the weight s^2 / sigma^2, and the denoiser that passes it the level."""

    def __init__(self, problem: Problem):
        self.problem, self.weight = problem, torch.zeros(())

    def denoise(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        self.weight = (NOISE_STD / sigma) ** 2
        return self.problem.prior(x, sigma, names)

    def fit(self, z0_hat: Tensor) -> Tensor:
        return self.problem.fitted(z0_hat, self.weight)


@dataclass(frozen=True)
class Point:
    """The result of a setting, as root mean squares over pixels.

    `error` is the distance of the mean over seeds to the Wiener solution, `standard_error` the part chance explains and
    `bias` the rest; `bias_noisier` is the bias from the Wiener solution for `NOISIER` times the noise variance.
    `prior` is the distance of the prior's mean, and `spread` the deviation over seeds relative to the posterior's.
    """

    operator: str
    mode: str
    change: str
    steps: int
    error: float
    standard_error: float
    bias: float
    bias_noisier: float
    prior: float
    spread: float

    def row_name(self) -> str:
        """The setting in one line."""
        return ", ".join([self.operator, self.mode, f"{self.steps} steps", *([self.change] if self.change else [])])


def operators() -> dict[str, LinearOperator]:
    hole = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    hole[..., SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4] = 1
    return {
        "inpainting": Inpainting(hole),
        "super-resolution": SuperResolution(SIDE, SIDE, 2),
        "colorization": Colorization(SIDE, SIDE),
        "Gaussian blur": GaussianBlur(SIDE, SIDE, 7, 1.5),
        "motion blur": MotionBlur(SIDE, SIDE, 7, 30.0),
    }


def levels(steps: int, top: float = 14.6, bottom: float = 0.03) -> Tensor:
    """Karras's noise levels (steps + 1,), down to 0."""
    ramp = torch.linspace(top ** (1 / 7), bottom ** (1 / 7), steps, dtype=torch.float64) ** 7
    return torch.cat([ramp, ramp.new_zeros(1)])


def restored(problem: Problem, mode: str, steps: int, eta: float = 1.0, **settings: float) -> Tensor:
    """The restorations (SEEDS, *SHAPE) of one image."""
    path, prior = SCALED, problem.prior
    data = dataclasses.replace(DataConsistency(problem.measurement, Plain(), weight=LAMBDA), **settings)
    following = Following(problem)

    def gradient(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return data.posterior_gradient(lambda state: prior.posterior_mean(state, sigma), path, x, sigma)

    fit: dict[str, Callable | None] = {FOLLOWING: following.fit, "dps only": None}
    noise, sigmas = SeededNoise(range(1000, 1000 + SEEDS)), levels(steps)
    start = noise.like(prior.mean.expand(SEEDS, *SHAPE)) * path.scale(sigmas[0])
    how = {"settings": ProximalSettings(gamma=0.0, eta=eta), "noise": noise}
    if mode == "ding":
        assert (hole := problem.operator.hole) is not None
        known = known_cells(problem.measurement, Plain(), hole.double())
        walk = decoupled_restore(prior, path, start, sigmas, known=known, **how)
    elif mode == "few steps":
        solved = dataclasses.replace(problem.measurement, operator=Solved(problem))
        exact = {"decoded_error": 0.0, "contrast": 1.0, **settings, "measurement": solved}
        fit_at = dataclasses.replace(data, **exact).fit_at
        walk = few_step_restore(prior, path, start, sigmas, fit=fit_at, **how)
    else:
        walk = proximal_restore(
            following.denoise,
            path,
            start,
            sigmas,
            fit=fit.get(mode, data.fit),
            gradient=gradient if mode in ("both", "dps only") else None,
            **how,
        )
    *_, last = walk
    return last.x


def measured(name: str, problem: Problem, mode: str, steps: int, change: str = "", **settings: float) -> Point:
    x = restored(problem, mode, steps, **settings)
    error = rms(x.mean(0) - problem.wiener)
    standard_error = math.sqrt(x.var(0).mean().item() / SEEDS)
    point = Point(
        operator=name,
        mode=mode,
        change=change,
        steps=steps,
        error=error,
        standard_error=standard_error,
        bias=math.sqrt(max(error**2 - standard_error**2, 0.0)),
        bias_noisier=math.sqrt(max(rms(x.mean(0) - problem.noisier) ** 2 - standard_error**2, 0.0)),
        prior=rms(problem.wiener - problem.prior.mean),
        spread=standard_error * math.sqrt(SEEDS) / problem.spread(),
    )
    log.info("%s, %s, %d steps %s: %.4f +- %.4f", name, mode, steps, change, error, standard_error)
    return point


def suits(mode: str, name: str) -> bool:
    """Whether a mode restores what an operator degrades."""
    chosen = OTHER_ALGORITHMS.get(mode)
    return chosen is None or name in chosen


def rms(x: Tensor) -> float:
    """The root of the mean square."""
    return x.square().mean().sqrt().item()


def report(points: list[Point], at_rest: dict[str, float], line: str) -> str:
    """The figures as Markdown, below a line with counts and commits."""
    names = list(at_rest)
    row_of = {(p.operator, p.mode, p.change, p.steps): p for p in points}
    lines = [
        line,
        "",
        "Distance of the mean over seeds to the Wiener solution ± the part chance explains, per pixel; in brackets the "
        "deviation over seeds relative to the posterior's. The first row is the distance of the prior's mean.",
        "",
    ]
    rows = [["prior's mean", "", *(f"{row_of[n, 'both', '', STEPS[0]].prior:.3f}" for n in names)]]
    for mode in (*MODES, FOLLOWING, *OTHER_ALGORITHMS):
        for steps in STEPS:
            chosen = [row_of.get((n, mode, "", steps)) for n in names]
            cells = [f"{p.error:.4f} ± {p.standard_error:.4f} ({p.spread:.2f})" if p else "" for p in chosen]
            rows.append([mode, str(steps), *cells])
    lines += [
        markdown.table(["mode", "steps", *names], rows),
        f"One setting changed, {COMPARED} steps: the bias that chance does not explain (0 if it explains all), and in "
        "brackets the relative deviation.",
        "",
    ]
    rows = []
    for mode, change in [
        (m, c) for m in (*MODES, FOLLOWING, "few steps") for c in ("", *(c for n, c, _ in CHANGES if n == m))
    ]:
        chosen = [row_of[n, mode, change, COMPARED] for n in names]
        changed = change or ("none" if mode != FOLLOWING else "")
        rows.append([mode, changed, *(f"{p.bias:.4f} ({p.spread:.2f})" for p in chosen)])
    last = [row_of[n, "dps only", "", STEPS[-1]] for n in names]
    limits = [
        ["limit of data consistency", *(f"{at_rest[n]:.4f}" for n in names)],
        ["dps only, from s^2", *(f"{p.bias:.4f}" for p in last)],
        [f"dps only, from {NOISIER} s^2", *(f"{p.bias_noisier:.4f}" for p in last)],
    ]
    lines += [
        markdown.table(["mode", "changed", *names], rows),
        "First row: distance to the Wiener solution of the limit of data-consistency steps at the last noise level, "
        f"with exact fits, in closed form. Below: bias of DPS in {STEPS[-1]} steps, from the Wiener solution, and from "
        f"the one for {NOISIER} times the noise variance.",
        "",
        markdown.table(["", *names], limits),
        WHY.rstrip(),
    ]
    return "\n".join(lines) + "\n"


def plot(points: list[Point], path: Path) -> None:
    """Error and spread against the steps, a column for each operator."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(p.operator for p in points))
    figure, panels = plt.subplots(2, len(names), figsize=(15, 6.6), sharex=True, sharey="row")
    for (top, bottom), name in zip(panels.T, names, strict=True):
        modes = [mode for mode in (*MODES, FOLLOWING, *OTHER_ALGORITHMS) if suits(mode, name)]
        series = [[p for p in points if (p.operator, p.mode, p.change) == (name, mode, "")] for mode in modes]
        for chosen, marker, style in zip(series, "osv^DP", ("-", "-", "-", "--", "-", "-")):
            steps, label = [p.steps for p in chosen], chosen[0].mode.replace("lambda = s^2 / sigma^2", "λ = s²/σ²")
            look = {"marker": marker, "markersize": 4, "linestyle": style}
            top.plot(steps, [p.error for p in chosen], label=label, **look)
            bottom.plot(steps, [p.spread for p in chosen], **look)
        chance = [p.standard_error for p in series[1]]
        top.fill_between(STEPS, 0, chance, color="0.85", label="standard error, consistency only")
        top.axhline(series[0][0].prior, color="0.3", linestyle="--", linewidth=1, label="the prior's mean")
        bottom.axhline(1, color="0.3", linestyle="--", linewidth=1, label="the exact posterior")
        bottom.axhline(0.5**0.5, color="0.3", linestyle=":", linewidth=1, label="1/√2: limit with fresh noise")
        top.set(title=name, xscale="log", yscale="log", ylim=(0.008, 0.4))
        top.set_yticks(ERRORS, [f"{error:g}" for error in ERRORS])
        bottom.set(xlabel="steps", xticks=STEPS, xticklabels=STEPS, ylim=(0, 2))
        for panel in (top, bottom):
            panel.minorticks_off()
            panel.grid(alpha=0.3)
    panels[0, 0].set(ylabel="distance of the mean over seeds\nto the Wiener solution, per pixel")
    panels[1, 0].set(ylabel="deviation over seeds, relative\nto the exact posterior")
    handles, labels = (sum(both, []) for both in zip(*(p.get_legend_handles_labels() for p in panels[:, 0])))
    figure.legend(handles, labels, loc="lower center", ncol=4, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    save_figure(figure, path)


def main() -> None:
    """Measure and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = (*MODES, FOLLOWING, *OTHER_ALGORITHMS)
    parser.add_argument("--modes", nargs="+", default=list(every), choices=every, metavar="MODE", help=f"of {every}")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.output / "wiener.json", resume=True)
    prior, at_rest = Prior(), {}
    kept = [Point(**point) for point in results.figures.get("points", ()) if point["mode"] not in arguments.modes]
    points: list[Point] = []
    last_level = levels(COMPARED)[-2].item()
    for name, operator in operators().items():
        problem = Problem(prior, operator)
        at_rest[name] = rms(problem.at_rest(last_level) - problem.wiener)
        modes = [mode for mode in arguments.modes if suits(mode, name)]
        points += [measured(name, problem, mode, steps) for mode in modes for steps in STEPS]
        changes = [change for change in CHANGES if change[0] in modes]
        points += [measured(name, problem, mode, COMPARED, change, **how) for mode, change, how in changes]
    everything = [dataclasses.asdict(p) for p in (*kept, *points)]
    results.figures = {"seeds": SEEDS, "at_rest": at_rest, "points": everything}
    results.table("points", "seeds")
    for point in points:
        results.measured("points", point.row_name(), SEEDS)
    results.write()
    results.path.with_suffix(".md").write_text(report([*kept, *points], at_rest, results.line("points")), "utf-8")
    plot([*kept, *points], results.path.with_suffix(".png"))


if __name__ == "__main__":
    main()
