"""The host's text encoders, and messages on nodes and to the page."""

from __future__ import annotations

import sys
from typing import Any

from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.utils import get_executing_context

NOTE_EVENT = "dreamsampler.note"
"""Its data: the `node` that runs, and the `text` that the page script shows on it."""


def show_on_node(text: str) -> None:
    """Show text on the running node, in place of the one before.

    By an event of its own: newer pages remove the host's progress text when a prompt ends, and break its words. After
    the run the page script shows what the node returns as `text`. No-op outside a server.
    """
    if text:
        send_event(NOTE_EVENT, {"text": text})


def send_event(event: str, data: dict[str, Any]) -> None:
    """Send an event to the page that queued the prompt, with the id of the running `node`. No-op outside a server."""
    running = get_executing_context()
    server = sys.modules.get("server")
    if running is not None and server is not None:
        page = server.PromptServer.instance
        page.send_sync(event, {"node": running.node_id, **data}, page.client_id)


def blocked(message: str) -> ExecutionBlocker:
    """The value of an unavailable output: nodes connected to it do not run and show the message."""
    return ExecutionBlocker(message)


def tokenize(clip: Any, prompt: str) -> dict[str, list]:
    """A prompt's tokens with word ids, by the name of each loaded text encoder of a CLIP.

    The tokenizers of SD3 and HiDream also cover encoders that are not loaded.
    """
    model = clip.cond_stage_model

    def loaded(encoder: str) -> bool:
        return all(getattr(model, name, encoder) is not None for name in (encoder, f"clip_{encoder}"))

    return {name: chunks for name, chunks in clip.tokenize(prompt, return_word_ids=True).items() if loaded(name)}
