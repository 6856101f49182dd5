"""How long a run goes, and where it begins."""

from __future__ import annotations

from torch import Tensor


def steps(value: int) -> None:
    """At least one step."""
    if value < 1:
        raise ValueError(f"steps is {value}: set it to 1 or more (50 is a good start, the paper uses 200).")


def left_after(skip: float, sigmas: Tensor) -> Tensor:
    """The schedule (n + 1,) without the share `skip` of its steps at the noisy end; at least one step is left."""
    skipped = round(skip * (len(sigmas) - 1))
    if skipped >= len(sigmas) - 1:
        raise ValueError(f"skip is {skip:g}, which leaves out all {len(sigmas) - 1} steps: lower it.")
    return sigmas[skipped:]
