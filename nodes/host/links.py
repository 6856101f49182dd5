"""Which outputs may be linked to which inputs."""

from __future__ import annotations

from typing import Any

from comfy_execution.validation import validate_node_input


def link_fits(received: Any, declared: str) -> bool:
    """Whether an output of the type `received` may be linked to an input.

    As the host decides, but choices also take text and other nodes' lists of choices on all versions of the host.
    """
    if declared == "COMBO" and (isinstance(received, list) or "STRING" in str(received).split(",")):
        return True
    return validate_node_input(received, declared)
