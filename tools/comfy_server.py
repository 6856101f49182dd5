"""Runs a private ComfyUI server in its own process.

with ComfyServer(host, workdir) as server:
    result = server.client.run(prompt)
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from comfy_client import ComfyClient, ServerFailed
from devhost import Host

if TYPE_CHECKING:
    from typing_extensions import Self

_LOG_TAIL_LINES = 25


class ComfyServer:
    """A server process with a free port and its own input, output, temp and user folders under ``workdir``.

    A context manager: entering waits until the server answers, leaving always stops the process. It runs on the
    interpreter of this process. ``arguments`` come last, and override the host's.
    """

    def __init__(self, host: Host, workdir: Path, *, arguments: Sequence[str] = (), ready_seconds: float = 180):
        self.workdir = workdir
        self.port = _free_port()
        self.client = ComfyClient(f"http://127.0.0.1:{self.port}")
        main = [sys.executable, str(host.comfyui / "main.py")]
        self._command = [*main, *self._options(), *host.server_arguments, *arguments]
        self._environment = {**os.environ, **host.environment}
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.client.url

    @property
    def log(self) -> Path:
        """The output of the server."""
        return self.workdir / "server.log"

    def __enter__(self) -> Self:
        for folder in self._folders().values():
            folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:  # including Ctrl-C: no server may be left running
            self._stop(self._process)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process:
            self._stop(self._process)

    def wait(self) -> None:
        """Block until the server stops by itself."""
        if self._process:
            self._process.wait()

    def _folders(self) -> dict[str, Path]:
        return {name: self.workdir / name for name in ("input", "output", "temp", "user")}

    def _options(self) -> list[str]:
        options = ["--listen", "127.0.0.1", "--port", str(self.port), "--disable-api-nodes", "--disable-auto-launch"]
        options += ["--database-url", f"sqlite:///{self.workdir / 'comfyui.db'}"]
        for name, folder in self._folders().items():
            options += [f"--{name}-directory", str(folder)]
        return options if _has_cuda() else [*options, "--cpu"]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._ready_seconds
        while not self.client.is_up():
            if process.poll() is not None:
                raise ServerFailed(f"ComfyUI stopped with status {process.returncode} during startup.\n{self._tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"ComfyUI did not answer within {self._ready_seconds:.0f} s.\n{self._tail()}")
            time.sleep(0.2)

    def _tail(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join([f"The last lines of {self.log}:", *lines[-_LOG_TAIL_LINES:]])

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _has_cuda() -> bool:
    import torch  # imported late because it takes seconds

    return torch.cuda.is_available()
