"""The nodes of the pack, one file each. They only connect the host to the methods in `guidance` and `drawings`."""

from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from . import checks, host
from .apply_translator import TranslatorApply
from .distillation_sampler import DistillationSampler
from .find_edit_region import FindEditRegion
from .image_to_svg import ImageToSVG
from .load_manifold_corrective import ManifoldCorrectiveLoad
from .load_posed_views import LoadPosedViews
from .load_splat import LoadSplat
from .load_svg import LoadSVG
from .mask_localized_guidance import MaskLocalizedGuidance
from .measurement import MeasurementNode
from .orbit_cameras import OrbitCameras
from .overlay_illusion import OverlayIllusion
from .posterior_latent_match import PosteriorLatentMatch
from .proximal_dreamsampler import ProximalDreamSampler
from .renamed import RENAMED
from .save_manifold_corrective import ManifoldCorrectiveSave
from .save_splat import SaveSplat
from .splat_optimizer import SplatOptimizer
from .svg_optimizer import SVGOptimizer
from .svg_to_image import SVGToImage
from .text_source_descriptor import TextSourceDescriptor
from .train_manifold_corrective import ManifoldCorrectiveTrain

NODES: tuple[type[io.ComfyNode], ...] = (
    DistillationSampler,
    FindEditRegion,
    ImageToSVG,
    LoadPosedViews,
    LoadSVG,
    LoadSplat,
    ManifoldCorrectiveLoad,
    ManifoldCorrectiveSave,
    ManifoldCorrectiveTrain,
    MaskLocalizedGuidance,
    MeasurementNode,
    OrbitCameras,
    OverlayIllusion,
    PosteriorLatentMatch,
    ProximalDreamSampler,
    SplatOptimizer,
    SVGOptimizer,
    SVGToImage,
    SaveSplat,
    TextSourceDescriptor,
    TranslatorApply,
)

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
"""The inputs of the templates."""

for node in NODES:
    checks.check_inputs_of(node)


class DreamSamplerExtension(ComfyExtension):
    """The list of nodes the host registers."""

    async def on_load(self) -> None:
        await host.register_replacements(RENAMED)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        host.offer_samples(SAMPLES)  # here, as older hosts do not call on_load
        return list(NODES)
