"""Text-Source Descriptor: the two texts of Bridge from one prompt."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from comfy_api.latest import io, ui

from ..guidance.prompts import descriptors
from ..guidance.prompts.descriptors import Texts
from . import host

log = logging.getLogger("dreamsampler")


class TextSourceDescriptor(io.ComfyNode):
    """Bridge's y_tgt and y_src as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSTextSourceDescriptor",
            display_name="Text-Source Descriptor",
            category="DreamSampler",
            description=(
                "Makes two texts from one prompt for score distillation by Bridge: the target says what the picture "
                "should look like, the source what it looks like now, with its flaws. The picture then moves from the "
                "source to the target."
            ),
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of the model that will see the texts."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What the picture shows, without what is wrong with it. Both texts begin with it; the "
                    "source leaves out its quality words, such as 'high quality, sharp'.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(descriptors.PRESETS),
                    default="sds artifacts",
                    tooltip="What the picture looks like now. sds artifacts: made by score distillation (published "
                    "texts). painting (published), sketch, 3d render: turn it into a photo. low resolution: restore "
                    "it. custom: only the descriptors below.",
                ),
                io.String.Input(
                    "target_descriptor",
                    optional=True,
                    default="",
                    dynamic_prompts=True,
                    tooltip="Phrases for the target text, with commas between, added after the preset's. Empty is "
                    "fine.",
                ),
                io.String.Input(
                    "source_descriptor",
                    optional=True,
                    default="",
                    dynamic_prompts=True,
                    tooltip="Phrases for the source text, added after the preset's: what is wrong with this picture, "
                    "such as 'watercolor, faded'. With preset custom, fill it: it is all that tells the texts apart.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="target", tooltip="The encoded target text."),
                io.Conditioning.Output(display_name="source", tooltip="The encoded source text."),
                io.String.Output(display_name="target_text", tooltip="The prompt with the target's phrases."),
                io.String.Output(
                    display_name="source_text",
                    tooltip="The prompt without its quality words and with the source's phrases.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, clip: Any, text: str, preset: str, target_descriptor: str = "", source_descriptor: str = ""
    ) -> io.NodeOutput:
        if clip is None:
            raise ValueError(
                "There is no text encoder on input 'clip'; the checkpoint may hold none. Connect a Load CLIP node that "
                "fits the model."
            )
        texts = descriptors.describe(text, preset, target_descriptor, source_descriptor)
        notes = _notes(clip, texts)
        for note in notes:
            log.warning("Text-Source Descriptor: %s", note)
        shown = "\n\n".join([f"Target: {texts.target}", f"Source: {texts.source}", *notes])
        host.show_on_node(cls.hidden, shown)
        conditionings = (clip.encode_from_tokens_scheduled(clip.tokenize(t)) for t in (texts.target, texts.source))
        return io.NodeOutput(*conditionings, texts.target, texts.source, ui=ui.PreviewText(shown))


def _notes(clip: Any, texts: Texts) -> list[str]:
    """What the user should know about the texts, in sentences."""
    if texts.target == texts.source:
        same = (
            "Both texts are the same, so nothing tells Bridge where to go: fill source_descriptor, or choose a preset."
        )
        return [same, *_length_notes(clip, "text", texts.target)]
    return [*_length_notes(clip, "target text", texts.target), *_length_notes(clip, "source text", texts.source)]


def _length_notes(clip: Any, name: str, text: str) -> list[str]:
    return [rest.sentences(name) for rest in descriptors.remainders(text, partial(host.tokens, clip))]
