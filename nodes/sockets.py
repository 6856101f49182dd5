"""Values on the pack's own sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..guidance.corrective.storage import ManifoldCorrective
from ..guidance.methods import Method, Parts, Settings
from ..guidance.noise import SeededNoise
from ..guidance.objectives.base import Objective
from . import host

OBJECTIVE = io.Custom("DS_OBJECTIVE")
MEASUREMENT = io.Custom("DS_MEASUREMENT")
"""Its value is a `guidance.measurement.Measurement` on the CPU."""
CORRECTIVE = io.Custom("DS_CORRECTIVE")
"""Its value is a `guidance.corrective.storage.ManifoldCorrective` on the CPU."""


@dataclass(frozen=True)
class ObjectiveSocket:
    """A method with what it distils from: the value of a `DS_OBJECTIVE` socket.

    `conditionings` are by the names objectives use; `reference` is the LATENT that is compared with, or None, and
    `reference_input` the name of the input it came by.
    """

    name: str
    method: Method
    conditionings: dict[str, Any]
    reference: dict[str, Any] | None = None
    reference_input: str = "reference_latent"
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the method that differ from the published ones."""
    corrective: ManifoldCorrective | None = None
    """The model's manifold corrective, for a method that needs it."""


def objective_of(
    chosen: ObjectiveSocket,
    settings: Settings,
    run: host.Run,
    noise: SeededNoise,
    reference: Tensor | None,
    seed: int,
) -> Objective:
    """The gradient field of a socket in a run; `reference` (1 or B, ...) is in model scale, `seed` starts a LoRA."""
    particles = None
    if "particles" in chosen.method.needs:
        particles = host.lora_particles(run, settings.lora_rank, settings.lora_learning_rate, seed)
    corrective = None if chosen.corrective is None else chosen.corrective.to(run.latent)
    return chosen.method.objective(settings, Parts(reference, particles, noise, corrective))
