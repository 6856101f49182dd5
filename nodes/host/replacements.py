"""Nodes that take the place of others: newer hosts put them into workflows and prompts that still have the old ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy_api import latest


@dataclass(frozen=True)
class Replacement:
    """What became of a node whose id is no longer there.

    ``inputs`` are the new ones by the old, all of them, also those that kept their name: the host drops the others.
    ``values`` are for inputs that the old node did not have. ``widgets`` are the old node's in the order in which
    workflows hold their values; what the page adds after a seed counts too, as "control_after_generate". ``outputs``
    are the new positions by the old.
    """

    old: str
    new: str
    inputs: Mapping[str, str]
    widgets: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[int, int] = field(default_factory=dict)

    def declared(self) -> dict[str, Any]:
        """The arguments of the host's `io.NodeReplace`."""
        renamed = [{"new_id": new, "old_id": old} for old, new in self.inputs.items()]
        return {
            "new_node_id": self.new,
            "old_node_id": self.old,
            "old_widget_ids": list(self.widgets),
            "input_mapping": renamed + [{"new_id": new, "set_value": value} for new, value in self.values.items()],
            "output_mapping": [{"new_idx": new, "old_idx": old} for old, new in self.outputs.items()],
        }


async def register_replacements(replacements: Sequence[Replacement]) -> None:
    """Tell the host of them. Hosts that know no replacements go on saying that the old node is missing."""
    node_replace = getattr(latest.io, "NodeReplace", None)
    if node_replace is None:
        return
    api: Any = latest.ComfyAPI()
    for each in replacements:
        await api.node_replacement.register(node_replace(**each.declared()))
