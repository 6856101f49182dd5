"""Texts that nodes show on the page, and events that a server sends to it while it runs a prompt."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiohttp
from comfy_client import ComfyClient


def shown_text(output: Any) -> str:
    """The text that a node's output shows on the node."""
    (text,) = output.ui.as_dict()["text"]
    return text


async def texts_on_nodes(client: ComfyClient, prompt: dict[str, Any]) -> dict[str, str]:
    """Run a prompt and return the progress texts that the server sent to the page, by node."""
    found: dict[str, str] = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{client.url}/ws") as events:
        await asyncio.to_thread(client.run, prompt)
        while not found:
            event = await events.receive(timeout=10)
            if event.type == aiohttp.WSMsgType.BINARY and int.from_bytes(event.data[:4], "big") == 3:
                length = int.from_bytes(event.data[4:8], "big")
                found[event.data[8 : 8 + length].decode()] = event.data[8 + length :].decode()
    return found


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
