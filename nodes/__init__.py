"""The nodes of the pack: one file each, all glue; the methods live in `guidance`."""

from comfy_api.latest import ComfyExtension, io

from .descriptor import TextSourceDescriptor
from .distillation import DistillationSampler
from .localized import MaskLocalizedGuidance
from .measurement import MeasurementNode
from .posterior import PosteriorLatentMatch
from .proximal import ProximalDreamSampler


class DreamSamplerExtension(ComfyExtension):
    """The list of nodes the host registers."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            DistillationSampler,
            MaskLocalizedGuidance,
            MeasurementNode,
            PosteriorLatentMatch,
            ProximalDreamSampler,
            TextSourceDescriptor,
        ]
