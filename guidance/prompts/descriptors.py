"""Target and source prompts for Bridge (Rethinking Score Distillation as a Bridge Between Image Distributions).

Bridge moves an image from the source prompt to the target prompt. The target is the user's prompt plus phrases of high
quality; the source is the user's prompt without such phrases, plus the flaws that the image has.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Comma-separated phrases to add to the target prompt and to the source prompt.

    `alone` says that the source prompt is its phrases alone, without the user's prompt.
    """

    target: str = ""
    source: str = ""
    alone: bool = False


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
    "low quality": Preset(
        source="unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy",
        alone=True,
    ),
}
"""By name. "sds artifacts" (the flaws of score distillation) and "painting" (the domain word of painting-to-real) are
the paper's; "sketch", "3d render" and "low resolution" follow the same pattern. "low quality" is the negative prompt of
NFSD (Katzir et al., 2023), the same for every image."""


@dataclass(frozen=True)
class PromptPair:
    """The two ends of the bridge: what the image should look like, and what it looks like now."""

    target: str
    source: str


def describe(prompt: str, preset: str, target_descriptor: str = "", source_descriptor: str = "") -> PromptPair:
    """The target and source prompts of a user's prompt (Rethinking Score Distillation, y_tgt and y_src).

    The target is `prompt`, the preset's target phrases and `target_descriptor`; the source is `prompt` without its
    quality words (nothing of it with "low quality"), the preset's source phrases and `source_descriptor`. A prompt to
    which nothing is added stays as it is.

    Raises:
        ValueError: `preset` is not in `PRESETS`, or a text is longer than `MAX_CHARACTERS` or has parentheses nested
            deeper than `MAX_NESTING`.
    """
    if preset not in PRESETS:
        raise ValueError(f"The input 'preset' is '{preset}': choose one of {', '.join(PRESETS)}.")
    inputs = {"text": prompt, "target_descriptor": target_descriptor, "source_descriptor": source_descriptor}
    for name, value in inputs.items():
        _check_size(f"The input '{name}'", value)
    phrases = PRESETS[preset]
    return PromptPair(
        target=_extend(prompt, phrases.target, target_descriptor),
        source=_extend("" if phrases.alone else without_quality_words(prompt), phrases.source, source_descriptor),
    )


MAX_CHARACTERS = 20_000
"""The longest prompt, far more than any text encoder reads."""
MAX_NESTING = 100
"""The deepest nesting of parentheses. ComfyUI's tokenizers fail at about ten times as many."""


def _check_size(what: str, text: str) -> None:
    """Raise ValueError for a text that takes too long or too much stack to read; `what` begins the message."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{what} has {len(text)} characters: shorten it to at most {MAX_CHARACTERS}.")
    nesting = _nesting(_group_ends(text))
    if nesting > MAX_NESTING:
        raise ValueError(
            f"{what} has parentheses nested {nesting} deep: use at most {MAX_NESTING} levels. To emphasize words, "
            "write a weight, such as '(words:1.3)'."
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

    Raises ValueError for a text longer than `MAX_CHARACTERS` or with parentheses nested deeper than `MAX_NESTING`.
    """
    _check_size("The prompt", prompt)
    return _prune(_parse(prompt), ends=True)


class _Quality(IntEnum):
    """Whether a phrase consists of quality words only, and whether they could also describe an object."""

    NONE = 0
    AMBIGUOUS = 1
    CLEAR = 2


_PHRASES_BY_WORDS = {tuple(phrase.split()) for phrase in QUALITY_PHRASES}
_TERMS = _PHRASES_BY_WORDS | {(word,) for word in AMBIGUOUS_WORDS}
_MOST_WORDS = max(map(len, _TERMS))
_CONJUNCTIONS = ("and", "&")


def _rate_words(words: Sequence[str]) -> _Quality:
    """The quality of a phrase given as words.

    It consists of quality words if it is a chain of terms, each with any number of intensifiers before it, joined by
    nothing or a conjunction.
    """
    # Places where a term may begin, and where one may end; one pass, because no term goes back.
    begins, ends = {0}, set[int]()
    for place in range(len(words)):
        if place in ends:
            begins.add(place)
            if words[place] in _CONJUNCTIONS:
                begins.add(place + 1)
        if place in begins:
            if words[place] in INTENSIFIERS:
                begins.add(place + 1)
            ends.update(place + count for count in _terms_at(words, place, _TERMS))
    if len(words) not in ends:
        return _Quality.NONE
    clear = any(_terms_at(words, place, _PHRASES_BY_WORDS) for place in range(len(words)))
    return _Quality.CLEAR if clear else _Quality.AMBIGUOUS


def _terms_at(words: Sequence[str], place: int, terms: Set[tuple[str, ...]]) -> list[int]:
    """The numbers of words of those terms that the words from `place` on begin with."""
    counts = range(1, min(_MOST_WORDS, len(words) - place) + 1)
    return [count for count in counts if tuple(words[place : place + count]) in terms]


def _prune(phrases: _Phrases, *, ends: bool) -> str:
    """The text without quality words; `ends` says whether the prompt ends where this text ends."""
    pieces = phrases.pieces
    dropped = _places_to_drop(phrases.qualities, ends=ends)
    left: list[str] = []
    gaps: list[str] = []
    for place, piece in enumerate(pieces):
        gaps.append(piece.gap)
        if place not in dropped:
            left += [_join_gaps(gaps, first=not left), _prune_piece(piece, ends=ends and place == len(pieces) - 1)]
            gaps = []
    return "".join(left if gaps else [*left, phrases.tail])


def _prune_piece(piece: _Piece, *, ends: bool) -> str:
    """A group in parentheses without quality words inside; any other phrase unchanged."""
    if piece.inside is None:
        return piece.text
    return f"({_prune(piece.inside, ends=ends)}{piece.weight})"


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
        _rate(piece) if piece.inside is not None or (before and after) else _Quality.NONE
        for piece, before, after in zip(pieces, apart, apart[1:])
    ]


def _rate(piece: _Piece) -> _Quality:
    """The quality of one phrase or group."""
    if piece.inside is not None:
        qualities = piece.inside.qualities
        return max(qualities) if qualities and min(qualities) > _Quality.NONE else _Quality.NONE
    return _rate_words(re.sub("[-_]", " ", piece.text.lower()).split())


# The syntax of prompts


@dataclass(frozen=True)
class _Piece:
    """A phrase or a group in parentheses, and the gap before it.

    A group has phrases `inside`, which is None otherwise, and its weight with the colon, or an empty string.
    """

    gap: str
    text: str
    inside: _Phrases | None = None
    weight: str = ""


@dataclass(frozen=True)
class _Phrases:
    """The pieces of a text with their qualities, and what follows the last one; joined they are the text again."""

    pieces: list[_Piece]
    qualities: list[_Quality]
    tail: str


# A dot begins its run, or a long run would be read again from each of its dots.
_SEPARATOR = rf"[{_COMMAS}{_LINE_ENDS}]|(?<![.!?])[.!?]+(?=[\s{_COMMAS}]|$)|[。！？]"
_GAP = re.compile(rf"(?:\s|{_SEPARATOR})*")
_MARK = re.compile(rf"\\[()]|\(|{_SEPARATOR}")
_ABBREVIATED = re.compile(r"\b(?:mr|mrs|ms|dr|st|prof|\w)$", re.IGNORECASE)
"""Titles and initials, after which a period does not end the sentence."""
_LONGEST_ABBREVIATION = len("prof\n")

GroupEnds = dict[int, int]
"""Where each group in parentheses ends, by where it begins, ordered by their ends."""


def _group_ends(text: str) -> GroupEnds:
    """All groups of a text. Escaped parentheses, and those without a partner, are text."""
    ends: GroupEnds = {}
    open_at: list[int] = []
    for bracket in re.finditer(r"\\[()]|[()]", text):
        if bracket[0] == "(":
            open_at.append(bracket.start())
        elif bracket[0] == ")" and open_at:
            ends[open_at.pop()] = bracket.end()
    return ends


def _nesting(groups: GroupEnds) -> int:
    """How deep groups are nested: 0 without groups, 1 for groups side by side."""
    deepest, around = 0, list[int]()
    for start in sorted(groups):
        while around and around[-1] <= start:
            around.pop()
        around.append(groups[start])
        deepest = max(deepest, len(around))
    return deepest


def _parse(text: str) -> _Phrases:
    """The phrases of a prompt. Takes time proportional to its length, times the nesting of its groups."""
    return _parse_between(text, 0, len(text), _group_ends(text))


def _parse_between(text: str, at: int, end: int, groups: GroupEnds) -> _Phrases:
    """The phrases of text[at:end], in which every group of `groups` that begins there also ends."""
    pieces: list[_Piece] = []
    while True:
        gap = _gap(text, at, end)
        at += len(gap)
        if at == end:
            return _Phrases(pieces, _rate_pieces(pieces), gap)
        if at in groups:
            piece = _group(gap, text, at, groups)
        else:
            piece = _Piece(gap, text[at : _phrase_end(text, at, end, groups)])
        pieces.append(piece)
        at += len(piece.text)


def _group(gap: str, text: str, at: int, groups: GroupEnds) -> _Piece:
    """The group that begins at `at`."""
    end = groups[at]
    weight = _weight(text[at + 1 : end - 1])
    inside = _parse_between(text, at + 1, end - 1 - len(weight), groups)
    return _Piece(gap, text[at:end], inside, weight)


def _weight(inside: str) -> str:
    """The weight at the end of a group's text, with the colon, or an empty string."""
    _, colon, weight = inside.rpartition(":")
    try:
        float(weight)
    except ValueError:
        return ""
    return colon + weight


def _gap(text: str, at: int, end: int) -> str:
    found = _GAP.match(text, at, end)
    return found[0] if found else ""


def _phrase_end(text: str, at: int, end: int, groups: GroupEnds) -> int:
    """Where the phrase that begins at `at` ends: before a separator, a group or `end`, without blanks."""
    for mark in _MARK.finditer(text, at, end):
        if _ends_phrase(text, mark, groups):
            end = mark.start()
            break
    return at + len(text[at:end].rstrip())


def _ends_phrase(text: str, mark: re.Match[str], groups: GroupEnds) -> bool:
    if mark[0] == "(":
        return mark.start() in groups
    if mark[0] == ".":
        return not _ABBREVIATED.search(text, max(0, mark.start() - _LONGEST_ABBREVIATION), mark.start())
    return not mark[0].startswith("\\")


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
    ends, at, groups = list[int](), 0, _group_ends(text)
    while at < len(text):
        if text[at].isspace() or text[at] in _COMMAS:
            ends.append(at)
        escaped = text.startswith(("\\(", "\\)"), at)
        at = groups.get(at, at + (2 if escaped else 1))
    return [*ends, len(text)]
