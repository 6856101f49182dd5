"""The public API of the package, which imports nothing of ComfyUI or the rest of the pack."""

from __future__ import annotations

import subprocess
import sys

import torch
from dreamsampler import splats
from support.splats import ball


def test_write_read_and_render():
    scene = splats.read_splats(splats.write_ply(ball(50, dtype=torch.float32)), "ball.ply")
    camera = splats.orbit(azimuth=0, elevation=0, distance=3, fov=40, width=16, height=16)
    image = splats.render(scene, camera)
    assert image.color.shape == (3, 16, 16) and image.alpha[0, 8, 8] > 0.3


def test_public_names_exist():
    assert all(hasattr(splats, name) for name in splats.__all__)


def test_import_loads_neither_comfyui_nor_the_pack_nor_optional_packages():
    program = (
        "import sys, torch; before = set(sys.modules); import dreamsampler.splats; "
        "print(*sorted({name for name in set(sys.modules) - before}))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(process.stdout.split())
    assert "dreamsampler.splats.rasterizer" in imported
    assert all(name.startswith("dreamsampler.splats") for name in imported if name.startswith("dreamsampler."))
    assert not {name.split(".")[0] for name in imported} & {"comfy", "comfy_api", "gsplat", "nodes"}
