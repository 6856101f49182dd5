"""Check everything: ruff, then the tests on a real ComfyUI, with pyright beside them.

    python tools/test.py                             run all checks
    python tools/test.py tests/svg -x                pass arguments to pytest
    python tools/test.py --only-pytest tests/svg     skip ruff and pyright
    python tools/test.py -n 0 --pdb                  run in one process, for the debugger
    python tools/test.py --comfyui FOLDER            run pytest on your own ComfyUI, into which nothing is written

The first run sets up its own ComfyUI, which takes a few minutes. You do not need to install anything else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devhost import CHECKOUT, Host, HostError, add_options, ensure, use

RUFF, PYRIGHT = ("ruff", "check", "."), ("pyright",)
"""They check the code against the development host, and would say the same with any other."""
NO_NETWORK = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
"""Keeps pyright from checking online for a newer version at every run."""
PARALLEL = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Each file runs on one worker, because its tests share servers and models.

tests/conftest.py names those that run first.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # pytest's --co is not --comfyui
    )
    parser.add_argument("--only-pytest", action="store_true", help="skip ruff and pyright")
    add_options(parser)
    options, pytest_arguments = parser.parse_known_args()
    try:
        use(options)
        host = ensure(["tests"], report=print)
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    pytest = ("pytest", "--import-mode=importlib", *PARALLEL, *pytest_arguments)
    if options.only_pytest or host.is_borrowed:
        return 0 if _passes(host, *pytest) else 1
    passed = [_passes(host, *RUFF)]
    with ThreadPoolExecutor() as beside:  # pyright keeps one core busy for a minute
        types = beside.submit(_run, host, *PYRIGHT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        passed.append(_passes(host, *pytest))
    _print_heading(*PYRIGHT)
    print(types.result().stdout, flush=True)
    return 0 if all(passed) and types.result().returncode == 0 else 1


def _passes(host: Host, module: str, *arguments: str) -> bool:
    """Run one tool, under a heading."""
    _print_heading(module)
    return _run(host, module, *arguments).returncode == 0


def _print_heading(module: str) -> None:
    print(f"\n=== {module} ===", flush=True)


def _run(host: Host, module: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one tool in the host's interpreter."""
    environment = {**os.environ, **host.environment, **NO_NETWORK}
    return subprocess.run([str(host.python), "-m", module, *arguments], cwd=CHECKOUT, env=environment, **options)


if __name__ == "__main__":
    sys.exit(main())
