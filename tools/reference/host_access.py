"""Makes the development host's `comfy` importable outside its server, on a GPU where there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def import_comfy() -> None:
    """Put the development host on the import path. Raises FileNotFoundError where it was not set up."""
    folder = Path(os.environ.get("DREAMSAMPLER_HOST", CHECKOUT / ".host")) / "ComfyUI"
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no development host in {folder}; run `python tools/demo.py` once to set it up.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
