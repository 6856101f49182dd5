"""Custom properties of CSS and var(), which refers to them (CSS Custom Properties 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .properties import MAX_VALUE_CHARACTERS

MAX_SUBSTITUTIONS = 50
"""Uses of var() in one value, counting those in the values that it refers to."""
CHARACTERS = 20
"""Characters of var() that take as long to read as a declaration."""
_CALL = "var("
_PARENTHESIS = re.compile(r"[()]")


class Substitution:
    """Replaces var() in values by what it refers to.

    Args:
        variables: Values of custom properties by name.

    Attributes:
        cost: What has been replaced so far, in declarations that take as long to read.
    """

    def __init__(self, variables: Mapping[str, str]):
        self._variables = variables
        self._limit = self._count = self._characters = 0

    @property
    def cost(self) -> int:
        return self._count + self._characters // CHARACTERS

    def __call__(self, value: str) -> str | None:
        """The value without var(), or None if that is invalid: undefined, circular, nested too often, or too long."""
        self._limit = self._count + MAX_SUBSTITUTIONS
        return self._replaced(value)

    def _replaced(self, value: str) -> str | None:
        parts, position = [], 0
        while (start := value.find(_CALL, position)) >= 0:
            self._count += 1
            end = _closing(value, start + len(_CALL))
            self._characters += (len(value) if end < 0 else end) - start
            inner = value[start + len(_CALL) : end]
            found = self._found(*inner.partition(",")) if end >= 0 and self._count <= self._limit else None
            if found is None:
                return None
            parts += value[position:start], found
            position = end + 1
        replaced = "".join([*parts, value[position:]]).strip()
        return replaced if len(replaced) <= MAX_VALUE_CHARACTERS else None

    def _found(self, name: str, comma: str, fallback: str) -> str | None:
        value = self._variables.get(name.strip())
        found = None if value is None else self._replaced(value)
        return self._replaced(fallback) if found is None and comma else found


def _closing(text: str, start: int) -> int:
    """The position of the parenthesis that closes the one before `start`, or -1."""
    depth = 1
    for parenthesis in _PARENTHESIS.finditer(text, start):
        depth += 1 if parenthesis[0] == "(" else -1
        if not depth:
            return parenthesis.start()
    return -1
