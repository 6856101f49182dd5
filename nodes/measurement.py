"""Measurement: what is known of a picture, for restoring the rest."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..guidance.measurement import Measurement
from ..guidance.noise import SeededNoise
from ..guidance.operators import (
    Colourisation,
    GaussianBlur,
    Inpainting,
    LinearOperator,
    MotionBlur,
    SuperResolution,
)
from . import checks, widgets
from .sockets import MEASUREMENT

OPERATORS = ("inpaint", "super-resolution", "gaussian blur", "motion blur", "colourisation")
ALWAYS_MEASURED = ("inpaint", "colourisation")
"""Operators whose damaged pictures look like whole ones: what they measure is the same before and after."""


class MeasurementNode(io.ComfyNode):
    """y = A x + n as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSMeasurement",
            display_name="Measurement",
            category="DreamSampler",
            description=(
                "Says what is known of a picture: all but a hole, or a smaller, blurred or grey version of it. Connect "
                "it to Proximal DreamSampler or SVG Optimizer, which make a picture that agrees with it."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The damaged picture as you have it, or with simulate a good one to damage for a trial.",
                ),
                io.Combo.Input(
                    "operator",
                    options=list(OPERATORS),
                    default="inpaint",
                    tooltip="What happened to the picture: a hole (inpaint), bicubic downsampling (super-resolution), "
                    "an unsharp lens (gaussian blur), a shaken camera (motion blur), lost colours (colourisation).",
                ),
                io.Int.Input(
                    "scale",
                    default=4,
                    min=2,
                    max=16,
                    tooltip="super-resolution: how many times larger the wanted picture is, per side.",
                ),
                io.Int.Input(
                    "kernel_size",
                    default=61,
                    min=1,
                    max=511,
                    step=2,
                    tooltip="Blurs: side of the kernel in pixels, odd. For motion blur the length of the streak; for "
                    "gaussian blur six sigma or more.",
                ),
                io.Float.Input(
                    "sigma",
                    default=5.0,
                    min=0.01,
                    max=256.0,
                    step=0.1,
                    tooltip="gaussian blur: standard deviation in pixels.",
                ),
                io.Float.Input(
                    "noise_std",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    round=False,
                    tooltip="Noise of the measurement on a scale from -1 (black) to 1 (white), as papers count; 0.01 "
                    "is published. With simulate it is added. The noisier, the less closely the result follows.",
                ),
                io.Boolean.Input(
                    "simulate",
                    default=False,
                    tooltip="Damage the picture first: for trials on a good picture.",
                ),
                widgets.seed("Seed of the simulated noise. Item i of a batch uses seed + i."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="inpaint: the hole, 1 where the picture is to be made anew. Values between are known in "
                    "part.",
                ),
                io.Float.Input(
                    "angle",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=1.0,
                    optional=True,
                    tooltip="motion blur: direction of the streak in degrees, 0 horizontal, 90 vertical.",
                ),
            ],
            outputs=[
                MEASUREMENT.Output(
                    display_name="measurement",
                    tooltip="For the measurement input of Proximal DreamSampler or SVG Optimizer.",
                ),
                io.Image.Output(
                    display_name="observed",
                    tooltip="What the measurement shows of the picture, in the wanted size. Encode it and connect it "
                    "to latent_image of Proximal DreamSampler.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        operator: str,
        scale: int,
        kernel_size: int,
        sigma: float,
        noise_std: float,
        simulate: bool,
        seed: int,
        mask: Tensor | None = None,
        angle: float = 0.0,
    ) -> io.NodeOutput:
        pictures = 2 * checks.picture(image).movedim(-1, 1) - 1
        height, width = pictures.shape[-2:]
        if operator == "super-resolution" and not simulate:
            height, width = height * scale, width * scale
        hole = checks.hole(mask, pictures) if operator == "inpaint" else None
        a = _operator(operator, height, width, scale, kernel_size, sigma, angle, hole)
        y = a.forward(pictures) if simulate or operator in ALWAYS_MEASURED else pictures
        if simulate and noise_std > 0:
            noise = SeededNoise([seed + i for i in range(len(y))]).like(y)
            y = y + noise_std * (noise if hole is None else (hole < 1) * noise)
        observed = a.back_projected(y).clamp(-1, 1)
        return io.NodeOutput(Measurement(a, y, noise_std), (observed.movedim(1, -1) + 1) / 2)


def _operator(
    name: str, height: int, width: int, scale: int, kernel_size: int, sigma: float, angle: float, hole: Tensor | None
) -> LinearOperator:
    """The operator of a name on pictures of a size."""
    match name:
        case "super-resolution":
            return SuperResolution(height, width, scale)
        case "gaussian blur":
            return GaussianBlur(height, width, kernel_size, sigma)
        case "motion blur":
            return MotionBlur(height, width, kernel_size, angle)
        case "colourisation":
            return Colourisation(height, width)
    if hole is None:
        raise ValueError("The operator 'inpaint' needs to know where the hole is: connect a mask to input 'mask'.")
    return Inpainting(hole)
