"""Imports run down: from the nodes to the libraries, and within these from one package to those below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.imports import CHECKOUT, LAYERS, faults, imports, package_of


def test_every_import_runs_down():
    assert faults() == []


def test_every_module_is_in_a_package_of_a_layer_and_none_is_empty():
    packages = {package_of(each.module)[1] for each in imports(CHECKOUT)}
    # guidance itself only exports what is in it
    assert packages >= {package for layer in LAYERS for package in layer} - {"guidance"}


FAULTY = {
    "a library reaches for ComfyUI": ("guidance/core/path.py", "import comfy.samplers", "must work without ComfyUI"),
    "so does one inside a function": (
        "svg/document.py",
        "def f():\n    from folder_paths import base_path",
        "must work without ComfyUI",
    ),
    "a node knows ComfyUI's internals": (
        "nodes/measurement.py",
        "import comfy.utils",
        "only nodes.host may know ComfyUI's internals",
    ),
    "svg imports guidance": (
        "svg/document.py",
        "from ..guidance.core import path",
        "svg must not import guidance.core",
    ),
    "a package imports the one above": (
        "guidance/networks/corrective/training.py",
        "from ...distillation.objective import Sample",
        "guidance.networks must not import guidance.distillation, which is above it",
    ),
    "a package imports the one beside it": (
        "guidance/editing/proximal.py",
        "from ..networks import unet",
        "guidance.editing must not import guidance.networks, which is beside it",
    ),
    "the adapter imports the runs": ("nodes/host/model.py", "from ..runs import edit", "nodes.host must not import"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_named_with_its_line(name: str, tmp_path: Path):
    place, statement, words = FAULTY[name]
    module = tmp_path / place
    module.parent.mkdir(parents=True)
    module.write_text(f'"""A module."""\nimport torch\n{statement}\n', "utf-8")
    (fault,) = faults(tmp_path)
    assert words in fault and fault.startswith(f"{place.removesuffix('.py').replace('/', '.')}, line")


FINE = {
    "nodes/measurement.py": "from comfy_api.latest import io\nfrom . import checks, host\nfrom .runs import edit",
    "nodes/host/model.py": "import comfy.samplers\nimport nodes\nfrom ...guidance.restoration import measurement",
    "drawings/tracing.py": "from ..svg.document import Document\nfrom ..guidance.restoration import measurement",
    "guidance/distillation/objectives/lmc.py": "from ...networks import corrective\nfrom ..method import Method",
}


@pytest.mark.parametrize("place", FINE)
def test_what_runs_down_is_fine(place: str, tmp_path: Path):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(FINE[place], "utf-8")
    assert faults(tmp_path) == []
