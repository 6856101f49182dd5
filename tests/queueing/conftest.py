"""Two real servers, a folder of small images, and `tools/queue.py` as a command."""

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
from comfy_server import ComfyServer
from devhost import CHECKOUT, Host
from PIL import Image
from support.queue_runs import INVERT, Popen, Start

COMMAND = [sys.executable, str(CHECKOUT / "tools" / "queue.py")]
IMAGES = 40


@pytest.fixture(scope="session")
def info(server: ComfyServer) -> dict[str, Any]:
    """The server's node definitions."""
    return server.client.object_info()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command, which is killed when the test ends. Results go to `tmp_path / "results"`."""
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
    """A fast workflow, in API format."""
    path = tmp_path / "invert.json"
    path.write_text(json.dumps(INVERT))
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small images and one text file."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(values).save(folder / f"p{number:02}.png")
    (folder / "readme.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="session")
def second_server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ComfyServer]]:
    """Returns a second server. If a test kills it, the next test gets a new one."""
    servers: list[ComfyServer] = []
    with ExitStack() as stack:

        def running() -> ComfyServer:
            if not servers or not servers[-1].client.is_up():
                servers.append(stack.enter_context(ComfyServer(host, tmp_path_factory.mktemp("second"))))
            return servers[-1]

        yield running


@pytest.fixture
def second(second_server: Callable[[], ComfyServer]) -> ComfyServer:
    return second_server()
