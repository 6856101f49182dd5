"""Nodes whose id changed. Workflows rely on ids: `tests/nodes/test_frozen.py` requires an entry for each removed id."""

from .host import Replacement

RENAMED: tuple[Replacement, ...] = ()
