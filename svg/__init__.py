"""Vector graphics in pure PyTorch: read, write and rasterize SVG, with gradients to every parameter.

    from dreamsampler.svg import parse, rasterize, scene, write

    document = parse(Path("icon.svg").read_bytes()).document
    drawing = scene(document, 512, 512)
    image = rasterize([drawing], torch.ones(1, 3))[:, :3]     # (1, 3, 512, 512), differentiable
    text = write(drawing.to_document())

The document model is in `document`, files in `markup`, tensors and rendering in `raster`. Nothing here imports ComfyUI,
the rest of the pack, or optional packages; Triton and pydiffvg are imported on first use.
"""

from .document import (
    BLACK,
    IDENTITY,
    WHITE,
    Color,
    Contour,
    Document,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Node,
    Paint,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
    ViewBox,
)
from .markup.lengths import read_length
from .markup.parser import Parsed, SVGError, parse
from .markup.writer import write
from .raster.rasterizer import Rasterizer, rasterize
from .raster.rasterizers import UnsupportedDrawing, rasterizer
from .raster.scene import Scene, scene

__all__ = [
    "BLACK",
    "IDENTITY",
    "WHITE",
    "Color",
    "Contour",
    "Document",
    "Fill",
    "Group",
    "LinearGradient",
    "Matrix",
    "Node",
    "Paint",
    "Parsed",
    "Point",
    "RadialGradient",
    "Rasterizer",
    "SVGError",
    "Scene",
    "Shape",
    "Stop",
    "Stroke",
    "UnsupportedDrawing",
    "ViewBox",
    "parse",
    "rasterize",
    "rasterizer",
    "read_length",
    "scene",
    "write",
]
