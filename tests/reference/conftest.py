"""The reference model, loaded once per file."""

from __future__ import annotations

import pytest

from tools.reference import in_process


@pytest.fixture(scope="module")
def reference() -> in_process.Reference:
    return in_process.load()
