"""Proximal DreamSampler: edit a picture by text and keep the rest."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from comfy_api.latest import io
from torch import Tensor

from ..guidance.ddim import ddim_inversion
from ..guidance.ddpm import noised_states, residuals
from ..guidance.noise import SeededNoise
from ..guidance.proximal import Kept, ProximalSettings, proximal_edit
from . import checks, host

StartFrom = Literal["inversion", "noise", "stochastic inversion"]


class ProximalDreamSampler(io.ComfyNode):
    """DreamSampler's Algorithm 3 as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSProximalDreamSampler",
            display_name="Proximal DreamSampler",
            category="DreamSampler",
            description=(
                "Edits a picture by text and keeps everything else. The picture is inverted to noise without the text, "
                "then sampled back while every clean estimate is pulled towards the text. The source need not be "
                "described."
            ),
            inputs=[
                io.Model.Input("model", tooltip="Any image model: noise-, velocity- or flow-predicting."),
                io.Conditioning.Input(
                    "positive", tooltip="The target: what the picture should show. Naming what changes is enough."
                ),
                io.Conditioning.Input(
                    "negative",
                    tooltip="The text the picture is inverted under and pulled away from. Empty text is the "
                    "published choice.",
                ),
                io.Latent.Input(
                    "latent_image", tooltip="The encoded picture to edit. Batches are edited item by item."
                ),
                io.Int.Input(
                    "steps",
                    default=50,
                    min=1,
                    max=10000,
                    tooltip="Noise levels climbed and descended; each costs one model evaluation up and two down. "
                    "More steps keep the picture better. The paper uses 200.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.3,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    tooltip="Weight of the text. 0 returns the source; 0.1 to 0.5 edits and keeps; higher changes "
                    "more.",
                ),
                io.Combo.Input(
                    "gamma_schedule",
                    options=["alpha_bar", "constant"],
                    default="alpha_bar",
                    tooltip="alpha_bar lets the text act late, when the layout is fixed (published). constant acts "
                    "from the start and can change shapes.",
                ),
                io.Float.Input(
                    "eta",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of fresh noise in every step. 0 keeps the source best; 1 is ancestral sampling.",
                ),
                io.Combo.Input(
                    "renoise",
                    options=["unconditional", "guided"],
                    default="unconditional",
                    tooltip="Which prediction the estimate is noised with again: without the text (the authors' code) "
                    "or with it (the paper's text, plain classifier-free guidance).",
                ),
                io.Combo.Input(
                    "start_from",
                    options=["inversion", "noise", "stochastic inversion"],
                    default="inversion",
                    tooltip="inversion edits the picture; noise forgets it and samples a new one from the seed; "
                    "stochastic inversion edits too, with noise from the seed (DDPM inversion); its gamma is a "
                    "guidance scale: set gamma_schedule to constant, gamma to 5 to 15 and skip to 0.36.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=host.SCHEDULERS,
                    default="normal",
                    tooltip="The host's noise schedule, climbed for the inversion and descended for the edit.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="Seed of the noise; only used with eta above 0 or start_from noise. Item i of a "
                    "batch uses seed + i.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where to edit: 1 edits, 0 keeps the source exactly, values between blend. Any resolution. "
                    "Without it the latent's own noise mask is used, if there is one.",
                ),
                io.Float.Input(
                    "skip",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Share of the steps left out at the noisy end. More keeps more of the source's layout and "
                    "takes less time; 0.36 is published for stochastic inversion.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The edited latent."),
                io.Latent.Output(
                    display_name="inverted_noise",
                    tooltip="The state at the highest noise level that the edit started from.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent_image: dict,
        steps: int,
        gamma: float,
        gamma_schedule: Literal["alpha_bar", "constant"],
        eta: float,
        renoise: Literal["guided", "unconditional"],
        start_from: StartFrom,
        scheduler: str,
        seed: int,
        mask: Tensor | None = None,
        skip: float = 0.0,
    ) -> io.NodeOutput:
        checks.steps(steps)
        for name, value in (("positive", positive), ("negative", negative)):
            checks.conditioning(name, value)
            checks.true_negative(model, name, value)
        samples = checks.latent(model, latent_image, needs_content=start_from != "noise")
        region = checks.mask(latent_image.get("noise_mask") if mask is None else mask, samples)
        seeds = checks.seeds(seed, latent_image, samples)
        host.model_path(model)
        sigmas = checks.left_after(skip, host.schedule(model, scheduler, steps))
        passes = 1 if start_from == "noise" else 2
        edit = _Edit(
            ProximalSettings(gamma=gamma, gamma_schedule=gamma_schedule, eta=eta, renoise=renoise),
            start_from,
            seeds,
        )
        latents = host.run_method(
            edit,
            model=model,
            conditionings={"positive": positive, "negative": negative},
            samples=samples,
            sigmas=sigmas,
            evaluations=passes * (len(sigmas) - 1),
            seed=seed,
            mask=region,
        )
        return io.NodeOutput(*({**latent_image, "samples": latent} for latent in latents))


@dataclass(frozen=True)
class _Edit:
    """The whole edit of one batch: up by inversion, or straight to noise, and down with the text."""

    settings: ProximalSettings
    start_from: StartFrom
    seeds: list[int]

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise = SeededNoise(self.seeds)
        states, left_out = self._beginning(run, noise)
        x = start = states[0]
        walk = proximal_edit(
            run.prior.denoise,
            run.prior.path,
            x,
            run.sigmas,
            settings=self.settings,
            noise=noise,
            kept=None if run.mask is None else Kept(run.mask, states),
            residuals=left_out,
        )
        first = 0 if self.start_from == "noise" else run.levels
        for done, step in enumerate(walk, start=first):
            run.progress(done, step.z_bar, step.x)
            x = step.x
        return x, start

    def _beginning(self, run: host.Run, noise: SeededNoise) -> tuple[list[Tensor], list[Tensor] | None]:
        """The source's states from the highest level down, and the residuals between them if they are replayed."""
        if self.start_from == "inversion":
            return self._inverted(run), None
        if self.start_from == "noise":
            return self._noised(run, noise), None
        states = noised_states(run.prior.path, run.latent, run.sigmas, noise)
        return states, self._residuals(run, states)

    def _residuals(self, run: host.Run, states: list[Tensor]) -> list[Tensor]:
        found = []
        for done, step in enumerate(residuals(run.prior.denoise, run.prior.path, states, run.sigmas)):
            run.progress(done, step.z0_hat, states[done])
            found.append(step.value)
        return found

    def _inverted(self, run: host.Run) -> list[Tensor]:
        """The source's states from the highest level down to the clean latent; without a mask, the highest alone."""
        states = deque([run.latent], maxlen=None if run.mask is not None else 1)
        for done, step in enumerate(ddim_inversion(run.prior.denoise, run.prior.path, run.latent, run.sigmas)):
            run.progress(done, step.z0_hat, step.x)
            states.appendleft(step.x)
        return list(states)

    def _noised(self, run: host.Run, noise: SeededNoise) -> list[Tensor]:
        """The same states made with one draw of noise."""
        eps = noise.like(run.latent)
        levels = run.sigmas if run.mask is not None else run.sigmas[:1]
        return [run.prior.path.noised(run.latent, eps, sigma) for sigma in levels]
