"""The objectives, one file each. A file added to this folder is picked up (docs/add-an-objective.md)."""

from ..method import METHODS

__all__ = ["LISTED", "METHODS"]

METHODS.discover(__name__)

LISTED: list[str] = METHODS.listed
"""The names in Distillation Sampler's method list."""
