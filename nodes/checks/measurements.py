"""Checks of measurements and their settings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...guidance.restoration.measurement import Measurement


def check_restoration(start_from: str, data_every: int) -> None:
    """Check settings that a measurement restricts."""
    if start_from == "stochastic inversion":
        raise ValueError(
            "start_from 'stochastic inversion' replays the source image, which a measurement does not allow: set "
            "start_from to inversion, or to noise."
        )
    if data_every < 1:
        raise ValueError(f"data_every is {data_every}: set it to 1 or more (the paper uses 3).")


def check_measurement(value: Measurement, vae: Any, samples: Tensor) -> None:
    """Check that a measurement has the size and number of the images that `samples` decodes to, and a VAE."""
    if vae is None:
        raise ValueError("A measurement requires a VAE: connect the VAE that belongs to the model to input 'vae'.")
    factor = vae.spacial_compression_decode()
    height, width = (side * factor for side in samples.shape[-2:])
    _, rows, columns = value.operator.image_shape
    if (rows, columns) != (height, width):
        raise ValueError(
            f"The measurement is of images of {columns}x{rows} pixels, but latent_image decodes to {width}x{height}: "
            "encode the observed image of Measurement for latent_image, and before Measurement crop or resize the "
            f"image to sides that {factor} divides."
        )
    if len(value.y) not in (1, len(samples)):
        raise ValueError(
            f"The measurement holds {len(value.y)} images but latent_image holds {len(samples)}: connect one, or one "
            "for each image."
        )
