"""Fills in texts as the page does when it queues a workflow: wildcards, comments, dates and values of other nodes.

Servers take texts as they are. The page first works on those of a workflow in UI format:

- In prompts, `{day|night}` becomes one of both; `// comments` and `/* comments */` are removed. A backslash before a
  brace or bar keeps it.
- In the file names of nodes that save files, `%date:yyyy-MM-dd%` becomes the date and `%Sampler.seed%` the value of a
  widget. The node is named by its property "Node name for S&R", which is its type at first, or by its title.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

from comfy_client import Prompt

from .definitions import is_link

SAVERS = (
    *("SaveImage", "SaveImageAdvanced", "SaveSVGNode", "SaveVideo", "SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveWEBM"),
    *("SaveAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "SaveGLB", "Save3DAdvanced", "SavePointCloud"),
    *("SaveGaussianSplat", "CLIPSave", "VAESave", "ModelSave", "LoraSave", "SaveLatent"),
)
"""The node types whose file names the page fills in."""
PREFIX = "filename_prefix"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)
_TOKEN = re.compile(r"\\.|[{|}]|[^\\{|}]+|\\", re.DOTALL)
_ESCAPED = re.compile(r"\\([{|}])")
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE = "date:"
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyyy|yyy|yy")
_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


@dataclass(frozen=True)
class NamedNode:
    """A node that a file name can refer to, by ``name`` or else by ``title``. ``values`` are those of its widgets."""

    node_id: str
    name: str | None
    title: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class PageTexts:
    """The texts of a workflow that the page fills in, as pairs of node id and input, and the nodes in its order."""

    wildcards: frozenset[tuple[str, str]] = frozenset()
    prefixes: frozenset[tuple[str, str]] = frozenset()
    nodes: Sequence[NamedNode] = ()

    def filled_in(self, prompt: Prompt, seed: str, now: datetime) -> Prompt:
        """The prompt with all texts filled in. Equal seeds make equal choices."""

        def fill(node_id: str, name: str, value: Any) -> Any:
            if isinstance(value, str) and (node_id, name) in self.wildcards:
                return chosen(value, Random(f"{seed} {node_id} {name}").choice)
            if isinstance(value, str) and (node_id, name) in self.prefixes:
                return replaced(value, now, lambda node, widget: self._value(prompt, node, widget))
            return value

        return {
            node_id: {**node, "inputs": {name: fill(node_id, name, value) for name, value in node["inputs"].items()}}
            for node_id, node in prompt.items()
        }

    def _value(self, prompt: Prompt, name: str, widget: str) -> str | None:
        """The value of a widget of the first node with this name as it stands in a file name. None if it has none."""
        found = [node for node in self.nodes if node.name == name] or [
            node for node in self.nodes if node.title == name
        ]
        if not found or widget not in found[0].values:
            return None
        current = prompt.get(found[0].node_id, {}).get("inputs", {}).get(widget)
        value = found[0].values[widget] if current is None or is_link(current) else current
        return _NOT_IN_FILE_NAMES.sub("_", _as_text(value))


def chosen(text: str, choose: Callable[[Sequence[str]], str]) -> str:
    """The text without comments and with one of the options of each {a|b|c}, in which more may be nested."""
    made: list[str] = []
    options: list[str] = []
    depth = 0
    for token in _TOKEN.findall(_COMMENT.sub("", text)):
        if depth == 0:
            if token == "{":
                depth, options = 1, [""]
            else:
                made.append(token)
            continue
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0:
            made.append(chosen(choose(options), choose))
        elif token == "|" and depth == 1:
            options.append("")
        else:
            options[-1] += token
    if depth:  # a brace is never closed
        made.append(chosen(choose(options), choose))
    return _ESCAPED.sub(r"\1", "".join(made))


def replaced(text: str, now: datetime, value_of: Callable[[str, str], str | None]) -> str:
    """The text with dates and values in place of %date:...% and %node.widget%. What is unknown stays."""

    def replace(found: re.Match[str]) -> str:
        parts = found[1].split(".")
        if len(parts) == 2:
            value = value_of(*parts)
            return found[0] if value is None else value
        return _formatted(parts[0].removeprefix(_DATE), now) if parts[0].startswith(_DATE) else found[0]

    return _PLACEHOLDER.sub(replace, text)


def _formatted(pattern: str, now: datetime) -> str:
    """The date in the page's notation: yyyy, yy, M, d, h, m and s, doubled for two digits."""
    numbers = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def part(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == "y":
            return {"yyyy": str(now.year), "yy": str(now.year)[2:]}.get(text, text)
        return str(numbers[text[0]]).zfill(len(text))

    return _DATE_PART.sub(part, pattern)


def _as_text(value: Any) -> str:
    """A value as the page, in JavaScript, turns it into text."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{Decimal(repr(value)).normalize():f}"
    return str(value)
