"""Find Edit Region: a mask of what an edit will change, found by the model itself."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..guidance.editing.region import soft_mask
from . import checks, host, widgets
from .runs.region import SOFTNESS, STEPS, THRESHOLD, find_region, to_pixels

HEAT = torch.tensor([[0.0, 0.0, 0.02], [0.34, 0.06, 0.43], [0.73, 0.21, 0.33], [0.98, 0.55, 0.04], [0.99, 1.0, 0.64]])
"""Colors of the heat map from no to the largest difference."""


class FindEditRegion(io.ComfyNode):
    """The search as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSFindEditRegion",
            display_name="Find Edit Region",
            category="DreamSampler",
            description=(
                "Finds the part of an image that a prompt changes, without painting: a mask from how differently the "
                "model predicts under source and target prompt."
            ),
            search_aliases="auto mask, automatic mask, DecFlowEdit, text mask, segment by prompt, edit mask",
            advanced="threshold softness seed",
            inputs=[
                io.Model.Input("model", tooltip="Any image model (eps- or v-prediction, or flow matching)."),
                io.Conditioning.Input("positive", tooltip="Target prompt: what the edited image should show."),
                io.Conditioning.Input(
                    "source",
                    tooltip="Source prompt: what the image shows now, in the same words except for the change. It may "
                    "be an empty prompt.",
                ),
                io.Latent.Input("latent_image", tooltip="The encoded image, or a batch."),
                io.Int.Input(
                    "steps",
                    default=STEPS,
                    min=1,
                    max=1000,
                    tooltip="Noise levels, each two model evaluations. 8 to 16 are enough.",
                ),
                io.Float.Input(
                    "threshold",
                    default=THRESHOLD,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Difference at which the mask is half: 0 is that of the calmest tenth of the image, 1 that "
                    "of the tenth that changes most. Lower finds more. 0.2 to 0.6; the paper uses 0.55.",
                ),
                io.Float.Input(
                    "softness",
                    default=SOFTNESS,
                    min=0.001,
                    max=1.0,
                    step=0.01,
                    tooltip="How gradually the mask falls around the threshold. 0.02 to 0.2; the paper uses 0.08.",
                ),
                widgets.seed("Seed of the noise. Each image of a batch has its own."),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask",
                    tooltip="1 where the prompt changes the image. For mask of Proximal DreamSampler, or for Set "
                    "Latent Noise Mask.",
                ),
                io.Image.Output(display_name="heat_map", tooltip="The differences behind the mask: bright is large."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        source: Any,
        latent_image: dict,
        steps: int,
        threshold: float,
        softness: float,
        seed: int,
    ) -> io.NodeOutput:
        checks.check_conditioning("positive", positive)
        checks.check_conditioning("source", source)
        samples = checks.checked_latent(model, latent_image, needs_content=True)
        host.model_path(model)
        notes: list[str] = []
        seeds = checks.item_seeds(seed, latent_image, samples)
        found = find_region(model, positive, source, samples, seeds, steps=steps, notes=notes)
        host.show_on_node("\n".join(notes))
        mask, heat = (to_pixels(each, model, samples) for each in (soft_mask(found, threshold, softness), found))
        return io.NodeOutput(mask, _colored(heat), ui={"text": notes})


def _colored(values: Tensor) -> Tensor:
    """Values (B, H, W) in [0, 1] as colors (B, H, W, 3)."""
    place = values * (len(HEAT) - 1)
    low = place.long().clamp(max=len(HEAT) - 2)
    return torch.lerp(HEAT[low], HEAT[low + 1], (place - low)[..., None])
