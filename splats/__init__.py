"""Gaussian splats in pure PyTorch: scenes, cameras, a differentiable rasterizer, and their files.

    from dreamsampler.splats import orbit, read_splats, render

    scene = read_splats(Path("fox.ply").read_bytes(), "fox.ply")
    image = render(scene, orbit(azimuth=30, elevation=15, distance=3, fov=40, width=512, height=512))
    image.color                                        # (3, 512, 512), differentiable

World and camera axes are those of 3D Gaussian Splatting files: x right, y down, z forward. Nothing here imports ComfyUI
or the rest of the pack.
"""

from .camera import Camera, looking_at, orbit
from .files import SplatFileError, read_splats, write_ply
from .rasterizer import OversizedView, View, render
from .scene import Scene

__all__ = [
    "Camera", "OversizedView", "Scene", "SplatFileError", "View", "looking_at", "orbit", "read_splats", "render",
    "write_ply",
]  # fmt: skip
