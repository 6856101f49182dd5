"""What a server says about its nodes in /object_info: which inputs they have, and which values those take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import QueueingError, nearest

ObjectInfo = dict[str, Any]

_WIDGET_KINDS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
_UPLOADS = ("image_upload", "video_upload", "audio_upload")
_SEEDS = ("seed", "noise_seed")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_FEW = 12


@dataclass(frozen=True)
class Input:
    """An input of a node type. ``kind`` is INT, FLOAT, STRING, BOOLEAN, COMBO, or what a socket takes."""

    name: str
    kind: str
    required: bool
    options: dict[str, Any]
    choices: Sequence[Any]

    @property
    def is_widget(self) -> bool:
        """Whether a workflow file holds a value for it."""
        return self.kind in _WIDGET_KINDS and not self.options.get("forceInput")

    @property
    def takes_picture(self) -> bool:
        """Whether it names a picture or drawing in the server's input folder."""
        return bool(self.options.get("image_upload"))

    @property
    def has_companion(self) -> bool:
        """Whether the front end saves one more value after its own: what follows a run, or the upload button."""
        counts = self.options.get("control_after_generate", self.kind == "INT" and self.name in _SEEDS)
        return bool(counts or any(self.options.get(upload) for upload in _UPLOADS))

    @property
    def default(self) -> Any:
        """What a new node has."""
        return self.options.get("default", self.choices[0] if self.choices else None)

    def parse(self, text: str) -> Any:
        """The value that ``text`` writes. Raises QueueingError with what would be right."""
        value = _PARSERS[self.kind](self, text)
        self.check(value)
        return value

    def check(self, value: Any) -> None:
        """Raise QueueingError if the value is not among the choices or not within the range."""
        if self.kind == "COMBO":
            self._check_choice(value)
        elif self.kind in ("INT", "FLOAT"):
            self._check_range(value)

    def _check_choice(self, value: Any) -> None:
        if value in self.choices or self.options.get("multiselect") or "remote" in self.options:
            return
        names = [str(choice) for choice in self.choices]
        offered = f" It takes: {', '.join(names)}." if len(names) <= _FEW else nearest(str(value), names)
        raise QueueingError(
            f"{self.name} cannot be '{value}'.{offered if names else ' The server has none to choose.'}"
        )

    def _check_range(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise QueueingError(f"{self.name} takes a number, and '{value}' is none.")
        low, high = self.options.get("min", -math.inf), self.options.get("max", math.inf)
        if not low <= value <= high:
            raise QueueingError(f"{self.name} goes from {low} to {high}, and {value} is outside.")


def _number(kind: type[int] | type[float]) -> Any:
    name = "whole number" if kind is int else "number"

    def parse(taker: Input, text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise QueueingError(f"{taker.name} takes a {name}, and '{text}' is none.") from None

    return parse


def _boolean(taker: Input, text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise QueueingError(f"{taker.name} takes true or false, and '{text}' is neither.")
    return text.lower() in _TRUE


def _choice(taker: Input, text: str) -> Any:
    """The choice itself, which need not be a string."""
    return next((choice for choice in taker.choices if str(choice) == text), text)


_PARSERS = {
    "INT": _number(int),
    "FLOAT": _number(float),
    "BOOLEAN": _boolean,
    "COMBO": _choice,
    "STRING": lambda _taker, text: text,
}


def inputs_of(info: ObjectInfo, node_type: str) -> dict[str, Input]:
    """The inputs of a node type by name, in the order in which workflow files hold their values.

    Raises QueueingError if the server has no such node.
    """
    if node_type not in info:
        raise QueueingError(
            f"The server has no node '{node_type}'.{nearest(node_type, info)} Install the pack it comes from."
        )
    parts = info[node_type]["input"]
    return {
        name: _input(name, part == "required", declared)
        for part in ("required", "optional")
        for name, declared in parts.get(part, {}).items()
    }


def _input(name: str, required: bool, declared: list[Any]) -> Input:
    """An input from its declaration: a type, or in older nodes the choices themselves, and perhaps options."""
    kind, options = declared[0], declared[1] if len(declared) > 1 else {}
    if isinstance(kind, list):
        return Input(name, "COMBO", required, options, kind)
    return Input(name, kind, required, options, options.get("options", []))


def is_link(value: Any) -> bool:
    """Whether a prompt's input is the output of another node: [node id, output]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
