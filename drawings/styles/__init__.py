"""Styles of new drawings, one per file. A file added to this folder is picked up (docs/add-an-svg-style.md)."""

from .registry import ART_STYLES, ArtStyle, register

__all__ = ["ART_STYLES", "ArtStyle", "register"]

ART_STYLES.discover(__name__)
