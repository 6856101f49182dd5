"""Text-Source Descriptor on ComfyUI's own text encoders and tokenizers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models_base
import comfy.text_encoders.flux
import comfy.text_encoders.hidream
import comfy.text_encoders.qwen_image
import comfy.text_encoders.sd3_clip
import dreamsampler
import pytest
import torch
from comfy_client import ComfyClient
from devhost import CHECKOUT
from dreamsampler.guidance.prompts.descriptors import PRESETS, Overflow, Tokenize, find_overflows
from dreamsampler.nodes.text_source_descriptor import TextSourceDescriptor
from safetensors.torch import save_file
from support.node_texts import shown_text, texts_on_nodes
from support.tiny_models import randomize

from tools.reference import in_process

ARTIFACTS = "oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
LAST_ARTIFACTS = "blurry, bad structure, noisy, malformed"
FILLER_WORDS = 59
"""Number of one-token words after which all artifacts but the last still fit in the first chunk."""


@pytest.fixture(scope="module")
def clip() -> comfy.sd.CLIP:
    return in_process.load().clip


@torch.inference_mode()
def described(clip: Any, text: str, preset: str = "sds artifacts", **descriptors: str) -> Any:
    """The node's output for one prompt."""
    return TextSourceDescriptor.execute(clip=clip, text=text, preset=preset, **descriptors)


@torch.inference_mode()
def encoded(clip: Any, text: str) -> list[list[Any]]:
    """What CLIP Text Encode returns."""
    return import_module("nodes").CLIPTextEncode().encode(clip, text)[0]  # ComfyUI's module, not the pack's


def assert_same(actual: list[list[Any]], expected: list[list[Any]]) -> None:
    assert len(actual) == len(expected)
    for (tokens, values), (other_tokens, other_values) in zip(actual, expected):
        assert torch.equal(tokens, other_tokens)
        assert values.keys() == other_values.keys()
        assert torch.equal(values["pooled_output"], other_values["pooled_output"])


@pytest.mark.parametrize("text", ["a red circle, sharp", "a (red:1.3) \\(big\\) ((circle))", "", "circle " * 90])
@pytest.mark.parametrize("preset", PRESETS)
def test_prompts_are_encoded_like_clip_text_encode(clip: comfy.sd.CLIP, text: str, preset: str):
    output = described(clip, text, preset, source_descriptor="(dark:1.2)")
    target, source, target_text, source_text = output.args
    assert source_text.endswith("(dark:1.2)") and target_text != source_text
    assert_same(target, encoded(clip, target_text))
    assert_same(source, encoded(clip, source_text))
    assert not torch.equal(target[0][0][:, :77], source[0][0][:, :77]) or text.startswith("circle")


def test_clip_skip_is_respected(clip: comfy.sd.CLIP):
    skipping = clip.clone()
    skipping.clip_layer(-2)
    first = described(clip, "a red circle").args
    second = described(skipping, "a red circle").args
    assert_same(second[0], encoded(skipping, first[2]))
    assert not torch.equal(first[1][0][0], second[1][0][0])


def test_prompts_are_shown_on_the_node(clip: comfy.sd.CLIP, caplog: pytest.LogCaptureFixture):
    output = described(clip, "A red circle, sharp.", "painting", target_descriptor="photo")
    assert output.args[2:] == ("A red circle, sharp, photo", "A red circle, painting")
    assert shown_text(output) == "Target: A red circle, sharp, photo\n\nSource: A red circle, painting"
    assert not caplog.records


def test_prompt_weights_do_not_apply_to_added_descriptors(clip: comfy.sd.CLIP):
    source_text = described(clip, "a ((red) circle:1.2) \\(flat\\).", "painting").args[3]
    weights = [weight for _, weight, word in clip.tokenize(source_text, return_word_ids=True)["l"][0] if word]
    plain, red, circle, rest = 1, 1, 1, 4  # a | red | circle | ( flat ), painting
    assert weights == [1.0] * plain + [pytest.approx(1.32)] * red + [1.2] * circle + [1.0] * rest


def test_embedding_next_to_a_descriptor_is_found(clip: comfy.sd.CLIP, tmp_path: Path):
    vectors = torch.randn(2, 96, generator=torch.Generator().manual_seed(0))
    save_file({"emb_params": vectors}, tmp_path / "old.safetensors")
    with_embedding = clip.clone()
    with_embedding.tokenizer = comfy.sd1_clip.SD1Tokenizer(embedding_directory=str(tmp_path))
    output = described(with_embedding, "a circle, 8k, embedding:old.", "painting", source_descriptor="embedding:old")
    assert output.args[3] == "a circle, embedding:old, painting, embedding:old"
    tokens = [token for token, _ in with_embedding.tokenize(output.args[3])["l"][0]]
    found = [token for token in tokens if torch.is_tensor(token)]
    assert torch.equal(torch.stack(found), vectors.repeat(2, 1))
    assert_same(output.args[1], encoded(with_embedding, output.args[3]))


def test_missing_clip_is_rejected():
    with pytest.raises(ValueError, match=r"^Input 'clip' has no text encoder.* Connect a Load CLIP node .*\.$"):
        described(None, "a cat")


def test_unknown_preset_is_rejected(clip: comfy.sd.CLIP):
    with pytest.raises(ValueError, match="^'etching' is not an option of 'preset'. Did you mean 'sketch'"):
        described(clip, "a cat", "etching")


def test_identical_prompts_give_a_warning(clip: comfy.sd.CLIP, caplog: pytest.LogCaptureFixture):
    output = described(clip, "a cat", "custom")
    assert shown_text(output).split("\n\n")[2:] == [
        "Target and source prompt are identical, so nothing changes: fill source_descriptor, or choose a preset."
    ]
    assert "Target and source prompt are identical" in caplog.text
    assert_same(output.args[0], output.args[1])


# Prompts over the token limit


def test_overflow_note_quotes_what_is_encoded_separately(clip: comfy.sd.CLIP, caplog: pytest.LogCaptureFixture):
    text = "cat " * FILLER_WORDS
    output = described(clip, text)
    note = (
        "The source prompt takes 2 chunks of 77 tokens in CLIP-L. Its end is encoded separately and is not part of the "
        f'pooled vector that SDXL, SD3 and Flux use: "{LAST_ARTIFACTS}". Shorten the prompt to keep it in one chunk.'
    )
    assert shown_text(output).split("\n\n")[2:] == [note]
    assert [record.getMessage() for record in caplog.records] == [f"Text-Source Descriptor: {note}"]

    # What the note says is true.
    ((source, values),) = output.args[1]
    ((beginning, pooled),) = encoded(clip, output.args[3].removesuffix(LAST_ARTIFACTS))
    ((end, _),) = encoded(clip, LAST_ARTIFACTS)
    torch.testing.assert_close(source, torch.cat([beginning, end], 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values["pooled_output"], pooled["pooled_output"], rtol=1e-4, atol=1e-4)


def test_overflow_note_names_the_prompt(clip: comfy.sd.CLIP):
    target = shown_text(described(clip, "cat " * 75, "custom", target_descriptor="red"))
    assert "The target prompt takes 2 chunks of 77 tokens in CLIP-L." in target and "The source prompt" not in target
    both = shown_text(described(clip, "cat " * 76, "custom"))
    assert both.count("The prompt takes 2 chunks of 77 tokens in CLIP-L.") == both.count(" chunks of ") == 1


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "sd1": comfy.sd1_clip.SD1Tokenizer,
    "sdxl": comfy.sdxl_clip.SDXLTokenizer,
    "sd3": comfy.text_encoders.sd3_clip.SD3Tokenizer,
    "flux": comfy.text_encoders.flux.FluxTokenizer,
    "hidream": comfy.text_encoders.hidream.HiDreamTokenizer,
    "qwen": comfy.text_encoders.qwen_image.QwenImageTokenizer,
}


def tokenizer(name: str) -> Tokenize:
    return partial(TOKENIZERS[name]().tokenize_with_weights, return_word_ids=True)


@pytest.mark.parametrize(
    ("name", "encoders"),
    [("sd1", [("l",)]), ("sdxl", [("g", "l")]), ("sd3", [("g", "l")]), ("flux", [("l",)]), ("qwen", [])],
)
def test_only_clip_encoders_use_chunks(name: str, encoders: list[tuple[str, ...]]):
    text = "cat " * FILLER_WORDS + ", " + ARTIFACTS
    found = find_overflows(text, tokenizer(name))
    assert found == [Overflow(names, 2, 77, LAST_ARTIFACTS) for names in encoders]
    assert find_overflows("cat " * 75, tokenizer(name)) == []


def test_hidream_t5_drops_tokens_after_128():
    tokenize = tokenizer("hidream")
    text = " ".join(f"cat{i}" for i in range(90))
    *others, dropped = find_overflows(text, tokenize)
    assert [other.encoders for other in others] == [("g", "l")] and others[0].chunks > 1
    assert (dropped.encoders, dropped.chunks, dropped.size) == (("t5xxl",), 1, 128)
    read = text.removesuffix(dropped.rest)
    assert len(read) < len(text)
    whole = tokenize(text)["t5xxl"]
    assert tokenize(read)["t5xxl"] == whole == tokenize(read + "dogs")["t5xxl"]
    assert tokenize(read.rsplit(maxsplit=1)[0])["t5xxl"] != whole
    assert (
        dropped.warning("text") == f'T5 reads 128 tokens of the text and drops the end, "{dropped.rest}". Shorten it.'
    )


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("cat " * 75, None),
        ("cat " * 76, "cat"),
        ("cat " * 75 + "\n\n", None),
        ("cat " * 75 + "\n dog, fox", "dog, fox"),
        ("cat " * 74 + "dog, fox", "fox"),
        ("cat " * 74 + "(red dog:1.2), fox", "(red dog:1.2), fox"),
        ("cat " * 73 + "(red dog:1.2) fox", "fox"),
        ("cat " * 73 + "\\(red dog\\)", "dog\\)"),
        ("cat " * 73 + "\\(red dog) fox", "dog) fox"),
        ("(" + "cat " * 80 + ":1.2) dog", "(" + "cat " * 80 + ":1.2) dog"),
        ("cat " * 200, "cat " * 124 + "cat"),
    ],
)
def test_overflow_starts_at_the_first_word_that_does_not_fit(text: str, rest: str | None):
    assert [found.rest for found in find_overflows(text, tokenizer("sd1"))] == ([] if rest is None else [rest])


def test_overflow_note_ignores_encoders_that_are_not_loaded():
    parts = comfy.text_encoders.sd3_clip.sd3_clip(clip_l=True, clip_g=False, t5=False)
    target = comfy.supported_models_base.ClipTarget(comfy.text_encoders.sd3_clip.SD3Tokenizer, parts)
    clip = comfy.sd.CLIP(target)
    randomize(clip.cond_stage_model, seed=1)
    output = described(clip, "cat " * FILLER_WORDS)
    assert "The source prompt takes 2 chunks of 77 tokens in CLIP-L." in shown_text(output)
    assert_same(output.args[1], encoded(clip, output.args[3]))


# The node


def test_node_schema():
    extension = asyncio.run(dreamsampler.comfy_entrypoint())
    assert TextSourceDescriptor in asyncio.run(extension.get_node_list())
    schema = TextSourceDescriptor.GET_SCHEMA()
    assert (schema.node_id, schema.display_name) == ("DSTextSourceDescriptor", "Text-Source Descriptor")
    assert [i.id for i in schema.inputs if i.optional] == ["target_descriptor", "source_descriptor"]


def test_help_page_quotes_the_presets():
    page = (CHECKOUT / "js" / "docs" / "DSTextSourceDescriptor.md").read_text("utf-8")
    section = page.partition("## Presets\n")[2].partition("\n## ")[0]
    items = dict(re.findall(r"^- \*\*(.+):\*\* ((?:.+\n)+?)(?=- |\n|\Z)", section, re.MULTILINE))
    assert items.keys() == PRESETS.keys()
    for name, preset in PRESETS.items():
        added = dict(re.findall(r'(Target|Source): "(.+?)"', " ".join(items[name].split())))
        assert (added.get("Target", ""), added.get("Source", "")) == (preset.target, preset.source), name


def prompt(**inputs: str) -> dict[str, Any]:
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dreamsampler_reference.safetensors"}}
    node = {"class_type": "DSTextSourceDescriptor", "inputs": {"clip": ["loader", 1], **inputs}}
    preview = {"class_type": "PreviewAny", "inputs": {"source": ["node", 3]}}
    return {"loader": loader, "node": node, "preview": preview}


def test_server_shows_the_prompts_on_the_node(client: ComfyClient):
    expected = "Target: A red circle.\n\nSource: A red circle, painting"
    graph = prompt(text="A red circle.", preset="painting")
    assert asyncio.run(texts_on_nodes(client, graph)) == {"node": expected}
    graph["node"]["inputs"]["source_descriptor"] = "dark"
    outputs = client.run(graph).outputs
    assert outputs["node"]["text"] == [expected + ", dark"]
    assert outputs["preview"]["text"] == ["A red circle, painting, dark"]
