"""Set up the development host and print its folder: ``python -m tools.devhost [--extra tests]``.

``--packages tests`` only prints what the tests need of another ComfyUI's Python, one package a line.
"""

from __future__ import annotations

import argparse
import sys

from .build import ensure
from .layout import HostError
from .recipe import EXTRAS, packages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.devhost", description=__doc__)
    parser.add_argument(
        "--extra", choices=sorted(EXTRAS), action="append", default=[], help="also install these packages"
    )
    parser.add_argument("--packages", choices=sorted(EXTRAS), help="only print these packages, in pip's words")
    options = parser.parse_args()
    extras = options.extra
    if options.packages:
        print("\n".join(packages(options.packages)))
        return 0
    try:
        host = ensure(extras, report=print)
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The development host is ready in {host.base}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
