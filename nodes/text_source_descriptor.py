"""Text-Source Descriptor: target and source prompt of Bridge from one prompt."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from comfy_api.latest import io, ui

from ..guidance.prompts import descriptors
from ..guidance.prompts.descriptors import PromptPair
from . import host, widgets

log = logging.getLogger("dreamsampler")


class TextSourceDescriptor(io.ComfyNode):
    """Bridge's y_tgt and y_src as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSTextSourceDescriptor",
            display_name="Text-Source Descriptor",
            category="DreamSampler",
            description=(
                "Makes a target and a source prompt from one prompt, for the method bridge: the target describes what "
                "the image should look like, the source what it looks like now, flaws included. Distillation then "
                "moves the image from source to target."
            ),
            search_aliases="bridge prompts, source prompt, target prompt, negative prompt, describe image",
            has_intermediate_output=True,
            inputs=[
                io.Clip.Input("clip", tooltip="The model's text encoder."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="Describe the image, but not its flaws. Both prompts begin with this text; the source "
                    "prompt drops quality words such as 'high quality, sharp'.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(descriptors.PRESETS),
                    default="sds artifacts",
                    tooltip="What the image looks like now. sds artifacts: the result of score distillation (the "
                    "paper's phrases). painting (the paper's), sketch, 3d render: turn it into a photo. low "
                    "resolution: restore it. custom: only the descriptors below. low quality: for the method nfsd; its "
                    "source is the paper's text alone.",
                ),
                io.String.Input(
                    "target_descriptor",
                    optional=True,
                    default="",
                    dynamic_prompts=True,
                    tooltip="Comma-separated phrases to append to the target prompt, after the preset's. May be empty.",
                ),
                io.String.Input(
                    "source_descriptor",
                    optional=True,
                    default="",
                    dynamic_prompts=True,
                    tooltip="Phrases to append to the source prompt, after the preset's: what is wrong with this "
                    "image, such as 'watercolor, faded'. With preset custom, required: otherwise both prompts are "
                    "identical.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="target", tooltip="The encoded target prompt."),
                io.Conditioning.Output(display_name="source", tooltip="The encoded source prompt."),
                io.String.Output(display_name="target_text", tooltip="The target prompt as text."),
                io.String.Output(display_name="source_text", tooltip="The source prompt as text."),
            ],
        )

    @classmethod
    def execute(
        cls, clip: Any, text: str, preset: str, target_descriptor: str = "", source_descriptor: str = ""
    ) -> io.NodeOutput:
        if clip is None:
            raise ValueError(
                "Input 'clip' has no text encoder; the checkpoint may not contain one. Connect a Load CLIP node that "
                "fits the model."
            )
        prompts = descriptors.describe(text, preset, target_descriptor, source_descriptor)
        notes = _notes(clip, prompts)
        for note in notes:
            log.warning("Text-Source Descriptor: %s", note)
        shown = "\n\n".join([f"Target: {prompts.target}", f"Source: {prompts.source}", *notes])
        host.show_on_node(shown)
        pair = prompts.target, prompts.source
        conditionings = (clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in pair)
        return io.NodeOutput(*conditionings, *pair, ui=ui.PreviewText(shown))


def _notes(clip: Any, prompts: PromptPair) -> list[str]:
    """Warnings about the two prompts, in sentences."""
    if prompts.target == prompts.source:
        same = "Target and source prompt are identical, so nothing changes: fill source_descriptor, or choose a preset."
        return [same, *_length_notes(clip, "prompt", prompts.target)]
    target, source = prompts.target, prompts.source
    return [*_length_notes(clip, "target prompt", target), *_length_notes(clip, "source prompt", source)]


def _length_notes(clip: Any, name: str, prompt: str) -> list[str]:
    return [overflow.warning(name) for overflow in descriptors.find_overflows(prompt, partial(host.tokenize, clip))]
