"""A small client of ComfyUI's HTTP API.

    client = ComfyClient("http://127.0.0.1:8188")
    client.upload_image(Path("photo.png"))
    result = client.run(prompt, on_progress=show)
    picture = client.fetch(result.files("images")[0])

Prompts are in API format: a dict of node id to ``{"class_type", "inputs", "_meta": {"title"}}``.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

Prompt = dict[str, dict[str, Any]]

_REQUEST_SECONDS = 60
_SILENCE_SECONDS = 5
"""How long to listen before asking whether the prompt is still there."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A server is on this machine or near it: a proxy set for the internet must not be asked."""


class ComfyError(Exception):
    """Something the server said or did; the message is for a person."""


class ServerFailed(ComfyError):
    """The server did not start, or ended while it was needed. The message ends with the tail of its log."""


class PromptRefused(ComfyError):
    """Validation refused the prompt before anything ran."""


class ExecutionFailed(ComfyError):
    """A node raised an exception; ``message`` is that exception's own text."""

    def __init__(self, node_id: str, node_type: str, message: str):
        super().__init__(f"Node {node_id} ({node_type}) failed: {message}")
        self.node_id = node_id
        self.node_type = node_type
        self.message = message


class PromptInterrupted(ComfyError):
    """The run was cancelled."""


@dataclass(frozen=True)
class Progress:
    """A node's progress: ``value`` of ``maximum`` steps done."""

    node_id: str
    value: int
    maximum: int


@dataclass(frozen=True)
class OutputFile:
    """A file that a node wrote, as the server names it; ``kind`` is output, temp or input."""

    filename: str
    subfolder: str
    kind: str


@dataclass(frozen=True)
class PromptResult:
    """What a finished prompt left: per node id, what the node handed to the user interface."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    def files(self, key: str = "images", node_id: str | None = None) -> list[OutputFile]:
        """The files listed under ``key`` by one node, or by all of them in order."""
        nodes = self.outputs.values() if node_id is None else [self.outputs.get(node_id, {})]
        entries = [entry for output in nodes for entry in output.get(key, [])]
        return [OutputFile(entry["filename"], entry["subfolder"], entry["type"]) for entry in entries]


def find_node(prompt: Prompt, title: str) -> str:
    """The id of the only node with this title."""
    found = [node_id for node_id, node in prompt.items() if node.get("_meta", {}).get("title") == title]
    if len(found) != 1:
        raise LookupError(f"The prompt has {len(found)} nodes titled '{title}' where it should have one.")
    return found[0]


class ComfyClient:
    """Talks to one running server. Its ``url`` is without the user and password that it was made with."""

    def __init__(self, address: str):
        """``address`` is http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT for what stands before the server."""
        self.url, self._headers = _without_password(address)

    def object_info(self, node_type: str | None = None) -> dict[str, Any]:
        """The interface of every node type by name, or of the named one alone (empty if unknown)."""
        return self._json("/object_info" + (f"/{urllib.parse.quote(node_type)}" if node_type else ""))

    def is_up(self) -> bool:
        """Whether the server answers at all."""
        try:
            self._request("/system_stats")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def upload_image(self, path: Path, name: str | None = None) -> str:
        """Put an image into the server's input folder and return the name that LoadImage takes."""
        return self.upload(name or path.name, path.read_bytes())

    def upload(self, name: str, content: bytes) -> str:
        """Put a file into the server's input folder and return the name that loading nodes take."""
        body, content_type = _multipart(name, content)
        reply = json.loads(self._request("/upload/image", body, content_type))
        return f"{reply['subfolder']}/{reply['name']}" if reply["subfolder"] else reply["name"]

    def run(
        self,
        prompt: Prompt,
        *,
        prompt_id: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        timeout: float | None = 600,
    ) -> PromptResult:
        """Queue ``prompt`` and wait for its end.

        A prompt that the server already has under ``prompt_id`` is not queued again: its end is awaited. Raises
        PromptRefused, ExecutionFailed or PromptInterrupted. After ``timeout`` seconds, if any, it cancels the run.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        try:
            asyncio.run(asyncio.wait_for(self._run(prompt, prompt_id, on_progress), timeout))
        except asyncio.TimeoutError as error:  # not yet the built-in TimeoutError in Python 3.10
            self.interrupt()
            raise PromptInterrupted(f"The run took longer than {timeout:.0f} s and was cancelled.") from error
        return _result(prompt_id, self.history(prompt_id))

    def history(self, prompt_id: str) -> dict[str, Any]:
        """The server's record of a finished prompt: prompt, outputs, status."""
        record = self._json(f"/history/{prompt_id}")
        if prompt_id not in record:
            raise ComfyError(f"The server has no record of prompt {prompt_id}; it has not finished, or is unknown.")
        return record[prompt_id]

    def fetch(self, file: OutputFile) -> bytes:
        """The content of a file that a node wrote."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.kind}
        return self._request("/view?" + urllib.parse.urlencode(query))

    def interrupt(self) -> None:
        """Cancel the running prompt, at its next step. Safe to call from a progress callback."""
        self._request("/interrupt", b"{}")

    def cancel(self, prompt_id: str) -> None:
        """Take one prompt out of the queue, or interrupt it if it runs. Others are left alone."""
        self._request("/queue", json.dumps({"delete": [prompt_id]}).encode())
        self._request("/interrupt", json.dumps({"prompt_id": prompt_id}).encode())

    async def _run(self, prompt: Prompt, prompt_id: str, on_progress: Callable[[Progress], None] | None) -> None:
        """Listen before queueing, so that no event is lost. The server sends a prompt's events to its client's id,
        so a client that comes back with the same one hears them again."""
        address = f"{self.url}/ws?clientId={prompt_id}"
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.ws_connect(address, max_msg_size=0) as events,
        ):
            if not self._is_known(prompt_id):
                self._queue(prompt, prompt_id)
            while not self._has_ended(prompt_id):
                if not await _follow(events, prompt_id, on_progress) and not self._is_known(prompt_id):
                    raise PromptInterrupted("The run was cancelled before it began.")

    def _has_ended(self, prompt_id: str) -> bool:
        return prompt_id in self._json(f"/history/{prompt_id}")

    def _is_waiting(self, prompt_id: str) -> bool:
        """Whether the prompt runs or waits for its turn."""
        queue = self._json("/queue")
        return any(entry[1] == prompt_id for entry in [*queue["queue_running"], *queue["queue_pending"]])

    def _is_known(self, prompt_id: str) -> bool:
        return self._is_waiting(prompt_id) or self._has_ended(prompt_id)

    def _queue(self, prompt: Prompt, prompt_id: str) -> None:
        body = json.dumps({"prompt": prompt, "client_id": prompt_id, "prompt_id": prompt_id}).encode()
        try:
            self._request("/prompt", body)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.BAD_REQUEST:
                raise
            raise PromptRefused(_refusal(json.loads(error.read()), prompt)) from error

    def _json(self, path: str) -> dict[str, Any]:
        return json.loads(self._request(path))

    def _request(self, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": content_type})
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)  # no other server may learn a password
        with _OPENER.open(request, timeout=_REQUEST_SECONDS) as response:
            return response.read()


async def _follow(
    events: aiohttp.ClientWebSocketResponse, prompt_id: str, on_progress: Callable[[Progress], None] | None
) -> bool:
    """Report progress until the server says that the prompt has ended, well or not, and is in its history.

    Returns False when nothing was said for a while: a prompt that is taken out of the queue ends without a word.
    """
    while True:
        try:
            event = await events.receive(_SILENCE_SECONDS)
        except asyncio.TimeoutError:
            return False
        if event.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            raise ServerFailed("The server closed the connection before the prompt had ended.")
        if event.type != aiohttp.WSMsgType.TEXT:
            continue  # a preview picture
        message = json.loads(event.data)
        data = message["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if message["type"] == "progress" and on_progress:
            on_progress(Progress(data["node"], data["value"], data["max"]))
        if message["type"] == "executing" and data["node"] is None:
            return True


def _result(prompt_id: str, record: dict[str, Any]) -> PromptResult:
    for event, data in record["status"]["messages"]:
        if event == "execution_error":
            raise ExecutionFailed(data["node_id"], data["node_type"], data["exception_message"].strip())
        if event == "execution_interrupted":
            raise PromptInterrupted(f"The run was cancelled at node {data['node_id']} ({data['node_type']}).")
    return PromptResult(prompt_id, record["outputs"])


def _refusal(reply: dict[str, Any], prompt: Prompt) -> str:
    """A validation reply as sentences: one for each complaint, naming the node by id and title."""
    complaints = [
        f"node {node_id} ({_name(prompt, node_id)}): {error['message']} ({error['details']})"
        for node_id, report in reply["node_errors"].items()
        for error in report["errors"]
    ]
    return "ComfyUI refused the prompt: " + ("; ".join(complaints) or reply["error"]["message"])


def _name(prompt: Prompt, node_id: str) -> str:
    node = prompt[node_id]
    return node.get("_meta", {}).get("title") or node["class_type"]


def _without_password(address: str) -> tuple[str, dict[str, str]]:
    """The address of a server alone, and the headers by which it knows the user."""
    parts = urllib.parse.urlsplit(address)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is None:
        return url, {}
    who = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return url, {"Authorization": f"Basic {base64.b64encode(':'.join(who).encode()).decode()}"}


def _multipart(filename: str, content: bytes) -> tuple[bytes, str]:
    """The body and content type of a form with one overwriting image upload."""
    boundary = uuid.uuid4().hex
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    return body + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
