"""Save Manifold Corrective: write a corrective to a file."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..guidance.networks.corrective.storage import ManifoldCorrective
from . import checks, host, widgets
from .sockets import CORRECTIVE


class ManifoldCorrectiveSave(io.ComfyNode):
    """Writes a corrective to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSManifoldCorrectiveSave",
            display_name="Save Manifold Corrective",
            category="DreamSampler",
            description=(
                "Saves a manifold corrective as a safetensors file in ComfyUI's output folder, where Load Manifold "
                "Corrective finds it. Never overwrites a file: a number is appended to the name instead."
            ),
            search_aliases="LMC, LMC-SDS, corrective, save corrective",
            inputs=[
                # Lazy, so that a name from another node is checked before the corrective is trained.
                CORRECTIVE.Input("corrective", lazy=True, tooltip="From Train Manifold Corrective."),
                io.String.Input(
                    "name",
                    default="corrective",
                    tooltip="File name, which may include subfolders. Name it after the model.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Rejects an unusable name before any training starts."""
        return checks.answer(host.CORRECTIVES.check_name, name)

    @classmethod
    def check_lazy_status(cls, name: str, corrective: ManifoldCorrective | None = None) -> list[str]:
        """Asks for the corrective, once the name is known to be usable. Raises ValueError otherwise."""
        host.CORRECTIVES.check_name(name)
        return ["corrective"] if corrective is None else []

    @classmethod
    def execute(cls, corrective: ManifoldCorrective, name: str) -> io.NodeOutput:
        path = host.CORRECTIVES.save(name, corrective)
        return io.NodeOutput(ui=ui.PreviewText(f"Saved as {path.name}."))
