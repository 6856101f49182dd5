"""Measurement: how an image was degraded, for restoring it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..guidance.core.noise import SeededNoise, item_seeds
from ..guidance.restoration.measurement import Measurement
from ..guidance.restoration.operators import OPERATORS, LinearOperator, OperatorSettings, Widget
from . import checks, widgets
from .sockets import MEASUREMENT


class MeasurementNode(io.ComfyNode):
    """y = A x + n as a node. `guidance/restoration/operators` declares the operators A that it offers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSMeasurement",
            display_name="Measurement",
            category="DreamSampler",
            description=(
                "Describes a degraded image as a linear measurement: an image with a hole, or a downscaled, blurred or "
                "gray version of it. Connect it to Proximal DreamSampler or SVG Optimizer, which restore the image."
            ),
            search_aliases=(
                "inpaint, super resolution, upscale, deblur, colorize, restore, inverse problem, DPS, degradation, "
                "linear operator"
            ),
            advanced="simulate seed",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The degraded image. With simulate on, a clean image to degrade for testing.",
                ),
                io.Combo.Input(
                    "operator",
                    options=list(OPERATORS),
                    default="inpaint",
                    tooltip="The degradation. "
                    + "; ".join(f"{name}: {kind.tooltip}" for name, kind in OPERATORS.items())
                    + ".",
                ),
                _operator_input(
                    io.Int.Input,
                    "scale",
                    "how many times larger the restored image is, per side.",
                    default=4,
                    min=2,
                    max=16,
                ),
                _operator_input(
                    io.Int.Input,
                    "kernel_size",
                    "side of the kernel in pixels, odd, no larger than the image. For motion blur the length of the "
                    "streak; for gaussian blur at least six times sigma.",
                    default=61,
                    min=1,
                    max=511,
                    step=2,
                ),
                _operator_input(
                    io.Float.Input,
                    "sigma",
                    "standard deviation in pixels. Start with 5; 0.5 to 20.",
                    default=5.0,
                    min=0.01,
                    max=256.0,
                    step=0.1,
                ),
                io.Float.Input(
                    "noise_std",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    round=False,
                    tooltip="Noise of the degraded image, on the scale from -1 (black) to 1 (white); the paper uses "
                    "0.01. Higher lets the result deviate more from the image. simulate adds this noise.",
                ),
                io.Boolean.Input(
                    "simulate",
                    default=False,
                    tooltip="Degrades a clean image first, for testing. Off for real degraded images.",
                ),
                widgets.seed("Seed of the simulated noise. Each image of a batch has its own."),
                _operator_input(
                    io.Mask.Input,
                    "mask",
                    "the hole. 1 = fill, 0 = known, in between = partly known.",
                    optional=True,
                ),
                _operator_input(
                    io.Float.Input,
                    "angle",
                    "direction of the streak in degrees, 0 horizontal, 90 vertical.",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=1.0,
                    optional=True,
                ),
            ],
            outputs=[
                MEASUREMENT.Output(
                    display_name="measurement",
                    tooltip="For the measurement input of Proximal DreamSampler or SVG Optimizer.",
                ),
                io.Image.Output(
                    display_name="observed",
                    tooltip="The degraded image at the size of the result. Encode it and connect it to latent_image of "
                    "Proximal DreamSampler.",
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
        images = 2 * checks.color_channels(image).movedim(-1, 1) - 1
        kind = OPERATORS[operator]
        settings = OperatorSettings(
            scale=scale,
            kernel_size=kernel_size,
            sigma=sigma,
            angle=angle,
            mask=checks.checked_hole(mask, images) if "mask" in kind.reads else None,
        )
        a, y = kind.measured(images, settings, simulate=simulate)
        if simulate and noise_std > 0:
            y = y + noise_std * _measurement_noise(a, y, seed)
        observed = a.back_projected(y).clamp(-1, 1)
        return io.NodeOutput(Measurement(a, y, noise_std), (observed.movedim(1, -1) + 1) / 2)


def _operator_input(kind: Callable[..., io.Input], name: Widget, tooltip: str, **limits: Any) -> io.Input:
    """An input that only some operators read. Its tooltip begins with their names."""
    readers = ", ".join(each.name for each in OPERATORS.values() if name in each.reads)
    return kind(name, tooltip=f"{readers}: {tooltip}", **limits)


def _measurement_noise(a: LinearOperator, y: Tensor, seed: int) -> Tensor:
    """Standard normal noise like `y` (B, ...), 0 inside a hole."""
    noise = SeededNoise(item_seeds(seed, range(len(y)))).like(y)
    return noise if a.hole is None else (a.hole < 1).to(noise) * noise
