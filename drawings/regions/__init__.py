"""Tracing by regions: an image as few opaque shapes that an editor can take apart.

    document = traced(image, most=64)

`segmentation` finds regions of one color or one ramp of colors, `layers` the pixels that the shape of each covers,
`contours` their outlines to a fraction of a pixel, `curves` cubics along these, and `paints` colors and gradients.
Plain arrays, without gradients; the result is a start for optimization.
"""

from .tracer import traced

__all__ = ["traced"]
