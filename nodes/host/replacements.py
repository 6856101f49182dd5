"""Migration of renamed node ids (ComfyUI's io.NodeReplace)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy_api import latest


@dataclass(frozen=True)
class Replacement:
    """The node `new` that replaces a removed node id `old`.

    Attributes:
        inputs: maps old input names to new ones. List all, unchanged names too: the host drops the rest.
        widgets: the old node's widgets in the order in which workflows store their values, including the
            "control_after_generate" that the page adds after a seed.
        values: values of new inputs that the old node did not have.
        outputs: maps old output positions to new ones.
    """

    old: str
    new: str
    inputs: Mapping[str, str]
    widgets: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[int, int] = field(default_factory=dict)

    def declared(self) -> dict[str, Any]:
        """Keyword arguments for the host's `io.NodeReplace`."""
        renamed = [{"new_id": new, "old_id": old} for old, new in self.inputs.items()]
        return {
            "new_node_id": self.new,
            "old_node_id": self.old,
            "old_widget_ids": list(self.widgets),
            "input_mapping": renamed + [{"new_id": new, "set_value": value} for new, value in self.values.items()],
            "output_mapping": [{"new_idx": new, "old_idx": old} for old, new in self.outputs.items()],
        }


async def register_replacements(replacements: Sequence[Replacement]) -> None:
    """Register replacements with the host. Hosts without io.NodeReplace keep reporting a missing node."""
    node_replace = getattr(latest.io, "NodeReplace", None)
    if node_replace is None:
        return
    api: Any = latest.ComfyAPI()
    for each in replacements:
        await api.node_replacement.register(node_replace(**each.declared()))
