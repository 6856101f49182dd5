"""From a node to its method's equation, a reader passes through few files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dreamsampler.guidance.distillation.objectives import LISTED
from dreamsampler.guidance.distillation.objectives.bridge import FullBridge, PromptBridge
from dreamsampler.guidance.distillation.objectives.chord import Chord
from dreamsampler.guidance.distillation.objectives.csd import CSD
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.dreamsampler import DreamSampler
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.flowalign import FlowAlign
from dreamsampler.guidance.distillation.objectives.ism import ISM
from dreamsampler.guidance.distillation.objectives.lmc import LMC
from dreamsampler.guidance.distillation.objectives.nfsd import NFSD
from dreamsampler.guidance.distillation.objectives.pds import PDS
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.objectives.vsd import VSD
from dreamsampler.guidance.distillation.schedules import Inverted
from dreamsampler.guidance.editing.proximal import proximal_point
from support.corrective_nodes import spectral
from support.reading import files_until
from support.svg_nodes import value, vectorize
from support.tiny_models import EPS, distill, edit, encoded, measure, photo, tiny

EQUATIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "sds": (SDS.__call__, 12),
    "dds": (DDS.__call__, 12),
    "nfsd": (NFSD.__call__, 12),
    "csd": (CSD.__call__, 12),
    "vsd": (VSD.__call__, 13),  # plus the LoRA it trains
    "bridge": (PromptBridge.__call__, 12),
    "full bridge": (FullBridge.__call__, 12),
    "flowedit": (FlowDelta.__call__, 13),  # plus the noise path: flow time sets its learning rates
    "dvrf": (FlowDelta.__call__, 12),
    "lmc": (LMC.__call__, 14),  # plus the corrective: checks and network
    "ism": (ISM.__call__, 12),
    "flowalign": (FlowAlign.__call__, 13),  # as flowedit
    "chord": (Chord.__call__, 12),
    "dreamsampler": (DreamSampler.__call__, 12),
    "sdi": (Inverted.__call__, 12),  # what differs from sds
}
"""Each method's equation, and the maximum number of files on the way there, its own included."""


@pytest.mark.parametrize("method", LISTED)
def test_distillation_reaches_its_equation_in_few_files(method: str):
    equation, limit = EQUATIONS[method]
    model, latent = tiny(EPS), encoded(EPS)
    corrective = spectral(EPS) if method == "lmc" else None
    options: dict[str, Any] = {} if corrective is None else {"corrective": corrective}
    files = files_until(equation, lambda: distill(model, latent, method=method, **options))
    assert len(files) <= limit, files


def test_edit_reaches_its_equation_in_few_files():
    model, latent = tiny(EPS), encoded(EPS)
    files = files_until(proximal_point, lambda: edit(model, latent))
    assert len(files) <= 10, files


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
  <rect x="8" y="8" width="30" height="30" fill="#d22"/>
</svg>"""


TASKS = {
    "draw": (SDS.__call__, 25),
    "refine": (SDS.__call__, 26),  # plus tracing
    "edit": (PDS.__call__, 25),
    "restore": (SDS.__call__, 28),  # plus tracing, the measurement and its operator
}


@pytest.mark.parametrize("task", TASKS)
def test_svg_task_reaches_its_equation_in_few_files(task: str):
    inputs: dict[str, Any] = {
        "draw": {},
        "refine": {"image": photo()},
        "edit": {"svg": value(DRAWING)},
        "restore": {"measurement": measure(photo(), "gaussian blur")[0]},
    }[task]
    equation, limit = TASKS[task]
    files = files_until(equation, lambda: vectorize(**inputs))
    assert len(files) <= limit, files
