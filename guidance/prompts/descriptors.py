"""Target and source prompts for Bridge (Rethinking Score Distillation as a Bridge Between Image Distributions).

Bridge moves an image from the source prompt to the target prompt. The target is the user's prompt plus phrases of high
quality; the source is the user's prompt without such phrases, plus the flaws that the image has.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Comma-separated phrases to add to the target prompt and to the source prompt."""

    target: str = ""
    source: str = ""


_WANTED = "detailed high resolution, high quality, sharp"

PRESETS: dict[str, Preset] = {
    "sds artifacts": Preset(
        _WANTED, "oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
    ),
    "painting": Preset(source="painting"),
    "sketch": Preset(source="sketch"),
    "3d render": Preset(source="3d render"),
    "low resolution": Preset(_WANTED, "low resolution, blurry, pixelated, jpeg artifacts"),
    "custom": Preset(),
}
"""By name. "sds artifacts" (the flaws of score distillation) and "painting" (the domain word of painting-to-real) are
the paper's; "sketch", "3d render" and "low resolution" follow the same pattern."""


@dataclass(frozen=True)
class PromptPair:
    """The two ends of the bridge: what the image should look like, and what it looks like now."""

    target: str
    source: str


def describe(prompt: str, preset: str, target_descriptor: str = "", source_descriptor: str = "") -> PromptPair:
    """The target and source prompts of a user's prompt (Rethinking Score Distillation, y_tgt and y_src).

    The target is `prompt`, the preset's target phrases and `target_descriptor`; the source is `prompt` without its
    quality words, the preset's source phrases and `source_descriptor`. A prompt to which nothing is added stays as it
    is.

    Raises:
        ValueError: `preset` is not in `PRESETS`.
    """
    if preset not in PRESETS:
        raise ValueError(f"The input 'preset' is '{preset}': choose one of {', '.join(PRESETS)}.")
    phrases = PRESETS[preset]
    return PromptPair(
        target=_extend(prompt, phrases.target, target_descriptor),
        source=_extend(without_quality_words(prompt), phrases.source, source_descriptor),
    )


_COMMAS, _LINE_ENDS, _SENTENCE_ENDS = ",;，、；", "\n", ".!?。！？"
_BLANKS = " \t\r\n"


def _extend(prompt: str, *additions: str) -> str:
    """The prompt without its final punctuation, followed by the additions that are not blank, separated by commas."""
    added = [phrases for addition in additions if (phrases := addition.strip(_BLANKS + _COMMAS))]
    if not added:
        return prompt
    start = prompt.rstrip(_BLANKS + _COMMAS + _SENTENCE_ENDS + ":…")
    return ", ".join([start, *added] if start else added)


# Quality words

QUALITY_PHRASES: tuple[str, ...] = (
    *(f"{grade} quality" for grade in ("high", "higher", "highest", "best", "top", "good", "great", "excellent")),
    *(f"{grade} {measure}" for grade in ("high", "full") for measure in ("resolution", "res", "definition")),
    *(f"{kind} {noun}" for kind in ("high", "fine", "sharp", "intricate") for noun in ("detail", "details")),
    *(f"{degree} detailed" for degree in ("very", "highly", "extremely", "ultra", "super", "hyper", "insanely")),
    *("highres", "hires", "hi res", "absurdres", "hd", "uhd", "hdr", "4k", "8k", "16k"),
    *("masterpiece", "sharp focus", "photorealistic", "photo realistic", "hyperrealistic"),
)
"""Phrases that can only describe image quality. Case is ignored; hyphens and underscores count as spaces."""

AMBIGUOUS_WORDS: tuple[str, ...] = ("sharp", "crisp", "detailed", "intricate", "realistic")
"""Words that describe image quality or an object, as in "a long, sharp, curved beak"."""

INTENSIFIERS: tuple[str, ...] = ("very", "highly", "extremely", "ultra", "super", "hyper", "insanely", "full")
"""Words that may precede any of the others."""


def without_quality_words(prompt: str) -> str:
    """A prompt without its descriptors of high quality, which the paper drops from the source prompt.

    Only whole phrases are dropped. A phrase ends at a comma, semicolon, line or sentence; a group in parentheses,
    weighted or not, is a phrase too. A phrase is dropped if it consists of `QUALITY_PHRASES` and `AMBIGUOUS_WORDS`
    only; if it has only the latter, it must also be at the end of the prompt or next to a dropped phrase. The rest of
    the prompt keeps every character.
    """
    return _prune(prompt, ends=True)


class _Quality(IntEnum):
    """Whether a phrase consists of quality words only, and whether they could also describe an object."""

    NONE = 0
    AMBIGUOUS = 1
    CLEAR = 2


def _any_of(phrases: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(sorted(phrases, key=len, reverse=True))})"


_TERM = rf"(?:{_any_of(INTENSIFIERS)} )*{_any_of(QUALITY_PHRASES + AMBIGUOUS_WORDS)}"
_ONLY_QUALITY_WORDS = re.compile(rf"{_TERM}(?:(?: and| &)? {_TERM})*")
_QUALITY_PHRASE = re.compile(rf"\b{_any_of(QUALITY_PHRASES)}\b")


def _prune(text: str, *, ends: bool) -> str:
    """The text without quality words; `ends` says whether the prompt ends where this text ends."""
    pieces, tail = _split(text)
    dropped = _places_to_drop(_rate_pieces(pieces), ends=ends)
    left: list[str] = []
    gaps: list[str] = []
    for place, piece in enumerate(pieces):
        gaps.append(piece.gap)
        if place not in dropped:
            left += [_join_gaps(gaps, first=not left), _prune_group(piece.text, ends=ends and place == len(pieces) - 1)]
            gaps = []
    return "".join(left if gaps else [*left, tail])


def _prune_group(text: str, *, ends: bool) -> str:
    """A group in parentheses without quality words inside; any other phrase unchanged."""
    if _group_end(text, 0) != len(text):
        return text
    inside, weight = _open_group(text)
    return f"({_prune(inside, ends=ends)}{weight})"


def _places_to_drop(qualities: Sequence[_Quality], *, ends: bool) -> set[int]:
    """Places of the phrases to drop: runs of quality phrases, if one of them is clear or the run ends the prompt."""
    dropped: set[int] = set()
    for is_quality, places in groupby(range(len(qualities)), key=lambda place: qualities[place] > _Quality.NONE):
        run = list(places)
        clear = max(qualities[place] for place in run) == _Quality.CLEAR
        if is_quality and (clear or (ends and run[-1] == len(qualities) - 1)):
            dropped.update(run)
    return dropped


def _rate_pieces(pieces: Sequence[_Piece]) -> list[_Quality]:
    """The quality of each piece. Words next to a group without a comma are not a phrase of their own: NONE."""
    apart = [True, *(_strength(piece.gap) > 0 for piece in pieces[1:]), True]
    return [
        _rate(piece.text) if _group_end(piece.text, 0) or (before and after) else _Quality.NONE
        for piece, before, after in zip(pieces, apart, apart[1:])
    ]


def _rate(text: str) -> _Quality:
    """The quality of one phrase or group."""
    if _group_end(text, 0):
        qualities = _rate_pieces(_split(_open_group(text)[0])[0])
        return max(qualities) if qualities and min(qualities) > _Quality.NONE else _Quality.NONE
    words = " ".join(re.sub("[-_]", " ", text.lower()).split())
    if not _ONLY_QUALITY_WORDS.fullmatch(words):
        return _Quality.NONE
    return _Quality.CLEAR if _QUALITY_PHRASE.search(words) else _Quality.AMBIGUOUS


# The syntax of prompts


@dataclass(frozen=True)
class _Piece:
    """A phrase or a group in parentheses, and the gap before it."""

    gap: str
    text: str


_SEPARATOR = rf"[{_COMMAS}{_LINE_ENDS}]|[.!?]+(?=[\s{_COMMAS}]|$)|[。！？]"
_GAP = re.compile(rf"(?:\s|{_SEPARATOR})*")
_MARK = re.compile(rf"\\[()]|\(|{_SEPARATOR}")
_ABBREVIATED = re.compile(r"\b(?:mr|mrs|ms|dr|st|prof|\w)$", re.IGNORECASE)
"""Titles and initials, after which a period does not end the sentence."""


def _split(text: str) -> tuple[list[_Piece], str]:
    """The pieces of a prompt and what follows the last one; joined they are the prompt again."""
    pieces: list[_Piece] = []
    at = 0
    while True:
        gap = _gap(text, at)
        at += len(gap)
        if at == len(text):
            return pieces, gap
        end = _group_end(text, at) or _phrase_end(text, at)
        pieces.append(_Piece(gap, text[at:end]))
        at = end


def _gap(text: str, at: int) -> str:
    found = _GAP.match(text, at)
    return found[0] if found else ""


def _phrase_end(text: str, at: int) -> int:
    """Where the phrase that begins at `at` ends: before a separator, a group or the end of the text, without blanks."""
    end = len(text)
    for mark in _MARK.finditer(text, at):
        if _ends_phrase(text, mark):
            end = mark.start()
            break
    return at + len(text[at:end].rstrip())


def _ends_phrase(text: str, mark: re.Match[str]) -> bool:
    if mark[0] == "(":
        return _group_end(text, mark.start()) > 0
    if mark[0] == ".":
        return not _ABBREVIATED.search(text, 0, mark.start())
    return not mark[0].startswith("\\")


def _group_end(text: str, at: int) -> int:
    """Where the group in parentheses that begins at `at` ends, or 0 if none begins there. Escaped ones are text."""
    depth = 0
    for bracket in re.finditer(r"\\[()]|[()]", text[at:]) if text.startswith("(", at) else ():
        depth += {"(": 1, ")": -1}.get(bracket[0], 0)
        if depth == 0 and bracket[0] == ")":
            return at + bracket.end()
    return 0


def _open_group(group: str) -> tuple[str, str]:
    """The text inside a group's parentheses, and its weight with the colon, or an empty string."""
    text, colon, weight = group[1:-1].rpartition(":")
    try:
        float(weight)
    except ValueError:
        return group[1:-1], ""
    return text, colon + weight


def _strength(gap: str) -> int:
    """How strongly a gap separates: 3 for sentences, 2 for lines, 1 for phrases, 0 for words."""
    kinds = ((3, _SENTENCE_ENDS), (2, _LINE_ENDS), (1, _COMMAS))
    return next((strength for strength, marks in kinds if set(marks) & set(gap)), 0)


def _join_gaps(gaps: list[str], *, first: bool) -> str:
    """The gap before a piece that stays: the strongest of those since the piece before it."""
    if len(gaps) == 1:
        return gaps[0]
    return "" if first else max(reversed(gaps), key=_strength) or " "


# Length limits of text encoders

Chunks = list[list[tuple[Any, float, int]]]
"""The tokens of one text encoder as (token, weight, word); word 0 marks tokens that the tokenizer added."""

Tokenize = Callable[[str], dict[str, Chunks]]
"""Maps a prompt to its tokens, by name of the text encoder."""

_ENCODERS = {"l": "CLIP-L", "g": "CLIP-G", "h": "CLIP-H", "t5xxl": "T5"}


@dataclass(frozen=True)
class Overflow:
    """The end of a prompt, `rest`, that does not fit the first chunk of some text encoders.

    `size` is the number of tokens in a chunk, `chunks` how many chunks the prompt takes: 1 if the rest is dropped.
    """

    encoders: tuple[str, ...]
    chunks: int
    size: int
    rest: str

    def warning(self, name: str) -> str:
        """A warning for the user; `name` says which prompt it is, such as "source prompt"."""
        encoders = " and ".join(_ENCODERS.get(encoder, encoder) for encoder in self.encoders)
        if self.chunks == 1:
            return f'{encoders} reads {self.size} tokens of the {name} and drops the end, "{self.rest}". Shorten it.'
        return (
            f"The {name} takes {self.chunks} chunks of {self.size} tokens in {encoders}. Its end is encoded separately "
            f'and is not part of the pooled vector that SDXL, SD3 and Flux use: "{self.rest}". Shorten the prompt to '
            "keep it in one chunk."
        )


def find_overflows(prompt: str, tokenize: Tokenize) -> list[Overflow]:
    """The parts of a prompt that text encoders do not read together with its beginning; empty if it fits one chunk.

    An encoder that puts any prompt into one chunk is only checked if another encoder needs several.
    """
    tokenize = cache(tokenize)
    tokens = tokenize(prompt)
    if all(len(chunks) == 1 for chunks in tokens.values()):
        return []
    encoders: dict[tuple[int, int, str], list[str]] = {}
    for name, chunks in tokens.items():
        rest = _unread_end(prompt, name, chunks, tokenize)
        if rest:
            encoders.setdefault((len(chunks), len(chunks[0]), rest), []).append(name)
    return [Overflow(tuple(names), *overflow) for overflow, names in encoders.items()]


def _unread_end(prompt: str, name: str, chunks: Chunks, tokenize: Tokenize) -> str:
    """What follows the last word that fits the first chunk. A group in parentheses counts as one word."""
    ends, fits = _word_ends(prompt), _count(chunks[:1])

    def tokens_until(end: int) -> int:
        return _count(tokenize(prompt[:end]).get(name, []))

    if len(chunks) > 1:
        end = [0, *ends][bisect_right(ends, fits, key=tokens_until)]
    else:
        end = ends[bisect_left(ends, fits, key=tokens_until)]
    return prompt[end:].strip(_BLANKS + _COMMAS)


def _count(chunks: Chunks) -> int:
    return sum(word != 0 for chunk in chunks for _, _, word in chunk)


def _word_ends(text: str) -> list[int]:
    ends, at = [], 0
    while at < len(text):
        if text[at].isspace() or text[at] in _COMMAS:
            ends.append(at)
        escaped = text.startswith(("\\(", "\\)"), at)
        at = _group_end(text, at) or at + (2 if escaped else 1)
    return [*ends, len(text)]
