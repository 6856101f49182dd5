"""Texts that nodes show on the page, and events that a server sends to it while it runs a prompt."""

from __future__ import annotations

import json
import uuid
from typing import Any

import aiohttp
from comfy_client import ComfyClient
from dreamsampler.nodes.host.text import NOTE_EVENT


def shown_text(output: Any) -> str:
    """The text that a node's output shows on the node."""
    (text,) = output.ui.as_dict()["text"]
    return text


async def events_of(client: ComfyClient, prompt: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a prompt like the page does. Returns the events, with `type` and `data`, that the server sent to it."""
    client_id, found = uuid.uuid4().hex, []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{client.url}/ws?clientId={client_id}") as events,
    ):
        await session.post(f"{client.url}/prompt", json={"prompt": prompt, "client_id": client_id})
        async for event in events:
            if event.type == aiohttp.WSMsgType.TEXT:
                found.append(json.loads(event.data))
                if found[-1]["type"] == "executing" and found[-1]["data"]["node"] is None:
                    break
    return found


async def texts_on_nodes(client: ComfyClient, prompt: dict[str, Any]) -> dict[str, str]:
    """Run a prompt like the page does. Returns the last note that the server sent to the page, by node."""
    notes = [event["data"] for event in await events_of(client, prompt) if event["type"] == NOTE_EVENT]
    return {note["node"]: note["text"] for note in notes}
