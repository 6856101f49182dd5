"""What nodes show on themselves while a server runs them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from comfy_client import ComfyClient


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
