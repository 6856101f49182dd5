"""Checks of what users connect, made before any work starts.

Each raises ValueError with a sentence that says what to do.
"""

from __future__ import annotations

from .correctives import corrective_of, corrective_training, trained_further
from .drawings import needed_for_steps, something_to_trace
from .latents import autoencoder, latent, reference, seeds, translatable
from .masks import hole, mask, something_to_change
from .measurements import measurement, restoration
from .methods import distillation
from .pictures import finite, picture, some_pixels
from .schedules import left_after, steps
from .texts import conditioning, same_text, true_negative

__all__ = [
    "autoencoder",
    "conditioning",
    "corrective_of",
    "corrective_training",
    "distillation",
    "finite",
    "hole",
    "latent",
    "left_after",
    "mask",
    "measurement",
    "needed_for_steps",
    "picture",
    "reference",
    "restoration",
    "same_text",
    "seeds",
    "some_pixels",
    "something_to_change",
    "something_to_trace",
    "steps",
    "trained_further",
    "translatable",
    "true_negative",
]
