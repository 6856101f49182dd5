"""Drawings to SVG files and back: untrusted XML, styles, shapes and paths; what is written is read alike."""
