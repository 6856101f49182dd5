"""A small client of ComfyUI's HTTP API.

    client = ComfyClient("http://127.0.0.1:8188")
    client.upload_image(Path("photo.png"))
    result = client.run(prompt, on_progress=show)
    image = client.fetch(result.files("images")[0])

Prompts are in API format: a dict of node id to ``{"class_type", "inputs", "_meta": {"title"}}``.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import unicodedata
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
"""How long to wait for an event before checking whether the prompt still exists."""
_ANNOTATED = re.compile(r"(.*?)(?: ?\[(input|output|temp)\])?", re.DOTALL)
"""A file name of a node, and the folder that it may name."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Ignores proxy settings, which are meant for the internet: the server is on this machine or nearby."""


_MACHINE_ERRORS = re.compile(r"\[(Errno (5|13|24|27|28|30|122)|WinError (5|112))\]")
"""Codes of system errors that tell of the machine, not of the prompt: a full or read-only disk, missing permissions."""
_BIDIRECTIONAL = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    """The text in one line, without characters that control a terminal: servers and files may contain any."""
    spaced = " ".join(text.split())
    return "".join("\ufffd" if _is_control(each) else each for each in spaced)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDIRECTIONAL


class ComfyError(Exception):
    """Base class of errors reported by or about the server. The message is readable by users."""


class ServerFailed(ComfyError):
    """The server did not start, or stopped during a prompt."""


class PromptRefused(ComfyError):
    """The server rejected the prompt before running it."""


class ExecutionFailed(ComfyError):
    """A node raised an exception. ``message`` is the text of that exception, ``file`` the source that raised it."""

    def __init__(self, node_id: str, node_type: str, message: str, file: str = ""):
        super().__init__(f"Node {node_id} ({node_type}) failed: {message}")
        self.node_id = node_id
        self.node_type = node_type
        self.message = message
        self.file = file

    @property
    def concerns_the_machine(self) -> bool:
        """Whether the same prompt may succeed on another machine, because this one cannot write files."""
        return bool(_MACHINE_ERRORS.search(self.message))


class PromptInterrupted(ComfyError):
    """The run was canceled."""


@dataclass(frozen=True)
class Progress:
    """A node's progress: ``value`` of ``maximum`` steps done."""

    node_id: str
    value: int
    maximum: int


@dataclass(frozen=True)
class OutputFile:
    """A file written by a node, as named by the server. ``kind`` is output, temp or input."""

    filename: str
    subfolder: str
    kind: str


@dataclass(frozen=True)
class PromptResult:
    """The outputs of a finished prompt by node id, as sent to the user interface.

    ``warning`` is a sentence if the server ran only a part of the prompt, else empty.
    """

    prompt_id: str
    outputs: dict[str, dict[str, Any]]
    warning: str = ""

    def files(self, key: str = "images", node_id: str | None = None) -> list[OutputFile]:
        """The files listed under ``key`` by one node, or by all nodes in order."""
        nodes = self.outputs.values() if node_id is None else [self.outputs.get(node_id, {})]
        entries = [entry for output in nodes for entry in output.get(key, [])]
        return [OutputFile(entry["filename"], entry["subfolder"], entry["type"]) for entry in entries]


def find_node(prompt: Prompt, title: str) -> str:
    """The id of the only node with this title. Raises LookupError if there is not exactly one."""
    found = [node_id for node_id, node in prompt.items() if node.get("_meta", {}).get("title") == title]
    if len(found) != 1:
        raise LookupError(f"The prompt has {len(found)} nodes titled '{title}'; it needs exactly one.")
    return found[0]


class ComfyClient:
    """Talks to one running server. ``url`` does not include the user and password of its address."""

    def __init__(self, address: str):
        """``address`` is http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT for a proxy with a password."""
        self.url, self._headers = _without_password(address)

    def object_info(self, node_type: str | None = None) -> dict[str, Any]:
        """The definitions of all node types by name, or of one type (empty if unknown)."""
        return self._json("/object_info" + (f"/{urllib.parse.quote(node_type)}" if node_type else ""))

    def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            self._request("/system_stats")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def has_file(self, name: str) -> bool:
        """Whether the server has the file that a node names, such as "photo.png" or "folder/photo.png [output]".

        True if the server does not say: it checks the name itself when it gets the prompt.
        """
        path, folder = _ANNOTATED.fullmatch(name).groups()  # pyright: ignore[reportOptionalMemberAccess]
        subfolder, _, filename = path.replace("\\", "/").rpartition("/")
        query = {"filename": filename, "subfolder": subfolder, "type": folder or "input"}
        try:
            self._request("/view?" + urllib.parse.urlencode(query, errors="surrogatepass"), method="HEAD")
        except urllib.error.HTTPError as error:
            return error.code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
        except (OSError, http.client.HTTPException):
            return True
        return True

    def upload_image(self, path: Path) -> str:
        """Upload an image to the server's input folder. Returns the name to use in LoadImage."""
        return self.upload(path.name, path.read_bytes())

    def upload(self, name: str, content: bytes) -> str:
        """Upload a file to the server's input folder. Returns the name to use in nodes that load it."""
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
        """Queue ``prompt`` and wait until it ends.

        A prompt that the server already has under ``prompt_id`` is not queued again, only waited for. After ``timeout``
        seconds, if set, the run is canceled. Raises PromptRefused, ExecutionFailed or PromptInterrupted.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        try:
            warning = asyncio.run(asyncio.wait_for(self._run(prompt, prompt_id, on_progress), timeout))
        except asyncio.TimeoutError as error:  # not yet the built-in TimeoutError in Python 3.10
            self.interrupt()
            raise PromptInterrupted(f"The run took longer than {timeout:.0f} s and was canceled.") from error
        return _result(prompt_id, self.history(prompt_id), warning)

    def history(self, prompt_id: str) -> dict[str, Any]:
        """The server's record of a finished prompt: prompt, outputs and status."""
        record = self._json(f"/history/{prompt_id}")
        if prompt_id not in record:
            raise ComfyError(f"The server has no record of prompt {prompt_id}. It has not finished, or is unknown.")
        return record[prompt_id]

    def fetch(self, file: OutputFile) -> bytes:
        """The content of a file written by a node."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.kind}
        return self._request("/view?" + urllib.parse.urlencode(query))

    def interrupt(self) -> None:
        """Cancel the running prompt at its next step. Safe to call from a progress callback."""
        self._request("/interrupt", b"{}")

    def cancel(self, prompt_id: str) -> None:
        """Remove one prompt from the queue, or interrupt it if it is running. Other prompts are not affected."""
        self._request("/queue", json.dumps({"delete": [prompt_id]}).encode())
        self._request("/interrupt", json.dumps({"prompt_id": prompt_id}).encode())

    async def _run(self, prompt: Prompt, prompt_id: str, on_progress: Callable[[Progress], None] | None) -> str:
        """Run a prompt and follow its events. Returns what the server says about parts that it leaves out.

        Listens before queueing, so that no event is lost. The client id is the prompt id: the server sends the events
        of a prompt to the client that queued it, so a client that reconnects receives them again.
        """
        address = f"{self.url}/ws?clientId={prompt_id}"
        warning = ""
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.ws_connect(address, max_msg_size=0) as events,
        ):
            if not self._is_known(prompt_id):
                warning = self._queue(prompt, prompt_id)
            while not self._has_ended(prompt_id):
                if not await _follow(events, prompt_id, on_progress) and not self._is_known(prompt_id):
                    raise PromptInterrupted("The run was canceled before it started.")
        return warning

    def _has_ended(self, prompt_id: str) -> bool:
        return prompt_id in self._json(f"/history/{prompt_id}")

    def _is_waiting(self, prompt_id: str) -> bool:
        """Whether the prompt is running or queued."""
        queue = self._json("/queue")
        return any(entry[1] == prompt_id for entry in [*queue["queue_running"], *queue["queue_pending"]])

    def _is_known(self, prompt_id: str) -> bool:
        return self._is_waiting(prompt_id) or self._has_ended(prompt_id)

    def _queue(self, prompt: Prompt, prompt_id: str) -> str:
        """Queue a prompt. Returns a warning if the server leaves a part of it out, as the page would show on a node."""
        body = json.dumps({"prompt": prompt, "client_id": prompt_id, "prompt_id": prompt_id}).encode()
        try:
            problems = _problems(json.loads(self._request("/prompt", body)), prompt)
        except urllib.error.HTTPError as error:
            reply = _json_object(error.read()) if error.code == HTTPStatus.BAD_REQUEST else None
            if reply is None:
                raise
            raise PromptRefused(_refusal(reply, prompt)) from error
        return f"ComfyUI left a part of the prompt out: {problems}" if problems else ""

    def _json(self, path: str) -> dict[str, Any]:
        return json.loads(self._request(path))

    def _request(
        self, path: str, body: bytes | None = None, content_type: str = "application/json", method: str | None = None
    ) -> bytes:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": content_type}, method=method)
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)  # a redirect must not send the password to another server
        with _OPENER.open(request, timeout=_REQUEST_SECONDS) as response:
            return response.read()


async def _follow(
    events: aiohttp.ClientWebSocketResponse, prompt_id: str, on_progress: Callable[[Progress], None] | None
) -> bool:
    """Report progress until the server says that the prompt has ended, successfully or not.

    Returns False after a while without events: the server sends none for a prompt that is removed from the queue.
    """
    while True:
        try:
            event = await events.receive(_SILENCE_SECONDS)
        except asyncio.TimeoutError:
            return False
        if event.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            raise ServerFailed("The server closed the connection before the prompt ended.")
        if event.type != aiohttp.WSMsgType.TEXT:
            continue  # a preview image
        message = json.loads(event.data)
        data = message["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if message["type"] == "progress" and on_progress:
            on_progress(Progress(data["node"], data["value"], data["max"]))
        if message["type"] == "executing" and data["node"] is None:
            return True


def _result(prompt_id: str, record: dict[str, Any], warning: str) -> PromptResult:
    for event, data in record["status"]["messages"]:
        if event == "execution_error":
            frames = re.findall(r'^ *File "([^"]+)"', "".join(data.get("traceback") or []), re.MULTILINE)
            file = frames[-1] if frames else ""
            raise ExecutionFailed(data["node_id"], data["node_type"], data["exception_message"].strip(), file)
        if event == "execution_interrupted":
            raise PromptInterrupted(f"The run was canceled at node {data['node_id']} ({data['node_type']}).")
    return PromptResult(prompt_id, record["outputs"], warning)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refusal(reply: dict[str, Any], prompt: Prompt) -> str:
    """The message for a rejected prompt, with every problem and the id and title of its node."""
    return "ComfyUI refused the prompt: " + (_problems(reply, prompt) or _problem(reply.get("error")))


def _problems(reply: dict[str, Any], prompt: Prompt) -> str:
    """What the server says about single nodes. Empty if it says nothing."""
    reports = reply.get("node_errors") or {}  # an empty list in some answers
    return "; ".join(
        f"node {node_id} ({_name(prompt, node_id)}): {_problem(error)}"
        for node_id, report in (reports.items() if isinstance(reports, dict) else ())
        for error in report["errors"]
    )


def _problem(error: Any) -> str:
    """The message of one error and its details, which often hold the only hint."""
    if not isinstance(error, dict):
        return str(error or "it gives no reason")
    message, details = str(error.get("message", "")), str(error.get("details") or "")
    return f"{message} ({details})" if details and details not in message else message or "it gives no reason"


def _name(prompt: Prompt, node_id: str) -> str:
    node = prompt.get(node_id, {})
    return node.get("_meta", {}).get("title") or node.get("class_type", "?")


def _without_password(address: str) -> tuple[str, dict[str, str]]:
    """The address without user and password, and the headers that carry them."""
    parts = urllib.parse.urlsplit(address)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is None:
        return url, {}
    login = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return url, {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"}


def _multipart(filename: str, content: bytes) -> tuple[bytes, str]:
    """The body and content type of a form that uploads one image, replacing an existing one."""
    boundary = uuid.uuid4().hex
    filename = re.sub(r'["\r\n]', lambda mark: f"%{ord(mark[0]):02X}", filename)  # as browsers do
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    return body + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
