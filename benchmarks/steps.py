"""Runs of every node that calls a model in steps, each beside the bare calls of the networks that its steps need.

All use networks of the size of Stable Diffusion 1.5 with random weights. Latents have 32 x 32 cells, those of runs with
an autoencoder 16 x 16. What both sides of a comparison do once, such as to decode the result, cancels out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from dreamsampler.guidance.networks.corrective.network import Architecture, initial_network
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from dreamsampler.nodes.find_edit_region import FindEditRegion
from dreamsampler.nodes.host.gradients import differentiable, gradients
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.overlay_illusion import OverlayIllusion
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.corrective_training import about_corrective
from dreamsampler.nodes.runs.restoration import Consistency
from dreamsampler.nodes.splat_optimizer import SplatOptimizer

from tools.reference import host_access, in_process

from .networks import random_model, random_prompts, random_vae

STEPS = 3
CELLS, CELLS_OF_IMAGES = 32, 16
SIDE = 8 * CELLS_OF_IMAGES
PATHS, SPLATS = 64, 5000
SECOND_STAGE = {"method": "bridge", "first_stage": 0.0}
BLUR = {"operator": "gaussian blur", "scale": 4, "kernel_size": 31, "sigma": 3.0, "noise_std": 0.01}
Run = Callable[[], Any]


@dataclass(frozen=True)
class Comparison:
    """A run of `STEPS` steps and what it is compared with, in words and to call."""

    ours: Run
    beside: str
    baseline: Run


class Networks:
    """Model, prompts and latents, and an autoencoder for runs that see images."""

    def __init__(self) -> None:
        host_access.import_extra_nodes()
        self.model = random_model()
        encoded = random_prompts(3)
        self.encoded = encoded.flatten(0, 1)
        self.positive, self.negative, self.source = ([[each, {}]] for each in encoded)
        generator = torch.Generator().manual_seed(2)
        self.latent = {"samples": torch.randn(1, 4, CELLS, CELLS, generator=generator)}
        self.latent_of_image = {"samples": torch.randn(1, 4, CELLS_OF_IMAGES, CELLS_OF_IMAGES, generator=generator)}
        self.image = torch.rand(1, SIDE, SIDE, 3, generator=generator)

    @cached_property
    def vae(self) -> Any:
        return random_vae()

    @property
    def reference(self) -> in_process.Reference:
        return in_process.Reference(self.model, None, None)

    # Bare calls

    def called(self, predictions: int, cells: int = CELLS) -> None:
        """One call of the model."""
        x, sigma = torch.randn(predictions, 4, cells, cells), torch.full((predictions,), 2.0)
        self.model.model.apply_model(x, sigma, c_crossattn=self.encoded[:1].repeat(predictions, 1, 1))

    def calls(self, predictions: int) -> None:
        """`STEPS` calls of the model."""
        for _ in range(STEPS):
            self.called(predictions)

    def csd_calls(self) -> None:
        """The calls of csd: its last step is past the half in which the source prompt has a weight."""
        for predictions in (3,) * (STEPS - 1) + (2,):
            self.called(predictions)

    def encoder_calls(self, predictions: int, images: int = 1) -> None:
        """`STEPS` calls of the model, and as many of the encoder, forward and backward."""
        network = self.vae.first_stage_model
        for _ in range(STEPS):
            self.called(predictions, CELLS_OF_IMAGES)
            with gradients(), differentiable(network, torch.float32):
                network.encode(torch.rand(images, 3, SIDE, SIDE, requires_grad=True)).sum().backward()

    def ksampled(self, cfg: float, images: int = 1) -> None:
        """`STEPS` steps of ComfyUI's KSampler."""
        latent = {"samples": self.latent["samples"].repeat(images, 1, 1, 1)}
        self.reference.ksampled(self.positive, self.negative, latent, steps=STEPS, cfg=cfg, seed=0)

    def data_calls(self, encodings: int) -> None:
        """The calls of `STEPS` data steps: two predictions, one decoded, images encoded. Then the result is decoded."""
        samples = self.latent_of_image["samples"]
        for _ in range(STEPS):
            self.called(2, CELLS_OF_IMAGES)
            image = self.vae.decode(samples)
            for _ in range(encodings):
                self.vae.encode(image)
        self.vae.decode(samples)

    def gradient_calls(self) -> None:
        """`STEPS` times forward and backward through denoiser and decoder. Then the result is decoded."""
        samples = self.latent_of_image["samples"]
        decoder, denoiser = self.vae.first_stage_model, self.model.model
        for _ in range(STEPS):
            with gradients(), differentiable(decoder, torch.float32), differentiable(denoiser, torch.float32):
                x = samples.clone().requires_grad_()
                z0_hat = denoiser.apply_model(x, torch.full((1,), 2.0), c_crossattn=self.encoded[:1].clone())
                torch.autograd.grad(decoder.decode(z0_hat).norm(), x)
        self.vae.decode(samples)

    # Runs of nodes

    def edited(self) -> None:
        self.reference.edited(self.positive, self.negative, self.latent, steps=STEPS, gamma=0.3)

    def edited_and_back(self) -> None:
        """What `edited` calls: one prediction per step of the inversion, two per step of the edit."""
        for cfg in (1.0, 4.0):
            self.ksampled(cfg)

    def restored(self, consistency: Consistency, data_until: float) -> None:
        """A restoration from noise and its decoded image."""
        measurement = MeasurementNode.execute(self.image, simulate=True, seed=0, **BLUR).args[0]
        ProximalDreamSampler.execute(
            self.model, self.positive, self.negative, self.latent_of_image, steps=STEPS, gamma=1.0,
            gamma_schedule="alpha_bar", eta=1.0, renoise="unconditional", start_from="noise", scheduler="normal",
            seed=0, vae=self.vae, measurement=measurement, consistency=consistency, data_every=1,
            data_until=data_until, projection=False,
        )  # fmt: skip

    def distilled(self, **inputs: Any) -> None:
        self.reference.distilled(
            self.positive, self.negative, self.latent, source=self.source, seed=0, steps=STEPS, **inputs
        )

    def pds(self) -> None:
        conditionings = self.source, self.positive, self.negative
        objective = PosteriorLatentMatch.execute(self.latent, *conditionings, 7.5, "official", 1.0).args[0]
        self.distilled(method="sds", objective=objective)

    @cached_property
    def corrective(self) -> ManifoldCorrective:
        """A corrective of the paper's width with random weights."""
        about = about_corrective(self.model, size=(CELLS, CELLS), statistics="as printed", steps=1, loss=1.0)
        made = initial_network(Architecture(about.channels), torch.Generator().manual_seed(0))
        return ManifoldCorrective(made, about)

    def region(self) -> None:
        FindEditRegion.execute(self.model, self.positive, self.source, self.latent, STEPS, 0.3, 0.08, seed=0)

    def drawn(self) -> None:
        replace(self.reference, vae=self.vae).vectorized(
            self.positive, negative=self.negative, steps=STEPS, paths=PATHS, canvas_size=SIDE
        )

    def splats(self) -> None:
        SplatOptimizer.execute(
            model=self.model, vae=self.vae, positive=self.positive, negative=self.negative, splats=SPLATS, steps=STEPS,
            guidance_scale=-1.0, render_size=SIDE, views=1, seed=0, frames=1,
        )  # fmt: skip

    def illusion(self) -> None:
        OverlayIllusion.execute(
            self.model, self.vae, self.negative, "flip", SIDE, STEPS, -1.0, "sds", 0,
            conditioning_1=self.positive, conditioning_2=self.source,
        )  # fmt: skip


def comparisons() -> dict[str, Comparison]:
    """All runs by name. Networks are made at their first use."""
    networks = Networks()

    def method(name: str, predictions: int) -> Comparison:
        return Comparison(
            partial(networks.distilled, method=name), predictions_of(predictions), partial(networks.calls, predictions)
        )

    sds = partial(networks.distilled, method="sds")
    encoder = "and the encoder, forward and backward"
    return {
        "Proximal DreamSampler, edit": Comparison(networks.edited, "KSampler", networks.edited_and_back),
        "Proximal DreamSampler, data steps": Comparison(
            partial(networks.restored, "consistency only", 1.0),
            "2 predictions, decoder and encoder",
            partial(networks.data_calls, 1),
        ),
        "Proximal DreamSampler, few steps": Comparison(
            partial(networks.restored, "few steps", 1.0),
            "2 predictions, decoder, encoder twice",
            partial(networks.data_calls, 2),
        ),
        "Proximal DreamSampler, gradient steps": Comparison(
            partial(networks.restored, "dps only", 0.0),
            "denoiser and decoder, forward and backward",
            networks.gradient_calls,
        ),
        "Find Edit Region": Comparison(networks.region, predictions_of(2), partial(networks.calls, 2)),
        "Distillation Sampler, sds": method("sds", 2),
        "Distillation Sampler, bridge": Comparison(
            partial(networks.distilled, **SECOND_STAGE), predictions_of(2), partial(networks.calls, 2)
        ),
        "Distillation Sampler, nfsd": method("nfsd", 3),
        "Distillation Sampler, csd": Comparison(
            partial(networks.distilled, method="csd"), "3 predictions, 2 in the last step", networks.csd_calls
        ),
        "Distillation Sampler, dds": method("dds", 4),
        "Distillation Sampler, flowedit": method("flowedit", 4),
        "Distillation Sampler, pds": Comparison(networks.pds, predictions_of(4), partial(networks.calls, 4)),
        "Distillation Sampler, lmc": Comparison(
            lambda: networks.distilled(method="lmc", corrective=networks.corrective), "sds", sds
        ),
        "Distillation Sampler, vsd": Comparison(partial(networks.distilled, method="vsd"), "sds", sds),
        f"SVG Optimizer, {PATHS} paths": Comparison(
            networks.drawn, f"2 predictions {encoder}", partial(networks.encoder_calls, 2)
        ),
        f"Splat Optimizer, {SPLATS} splats": Comparison(
            networks.splats, f"2 predictions {encoder}", partial(networks.encoder_calls, 2)
        ),
        "Overlay Illusion, flip": Comparison(
            networks.illusion, f"4 predictions {encoder}", partial(networks.encoder_calls, 4, 2)
        ),
    }


def predictions_of(count: int) -> str:
    """What a bare call makes, in words."""
    return f"{count} predictions"
