"""Inputs of Splat Optimizer: scenes, meshes, posed images and measurements, checked before any work starts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..guidance.restoration.measurement import Measurement
from ..scenes.cameras import BACKGROUNDS, RANDOM, Ball
from ..splats.camera import Camera
from ..splats.scene import Scene
from . import checks, host
from .checks.inputs import check_finite, check_images
from .widgets import UNSET

if TYPE_CHECKING:
    from .splat_request import Request

FIT_STEPS = 1000
"""Enough for an object in front of a plain background; 3DGS takes 30,000 for photographs of a place."""
SAME_ASPECT = 0.02
"""How much the aspect ratios of a camera and its image may differ: what rounding to pixels makes."""


def check_connections(request: Request) -> None:
    """Check that the connected inputs make a task."""
    given = {name: getattr(request, name) is not None for name in ("splat", "images", "measurement", "mesh", "cameras")}
    for one, other in itertools.combinations(("images", "measurement"), 2):
        if given[one] and given[other]:
            raise ValueError(
                f"Both {one} and {other} say what the views show: disconnect {one} to restore the degraded views, or "
                f"{other} to fit the images."
            )
    for other in ("splat", "images", "measurement"):
        if given["mesh"] and given[other]:
            raise ValueError(
                f"A mesh starts a new scene, which {other} does too: disconnect mesh, or disconnect {other}."
            )
    for name in ("images", "measurement"):
        if given[name] and not given["cameras"]:
            raise ValueError(
                f"Input '{name}' needs the cameras of its views: connect Load Posed Views or Orbit Cameras to input "
                "'cameras'."
            )
    if request.cameras is not None:
        _check_cameras(request.cameras)
    if not request.steps and not (given["splat"] or given["images"] or given["measurement"]):
        raise ValueError(
            "steps is 0, which only fits a scene to images or renders a splat, and none is connected: connect images "
            "with cameras, a measurement with cameras, or a splat; or set steps to 1 or more."
        )
    if request.measurement is not None:
        checks.check_known(request.measurement, "Splat Optimizer")
    if request.side_prompts and request.objective is not None:
        name = next(iter(request.side_prompts))
        raise ValueError(
            f"Input '{name}' is for the prompts of this node, but the objective brings its own: disconnect {name} or "
            "objective."
        )
    if request.fits and request.background == RANDOM:
        raise ValueError(
            "background 'random' is for new scenes, but the views have a background of their own: set background to "
            "the color behind the object in them."
        )


def check_camera_ranges(request: Request) -> None:
    """Check the ranges of random cameras."""
    for angle in ("elevation", "azimuth"):
        low, high = (getattr(request, f"{angle}_{end}") for end in ("min", "max"))
        if low > high:
            raise ValueError(
                f"{angle}_min is {low:g} and {angle}_max {high:g}: set {angle}_min to at most {angle}_max."
            )

    if request.distance != UNSET and not request.cameras and request.distance <= request.ball.radius:
        raise ValueError(
            f"distance is {request.distance:g}, which is inside the object, whose radius is {request.ball.radius:.3g}: "
            "set it to twice the radius or more, or to -1 for four times."
        )


def _check_cameras(value: Any) -> None:
    """Check a value of a DS_CAMERAS socket."""
    if not isinstance(value, tuple) or not all(isinstance(camera, Camera) for camera in value):
        raise ValueError(
            f"Input 'cameras' has no valid cameras, its type is {type(value).__name__}: connect Load Posed Views or "
            "Orbit Cameras."
        )
    if not value:
        raise ValueError("Input 'cameras' has no cameras: check the node connected to it.")
    for number, camera in enumerate(value, start=1):
        if not all(each.isfinite().all() for each in (camera.position, camera.axes)):
            raise ValueError(f"Camera {number} on input 'cameras' has NaN or infinite values: check its pose.")


def shade(name: str) -> Tensor:
    """The color (3,) of a background."""
    return torch.full((3,), BACKGROUNDS[name])


def single_scene(value: Any) -> Scene:
    """The scene on input splat. Raises ValueError where there are several."""
    scenes = host.splat_scenes("splat", value)
    if len(scenes) > 1:
        raise ValueError(
            f"Input 'splat' has {len(scenes)} scenes, and one is optimized at a time: connect one of them."
        )
    return scenes[0]


def normalized_mesh(value: Any, ball: Ball) -> tuple[Tensor, Tensor, Tensor | None]:
    """Vertices (V, 3), faces (F, 3) and colors (V, 3) or None of the first mesh of a MESH, in the ball.

    Its axes are y up and z to the viewer; those of splats are y down and z away. Raises ValueError for a mesh that is
    none.
    """
    vertices, faces = getattr(value, "vertices", None), getattr(value, "faces", None)
    if not isinstance(vertices, Tensor) or not isinstance(faces, Tensor) or vertices.ndim != 3 or faces.ndim != 3:
        raise ValueError(
            f"Input 'mesh' is not a valid mesh, its type is {type(value).__name__}: connect a node with a MESH output."
        )
    counts = [getattr(value, name, None) for name in ("vertex_counts", "face_counts")]
    points = _first(vertices, counts[0]).detach().cpu().float()
    corners = _first(faces, counts[1]).detach().cpu().long()
    if not len(points) or not len(corners):
        raise ValueError("Input 'mesh' is empty: check the node connected to it.")
    check_finite("mesh", points)
    if corners.min() < 0 or corners.max() >= len(points):
        raise ValueError("Input 'mesh' has faces of vertices that it does not have: check the node connected to it.")
    points = points * points.new_tensor([1.0, -1.0, -1.0])
    low, high = points[corners.flatten()].amin(0), points[corners.flatten()].amax(0)
    radius = (points[corners.flatten()] - (low + high) / 2).norm(dim=1).max().clamp(min=1e-12)
    points = (points - (low + high) / 2) * (ball.radius / radius) + points.new_tensor(ball.center)
    colors = getattr(value, "vertex_colors", None)
    if isinstance(colors, Tensor) and colors.shape[:2] == vertices.shape[:2]:
        return points, corners, _first(colors, counts[0]).detach().cpu().float()[:, :3].clamp(0, 1)
    return points, corners, None


def _first(values: Tensor, counts: Any) -> Tensor:
    return values[0] if counts is None else values[0, : int(counts[0])]


def checked_images(value: Tensor, cameras: Sequence[Camera], size: tuple[int, int]) -> Tensor:
    """An IMAGE as the images (V, 3, H, W) in [0, 1] of the cameras, in the size (width, height) of a view."""
    check_images("images", value)
    images = checks.color_channels(value).movedim(-1, 1).clamp(0, 1)
    _check_count("images", len(images), cameras)
    _check_aspect("images", images.shape[-1], images.shape[-2], cameras)
    width, height = size
    if tuple(images.shape[-2:]) == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def checked_measured_size(measurement: Measurement, cameras: Sequence[Camera], cell: int) -> tuple[int, int]:
    """Width and height of the images that a measurement is of, if they fit the cameras and the VAE."""
    _, height, width = measurement.operator.image_shape
    _check_count("The measurement", len(measurement.y), cameras)
    _check_aspect("The measurement", width, height, cameras)
    if height % cell or width % cell:
        raise ValueError(
            f"The measurement is of images of {width}x{height} pixels, but the VAE needs sides that {cell} divides: "
            "crop or resize the images before Measurement."
        )
    return width, height


def _check_count(name: str, count: int, cameras: Sequence[Camera]) -> None:
    if count != len(cameras):
        raise ValueError(
            f"{name} holds {count} views, but there are {len(cameras)} cameras: connect one camera for each view."
        )


def _check_aspect(name: str, width: int, height: int, cameras: Sequence[Camera]) -> None:
    """All cameras must have the proportions of the images."""
    for number, camera in enumerate(cameras, start=1):
        if abs(camera.width / camera.height / (width / height) - 1) > SAME_ASPECT:
            raise ValueError(
                f"{name} holds views of {width}x{height} pixels, but camera {number} has {camera.width}x"
                f"{camera.height}: connect cameras with the proportions of the views."
            )
