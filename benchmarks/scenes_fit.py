"""The fits of `scenes`: scenes of splats fitted to somebody else's renders."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreamsampler.nodes.load_posed_views import LoadPosedViews
from dreamsampler.nodes.splat_optimizer import SplatOptimizer
from dreamsampler.scenes.losses import ssim
from PIL import Image

from .images import save
from .provenance import Results
from .scenes_rows import psnr, table
from .sheets import shown

log = logging.getLogger("dreamsampler.benchmarks")
FITS = "Fits to 8 views, on 8 others"
MESHES = ("airplane", "ant")
RENDERED, VIEWS, FOV, DISTANCE = 192, 16, 40.0, 3.2


def rendered_mesh(name: str, folder: Path) -> None:
    """Write views of a mesh of pyvista, rendered by VTK, with their transforms.json: z is up, cameras look along -z."""
    import pyvista
    from pyvista import examples

    mesh = getattr(examples, f"load_{name}")()
    points = np.asarray(mesh.points) - np.asarray(mesh.center)
    mesh.points = points / np.linalg.norm(points, axis=1).max()
    low, high = mesh.points.min(0), mesh.points.max(0)
    mesh["rgb"] = (255 * (0.2 + 0.7 * (mesh.points - low) / (high - low))).astype(np.uint8)
    frames = []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(VIEWS):
        azimuth, elevation = 2 * math.pi * i / VIEWS, math.radians(-20 + 60 * (i * 0.618 % 1))
        level = math.cos(elevation)
        position = DISTANCE * np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])
        plotter = pyvista.Plotter(off_screen=True, window_size=[2 * RENDERED, 2 * RENDERED])
        plotter.set_background("white")
        plotter.add_mesh(mesh, scalars="rgb", rgb=True, smooth_shading=True, ambient=0.4, diffuse=0.7, specular=0.0)
        camera: Any = plotter.camera
        camera.position, camera.focal_point, camera.up, camera.view_angle = tuple(position), (0, 0, 0), (0, 0, 1), FOV
        pixels = plotter.screenshot(None, return_img=True)
        plotter.close()
        Image.fromarray(pixels).resize((RENDERED, RENDERED), Image.Resampling.BOX).save(folder / f"{i:02}.png")
        back = position / DISTANCE
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(back, right), back, position], axis=1)
        frames.append({"file_path": f"{i:02}.png", "transform_matrix": pose.tolist()})
    poses = {"camera_angle_x": math.radians(FOV), "w": RENDERED, "h": RENDERED, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(poses), "utf-8")


def measure_fits(output: Path) -> None:
    """Fit scenes to rendered meshes through the nodes, without a model."""
    if importlib.util.find_spec("pyvista") is None:
        log.info("fit: needs the Python package pyvista (pip install pyvista); left out.")
        return
    import folder_paths

    path = output / "scenes_fit.json"
    results = Results(path)
    results.table(FITS, "views")
    methods: dict[str, Any] = results.figures.setdefault("methods", {})
    settings = {"splats": 2000, "steps": 0, "guidance_scale": -1.0, "render_size": RENDERED, "views": 1, "seed": 0}
    strips = []
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_input_directory(folder)
        for name in MESHES:
            rendered_mesh(name, Path(folder) / name)
            loaded = LoadPosedViews.execute(folder=name, every=1, hold_out=2, longest_side=0).args
            images, cameras, held_out, others = loaded
            start = time.process_time()
            splat, fitted, _ = SplatOptimizer.execute(**settings, images=images, cameras=cameras, fit_steps=1000).args
            seconds = time.process_time() - start
            found = SplatOptimizer.execute(**settings, splat=splat, cameras=others).args[1]
            true, made, seen_true, seen_made = (
                each.movedim(-1, 1).clone() for each in (held_out, found, images, fitted)
            )
            methods[name] = {
                "psnr": psnr(made, true), "ssim": float(ssim(made, true)), "fitted": psnr(seen_made, seen_true),
                "seconds": seconds,
            }  # fmt: skip
            results.measured(FITS, name, len(true))
            strips += [torch.cat(list(true[:6]), -1), torch.cat(list(made[:6]), -1)]
            log.info("fit: %s: %s", name, {key: round(value, 3) for key, value in methods[name].items()})
    results.write()
    path.with_suffix(".md").write_text(table(methods) + "\n" + results.line(FITS) + "\n", "utf-8")
    save(shown(torch.cat(strips, -2)), path.with_suffix(".png"))
