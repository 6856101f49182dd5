"""The server of `endurance`, which is started again if it ends."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from dreamsampler.splats import write_ply

from tools.reference import solids

from .endurance_graphs import DRAWINGS, SCENES, images
from .provenance import CHECKOUT

sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import ComfyClient  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from devhost import Host, locate  # noqa: E402
from devhost.links import connect  # noqa: E402

log = logging.getLogger("dreamsampler.benchmarks")


class Server:
    """A ComfyUI that is started again if it ends or does not answer."""

    def __init__(self, folder: Path):
        self.folder, self.starts, self._running = folder, 0, None
        base = Host(folder / "base")  # only for its layout: links to the pack, the companion and the models
        connect(base, report=log.warning, checkout=CHECKOUT)
        self._arguments = ["--base-directory", str(base.comfyui)]
        self.start()

    def start(self) -> None:
        """Start the server, and upload what the graphs load."""
        self.stop()
        self.starts += 1
        workdir = self.folder / f"server_{self.starts}"
        self._running = ComfyServer(locate(), workdir, arguments=self._arguments).__enter__()
        inputs = workdir / "input"
        for name, image in images().items():
            image.save(inputs / name)
        for name, text in DRAWINGS.items():
            (inputs / name).write_text(text, "utf-8")
        (inputs / "folder").mkdir()
        for name in SCENES:
            (inputs / "folder" / name).write_bytes((inputs / name).read_bytes())
        ball, cameras = solids.ball("red", 100), solids.cameras_around(9, 24)
        (inputs / "ball.ply").write_bytes(write_ply(ball))
        solids.write_posed_views(inputs / "views", solids.views_of(ball, cameras), cameras)

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    @property
    def client(self) -> ComfyClient:
        """Talks to the server that runs now."""
        assert self._running is not None
        return self._running.client

    @property
    def inputs(self) -> Path:
        """The folder of the files to load."""
        assert self._running is not None
        return self._running.workdir / "input"

    def memory(self) -> float:
        """The memory of the server now in MiB."""
        children = psutil.Process().children(recursive=True)
        return sum(child.memory_info().rss for child in children) / 2**20

    def is_idle(self, seconds: float) -> bool:
        """Whether nothing is running or waiting, at the latest after some seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            queue = self.client._json("/queue")
            if not (queue["queue_running"] or queue["queue_pending"]):
                return True
            time.sleep(0.2)
        return False

    def free(self) -> None:
        """Tell the server to unload models and drop its cache."""
        self.client._request("/free", json.dumps({"unload_models": True, "free_memory": True}).encode(), "text/json")


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server in a folder, which is stopped at the end."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()
