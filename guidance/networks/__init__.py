"""Trained networks: the U-Net, manifold correctives, translators, and their files.

`corrective` and `translation` each export the network, its settings and its training or storage.
"""

from .corrective import ManifoldCorrective
from .ema import WeightEMA
from .patches import LatentPatches, without_frame_dim
from .storage import UnusableFileError
from .translation import Translator

__all__ = [
    "LatentPatches",
    "ManifoldCorrective",
    "Translator",
    "UnusableFileError",
    "WeightEMA",
    "without_frame_dim",
]
