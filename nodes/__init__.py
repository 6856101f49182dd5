"""The nodes of the pack: one file each, all glue; the methods live in `guidance`."""

from comfy_api.latest import ComfyExtension, io

from . import host
from .corrective import ManifoldCorrectiveLoad, ManifoldCorrectiveSave, ManifoldCorrectiveTrain
from .descriptor import TextSourceDescriptor
from .distillation import DistillationSampler
from .image_to_svg import ImageToSVG
from .load_svg import LoadSVG
from .localized import MaskLocalizedGuidance
from .measurement import MeasurementNode
from .posterior import PosteriorLatentMatch
from .proximal import ProximalDreamSampler
from .renamed import RENAMED
from .svg_optimizer import SVGOptimizer
from .svg_to_image import SVGToImage
from .translator import TranslatorApply


class DreamSamplerExtension(ComfyExtension):
    """The list of nodes the host registers."""

    async def on_load(self) -> None:
        await host.register_replacements(RENAMED)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            DistillationSampler,
            ImageToSVG,
            LoadSVG,
            ManifoldCorrectiveLoad,
            ManifoldCorrectiveSave,
            ManifoldCorrectiveTrain,
            MaskLocalizedGuidance,
            MeasurementNode,
            PosteriorLatentMatch,
            ProximalDreamSampler,
            SVGOptimizer,
            SVGToImage,
            TextSourceDescriptor,
            TranslatorApply,
        ]
