"""Let torchvision import beside a CPU-only torch, in the development host only.

The registry's torchvision is built for CUDA. Beside a CPU-only torch its compiled operators do not load, and the
import stops at ``operator torchvision::nms does not exist``. ComfyUI needs only torchvision's pure Python parts, and
those work once the two operators have a schema. A ``.pth`` file imports this module when Python starts: it must stay
light.
"""

import sys

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _DefineMissingOperators:
    """An import hook that finds nothing and acts once, right before the torchvision module that needs the schemas."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == "torchvision._meta_registrations":
            sys.meta_path.remove(self)
            _define_missing_operators()


def _define_missing_operators() -> None:
    if sys.modules["torchvision.extension"]._has_ops():
        return
    import torch.library

    for operator in ("torchvision::nms", "torchvision::qnms"):
        torch.library.define(operator, _SCHEMA)


sys.meta_path.insert(0, _DefineMissingOperators())
