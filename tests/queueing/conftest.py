"""Two real servers, many small pictures, and the command as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_client import Prompt
from comfy_server import ComfyServer
from devhost import CHECKOUT, Host
from PIL import Image
from support.queue_runs import Popen, Start

COMMAND = [sys.executable, str(CHECKOUT / "tools" / "queue.py")]
INVERT: Prompt = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "any.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
PICTURES = 40


@pytest.fixture(scope="session")
def info(server: ComfyServer) -> dict[str, Any]:
    """What the server says about its nodes."""
    return server.client.object_info()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command; it is ended with the test. Results go to `results` in the test's folder."""
    with ExitStack() as stack:

        def start(*arguments: object, **environment: str) -> Popen:
            command = [*COMMAND, *map(str, arguments), "--output", str(tmp_path / "results")]
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={**os.environ, **environment},
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def invert(tmp_path: Path) -> Path:
    """The quickest workflow there is, in API format."""
    path = tmp_path / "invert.json"
    path.write_text(json.dumps(INVERT))
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(values).save(folder / f"p{number:02}.png")
    (folder / "readme.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="session")
def second_server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ComfyServer]]:
    """Returns a second server. Tests may kill it: the next one then gets another."""
    servers: list[ComfyServer] = []
    with ExitStack() as stack:

        def running() -> ComfyServer:
            if not servers or not servers[-1].client.is_up():
                servers.append(stack.enter_context(ComfyServer(host.comfyui, tmp_path_factory.mktemp("second"))))
            return servers[-1]

        yield running


@pytest.fixture
def second(second_server: Callable[[], ComfyServer]) -> ComfyServer:
    return second_server()
