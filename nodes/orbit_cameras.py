"""Orbit Cameras: cameras around an object."""

from __future__ import annotations

from comfy_api.latest import io

from ..splats.camera import orbit
from . import host, widgets
from .sockets import CAMERAS

FARTHEST = 1000.0
LARGEST_SIDE = 16384


class OrbitCameras(io.ComfyNode):
    """Cameras on a circle."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSOrbitCameras",
            display_name="Orbit Cameras",
            category="DreamSampler",
            description=(
                "Places cameras on a circle around an object, at equal angles. The first looks at its front, the next "
                "ones go to the right."
            ),
            search_aliases="turntable, camera path, camera poses, 3d views, gaussian splat cameras",
            advanced="target_x target_y target_z",
            inputs=[
                io.Int.Input("count", default=24, min=1, max=1000, tooltip="Number of cameras on the circle."),
                io.Float.Input(
                    "elevation",
                    default=15.0,
                    min=-90.0,
                    max=90.0,
                    step=1.0,
                    tooltip="Height of the cameras as an angle in degrees: 0 is level, 90 looks straight down, -90 "
                    "straight up.",
                ),
                io.Float.Input(
                    "distance",
                    default=4.0,
                    min=0.01,
                    max=FARTHEST,
                    step=0.1,
                    tooltip="Distance to the target in units of the scene. At 4 with fov 40, a ball of radius 1.3 fits "
                    "into the image.",
                ),
                io.Float.Input(
                    "fov",
                    default=40.0,
                    min=1.0,
                    max=150.0,
                    step=1.0,
                    tooltip="Field of view over the shorter side in degrees: 40 for objects, 60 to 90 for rooms.",
                ),
                io.Int.Input("width", default=512, min=1, max=LARGEST_SIDE, tooltip="Width of the images in pixels."),
                io.Int.Input("height", default=512, min=1, max=LARGEST_SIDE, tooltip="Height of the images in pixels."),
                *(
                    io.Float.Input(
                        f"target_{axis}",
                        default=0.0,
                        min=-FARTHEST,
                        max=FARTHEST,
                        step=0.01,
                        tooltip=f"The point to look at: {axis} points {direction}, as in ComfyUI's Create Camera Info.",
                    )
                    for axis, direction in {"x": "right", "y": "up", "z": "toward the first camera"}.items()
                ),
            ],
            outputs=[
                CAMERAS.Output(
                    display_name="cameras", tooltip="The cameras, for the input cameras of other nodes of this pack."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        count: int,
        elevation: float,
        distance: float,
        fov: float,
        width: int,
        height: int,
        target_x: float,
        target_y: float,
        target_z: float,
    ) -> io.NodeOutput:
        # The host's y points up and its z to the viewer; those of splats down and away.
        target = target_x, -target_y, -target_z
        with host.gradients():  # tensors that autograd accepts
            cameras = tuple(
                orbit(
                    azimuth=360 * i / count,
                    elevation=elevation,
                    distance=distance,
                    fov=fov,
                    width=width,
                    height=height,
                    target=target,
                )
                for i in range(count)
            )
        return io.NodeOutput(cameras)
