"""Imports only point down: from nodes to libraries, and within a library to packages below."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.imports import CHECKOUT, LAYERS, faults, imports, package_of


def test_imports_follow_the_layers():
    assert faults() == []


def test_every_package_belongs_to_a_layer():
    packages = {package_of(each.module)[1] for each in imports(CHECKOUT)}
    # guidance itself only re-exports its packages
    assert packages >= {package for layer in LAYERS for package in layer} - {"guidance"}


VIOLATIONS = {
    "library imports ComfyUI": ("guidance/core/path.py", "import comfy.samplers", "must work without ComfyUI"),
    "library imports ComfyUI inside a function": (
        "svg/document.py",
        "def f():\n    from folder_paths import base_path",
        "must work without ComfyUI",
    ),
    "node imports ComfyUI internals": (
        "nodes/measurement.py",
        "import comfy.utils",
        "only nodes.host may know ComfyUI's internals",
    ),
    "svg imports guidance": (
        "svg/document.py",
        "from ..guidance.core import path",
        "svg must not import guidance.core",
    ),
    "package imports one above": (
        "guidance/networks/corrective/training.py",
        "from ...distillation.objective import Sample",
        "guidance.networks must not import guidance.distillation, which is above it",
    ),
    "package imports one beside it": (
        "guidance/editing/proximal.py",
        "from ..networks import unet",
        "guidance.editing must not import guidance.networks, which is beside it",
    ),
    "adapter imports the runs": ("nodes/host/model.py", "from ..runs import edit", "nodes.host must not import"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_is_reported_with_its_line(name: str, tmp_path: Path):
    path, statement, message = VIOLATIONS[name]
    module = tmp_path / path
    module.parent.mkdir(parents=True)
    module.write_text(f'"""A module."""\nimport torch\n{statement}\n', "utf-8")
    (fault,) = faults(tmp_path)
    assert message in fault and fault.startswith(f"{path.removesuffix('.py').replace('/', '.')}, line")


ALLOWED = {
    "nodes/measurement.py": "from comfy_api.latest import io\nfrom . import checks, host\nfrom .runs import edit",
    "nodes/host/model.py": "import comfy.samplers\nimport nodes\nfrom ...guidance.restoration import measurement",
    "drawings/tracing.py": "from ..svg.document import Document\nfrom ..guidance.restoration import measurement",
    "guidance/distillation/objectives/lmc.py": "from ...networks import corrective\nfrom ..method import Method",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_downward_imports_are_allowed(path: str, tmp_path: Path):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(ALLOWED[path], "utf-8")
    assert faults(tmp_path) == []
