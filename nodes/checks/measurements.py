"""Measurements, and the settings that go with them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...guidance.measurement import Measurement


def restoration(start_from: str, data_every: int) -> None:
    """Settings that make sense with a measurement."""
    if start_from == "stochastic inversion":
        raise ValueError(
            "start_from 'stochastic inversion' replays the source, and a measurement has its own way down: set "
            "start_from to inversion, or to noise."
        )
    if data_every < 1:
        raise ValueError(f"data_every is {data_every}: set it to 1 or more (3 is published).")


def measurement(value: Measurement, vae: Any, samples: Tensor) -> None:
    """A measurement of pictures of the size that the latent `samples` decodes to, one or as many, and a VAE for it."""
    if vae is None:
        raise ValueError(
            "A measurement is compared with decoded pictures: connect the VAE that belongs to the model to input 'vae'."
        )
    factor = vae.spacial_compression_decode()
    height, width = (side * factor for side in samples.shape[-2:])
    _, rows, columns = value.operator.picture_shape
    if (rows, columns) != (height, width):
        raise ValueError(
            f"The measurement is of pictures of {columns}x{rows} pixels, but latent_image decodes to {width}x{height}: "
            "encode the observed picture of Measurement for latent_image, and crop or resize the picture before "
            f"Measurement to sides that {factor} divides."
        )
    if len(value.y) not in (1, len(samples)):
        raise ValueError(
            f"The measurement holds {len(value.y)} pictures but latent_image holds {len(samples)}: connect one "
            "measurement, or one each."
        )
