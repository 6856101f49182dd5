"""Check everything: ruff, pyright, then the tests on a real ComfyUI.

    python tools/test.py                       all of it
    python tools/test.py tests/svg -x          with arguments for pytest
    python tools/test.py --only-pytest tests/svg
    python tools/test.py -n 0 --pdb           in one process, which a debugger needs

The first run sets up a development host of its own (a few minutes); nothing else needs to be installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from devhost import CHECKOUT, HostError, ensure

NO_NETWORK = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
"""Pyright would ask the network, at every run, whether there is a newer one."""
SIDE_BY_SIDE = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Files are run whole, as their tests share servers and models, and in order: the slowest, the page's, come first."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only-pytest", action="store_true", help="leave out ruff and pyright")
    options, pytest_arguments = parser.parse_known_args()
    try:
        python = ensure(["tests"], report=print).python
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checks = {} if options.only_pytest else _static_checks(python)
    checks["pytest"] = ["--import-mode=importlib", *SIDE_BY_SIDE, *pytest_arguments]
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
