"""Measurement: how an image was degraded, for restoring it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from comfy_api.latest import io
from torch import Tensor

from ..guidance.core.noise import SeededNoise, item_seeds
from ..guidance.restoration.measurement import Measurement
from ..guidance.restoration.operators import OPERATORS, OperatorSettings, Subsampling, Widget
from . import checks, host, widgets
from .sockets import MEASUREMENT

BORDER: dict[Widget, str] = {"left": "on the left", "top": "above", "right": "on the right", "bottom": "below"}
"""Where each input of the border adds pixels."""
WHOLE_HOLE = "so nothing of the image is known: paint only what to fill, or invert the mask if you painted the rest."


class MeasurementNode(io.ComfyNode):
    """y = A(x) + n as a node. `guidance/restoration/operators` declares the operators A that it offers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSMeasurement",
            display_name="Measurement",
            category="DreamSampler",
            description=(
                "Describes a degraded image: with a hole or a missing border, small, blurred, gray or compressed as "
                "JPEG. Connect it to Proximal DreamSampler, Distillation Sampler, SVG Optimizer or Splat Optimizer, "
                "which restore the image."
            ),
            search_aliases=(
                "inpaint, outpaint, uncrop, super resolution, upscale, deblur, blind deblurring, colorize, compression "
                "artifacts, restore, inverse problem, DPS, degradation, linear operator"
            ),
            has_intermediate_output=True,
            advanced="simulate seed subsampling",
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
                    "standard deviation in pixels; of an unknown blur a first guess. Start with 5; 0.5 to 20.",
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
                *(_border_input(side) for side in BORDER),
                _operator_input(
                    io.Int.Input,
                    "quality",
                    "quality of the compression. 1 to 100; 75 is common, and web images have 60 to 90.",
                    default=75,
                    min=1,
                    max=100,
                    optional=True,
                ),
                _operator_input(
                    io.Combo.Input,
                    "subsampling",
                    "resolution of the colors. 4:2:0 halves it, as most programs do; 4:4:4 keeps it.",
                    options=list(get_args(Subsampling)),
                    default="4:2:0",
                    optional=True,
                ),
            ],
            outputs=[
                MEASUREMENT.Output(
                    display_name="measurement",
                    tooltip="For the measurement input of Proximal DreamSampler, Distillation Sampler, SVG Optimizer "
                    "and Splat Optimizer.",
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
        left: int = 0,
        top: int = 0,
        right: int = 0,
        bottom: int = 0,
        quality: int = 75,
        subsampling: Subsampling = "4:2:0",
    ) -> io.NodeOutput:
        images = 2 * checks.color_channels(image).movedim(-1, 1) - 1
        kind = OPERATORS[operator]
        settings = OperatorSettings(
            scale=scale,
            kernel_size=kernel_size,
            sigma=sigma,
            angle=angle,
            mask=checks.checked_hole(mask, images) if "mask" in kind.reads else None,
            left=left,
            top=top,
            right=right,
            bottom=bottom,
            quality=quality,
            subsampling=subsampling,
        )
        a, y = kind.measured(images, settings, simulate=simulate)
        if simulate and noise_std > 0:
            y = a.degraded(images, noise_std, SeededNoise(item_seeds(seed, range(len(images)))))
        observed = a.back_projected(y).clamp(-1, 1)
        notes = checks.notes_on_mask(settings.mask, WHOLE_HOLE)
        if not simulate:
            notes += filter(None, [a.doubt(images, noise_std)])
        host.show_on_node("\n".join(notes))
        return io.NodeOutput(Measurement(a, y, noise_std), (observed.movedim(1, -1) + 1) / 2, ui={"text": notes})


def _operator_input(kind: Callable[..., io.Input], name: Widget, tooltip: str, **limits: Any) -> io.Input:
    """An input that only some operators read. Its tooltip begins with their names."""
    readers = ", ".join(each.name for each in OPERATORS.values() if name in each.reads)
    return kind(name, tooltip=f"{readers}: {tooltip}", **limits)


def _border_input(side: Widget) -> io.Input:
    """The width of the border on one side, as in ComfyUI's Pad Image for Outpainting."""
    tooltip = f"pixels to add {BORDER[side]}, a multiple of 8."
    return _operator_input(io.Int.Input, side, tooltip, default=0, min=0, max=16384, step=8, optional=True)
