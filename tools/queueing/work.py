"""The job function: uploads images to one server, runs one prompt and fetches the results. Ray workers run it too."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from comfy_client import (
    ComfyClient,
    ComfyError,
    ExecutionFailed,
    OutputFile,
    Progress,
    Prompt,
    PromptRefused,
    PromptResult,
    ServerFailed,
)

_PAUSES = (0, 1, 4)
"""Seconds to wait before each attempt, if the connection drops while the server is still up."""
_CONNECTION_ERRORS = (
    *(ServerFailed, OSError, aiohttp.ClientError, http.client.HTTPException),
    json.JSONDecodeError,  # the answer of a proxy
)
_GATEWAY_ERRORS = {502, 503, 504, *range(520, 528), 530}
"""Status codes of proxies, including Cloudflare, whose server is unreachable."""
_COUNTER = re.compile(r"_\d{5,}_?$")
"""The counter that each server adds to the names of its results."""


@dataclass(frozen=True)
class Task:
    """All that a worker needs, wherever it runs. ``uploads`` are file contents by the names used in the prompt."""

    prompt_id: str
    prompt: Prompt
    uploads: dict[str, bytes]


@dataclass(frozen=True)
class Result:
    """A file made by a prompt. ``kind`` is its name on the server without the counter, such as "edited"."""

    kind: str
    suffix: str
    content: bytes


@dataclass(frozen=True)
class Done:
    """``warning`` is a sentence if the server left a part of the prompt out, else empty."""

    results: tuple[Result, ...]
    warning: str = ""


@dataclass(frozen=True)
class Failed:
    """The prompt failed on a server that still works. The message is a sentence, ``results`` are the files it made."""

    message: str
    results: tuple[Result, ...] = ()


@dataclass(frozen=True)
class Refused:
    """The server did not do the job; another one may. The message is a sentence."""

    message: str


@dataclass(frozen=True)
class ServerLost:
    """The server is gone; another one may do the job. The message is a sentence."""

    message: str


Outcome = Done | Failed | Refused | ServerLost


def run_task(address: str, task: Task, on_progress: Callable[[Progress], None] | None = None) -> Outcome:
    """Run one task on the server at ``address``. Every failure is returned as an outcome, not raised.

    Running a task again is safe: a prompt that the server already has is not queued twice; its results are fetched.
    """
    client = ComfyClient(address)
    problem = ""
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            return _run(client, task, on_progress)
        except urllib.error.HTTPError as error:
            answer = f"answered '{error.code} {error.reason}' to {error.url}."
            if error.code not in _GATEWAY_ERRORS:
                return Refused(f"{client.url} {answer}")
            problem = f"it {answer}"
        except _CONNECTION_ERRORS as error:
            problem = str(error) or type(error).__name__
        except PromptRefused as error:
            return Refused(str(error))
        except ExecutionFailed as error:
            return Refused(str(error)) if error.concerns_the_machine else Failed(str(error))
        except ComfyError as error:
            return Failed(str(error))
        except Exception as error:  # an unexpected error in one job must not stop the others
            return Refused(f"The job stopped with an unexpected error ({type(error).__name__}: {error}).")
        if not client.is_up():
            return ServerLost(f"{client.url} is unreachable: {problem}")
    return ServerLost(f"{client.url} keeps dropping the connection: {problem}")


def _run(client: ComfyClient, task: Task, on_progress: Callable[[Progress], None] | None) -> Done | Failed:
    for name, content in task.uploads.items():
        client.upload(name, content)
    result = client.run(task.prompt, prompt_id=task.prompt_id, on_progress=on_progress, timeout=None)
    results, problems = [], []
    for file in _result_files(result):
        path = Path(file.filename)
        kind = _COUNTER.sub("", path.stem) if file.kind == "output" else "preview"
        try:
            results.append(Result(kind, path.suffix, client.fetch(file)))
        except urllib.error.HTTPError as error:
            if error.code in _GATEWAY_ERRORS:
                raise
            problems.append(f"'{file.filename}' ({error.code} {error.reason})")
    if problems:
        return Failed(f"{client.url} made files but could not send {', '.join(problems)}.", tuple(results))
    return Done(tuple(results), result.warning)


def _result_files(result: PromptResult) -> list[OutputFile]:
    """All saved files, or the previews if the prompt saves nothing. Outputs that are not files are ignored."""
    keys = {
        key: None
        for output in result.outputs.values()
        for key, entries in output.items()
        if all(isinstance(entry, dict) and "filename" in entry for entry in entries)
    }
    files = [file for key in keys for file in result.files(key)]
    return [file for file in files if file.kind == "output"] or [file for file in files if file.kind == "temp"]
