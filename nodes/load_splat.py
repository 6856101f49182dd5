"""Load Splat: a scene of Gaussian splats from the input folder."""

from __future__ import annotations

from comfy_api.latest import io, ui

from . import checks, host, widgets


class LoadSplat(io.ComfyNode):
    """Loads a file of splats."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSLoadSplat",
            display_name="Load Splat",
            category="DreamSampler",
            description=(
                "Loads a scene of 3D Gaussian splats, a .ply or .splat file, from ComfyUI's input folder. Works on "
                "every version of ComfyUI and connects to all nodes with a SPLAT socket."
            ),
            search_aliases="gaussian splat, 3dgs, load ply, import splat, open splat",
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.input_splat_names(),
                    tooltip="A .ply or .splat file in the input folder, of at most 5 million splats. Copy it there and "
                    "press R.",
                ),
            ],
            outputs=[
                host.SPLAT.Output(
                    display_name="splat",
                    tooltip="The scene, for Save Splat, Render Splat and other nodes for splats.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Checks the name. It may be in a subfolder."""
        return checks.answer(host.input_splat, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        """The state of the file, or of all files if the name comes from another node (None)."""
        return host.input_splat_versions(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        scene = host.read_input_splat(file)
        degree = round(scene.harmonics.shape[1] ** 0.5) - 1
        summary = f"{len(scene):,} splats, color of degree {degree}."
        host.show_on_node(summary)
        return io.NodeOutput(host.splat_value([scene]), ui=ui.PreviewText(summary))
