"""Source and target prompts for Bridge: the paper's descriptors, and prompts as users write them."""

from __future__ import annotations

import re
import time
from random import Random

import pytest
from dreamsampler.guidance.prompts.descriptors import (
    AMBIGUOUS_WORDS,
    INTENSIFIERS,
    MAX_CHARACTERS,
    MAX_NESTING,
    PRESETS,
    QUALITY_PHRASES,
    Overflow,
    PromptPair,
    describe,
    find_overflows,
    without_quality_words,
)

ARTIFACTS = ", oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
QUALITY = ", detailed high resolution, high quality, sharp"


def source(prompt: str, descriptor: str = "painting") -> str:
    return describe(prompt, "custom", "", descriptor).source


def test_the_papers_prompts_for_generation():
    assert describe("A llama", "sds artifacts") == PromptPair("A llama" + QUALITY, "A llama" + ARTIFACTS)


def test_the_papers_prompts_for_painting_to_real():
    assert describe("A church.", "painting") == PromptPair("A church.", "A church, painting")


def test_source_drops_the_quality_words_of_the_papers_prompt():
    # From the paper's appendix: the source prompt has no high-quality descriptors.
    prompts = describe("A llama, detailed, high resolution, high quality, sharp.", "sds artifacts")
    assert prompts.source == "A llama" + ARTIFACTS
    assert prompts.target == "A llama, detailed, high resolution, high quality, sharp" + QUALITY


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_differ_and_add_quality_words_only_to_the_target(preset: str):
    prompts = describe("a cat", preset)
    assert (prompts.target != prompts.source) == (preset != "custom")
    assert prompts.target.startswith("a cat") and prompts.source.startswith("a cat") == (preset != "low quality")
    assert without_quality_words(prompts.source) == prompts.source
    assert without_quality_words(prompts.target) == "a cat"


def test_preset_names_are_part_of_saved_workflows():
    assert list(PRESETS) == [
        "sds artifacts",
        "painting",
        "sketch",
        "3d render",
        "low resolution",
        "custom",
        "low quality",
    ]


def test_unknown_preset_error_lists_the_presets():
    with pytest.raises(
        ValueError,
        match=r"^The input 'preset' is 'etching': choose one of sds artifacts, painting, .*custom, low quality\.$",
    ):
        describe("a cat", "etching")


def test_descriptors_follow_the_presets_phrases():
    prompts = describe("a cat", "painting", "photo, 35mm", "watercolor, faded")
    assert prompts == PromptPair("a cat, photo, 35mm", "a cat, painting, watercolor, faded")
    assert describe("a cat", "sds artifacts", "photo").target == f"a cat{QUALITY}, photo"


def test_source_of_low_quality_is_the_papers_text_alone():
    bad = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
    assert describe("A cat.", "low quality") == PromptPair("A cat.", bad)
    assert describe("A cat.", "low quality", "photo", "noisy") == PromptPair("A cat, photo", f"{bad}, noisy")


def test_custom_adds_only_the_descriptors():
    assert describe("a cat", "custom", "photo", "fog") == PromptPair("a cat, photo", "a cat, fog")


def test_descriptors_keep_their_quality_words():
    assert describe("a cat, sharp", "custom", "", "high quality, sharp").source == "a cat, high quality, sharp"


@pytest.mark.parametrize("descriptor", ["fog, rain", ", fog, rain", "  fog, rain ,\n", ";fog, rain;"])
def test_separators_around_a_descriptor_are_stripped(descriptor: str):
    assert describe("a cat", "custom", descriptor, descriptor) == PromptPair("a cat, fog, rain", "a cat, fog, rain")


@pytest.mark.parametrize("descriptor", ["", "  ", ", ", "\n"])
@pytest.mark.parametrize("prompt", ["A cat.", "  a cat,\n", "", "a\\(b\\) ((c:1.2)) embedding:d"])
def test_prompt_without_descriptors_is_unchanged(prompt: str, descriptor: str):
    assert describe(prompt, "custom", descriptor, descriptor) == PromptPair(prompt, prompt)


@pytest.mark.parametrize(
    ("prompt", "expected"),
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
def test_descriptors_are_joined_with_one_comma(prompt: str, expected: str):
    assert source(prompt) == expected
    assert describe(prompt, "custom", "painting").target == expected


@pytest.mark.parametrize("prompt", ["", "   ", "\n", ".", " , ", "sharp", "(masterpiece:1.2), best quality."])
def test_source_of_an_empty_prompt_is_the_descriptor(prompt: str):
    assert source(prompt) == "painting"


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
    "between a sentence and a line": ("A cat. 8k\non a mat", "A cat. on a mat"),
    "between a line and a sentence": ("A cat\n8k. On a mat", "A cat. On a mat"),
    "before the end of a sentence": ("A cat, 8k. A dog.", "A cat. A dog."),
    "with other separators": ("a cat; high quality; on a mat", "a cat; on a mat"),
    "in Chinese": ("一只猫，high quality，白色", "一只猫，白色"),
    "in capitals": ("A CAT, HIGH QUALITY", "A CAT"),
    "with hyphens": ("a cat, high-quality, ultra-detailed, hi-res, photo-realistic", "a cat"),
    "with underscores": ("best_quality, a cat", "a cat"),
    "intensified": ("a cat, extremely high quality, ultra hd, very sharp", "a cat"),
    "two in a phrase": ("a cat, detailed high resolution, sharp and crisp", "a cat"),
    "an ambiguous word at the end": ("a cat, realistic", "a cat"),
    "an ambiguous word next to a clear one": ("detailed, 8k, a cat, on a mat", "a cat, on a mat"),
    "weighted": ("a cat, (sharp:1.2)", "a cat"),
    "weighted oddly": ("a cat, (8k: 1e0 ), ((hdr)), (4k)", "a cat"),
    "weighted together": ("a cat, (high quality, (sharp:1.1):1.3), on a mat", "a cat, on a mat"),
    "weighted with others": ("(a cat, high quality:1.3), on a mat", "(a cat:1.3), on a mat"),
    "weighted deep inside": ("((a cat, (8k:1.1)), white:1.3), on a mat", "((a cat), white:1.3), on a mat"),
    "weighted with others at the end": ("on a mat, (a cat, sharp:1.3)", "on a mat, (a cat:1.3)"),
    "weighted without a comma": ("a cat (high quality:1.2) (sharp:0.9)", "a cat"),
    "weighted between words": ("a (high quality:1.2) photo, dim", "a photo, dim"),
    "weighted without spaces": ("photo(8k)of a cat", "photo of a cat"),
    "next to an embedding": ("a cat,high quality, embedding:style", "a cat, embedding:style"),
    "with escapes in a group": ("(a cat \\:\\), 8k:1.2), on a mat", "(a cat \\:\\):1.2), on a mat"),
    "with escapes": ("a \\(cat, 8k, on\\) a mat", "a \\(cat, on\\) a mat"),
    "after an unclosed parenthesis": ("(a cat, 8k, on a mat", "(a cat, on a mat"),
    "weighted after an unclosed parenthesis": ("a ( cat, (8k:1.2), on a mat", "a ( cat, on a mat"),
}


@pytest.mark.parametrize("case", DROPPED)
def test_quality_words_are_dropped(case: str):
    prompt, expected = DROPPED[case]
    assert without_quality_words(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
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
        "a portrait of Prof. Sharp",
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
def test_other_phrases_are_unchanged(prompt: str):
    assert without_quality_words(prompt) == prompt


@pytest.mark.parametrize("prompt", ["(" * 40 + "a, 8k" + ")" * 40, "(" * 300, ")" * 300 + "(" * 300, "a, " * 500])
def test_deeply_nested_prompts_lose_only_their_quality_words(prompt: str):
    assert re.sub(", 8k", "", prompt) == without_quality_words(prompt)


def test_random_prompts_without_quality_words_are_unchanged():
    rng = Random(0)
    for _ in range(3000):
        prompt = "".join(rng.choices("ab1 ,.;:!()\\\n，", k=rng.randrange(16)))
        assert without_quality_words(prompt) == prompt


def test_a_phrase_is_a_chain_of_quality_words_or_stays():
    quality, term = "|".join(QUALITY_PHRASES), "|".join(QUALITY_PHRASES + AMBIGUOUS_WORDS)
    term = f"(?:(?:{'|'.join(INTENSIFIERS)}) )*(?:{term})"
    chain = re.compile(f"{term}(?:(?: and| &)? {term})*")
    words = sorted({*" ".join(QUALITY_PHRASES + AMBIGUOUS_WORDS + INTENSIFIERS).split(), "and", "&", "cat"})
    rng, kinds = Random(1), set()
    for _ in range(5000):
        source = rng.choice([words, QUALITY_PHRASES, (*AMBIGUOUS_WORDS, *INTENSIFIERS)])
        phrase = " ".join(rng.choices([*source, *INTENSIFIERS, "and"], k=rng.randrange(1, 5)))
        only = chain.fullmatch(phrase) is not None
        clear = only and re.search(rf"\b(?:{quality})\b", phrase) is not None
        assert without_quality_words(f"{phrase}, x") == ("x" if clear else f"{phrase}, x"), phrase
        assert without_quality_words(f"x, {phrase}") == ("x" if only else f"x, {phrase}"), phrase
        kinds.add((only, clear))
    assert len(kinds) == 3


# Prompts that are not written by hand

ATOMS = (
    "very detailed ", "very ", "sharp and ", "8k, ", "photo realistic-", "a", " ", "\n", ", ", ",", ".", ". ", "!?x",
    "1.", "prof.", ":", "(", ")", "()", "((", "(a", "(a:1.2)", "(((8k)))", "(b). ", "\\(", "\\)", "\\", "，", "。",
)  # fmt: skip
MIXTURES = [(atom,) for atom in ATOMS] + [tuple(Random(seed).choices(ATOMS, k=2 + seed % 4)) for seed in range(60)]


def tokenize_words(text: str) -> dict[str, list[list[tuple[str, float, int]]]]:
    """Every word is a token, and 77 words are a chunk."""
    words = [(word, 1.0, place + 1) for place, word in enumerate(text.split())]
    return {"l": [words[start : start + 77] for start in range(0, len(words), 77)] or [[]]}


def seconds(text: str) -> float:
    """The processor time to read a prompt."""
    start = time.process_time()
    describe(text, "sds artifacts")
    find_overflows(text, tokenize_words)
    return time.process_time() - start


@pytest.mark.parametrize("mixture", MIXTURES, ids="".join)
def test_the_time_to_read_a_prompt_grows_with_its_length_only(mixture: tuple[str, ...]):
    pattern = "".join(mixture)
    short, long = (keep_shallow((pattern * size)[: size - 1] + "x") for size in (MAX_CHARACTERS // 10, MAX_CHARACTERS))
    # Ten times as long; a square would be a hundred times.
    assert any(seconds(long) < 40 * seconds(short) + 0.01 for _ in range(3))


def keep_shallow(text: str) -> str:
    """The text without groups that are nested too deep to be read."""
    try:
        without_quality_words(text)
    except ValueError:
        return text.replace(")", "")
    return text


@pytest.mark.parametrize("text", ["very detailed " * 26, "(" * 10_000, "a " * 26 + "and sharp " * 100])
def test_a_prompt_that_once_stopped_the_server_is_read_at_once(text: str):
    assert seconds(text) < 1


def test_groups_are_read_as_deep_as_they_may_be_nested():
    def nested(depth: int) -> str:
        return "(" * depth + "a cat, 8k" + ":1.01)" * depth

    expected = nested(MAX_NESTING).replace(", 8k", "")
    assert without_quality_words(nested(MAX_NESTING)) == expected
    assert without_quality_words(f"b, {nested(MAX_NESTING)}, (c), {nested(3)}").startswith(f"b, {expected}, (c), ")
    message = r"^The prompt has parentheses nested 101 deep: use at most 100 levels\. .*\.$"
    with pytest.raises(ValueError, match=message):
        without_quality_words(f"b, {nested(MAX_NESTING + 1)}")
    assert without_quality_words("(a) (b), " * 150) == "(a) (b), " * 150  # side by side, not nested


@pytest.mark.parametrize("name", ["text", "target_descriptor", "source_descriptor"])
def test_an_input_that_is_too_long_or_nested_too_deep_is_refused_by_its_name(name: str):
    texts = {"prompt": "a cat", "target_descriptor": "", "source_descriptor": ""}
    argument = "prompt" if name == "text" else name
    describe(preset="custom", **texts | {argument: "a" * MAX_CHARACTERS})
    with pytest.raises(ValueError, match=f"^The input '{name}' has 20001 characters: shorten it to at most 20000\\.$"):
        describe(preset="custom", **texts | {argument: "a" * (MAX_CHARACTERS + 1)})
    with pytest.raises(ValueError, match=f"^The input '{name}' has parentheses nested 400 deep: .* 100 levels"):
        describe(preset="custom", **texts | {argument: "(" * 400 + "a" + ":1.1)" * 400})


def test_the_end_of_a_long_prompt_is_found():
    text = "a " * 76 + "(b c) d"
    assert find_overflows(text, tokenize_words) == [Overflow(("l",), 2, 77, "(b c) d")]
