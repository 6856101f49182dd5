"""Queue a workflow on ComfyUI servers: `python tools/queue.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)

if __name__ == "queue":
    # A script's folder comes first on its path, so scripts here that need the standard library's `queue` find this
    # file. It puts that module in its own place.
    import importlib.machinery
    import importlib.util

    elsewhere = [folder for folder in sys.path if str(Path(folder).resolve()) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("queue", elsewhere)
    assert spec and spec.loader
    sys.modules["queue"] = standard = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(standard)

if __name__ == "__main__":
    sys.path.append(HERE)  # for `python -m tools.queue`, which begins in the checkout
    from queueing.command_line import main

    sys.exit(main())
