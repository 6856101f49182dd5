"""Edits by sampling: DreamSampler's proximal edit of an inverted latent."""

from .proximal import KeptRegion, ProximalSettings, ProximalStep, proximal_edit, proximal_point

__all__ = ["KeptRegion", "ProximalSettings", "ProximalStep", "proximal_edit", "proximal_point"]
