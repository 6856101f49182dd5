"""Checks of measurements and their settings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...guidance.distillation.method import Method
from ...guidance.restoration.measurement import Measurement
from ..widgets import UNSET
from .inputs import check_known

REGION_EDITS = (
    "region finds where an edit goes, and with a measurement the image is restored: set region to off, or disconnect "
    "the measurement."
)


def check_restoration(start_from: str, region: str) -> None:
    """Check settings that a measurement restricts."""
    if start_from == "stochastic inversion":
        raise ValueError(
            "start_from 'stochastic inversion' replays the source image, which a measurement does not allow: set "
            "start_from to inversion, or to noise."
        )
    if region != "off":
        raise ValueError(REGION_EDITS)


def check_consistency(consistency: str, eta: float, measurement: Measurement) -> None:
    """Check what a choice of consistency restricts."""
    if consistency != "ding":
        return
    if measurement.operator.hole is None:
        raise ValueError(
            "consistency 'ding' only fills holes, and the measurement has none: set consistency to 'few steps' or "
            "'consistency only', which restore images of every operator, or set 'operator' of Measurement to inpaint."
        )
    if eta <= 0:
        raise ValueError(
            "eta is 0, and consistency 'ding' keeps known pixels only by the fresh noise of each step: set eta to 1."
        )


def check_distilled_measurement(value: Measurement, method: Method, vae: Any, samples: Tensor, region: str) -> None:
    """Check that a measurement suits a distillation of pixels by this method."""
    if method.edits:
        raise ValueError(
            f"The method '{method.name}' edits an image that is not degraded, and does not restore: set method to "
            "dreamsampler, or disconnect the measurement."
        )
    if region != "off":
        raise ValueError(REGION_EDITS)
    check_known(value, "Distillation Sampler")
    check_measurement(value, vae, samples)


def data_weight_of(measurement: Measurement, value: float) -> float:
    """The weight of the measurement against that of the prompt, by default the paper's."""
    return measurement.operator.lambda_dc / measurement.operator.lambda_sds if value == UNSET else value


def check_pixel_weight(value: float, vae: Any) -> None:
    """Check that there are pixels for a weight above 0 to pull."""
    if vae is None:
        raise ValueError(
            f"pixel_weight is {value:g}, but without a VAE a latent is optimized and there are no pixels to pull: "
            "connect the VAE that belongs to the model to input 'vae', or set pixel_weight to 0."
        )


def check_source_image(
    value: Tensor, vae: Any, samples: Tensor, measurement: Measurement | None, *, masked: bool
) -> None:
    """Check that the source IMAGE of an edit has a mask and a VAE, and that its size and number are what decodes."""
    if measurement is not None:
        raise ValueError("source_image belongs to edits and measurement to restorations: disconnect one of them.")
    if not masked:
        raise ValueError(
            "source_image keeps what is outside a mask, and there is none: set region to find, connect a mask to "
            "'mask', or disconnect source_image."
        )
    if vae is None:
        raise ValueError("source_image is for the output image, which needs a VAE: connect it to input 'vae'.")
    factor, height, width = _decoded_size(vae, samples)
    count, rows, columns = value.shape[:3]
    if (rows, columns) != (height, width):
        raise ValueError(
            f"source_image is {columns}x{rows} pixels, but latent_image decodes to {width}x{height}: connect the image "
            f"that VAE Encode gets, and before both crop or resize it to sides that {factor} divides."
        )
    _check_count("source_image", count, samples)


def check_measurement(value: Measurement, vae: Any, samples: Tensor) -> None:
    """Check that a measurement has the size and number of the images that `samples` decodes to, and a VAE."""
    if vae is None:
        raise ValueError("A measurement requires a VAE: connect the VAE that belongs to the model to input 'vae'.")
    factor, height, width = _decoded_size(vae, samples)
    _, rows, columns = value.operator.image_shape
    if (rows, columns) != (height, width):
        raise ValueError(
            f"The measurement is of images of {columns}x{rows} pixels, but latent_image decodes to {width}x{height}: "
            "encode the observed image of Measurement for latent_image, and before Measurement crop or resize the "
            f"image to sides that {factor} divides."
        )
    _check_count("The measurement", len(value.y), samples)


def _decoded_size(vae: Any, samples: Tensor) -> tuple[int, int, int]:
    """The VAE's pixels per latent cell, and height and width of the images that `samples` decodes to."""
    factor = vae.spacial_compression_decode()
    height, width = samples.shape[-2:]
    return factor, height * factor, width * factor


def _check_count(name: str, count: int, samples: Tensor) -> None:
    """One image for all latents, or one for each."""
    if count not in (1, len(samples)):
        raise ValueError(
            f"{name} holds {count} images but latent_image holds {len(samples)}: connect one, or one for each image."
        )
