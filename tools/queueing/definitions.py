"""Node definitions from a server's /object_info: the inputs of each node type and the values they take."""

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
    """An input of a node type. ``kind`` is INT, FLOAT, STRING, BOOLEAN, COMBO, or a socket type."""

    name: str
    kind: str
    required: bool
    options: dict[str, Any]
    choices: Sequence[Any]

    @property
    def is_widget(self) -> bool:
        """Whether a workflow file stores a value for it."""
        return self.kind in _WIDGET_KINDS and not self.options.get("forceInput")

    @property
    def takes_image(self) -> bool:
        """Whether it names an image or SVG in the server's input folder."""
        return bool(self.options.get("image_upload"))

    @property
    def takes_upload(self) -> bool:
        """Whether it names a file on the server, which may be in a folder that the choices do not list."""
        return any(self.options.get(upload) for upload in _UPLOADS)

    @property
    def has_companion(self) -> bool:
        """Whether the front end saves one more value after this one: control_after_generate, or the upload button."""
        has_control = self.options.get("control_after_generate", self.kind == "INT" and self.name in _SEEDS)
        return bool(has_control) or self.takes_upload

    @property
    def default(self) -> Any:
        """The value on a new node."""
        return self.options.get("default", self.choices[0] if self.choices else None)

    def parse(self, text: str) -> Any:
        """The value written as ``text``. Raises QueueingError that says which values are valid."""
        value = _PARSERS[self.kind](self, text)
        self.check(value)
        return value

    def check(self, value: Any) -> None:
        """Raise QueueingError if the value is not one of the choices or is out of range."""
        if self.kind == "COMBO":
            self._check_choice(value)
        elif self.kind in ("INT", "FLOAT"):
            self._check_range(value)

    def _check_choice(self, value: Any) -> None:
        if value in self.choices or self.options.get("multiselect") or "remote" in self.options:
            return
        names = [str(choice) for choice in self.choices]
        offered = f" Choose one of: {', '.join(names)}." if len(names) <= _FEW else nearest(str(value), names)
        raise QueueingError(
            f"'{self.name}' cannot be '{value}'.{offered if names else ' The server offers no choices.'}"
        )

    def _check_range(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise QueueingError(f"'{self.name}' must be a number, not '{value}'.")
        low, high = self.options.get("min", -math.inf), self.options.get("max", math.inf)
        if not low <= value <= high:
            raise QueueingError(f"'{self.name}' must be between {low} and {high}, not {value}.")


def _number(kind: type[int] | type[float]) -> Any:
    name = "whole number" if kind is int else "number"

    def parse(target: Input, text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise QueueingError(f"'{target.name}' must be a {name}, not '{text}'.") from None

    return parse


def _boolean(target: Input, text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise QueueingError(f"'{target.name}' must be true or false, not '{text}'.")
    return text.lower() in _TRUE


def _choice(target: Input, text: str) -> Any:
    """The choice itself, which is not always a string."""
    return next((choice for choice in target.choices if str(choice) == text), text)


_PARSERS = {
    "INT": _number(int),
    "FLOAT": _number(float),
    "BOOLEAN": _boolean,
    "COMBO": _choice,
    "STRING": lambda _target, text: text,
}


def inputs_of(info: ObjectInfo, node_type: str) -> dict[str, Input]:
    """The inputs of a node type by name, in the order in which workflow files store their values.

    Raises QueueingError if the server has no such node.
    """
    if node_type not in info:
        raise QueueingError(
            f"The server has no node '{node_type}'.{nearest(node_type, info)} Install the node pack that provides it."
        )
    parts = info[node_type]["input"]
    return {
        name: _input(name, part == "required", declared)
        for part in ("required", "optional")
        for name, declared in parts.get(part, {}).items()
    }


def _input(name: str, required: bool, declared: list[Any]) -> Input:
    """An input from its declaration: a type (in older nodes the list of choices), then optional settings."""
    kind, options = declared[0], declared[1] if len(declared) > 1 else {}
    if isinstance(kind, list):
        return Input(name, "COMBO", required, options, kind)
    return Input(name, kind, required, options, options.get("options", []))


def needed(prompt: dict[str, dict[str, Any]], info: ObjectInfo) -> set[str]:
    """The nodes of a prompt that its results need. The server ignores the others, once it knows their types."""
    found: set[str] = set()
    waiting = [node_id for node_id, node in prompt.items() if info.get(node["class_type"], {}).get("output_node")]
    while waiting:
        node_id = waiting.pop()
        if node_id in prompt and node_id not in found:
            found.add(node_id)
            waiting += [value[0] for value in prompt[node_id]["inputs"].values() if is_link(value)]
    return found


def wrapped(value: Any) -> Any:
    """A value as prompts hold it: a list is wrapped, so that it is not taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def is_wrapped(value: Any) -> bool:
    return isinstance(value, dict) and "__value__" in value


def is_link(value: Any) -> bool:
    """Whether an input value in a prompt is a link to another node: [node id, output index]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
