"""Nodes whose id changed. Workflows rely on ids: `tests/nodes/test_frozen.py` lets none go that has no entry here."""

from .host import Replacement

RENAMED: tuple[Replacement, ...] = ()
