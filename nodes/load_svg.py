"""Load SVG: a vector drawing from the input folder."""

from __future__ import annotations

import hashlib
import logging

from comfy_api.latest import io, ui

from ..svg.markup.parser import Parsed, SVGError, parse
from . import host

log = logging.getLogger("dreamsampler")


class LoadSVG(io.ComfyNode):
    """An SVG file as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSLoadSVG",
            display_name="Load SVG",
            category="DreamSampler",
            description=(
                "Loads a vector drawing from ComfyUI's input folder, as it is. Says at once if it cannot be drawn, and "
                "shows what of it this pack does not draw."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.input_svg_names(),
                    upload=io.UploadType.image,  # of drawings the host knows none; dropped, they pass as pictures
                    tooltip="An .svg file in the input folder. Drop a file on the node to upload it; in the dialog of "
                    "the upload button, choose to see all files.",
                ),
            ],
            outputs=[
                io.SVG.Output(
                    display_name="svg",
                    tooltip="The file, unchanged: for SVG to Image, Save SVG and any node that takes an SVG.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """Replaces the host's check that the name is listed, which files in subfolders are not."""
        try:
            host.input_svg(file)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return hashlib.sha256(host.input_svg(file).read_bytes()).hexdigest()

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        content = host.input_svg(file).read_bytes()
        try:
            parsed = parse(content)
        except SVGError as error:
            raise ValueError(f"The file '{file}' cannot be used. {error}") from error
        for warning in parsed.warnings:
            log.warning("Load SVG: %s: %s", file, warning)
        shown = _description(parsed)
        host.show_on_node(cls.hidden, shown)
        return io.NodeOutput(host.svg_value([content]), ui=ui.PreviewText(shown))


def _description(parsed: Parsed) -> str:
    """What is in a file, and what of it is not drawn."""
    box, shapes = parsed.document.view_box, sum(1 for _ in parsed.document.shapes())
    size = f"{box.width:g} x {box.height:g}, {shapes} {'shape' if shapes == 1 else 'shapes'}."
    return "\n\n".join([size, *parsed.warnings])
