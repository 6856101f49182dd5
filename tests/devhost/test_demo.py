"""The demo, run as a command."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from devhost import CHECKOUT
from PIL import Image, ImageChops


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without a signal")
@pytest.mark.usefixtures("host")
def test_demo_edits_the_sample_then_serves_until_terminated(tmp_path: Path):
    command = [sys.executable, str(CHECKOUT / "tools" / "demo.py"), "--serve", "--output", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        lines = []
        try:
            for line in demo.stdout:
                lines.append(line.strip())
                if line.startswith("Open http"):
                    break
            url = lines[-1].split()[1]
            urllib.request.urlopen(url).close()
        finally:
            demo.terminate()
        assert demo.wait(30) == 143
    with pytest.raises(OSError, match="Connection refused"):
        urllib.request.urlopen(url)

    paths = [tmp_path / f"{name}.png" for name in ("input", "edited", "side_by_side")]
    assert lines[-4:-1] == [str(path) for path in paths]
    source, edited, side_by_side = (Image.open(path) for path in paths)
    assert ImageChops.difference(source, edited).getbbox() is not None
    assert side_by_side.width > 2 * source.width
