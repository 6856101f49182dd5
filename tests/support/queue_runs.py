"""What tests of `tools/queue.py` do with a run of it, and look for in what it leaves."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from comfy_server import ComfyServer
from PIL import Image

Popen = subprocess.Popen[str]
Start = Callable[..., Popen]
"""Starts the command with these arguments."""


def kill(server: ComfyServer) -> None:
    """End a server as a crash would."""
    living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    [process] = [each for each in living if str(server.port) in each.cmdline()]
    process.kill()


def finish(process: Popen) -> tuple[int, list[str], str]:
    """The exit status of the command, the results that it still named, and what it said on stderr."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out.splitlines(), err


def manifest(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / "manifest.jsonl").read_text().splitlines()]


def times(results: Path, state: str) -> Counter[str]:
    """How often each job came to a state."""
    return Counter(line["job"] for line in manifest(results) if line.get("state") == state)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def assert_each_inverted_once(pictures: Path, results: Path) -> None:
    """Every picture has its one result, and nothing else is there."""
    expected = {f"{picture.stem}_inverted.png": picture for picture in pictures.glob("*.png")}
    assert {path.name for path in results.iterdir()} == {*expected, "manifest.jsonl", ".manifest.lock"}
    for name, picture in expected.items():
        expected_values, found = 255 - pixels(picture), pixels(results / name)
        assert np.abs(expected_values - found).max() <= 1  # the host's rounding
    assert times(results, "done") == Counter({line["job"]: 1 for line in manifest(results)})
