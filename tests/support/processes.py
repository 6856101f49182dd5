"""Python in a process of its own, whose memory nothing else has used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def printed(code: str, lines: Iterable[str]) -> list[float]:
    """The numbers that code prints, with these lines as its input."""
    packages = str(Path(sys.modules["dreamsampler"].__file__ or "").parents[1])
    path = os.pathsep.join((packages, os.environ.get("PYTHONPATH", "")))
    ran = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(lines), text=True, capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    return [float(word) for word in ran.stdout.split()]
