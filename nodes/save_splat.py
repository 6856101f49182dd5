"""Save Splat: write scenes of Gaussian splats to files."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import host, widgets


class SaveSplat(io.ComfyNode):
    """Writes splats to .ply files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSSaveSplat",
            display_name="Save Splat",
            category="DreamSampler",
            description=(
                "Saves scenes of 3D Gaussian splats as .ply files in ComfyUI's output folder, which viewers and other "
                "programs read. Never overwrites a file."
            ),
            search_aliases="gaussian splat, 3dgs, save ply, export splat",
            inputs=[
                # Lazy, so that a prefix from another node is checked before the splat is made.
                host.SPLAT.Input(
                    "splat", lazy=True, tooltip="One scene or several. Each becomes a file with a number of its own."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="splats/ComfyUI",
                    tooltip="Start of the file name, which may include subfolders; a number follows.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Rejects an unusable name before any work starts. `filename_prefix` is None if it comes from another node."""
        try:
            if filename_prefix is not None:
                host.check_prefix(filename_prefix)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def check_lazy_status(cls, filename_prefix: str, splat: Any = None) -> list[str]:
        """Asks for the splat, once the name is known to be usable. Raises ValueError otherwise."""
        host.check_prefix(filename_prefix)
        return ["splat"] if splat is None else []

    @classmethod
    def execute(cls, splat: Any, filename_prefix: str) -> io.NodeOutput:
        saved = host.save_splats(filename_prefix, host.splat_scenes("splat", splat))
        names = ", ".join(each["filename"] for each in saved)
        return io.NodeOutput(ui={**ui.PreviewText(f"Saved as {names}.").as_dict(), "3d": saved})
