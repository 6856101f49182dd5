"""Check everything: ruff, pyright, then the tests on a real ComfyUI.

    python tools/test.py                             run all checks
    python tools/test.py tests/svg -x                pass arguments to pytest
    python tools/test.py --only-pytest tests/svg     skip ruff and pyright
    python tools/test.py -n 0 --pdb                  run in one process, for the debugger

The first run sets up its own ComfyUI, which takes a few minutes. You do not need to install anything else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from devhost import CHECKOUT, HostError, ensure

NO_NETWORK = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
"""Keeps pyright from checking online for a newer version at every run."""
PARALLEL = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Each file runs on one worker, because its tests share servers and models; the slow browser tests run first."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only-pytest", action="store_true", help="skip ruff and pyright")
    options, pytest_arguments = parser.parse_known_args()
    try:
        python = ensure(["tests"], report=print).python
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checks = {} if options.only_pytest else _static_checks(python)
    checks["pytest"] = ["--import-mode=importlib", *PARALLEL, *pytest_arguments]
    failed = [name for name, arguments in checks.items() if not _passes(python, name, arguments)]
    return 1 if failed else 0


def _static_checks(python: Path) -> dict[str, list[str]]:
    return {"ruff": ["check", "."], "pyright": []}


def _passes(python: Path, module: str, arguments: list[str]) -> bool:
    """Run one tool in the host's interpreter, under a heading."""
    print(f"\n=== {module} ===", flush=True)
    command = [str(python), "-m", module, *arguments]
    return subprocess.call(command, cwd=CHECKOUT, env={**os.environ, **NO_NETWORK}) == 0


if __name__ == "__main__":
    sys.exit(main())
