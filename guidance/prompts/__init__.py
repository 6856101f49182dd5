"""Prompts: the target and source prompts of Bridge, and masks for prompts that act on regions of an image."""

from .descriptors import PRESETS, Overflow, PromptPair, describe, find_overflows, without_quality_words
from .regions import coverage, feather_mask, partition, resize_mask

__all__ = [
    "PRESETS",
    "Overflow",
    "PromptPair",
    "coverage",
    "describe",
    "feather_mask",
    "find_overflows",
    "partition",
    "resize_mask",
    "without_quality_words",
]
