"""The pack's own socket types and their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io

from ..guidance.distillation.method import Method
from ..guidance.networks.corrective.storage import ManifoldCorrective

OBJECTIVE = io.Custom("DS_OBJECTIVE")
"""Its value is an `ObjectiveSocket`."""
MEASUREMENT = io.Custom("DS_MEASUREMENT")
"""Its value is a `guidance.restoration.measurement.Measurement` on the CPU."""
CORRECTIVE = io.Custom("DS_CORRECTIVE")
"""Its value is a `guidance.networks.corrective.storage.ManifoldCorrective` on the CPU."""

CAMERAS = io.Custom("DS_CAMERAS")
"""Its value is a `tuple[splats.camera.Camera, ...]` on the CPU, at least one."""


@dataclass(frozen=True)
class ObjectiveSocket:
    """A method with its prompts and reference: the value of a `DS_OBJECTIVE` socket.

    Attributes:
        conditionings: CONDITIONINGs by the names that objectives use.
        reference: the LATENT to compare with, or None.
        reference_input: the name of the input that `reference` came from, for error messages.
        settings: override the method's settings, by field name.
        corrective: the model's manifold corrective, for methods that need one.
        prompt_inputs: the names of the inputs that prompts came from, where they are not those of `conditionings`.
    """

    method: Method
    conditionings: dict[str, Any]
    reference: dict[str, Any] | None = None
    reference_input: str = "reference_latent"
    settings: dict[str, Any] = field(default_factory=dict)
    corrective: ManifoldCorrective | None = None
    prompt_inputs: dict[str, str] = field(default_factory=dict)
