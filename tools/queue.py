"""Queue a workflow on ComfyUI servers: `python tools/queue.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)

if __name__ == "queue":
    # Python puts a script's folder first on its path, so other scripts here that import the standard library's `queue`
    # find this file instead. It then replaces itself with that module.
    import importlib.machinery
    import importlib.util

    elsewhere = [folder for folder in sys.path if str(Path(folder).resolve()) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("queue", elsewhere)
    assert spec and spec.loader
    sys.modules["queue"] = standard = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(standard)

if __name__ == "__main__":
    sys.path.append(HERE)  # for `python -m tools.queue`, which starts in the checkout
    from queueing.command_line import main

    sys.exit(main())
