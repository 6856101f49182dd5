"""Load Manifold Corrective: read a corrective from a file."""

from __future__ import annotations

from comfy_api.latest import io

from . import checks, host, widgets
from .sockets import CORRECTIVE


class ManifoldCorrectiveLoad(io.ComfyNode):
    """Reads a corrective from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSManifoldCorrectiveLoad",
            display_name="Load Manifold Corrective",
            category="DreamSampler",
            description=(
                "Loads a manifold corrective from ComfyUI's models/dreamsampler_correctives or "
                "output/dreamsampler_correctives folder."
            ),
            search_aliases="LMC, LMC-SDS, corrective, load corrective",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=host.CORRECTIVES.names(),
                    tooltip="A corrective file written by Save Manifold Corrective for this model.",
                )
            ],
            outputs=[
                CORRECTIVE.Output(
                    display_name="corrective",
                    tooltip="For the method lmc of Distillation Sampler, or Train Manifold Corrective to train it "
                    "further.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Checks the name. It may be in a subfolder, or saved after the page loaded."""
        return checks.answer(host.CORRECTIVES.find, name)

    @classmethod
    def fingerprint_inputs(cls, name: str | None) -> str:
        """Digest of the file, or of all files if the name comes from another node and is not known yet (None)."""
        return host.CORRECTIVES.digest(name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(host.CORRECTIVES.read(name))
