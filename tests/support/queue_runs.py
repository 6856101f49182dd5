"""Helpers that run `tools/queue.py` and check its results."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from comfy_client import Prompt
from comfy_server import ComfyServer
from PIL import Image

Popen = subprocess.Popen[str]
Start = Callable[..., Popen]
"""Starts the command with the given arguments."""
INVERT: Prompt = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "any.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}


def kill(server: ComfyServer) -> None:
    """Kill a server, as a crash would."""
    _process(server).kill()


@contextmanager
def files_limited(server: ComfyServer, size: int) -> Iterator[None]:
    """Let a server write no file larger than ``size`` bytes. Writing more fails as on a full disk."""
    process = _process(server)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


def _process(server: ComfyServer) -> psutil.Process:
    living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    [process] = [each for each in living if str(server.port) in each.cmdline()]
    return process


def finish(process: Popen) -> tuple[int, list[str], str]:
    """The exit status, the result paths printed since the last read, and the text on stderr."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out.splitlines(), err


def manifest(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / "manifest.jsonl").read_text().splitlines()]


def times(results: Path, state: str) -> Counter[str]:
    """How often each job entered a state."""
    return Counter(line["job"] for line in manifest(results) if line.get("state") == state)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def assert_each_inverted_once(images: Path, results: Path) -> None:
    """Every image has exactly one result, and the folder holds nothing else."""
    expected = {f"{image.stem}_inverted.png": image for image in images.glob("*.png")}
    assert {path.name for path in results.iterdir()} == {*expected, "manifest.jsonl", ".manifest.lock"}
    for name, image in expected.items():
        assert np.abs(255 - pixels(image) - pixels(results / name)).max() <= 1  # ComfyUI rounds when it saves
    assert times(results, "done") == Counter({line["job"]: 1 for line in manifest(results)})
