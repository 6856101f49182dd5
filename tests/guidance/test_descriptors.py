"""The prompts of Bridge: the paper's lists word for word, and prompts as people write them."""

from __future__ import annotations

import re
from random import Random

import pytest
from dreamsampler.guidance.prompts.descriptors import PRESETS, PromptPair, describe, without_quality_words

ARTIFACTS = ", oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
WANTED = ", detailed high resolution, high quality, sharp"


def source(text: str, descriptor: str = "painting") -> str:
    return describe(text, "custom", "", descriptor).source


def test_the_papers_prompts_for_generation():
    assert describe("A llama", "sds artifacts") == PromptPair("A llama" + WANTED, "A llama" + ARTIFACTS)


def test_the_papers_prompts_for_painting_to_real():
    assert describe("A church.", "painting") == PromptPair("A church.", "A church, painting")


def test_the_source_drops_the_quality_words_of_the_papers_prompt():
    # The paper's appendix: the source prompt drops the descriptors of high quality.
    texts = describe("A llama, detailed, high resolution, high quality, sharp.", "sds artifacts")
    assert texts.source == "A llama" + ARTIFACTS
    assert texts.target == "A llama, detailed, high resolution, high quality, sharp" + WANTED


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_differ_and_add_quality_words_to_the_target_only(preset: str):
    texts = describe("a cat", preset)
    assert (texts.target != texts.source) == (preset != "custom")
    assert texts.target.startswith("a cat") and texts.source.startswith("a cat")
    assert without_quality_words(texts.source) == texts.source
    assert without_quality_words(texts.target) == "a cat"


def test_preset_names_are_part_of_saved_workflows():
    assert list(PRESETS) == ["sds artifacts", "painting", "sketch", "3d render", "low resolution", "custom"]


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"^The input 'preset' is 'etching': choose one of sds artifacts, painting, .*custom\.$"
    ):
        describe("a cat", "etching")


def test_descriptors_come_after_the_presets_phrases():
    texts = describe("a cat", "painting", "photo, 35mm", "watercolor, faded")
    assert texts == PromptPair("a cat, photo, 35mm", "a cat, painting, watercolor, faded")
    assert describe("a cat", "sds artifacts", "photo").target == f"a cat{WANTED}, photo"


def test_custom_adds_the_descriptors_alone():
    assert describe("a cat", "custom", "photo", "fog") == PromptPair("a cat, photo", "a cat, fog")


def test_descriptors_may_have_quality_words():
    assert describe("a cat, sharp", "custom", "", "high quality, sharp").source == "a cat, high quality, sharp"


@pytest.mark.parametrize("descriptor", ["fog, rain", ", fog, rain", "  fog, rain ,\n", ";fog, rain;"])
def test_commas_around_a_descriptor_do_not_count(descriptor: str):
    assert describe("a cat", "custom", descriptor, descriptor) == PromptPair("a cat, fog, rain", "a cat, fog, rain")


@pytest.mark.parametrize("descriptor", ["", "  ", ", ", "\n"])
@pytest.mark.parametrize("text", ["A cat.", "  a cat,\n", "", "a\\(b\\) ((c:1.2)) embedding:d"])
def test_a_prompt_without_additions_keeps_every_character(text: str, descriptor: str):
    assert describe(text, "custom", descriptor, descriptor) == PromptPair(text, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat.", "A cat, painting"),
        ("A cat...", "A cat, painting"),
        ("A cat…", "A cat, painting"),
        ("A cat, ", "A cat, painting"),
        ("A cat.,\n", "A cat, painting"),
        ("Is it a cat?!", "Is it a cat, painting"),
        ("一只猫。", "一只猫, painting"),
        ("a cat\non a mat\n", "a cat\non a mat, painting"),
        ('a sign "Go."', 'a sign "Go.", painting'),
        ("(a cat:1.2)", "(a cat:1.2), painting"),
        ("a ((cat)) (on a mat.:0.8).", "a ((cat)) (on a mat.:0.8), painting"),
        ("a cat \\(animal\\).", "a cat \\(animal\\), painting"),
        ("a cat embedding:style", "a cat embedding:style, painting"),
        ("embedding:style.", "embedding:style, painting"),
        ("a (cat", "a (cat, painting"),
        ("a cat)", "a cat), painting"),
    ],
)
def test_phrases_are_added_with_one_comma(text: str, expected: str):
    assert source(text) == expected
    assert describe(text, "custom", "painting").target == expected


@pytest.mark.parametrize("text", ["", "   ", "\n", ".", " , ", "sharp", "(masterpiece:1.2), best quality."])
def test_a_source_without_a_prompt_is_the_descriptor_alone(text: str):
    assert source(text) == "painting"


DROPPED = {
    "at the end": ("a cat, high quality, sharp", "a cat"),
    "before the last period": ("a cat, high quality.", "a cat"),
    "at the start": ("masterpiece, best quality, a cat", "a cat"),
    "in the middle": ("a cat, 8k, on a mat.", "a cat, on a mat."),
    "everywhere": ("4k, a cat, hdr, on a mat, uhd", "a cat, on a mat"),
    "on lines": ("a cat\nhigh quality\non a mat", "a cat\non a mat"),
    "after a line end": ("a cat\nsharp focus, on a mat", "a cat\non a mat"),
    "before a line end": ("a cat, sharp focus\non a mat", "a cat\non a mat"),
    "as sentences": ("A cat. High quality, sharp. On a mat.", "A cat. On a mat."),
    "before the end of a sentence": ("A cat, 8k. A dog.", "A cat. A dog."),
    "with other separators": ("a cat; high quality; on a mat", "a cat; on a mat"),
    "in Chinese": ("一只猫，high quality，白色", "一只猫，白色"),
    "in capitals": ("A CAT, HIGH QUALITY", "A CAT"),
    "with hyphens": ("a cat, high-quality, ultra-detailed, hi-res, photo-realistic", "a cat"),
    "with underscores": ("best_quality, a cat", "a cat"),
    "intensified": ("a cat, extremely high quality, ultra hd, very sharp", "a cat"),
    "two in a phrase": ("a cat, detailed high resolution, sharp and crisp", "a cat"),
    "a doubtful word at the end": ("a cat, realistic", "a cat"),
    "a doubtful word beside a clear one": ("detailed, 8k, a cat, on a mat", "a cat, on a mat"),
    "weighted": ("a cat, (sharp:1.2)", "a cat"),
    "weighted oddly": ("a cat, (8k: 1e0 ), ((hdr)), (4k)", "a cat"),
    "weighted together": ("a cat, (high quality, (sharp:1.1):1.3), on a mat", "a cat, on a mat"),
    "weighted with others": ("(a cat, high quality:1.3), on a mat", "(a cat:1.3), on a mat"),
    "weighted deep inside": ("((a cat, (8k:1.1)), white:1.3), on a mat", "((a cat), white:1.3), on a mat"),
    "weighted with others at the end": ("on a mat, (a cat, sharp:1.3)", "on a mat, (a cat:1.3)"),
    "weighted without a comma": ("a cat (high quality:1.2) (sharp:0.9)", "a cat"),
    "weighted between words": ("a (high quality:1.2) photo, dim", "a photo, dim"),
    "weighted and glued": ("photo(8k)of a cat", "photo of a cat"),
    "beside an embedding": ("a cat,high quality, embedding:style", "a cat, embedding:style"),
    "with escapes in a group": ("(a cat \\:\\), 8k:1.2), on a mat", "(a cat \\:\\):1.2), on a mat"),
    "with escapes": ("a \\(cat, 8k, on\\) a mat", "a \\(cat, on\\) a mat"),
    "in open parentheses": ("(a cat, 8k, on a mat", "(a cat, on a mat"),
    "behind an open one": ("a ( cat, (8k:1.2), on a mat", "a ( cat, on a mat"),
}


@pytest.mark.parametrize("case", DROPPED)
def test_quality_words_are_dropped(case: str):
    text, expected = DROPPED[case]
    assert without_quality_words(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a sharp knife",
        "a sharp, clean knife",
        "a beak, long, sharp, curved, yellow",
        "sharp, curved claws",
        "a (sharp:1.2) knife",
        "a (long, sharp:1.2) knife",
        "(a knife, sharp:1.2) on a mat",
        "a knife, (sharp), of steel",
        "a high quality photo of a cat",
        "a quality street, resolution",
        "high above, sharpness, 4krows",
        "a portrait of Mr. Sharp",
        "a portrait of J. Sharp",
        "(a portrait:1.1) 8k, of a man",
        "a man, 8k (portrait:1.1)",
        "file.8k, a cat",
        "\\(a, 8k), b",
        "a cat, embedding:sharp",
        "embedding:8k, a cat",
        "a \\(sharp\\) knife",
        "a cat (:1.2), (), (1.2)",
        "(a cat:b), (:), c:1.2",
        "))((, a), (b",
        "a.b.c, 3.5 cats ... two .",
        " \n a  cat \t,, on a mat ;; ",
        "",
    ],
)
def test_other_phrases_keep_every_character(text: str):
    assert without_quality_words(text) == text


@pytest.mark.parametrize("text", ["(" * 40 + "a, 8k" + ")" * 40, "(" * 300, ")" * 300 + "(" * 300, "a, " * 500])
def test_unusual_prompts_lose_at_most_their_quality_words(text: str):
    assert re.sub(", 8k", "", text) == without_quality_words(text)


def test_prompts_without_quality_words_keep_every_character():
    rng = Random(0)
    for _ in range(3000):
        text = "".join(rng.choices("ab1 ,.;:!()\\\n，", k=rng.randrange(16)))
        assert without_quality_words(text) == text
