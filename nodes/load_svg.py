"""Load SVG: an SVG file from the input folder."""

from __future__ import annotations

import hashlib
import logging

from comfy_api.latest import io, ui

from ..svg.markup.parser import Parsed, SVGError, parse
from . import checks, host, widgets

log = logging.getLogger("dreamsampler")


class LoadSVG(io.ComfyNode):
    """Loads an SVG file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSLoadSVG",
            display_name="Load SVG",
            category="DreamSampler",
            description=(
                "Loads an SVG from ComfyUI's input folder unchanged. Reports immediately if it cannot be rendered and "
                "lists unsupported features."
            ),
            search_aliases="import svg, open svg, vector graphics, svg file",
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.input_svg_names(),
                    upload=io.UploadType.image,  # the host has no upload type for SVG; dropped files pass as images
                    tooltip="An .svg file in the input folder. Drop a file on the node to upload it; in the upload "
                    "dialog, choose to show all files.",
                ),
            ],
            outputs=[
                io.SVG.Output(
                    display_name="svg",
                    tooltip="The unchanged file, for SVG to Image, SVG Optimizer, Save SVG and other SVG nodes.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Checks the name. It may be in a subfolder."""
        return checks.answer(host.input_svg, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        """Digest of the file, or the state of all files if the name comes from another node (None)."""
        if file is None:
            return host.input_svg_versions()
        return hashlib.sha256(host.read_input_svg(file)).hexdigest()

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        content = host.read_input_svg(file)
        try:
            parsed = parse(content)
        except SVGError as error:
            raise ValueError(f"The file '{file}' cannot be used. {error}") from error
        for warning in parsed.warnings:
            log.warning("Load SVG: %s: %s", file, warning)
        summary = _summary(parsed)
        host.show_on_node(summary)
        return io.NodeOutput(host.svg_value([content]), ui=ui.PreviewText(summary))


def _summary(parsed: Parsed) -> str:
    """Size and number of shapes, and the unsupported features."""
    box, shapes = parsed.document.view_box, sum(1 for _ in parsed.document.shapes())
    size = f"{box.width:g} x {box.height:g}, {shapes} {'shape' if shapes == 1 else 'shapes'}."
    return "\n\n".join([size, *parsed.warnings])
