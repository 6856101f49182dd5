"""The host's text encoders, and words to the user on a node."""

from __future__ import annotations

import sys
from typing import Any

from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.utils import get_executing_context


def show_on_node(hidden: Any, text: str) -> None:
    """Show a text on a node itself, which the host's page does for progress but not for a text preview.

    `hidden` is what the host tells a node besides its inputs: None outside a server, where nothing is shown.
    """
    if not (text and hidden and hidden.unique_id):
        return
    from server import PromptServer  # not importable outside a server; inside one it is there

    PromptServer.instance.send_progress_text(text, hidden.unique_id)


def tell_page(event: str, data: dict[str, Any]) -> None:
    """Send an event to the page whose prompt runs, with `node`, which of its nodes does; outside a server, nothing."""
    running = get_executing_context()
    server = sys.modules.get("server")
    if running is not None and server is not None:
        page = server.PromptServer.instance
        page.send_sync(event, {"node": running.node_id, **data}, page.client_id)


def blocked(message: str) -> ExecutionBlocker:
    """The value of an output that cannot be had: whatever is connected to it does not run and shows the message."""
    return ExecutionBlocker(message)


def tokens(clip: Any, text: str) -> dict[str, list]:
    """A CLIP's tokens of a text, with word ids, by the name of each text encoder that it has.

    SD3's and HiDream's tokenize for encoders that may not be loaded.
    """
    model = clip.cond_stage_model

    def loaded(encoder: str) -> bool:
        return all(getattr(model, name, encoder) is not None for name in (encoder, f"clip_{encoder}"))

    return {name: chunks for name, chunks in clip.tokenize(text, return_word_ids=True).items() if loaded(name)}
