"""Clean-up: optimized drawings as a designer would keep them.

    document = cleaned(document, (512, 512))

`opacities` makes opaque what is opaque to the eye, `palette` merges colors, `removal` takes out what is not seen,
`compounds` joins neighbors of one color, `outlines` simplifies curves, with `chains` and `merging`; `cleaner` takes
these steps, and back again if the image changes. Plain arrays, without gradients.
"""

from .cleaner import LIMITS, Limits, cleaned

__all__ = ["LIMITS", "Limits", "cleaned"]
