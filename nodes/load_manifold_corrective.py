"""Load Manifold Corrective: read a corrective from a file."""

from __future__ import annotations

import hashlib

from comfy_api.latest import io

from . import host
from .sockets import CORRECTIVE


class ManifoldCorrectiveLoad(io.ComfyNode):
    """A corrective from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSManifoldCorrectiveLoad",
            display_name="Load Manifold Corrective",
            category="DreamSampler",
            description=(
                "Loads a manifold corrective from ComfyUI's folders models/dreamsampler_correctives and "
                "output/dreamsampler_correctives."
            ),
            inputs=[
                io.Combo.Input(
                    "name",
                    options=host.CORRECTIVES.names(),
                    tooltip="A file that Save Manifold Corrective wrote, of the model you use.",
                )
            ],
            outputs=[
                CORRECTIVE.Output(
                    display_name="corrective",
                    tooltip="For the method lmc of Distillation Sampler, or to train further.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Replaces the host's check that the name is listed, which it was not when the page was loaded.

        None is linked, and not yet known.
        """
        try:
            if name is not None:
                host.CORRECTIVES.file(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str | None) -> str:
        """What changes when the file does; a linked name, None, may be that of any file."""
        names = host.CORRECTIVES.names() if name is None else [name]
        content = (host.CORRECTIVES.file(each).read_bytes() for each in names)
        return " ".join(hashlib.sha256(each).hexdigest() for each in content)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(host.CORRECTIVES.read(name))
