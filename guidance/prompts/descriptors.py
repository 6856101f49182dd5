"""Target and source texts for Bridge (Rethinking Score Distillation as a Bridge Between Image Distributions).

Its gradient leads from what a picture looks like now to what it should look like, and both ends are texts: the target
is the prompt with praise, the source is the prompt without praise and with the flaws that the picture has.
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
    """Comma-separated phrases to add to the target text and to the source text."""

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
"""By name. "sds artifacts" and "painting" are published: what score distillation does to a picture, and the domain word
of painting-to-real. "sketch", "3d render" and "low resolution" are made like them."""


@dataclass(frozen=True)
class Texts:
    """Both ends of the bridge: what the picture should look like, and what it looks like now."""

    target: str
    source: str


def describe(text: str, preset: str, target_descriptor: str = "", source_descriptor: str = "") -> Texts:
    """The target and source texts of a prompt (Rethinking Score Distillation, y_tgt and y_src).

    The target is the prompt, the preset's target phrases and `target_descriptor`; the source is the prompt without its
    quality words, the preset's source phrases and `source_descriptor`. A prompt that nothing is added to keeps every
    character. Raises ValueError for a preset that is not in `PRESETS`.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is '{preset}': set it to one of {', '.join(PRESETS)}.")
    phrases = PRESETS[preset]
    return Texts(
        target=_extended(text, phrases.target, target_descriptor),
        source=_extended(without_quality_words(text), phrases.source, source_descriptor),
    )


_COMMAS, _LINE_ENDS, _SENTENCE_ENDS = ",;，、；", "\n", ".!?。！？"
_BLANKS = " \t\r\n"


def _extended(text: str, *additions: str) -> str:
    """The text without the punctuation at its end, and the additions, with commas between; the blank ones left out."""
    added = [phrases for addition in additions if (phrases := addition.strip(_BLANKS + _COMMAS))]
    if not added:
        return text
    start = text.rstrip(_BLANKS + _COMMAS + _SENTENCE_ENDS + ":…")
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
"""Praise of a picture, whatever it shows. Capitals do not count, hyphens and underscores count as spaces."""

AMBIGUOUS_WORDS: tuple[str, ...] = ("sharp", "crisp", "detailed", "intricate", "realistic")
"""Praise of a picture or a quality of a thing in it, as in "a long, sharp, curved beak"."""

INTENSIFIERS: tuple[str, ...] = ("very", "highly", "extremely", "ultra", "super", "hyper", "insanely", "full")
"""What may stand before any of the others."""


def without_quality_words(text: str) -> str:
    """A prompt without its descriptors of high quality, which the paper drops from the source text.

    Phrases go as a whole or not at all. They end at commas, semicolons, lines and sentences; a group in parentheses,
    weighted or not, is one too. A phrase goes if it holds nothing but `QUALITY_PHRASES` and `AMBIGUOUS_WORDS`; if only
    the latter, it must end the prompt or have a quality phrase beside it. What is left keeps every character.
    """
    return _pruned(text, ends=True)


class _Praise(IntEnum):
    """Whether a phrase consists of quality words, and whether they can mean anything else."""

    NONE = 0
    AMBIGUOUS = 1
    CLEAR = 2


def _any_of(phrases: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(sorted(phrases, key=len, reverse=True))})"


_TERM = rf"(?:{_any_of(INTENSIFIERS)} )*{_any_of(QUALITY_PHRASES + AMBIGUOUS_WORDS)}"
_ONLY_QUALITY_WORDS = re.compile(rf"{_TERM}(?:(?: and| &)? {_TERM})*")
_QUALITY_PHRASE = re.compile(rf"\b{_any_of(QUALITY_PHRASES)}\b")


def _pruned(text: str, *, ends: bool) -> str:
    """Without quality words; `ends` says whether the prompt ends where this text does."""
    pieces, tail = _split(text)
    dropped = _dropped(_praises(pieces), ends=ends)
    left: list[str] = []
    gaps: list[str] = []
    for place, piece in enumerate(pieces):
        gaps.append(piece.gap)
        if place not in dropped:
            left += [_joint(gaps, first=not left), _pruned_group(piece.text, ends=ends and place == len(pieces) - 1)]
            gaps = []
    return "".join(left if gaps else [*left, tail])


def _pruned_group(text: str, *, ends: bool) -> str:
    """The same for what is inside a group in parentheses; any other phrase stays."""
    if _group_end(text, 0) != len(text):
        return text
    inside, weight = _opened(text)
    return f"({_pruned(inside, ends=ends)}{weight})"


def _dropped(praises: Sequence[_Praise], *, ends: bool) -> set[int]:
    """The places of the phrases to drop: whole runs of praise, if one of them is clear or the prompt ends with them."""
    dropped: set[int] = set()
    for is_praise, places in groupby(range(len(praises)), key=lambda place: praises[place] > _Praise.NONE):
        run = list(places)
        clear = max(praises[place] for place in run) == _Praise.CLEAR
        if is_praise and (clear or (ends and run[-1] == len(praises) - 1)):
            dropped.update(run)
    return dropped


def _praises(pieces: Sequence[_Piece]) -> list[_Praise]:
    """How each piece praises. Words that touch a group with no comma between are no phrase of their own: NONE."""
    apart = [True, *(_separation(piece.gap) > 0 for piece in pieces[1:]), True]
    return [
        _praise(piece.text) if _group_end(piece.text, 0) or (before and after) else _Praise.NONE
        for piece, before, after in zip(pieces, apart, apart[1:])
    ]


def _praise(text: str) -> _Praise:
    """How one phrase or group praises."""
    if _group_end(text, 0):
        praises = _praises(_split(_opened(text)[0])[0])
        return max(praises) if praises and min(praises) > _Praise.NONE else _Praise.NONE
    words = " ".join(re.sub("[-_]", " ", text.lower()).split())
    if not _ONLY_QUALITY_WORDS.fullmatch(words):
        return _Praise.NONE
    return _Praise.CLEAR if _QUALITY_PHRASE.search(words) else _Praise.AMBIGUOUS


# The syntax of prompts


@dataclass(frozen=True)
class _Piece:
    """A phrase, or a group in parentheses, of a prompt, and what stands before it."""

    gap: str
    text: str


_SEPARATOR = rf"[{_COMMAS}{_LINE_ENDS}]|[.!?]+(?=[\s{_COMMAS}]|$)|[。！？]"
_GAP = re.compile(rf"(?:\s|{_SEPARATOR})*")
_MARK = re.compile(rf"\\[()]|\(|{_SEPARATOR}")
_ABBREVIATED = re.compile(r"\b(?:mr|mrs|ms|dr|st|prof|\w)$", re.IGNORECASE)
"""What a period may follow inside a sentence: a title or an initial."""


def _split(text: str) -> tuple[list[_Piece], str]:
    """A prompt as pieces and what follows the last; together they are the prompt again."""
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
    """Where the phrase that begins at `at` ends: at a separator, a group or the end of the text, blanks left out."""
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
    """Where the group in parentheses that begins at `at` ends; 0 if none does. Escaped parentheses are text."""
    depth = 0
    for bracket in re.finditer(r"\\[()]|[()]", text[at:]) if text.startswith("(", at) else ():
        depth += {"(": 1, ")": -1}.get(bracket[0], 0)
        if depth == 0 and bracket[0] == ")":
            return at + bracket.end()
    return 0


def _opened(group: str) -> tuple[str, str]:
    """What is inside a group's parentheses: its text, and its weight with the colon or nothing."""
    text, colon, weight = group[1:-1].rpartition(":")
    try:
        float(weight)
    except ValueError:
        return group[1:-1], ""
    return text, colon + weight


def _separation(gap: str) -> int:
    """How much a gap separates: 3 for sentences, 2 for lines, 1 for phrases, 0 for words."""
    kinds = ((3, _SENTENCE_ENDS), (2, _LINE_ENDS), (1, _COMMAS))
    return next((strength for strength, marks in kinds if set(marks) & set(gap)), 0)


def _joint(gaps: list[str], *, first: bool) -> str:
    """What goes before a piece that is left: of the gaps since the last one, that which separates most."""
    if len(gaps) == 1:
        return gaps[0]
    return "" if first else max(reversed(gaps), key=_separation) or " "


# What a text encoder reads of a text

Chunks = list[list[tuple[Any, float, int]]]
"""One text encoder's tokens: (token, weight, word), where word 0 is what the tokenizer itself put in."""

Tokenize = Callable[[str], dict[str, Chunks]]
"""The tokens of a text by the name of the text encoder."""

_ENCODERS = {"l": "CLIP-L", "g": "CLIP-G", "h": "CLIP-H", "t5xxl": "T5"}


@dataclass(frozen=True)
class Remainder:
    """The end of a text, `rest`, that text encoders read apart from its beginning, or not at all.

    `size` is how many tokens they read at once, `chunks` how many times that much the text takes: 1 where they drop the
    rest.
    """

    encoders: tuple[str, ...]
    chunks: int
    size: int
    rest: str

    def sentences(self, name: str) -> str:
        """What a user should know about it, of a text called `name`, such as "source text"."""
        encoders = " and ".join(_ENCODERS.get(encoder, encoder) for encoder in self.encoders)
        if self.chunks == 1:
            return f'{encoders} reads {self.size} tokens of the {name} and drops the end, "{self.rest}". Shorten it.'
        return (
            f"The {name} takes {self.chunks} chunks of {self.size} tokens in {encoders}. Its end is encoded apart from "
            f'its beginning, and is not in the pooled vector that SDXL, SD3 and Flux use: "{self.rest}". Shorten the '
            "prompt to keep the text together."
        )


def remainders(text: str, tokenize: Tokenize) -> list[Remainder]:
    """What does not get read together with the beginning of the text; empty if all of it fits one chunk.

    A text encoder that makes one chunk of any text is only looked at where another one needs several.
    """
    tokenize = cache(tokenize)
    tokens = tokenize(text)
    if all(len(chunks) == 1 for chunks in tokens.values()):
        return []
    encoders: dict[tuple[int, int, str], list[str]] = {}
    for name, chunks in tokens.items():
        rest = _rest(text, name, chunks, tokenize)
        if rest:
            encoders.setdefault((len(chunks), len(chunks[0]), rest), []).append(name)
    return [Remainder(tuple(names), *remainder) for remainder, names in encoders.items()]


def _rest(text: str, name: str, chunks: Chunks, tokenize: Tokenize) -> str:
    """What follows the words that the first chunk holds. Groups in parentheses count as one word."""
    ends, fits = _word_ends(text), _count(chunks[:1])

    def tokens_until(end: int) -> int:
        return _count(tokenize(text[:end]).get(name, []))

    if len(chunks) > 1:
        end = [0, *ends][bisect_right(ends, fits, key=tokens_until)]
    else:
        end = ends[bisect_left(ends, fits, key=tokens_until)]
    return text[end:].strip(_BLANKS + _COMMAS)


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
