"""Posterior Latent Match: PDS as an objective for any runner."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io

from ..guidance.methods import Method, Parts, Settings
from ..guidance.objectives.base import NULL, SOURCE, TARGET, Objective
from ..guidance.objectives.pds import LOWEST_TIME, PDS, Posterior
from . import checks
from .sockets import OBJECTIVE, ObjectiveSocket

log = logging.getLogger("dreamsampler")

POSTERIORS: tuple[Posterior, ...] = ("official", "as printed", "exact")
PUBLISHED = Settings(guidance_scale=100.0, steps=200, optimizer="adam", weighting="uniform")
"""Guidance and times of the authors' code; steps and optimiser are ours, as it has no pictures, only 3D and SVG."""

IDENTITY_WEIGHT = 2.0
"""Keeps most of what is not edited without fewer edits that succeed, at the published guidance, on the small reference
model (benchmarks/results/posterior_front.md). 1 is published."""


class PosteriorLatentMatch(io.ComfyNode):
    """PDS, eq. 14, as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSPosteriorLatentMatch",
            display_name="Posterior Latent Match",
            category="DreamSampler",
            description=(
                "An objective that edits a picture and holds it to its source: posterior distillation (PDS). Connect "
                "it to a runner such as Distillation Sampler, which then follows it instead of its own method."
            ),
            inputs=[
                io.Latent.Input(
                    "source_latent",
                    tooltip="The encoded source picture, which the edit is held to: one, or one for each picture of "
                    "the runner's batch.",
                ),
                io.Conditioning.Input("source", tooltip="What the source picture shows."),
                io.Conditioning.Input("target", tooltip="What the edited picture should show."),
                io.Conditioning.Input("negative", tooltip="The text guidance starts from. Empty text is published."),
                io.Float.Input(
                    "guidance_scale",
                    default=PUBLISHED.guidance_scale,
                    min=0.0,
                    max=1e4,
                    step=0.5,
                    tooltip="Weight of both texts. 100 is published; 7.5 to 30 changes less.",
                ),
                io.Combo.Input(
                    "posterior",
                    options=list(POSTERIORS),
                    default="official",
                    tooltip="How noise levels become weights: official is the authors' code, as printed the paper's "
                    "formula, exact the posterior itself, in which nothing holds the picture to its source (dds).",
                ),
                io.Float.Input(
                    "identity_weight",
                    default=IDENTITY_WEIGHT,
                    min=0.0,
                    max=1e3,
                    step=0.05,
                    tooltip="How strongly the picture is held to its source: 1 as published, 0 not at all. 2 is for "
                    "guidance 100; lower it with the guidance, to 0.5 at 7.5.",
                ),
            ],
            outputs=[
                OBJECTIVE.Output(display_name="objective", tooltip="For the objective input of a runner."),
            ],
        )

    @classmethod
    def execute(
        cls,
        source_latent: dict,
        source: Any,
        target: Any,
        negative: Any,
        guidance_scale: float,
        posterior: Posterior,
        identity_weight: float,
    ) -> io.NodeOutput:
        conditionings = {TARGET: target, NULL: negative, SOURCE: source}
        for name, value in (("source", source), ("target", target), ("negative", negative)):
            checks.conditioning(name, value)
        if checks.same_text(source, target):
            log.warning("Posterior Latent Match: source and target are the same text, so nothing will change.")

        method = pds_method(posterior, identity_weight)
        own = {"guidance_scale": guidance_scale}
        return io.NodeOutput(ObjectiveSocket("pds", method, conditionings, source_latent, "source_latent", own))


def pds_method(posterior: Posterior = "official", identity_weight: float = 1.0) -> Method:
    """PDS as a method for a runner; the defaults are as published."""

    def pds(settings: Settings, parts: Parts) -> Objective:
        return PDS(parts.delta(settings), posterior, identity_weight)

    return Method(PUBLISHED, frozenset({"source", "reference"}), pds, edits=True, lowest_time=LOWEST_TIME)
