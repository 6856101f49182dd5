"""The job function: one prompt on one server, from pictures in to results out. Threads and Ray workers run the same."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from comfy_client import ComfyClient, ComfyError, OutputFile, Progress, Prompt, PromptResult, ServerFailed

_PAUSES = (0, 1, 4)
"""Seconds before each attempt, when a connection breaks off and the server is still there."""
_CONNECTION_ERRORS = (
    *(ServerFailed, OSError, aiohttp.ClientError, http.client.HTTPException),
    json.JSONDecodeError,  # the answer of something in between
)
_GATEWAY_ERRORS = {502, 503, 504, *range(520, 528), 530}
"""What a proxy answers, Cloudflare's too, for a server behind it that is away."""
_COUNTER = re.compile(r"_\d{5,}_?$")
"""What the host adds to a result's name, counted by each server for itself."""


@dataclass(frozen=True)
class Task:
    """All a worker needs, wherever it runs: ``pictures`` are file contents by the name that the prompt has for them."""

    prompt_id: str
    prompt: Prompt
    pictures: dict[str, bytes]


@dataclass(frozen=True)
class Result:
    """A file that a prompt made. ``kind`` is its name on the server without the counter, such as "edited"."""

    kind: str
    suffix: str
    content: bytes


@dataclass(frozen=True)
class Done:
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Failed:
    """The server is well, and the prompt did not succeed. The message is a sentence."""

    message: str


@dataclass(frozen=True)
class ServerLost:
    """The server is gone; another may do the job. The message is a sentence."""

    message: str


Outcome = Done | Failed | ServerLost


def run_task(address: str, task: Task, on_progress: Callable[[Progress], None] | None = None) -> Outcome:
    """Run one task on the server at ``address``. Whatever goes wrong is an outcome, not an exception.

    Running it again is safe: a prompt that the server already has is not queued twice, only its results are fetched.
    """
    client = ComfyClient(address)
    problem = ""
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            return Done(tuple(_run(client, task, on_progress)))
        except urllib.error.HTTPError as error:
            answer = f"answered '{error.code} {error.reason}' to {error.url}."
            if error.code not in _GATEWAY_ERRORS:
                return Failed(f"{client.url} {answer}")
            problem = f"it {answer}"
        except _CONNECTION_ERRORS as error:
            problem = str(error) or type(error).__name__
        except ComfyError as error:
            return Failed(str(error))
        except Exception as error:  # what nobody foresaw in one job must not end the others
            return Failed(f"It ended in an unexpected error ({type(error).__name__}: {error}).")
        if not client.is_up():
            return ServerLost(f"{client.url} is away: {problem}")
    return ServerLost(f"{client.url} breaks off its connections: {problem}")


def _run(client: ComfyClient, task: Task, on_progress: Callable[[Progress], None] | None) -> Iterator[Result]:
    for name, content in task.pictures.items():
        client.upload(name, content)
    result = client.run(task.prompt, prompt_id=task.prompt_id, on_progress=on_progress, timeout=None)
    for file in _result_files(result):
        path = Path(file.filename)
        kind = _COUNTER.sub("", path.stem) if file.kind == "output" else "preview"
        yield Result(kind, path.suffix, client.fetch(file))


def _result_files(result: PromptResult) -> list[OutputFile]:
    """What was saved, of any kind, or what was previewed if the prompt saves nothing. Nodes may also report texts."""
    keys = {
        key: None
        for output in result.outputs.values()
        for key, entries in output.items()
        if all(isinstance(entry, dict) and "filename" in entry for entry in entries)
    }
    files = [file for key in keys for file in result.files(key)]
    return [file for file in files if file.kind == "output"] or [file for file in files if file.kind == "temp"]
