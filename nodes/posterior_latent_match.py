"""Posterior Latent Match: PDS as an objective for other nodes."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..guidance.core.denoiser import NULL, SOURCE, TARGET
from ..guidance.distillation.objectives import METHODS
from ..guidance.distillation.objectives.pds import POSTERIOR_FORMS, PosteriorForm
from . import checks, widgets
from .sockets import OBJECTIVE, ObjectiveSocket

PDS = METHODS["pds"]
IDENTITY_WEIGHT = 2.0
"""At the paper's guidance it keeps most of what is not edited, at equal success of the edit. Tuned on the small
reference model (benchmarks/results/posterior_front.md); the paper's is 1."""


class PosteriorLatentMatch(io.ComfyNode):
    """PDS, eq. 14, as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSPosteriorLatentMatch",
            display_name="Posterior Latent Match",
            category="DreamSampler",
            description=(
                "Edits an image and keeps it close to its source: posterior distillation (PDS). Connect its output to "
                "the objective input of Distillation Sampler, SVG or Splat Optimizer, which then use it instead of "
                "their own method."
            ),
            search_aliases="PDS, posterior distillation sampling, img2img edit, identity preserving edit",
            advanced="posterior",
            inputs=[
                io.Latent.Input(
                    "source_latent",
                    tooltip="The encoded source image: one, or one per image of the batch.",
                ),
                io.Conditioning.Input("source", tooltip="Source prompt: what the source image shows."),
                io.Conditioning.Input("target", tooltip="Target prompt: what the edited image should show."),
                io.Conditioning.Input(
                    "negative", tooltip="The unconditional (negative) prompt. The paper leaves it empty."
                ),
                io.Float.Input(
                    "guidance_scale",
                    default=PDS.settings.guidance_scale,
                    min=0.0,
                    max=1e4,
                    step=0.5,
                    tooltip="Guidance scale of both predictions. The paper uses 100; 7.5 to 30 changes less.",
                ),
                io.Combo.Input(
                    "posterior",
                    options=list(POSTERIOR_FORMS),
                    default="official",
                    tooltip="How noise levels are weighted. official: the authors' code. as printed: the paper's "
                    "formula. exact: the true DDPM posterior, where the identity term vanishes and PDS reduces to DDS.",
                ),
                io.Float.Input(
                    "identity_weight",
                    default=IDENTITY_WEIGHT,
                    min=0.0,
                    max=1e3,
                    step=0.05,
                    tooltip="How strongly the edit is pulled to its source: the paper's weight is 1, 0 turns it off. "
                    "The default 2 was tuned on the small reference model for guidance 100; lower it with the "
                    "guidance scale, to 0.5 at 7.5.",
                ),
            ],
            outputs=[
                OBJECTIVE.Output(
                    display_name="objective",
                    tooltip="For the objective input of Distillation Sampler, SVG or Splat Optimizer.",
                ),
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
        posterior: PosteriorForm,
        identity_weight: float,
    ) -> io.NodeOutput:
        for name, value in (("source", source), ("target", target), ("negative", negative)):
            checks.check_conditioning(name, value)
        settings = {
            "guidance_scale": guidance_scale,
            "posterior": posterior,
            "identity_weight": identity_weight,
        }
        conditionings = {TARGET: target, NULL: negative, SOURCE: source}
        return io.NodeOutput(
            ObjectiveSocket(
                PDS, conditionings, source_latent, "source_latent", settings, prompt_inputs={TARGET: "target"}
            )
        )
