"""What only some operating systems have."""

from __future__ import annotations

import os

import pytest

POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals, pipes, permissions or limits.")
