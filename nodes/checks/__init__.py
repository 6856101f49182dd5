"""Checks of inputs, made before any work starts.

`check_...` only checks; `checked_...` also returns the value in the form that the work needs. Each raises ValueError
with a sentence that says what to do.
"""

from __future__ import annotations

from .correctives import (
    check_corrective,
    check_corrective_training,
    check_objective_corrective,
    check_trained_further,
)
from .inputs import (
    after_skip,
    check_autoencoder,
    check_conditioning,
    check_connected,
    check_inputs_of,
    check_known,
    check_mask_not_empty,
    check_masks,
    check_objective,
    check_prompts,
    check_weighting,
    checked_hole,
    checked_latent,
    checked_mask,
    checked_noise_mask,
    checked_reference,
    checked_settings,
    checked_translatable,
    color_channels,
    item_seeds,
    prompts_by_input,
    with_settings,
)
from .measurements import (
    check_consistency,
    check_distilled_measurement,
    check_measurement,
    check_pixel_weight,
    check_restoration,
    check_source_image,
    data_weight_of,
)
from .names import answer
from .notes import (
    OWN_PROMPTS,
    Prompts,
    notes_on_distillation,
    notes_on_edit,
    notes_on_mask,
    notes_on_settings,
    notes_on_size,
    notes_on_unused,
)

__all__ = [
    "OWN_PROMPTS",
    "Prompts",
    "after_skip",
    "answer",
    "check_autoencoder",
    "check_conditioning",
    "check_connected",
    "check_consistency",
    "check_corrective",
    "check_corrective_training",
    "check_distilled_measurement",
    "check_inputs_of",
    "check_known",
    "check_masks",
    "check_mask_not_empty",
    "check_measurement",
    "check_objective",
    "check_objective_corrective",
    "check_pixel_weight",
    "check_prompts",
    "check_weighting",
    "check_restoration",
    "check_source_image",
    "check_trained_further",
    "checked_hole",
    "checked_noise_mask",
    "color_channels",
    "checked_latent",
    "checked_mask",
    "checked_reference",
    "checked_settings",
    "checked_translatable",
    "item_seeds",
    "notes_on_mask",
    "notes_on_settings",
    "data_weight_of",
    "notes_on_distillation",
    "notes_on_edit",
    "notes_on_size",
    "notes_on_unused",
    "prompts_by_input",
    "with_settings",
]
