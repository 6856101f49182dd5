"""Clean-up: optimized drawings as a designer would keep them.

    document = cleaned(document, (512, 512))

`opacities` makes opaque what is opaque to the eye, `palette` merges colors, `removal` takes out what is not seen,
`compounds` joins neighbors of one color, `outlines` simplifies curves, with `chains` and `merging`; `cleaner` takes
these steps, and back again if the image changes. `color_layers` then makes named groups of shapes of one color, without
any change. `footprints` says which shapes meet. Plain arrays, without gradients.
"""

from .cleaner import LIMITS, Limits, cleaned
from .color_layers import in_color_layers

__all__ = ["LIMITS", "Limits", "cleaned", "in_color_layers"]
