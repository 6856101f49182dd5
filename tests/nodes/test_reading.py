"""Following a method from its node to its equation takes few files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dreamsampler.guidance.distillation.objectives.bridge import FullBridge, TextBridge
from dreamsampler.guidance.distillation.objectives.csd import CSD
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.lmc import LMC
from dreamsampler.guidance.distillation.objectives.nfsd import NFSD
from dreamsampler.guidance.distillation.objectives.pds import PDS
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.objectives.vsd import VSD
from dreamsampler.guidance.editing.proximal import proximal_point
from support.corrective_nodes import spectral
from support.reading import files_until
from support.svg_nodes import value, vectorise
from support.tiny_models import EPS, distil, edit, measure, photo, picture, tiny

EQUATIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "sds": (SDS.__call__, 12),
    "dds": (DDS.__call__, 12),
    "nfsd": (NFSD.__call__, 12),
    "csd": (CSD.__call__, 12),
    "vsd": (VSD.__call__, 13),  # the LoRA that it trains
    "bridge": (TextBridge.__call__, 12),
    "full bridge": (FullBridge.__call__, 12),
    "flowedit": (FlowDelta.__call__, 12),
    "dvrf": (FlowDelta.__call__, 12),
    "lmc": (LMC.__call__, 14),  # the corrective: its checks and its network
}
"""Each method's equation, and the most files that may be entered on the way there, its own included."""


@pytest.mark.parametrize("method", EQUATIONS)
def test_a_distillation_is_near_its_equation(method: str):
    equation, most = EQUATIONS[method]
    model, latent = tiny(EPS), picture(EPS)
    corrective = spectral(EPS) if method == "lmc" else None
    options = {} if corrective is None else {"corrective": corrective}
    files = files_until(equation, lambda: distil(model, latent, method=method, **options))
    assert len(files) <= most, files


def test_an_edit_is_near_its_equation():
    model, latent = tiny(EPS), picture(EPS)
    files = files_until(proximal_point, lambda: edit(model, latent))
    assert len(files) <= 10, files


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
  <rect x="8" y="8" width="30" height="30" fill="#d22"/>
</svg>"""


@pytest.mark.parametrize(("task", "equation"), [("draw", SDS), ("refine", SDS), ("edit", PDS), ("restore", SDS)])
def test_a_drawing_is_near_its_equation(task: str, equation: type):
    inputs: dict[str, Any] = {
        "draw": {},
        "refine": {"image": photo()},
        "edit": {"svg": value(DRAWING)},
        "restore": {"measurement": measure(photo(), "gaussian blur")[0]},
    }[task]
    files = files_until(equation.__call__, lambda: vectorise(**inputs))
    assert len(files) <= 25, files
