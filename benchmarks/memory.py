"""Memory of a process (Linux)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")


def resident(field: str) -> int:
    """Resident memory of this process in bytes: now (VmRSS) or at its peak (VmHWM)."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def growth(work: Callable[[], object]) -> int:
    """Bytes by which work raises the resident memory of this process at its peak.

    The peak so far is forgotten before: loading took more than the work may take, and a process inherits the peak of
    its parent.
    """
    (PROCESS / "clear_refs").write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before
