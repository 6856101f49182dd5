"""The examples that send a template from code, in README.md and docs/templates.md, on a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comfy_client import ComfyClient
from devhost import CHECKOUT
from PIL import Image, ImageChops
from sample_inputs import HEART, REFERENCE

SERVER = "http://127.0.0.1:8188"
SECONDS = 120


def example(page: str, language: str) -> str:
    """The first code of a language on a page that names a server or the queue tool."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (CHECKOUT / page).read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if SERVER in block or "queue.py" in block)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def version_of(program: str, pattern: str) -> tuple[int, ...]:
    """The version that a program reports; (0,) if there is no such program."""
    if shutil.which(program) is None:
        return (0,)
    found = re.search(pattern, subprocess.run([program, "--version"], capture_output=True, text=True).stdout)
    return tuple(map(int, found[1].split("."))) if found else (0,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like a clone of the pack, with an image of the user."""
    shutil.copytree(CHECKOUT / "workflows", tmp_path / "workflows")
    REFERENCE.render(HEART).save(tmp_path / "photo.png")
    return tmp_path


def check_result(client: ComfyClient, prompt_id: str) -> None:
    """Wait for a prompt, which saves one image."""
    end = time.monotonic() + SECONDS
    while prompt_id not in (history := client._json(f"/history/{prompt_id}")):  # noqa: SLF001
        assert time.monotonic() < end, "the prompt has not ended"
        time.sleep(0.2)
    record = history[prompt_id]
    assert record["status"]["status_str"] == "success", record["status"]
    images = [image for output in record["outputs"].values() for image in output.get("images", [])]
    assert len([image for image in images if image["type"] == "output"]) == 1


@pytest.mark.skipif(version_of("curl", r"curl (\d+\.\d+)") < (7, 82), reason="needs curl 7.82, which has --json")
def test_curl(client: ComfyClient, folder: Path):
    answers = run(["bash", "-ec", example("README.md", "bash").replace(SERVER, client.url)], folder)
    uploaded, queued = (json.loads(each) for each in re.findall(r"\{.*?\}(?=\{|\s*$)", answers))
    assert uploaded["name"].startswith("photo")
    check_result(client, queued["prompt_id"])


@pytest.mark.skipif(version_of("node", r"v(\d+)") < (18,), reason="needs Node.js 18")
def test_javascript(client: ComfyClient, folder: Path):
    (folder / "example.mjs").write_text(example("README.md", "js").replace(SERVER, client.url), "utf-8")
    printed = run(["node", "example.mjs"], folder)
    check_result(client, printed.strip().rpartition("/")[2])


def test_python(client: ComfyClient, folder: Path):
    (folder / "example.py").write_text(example("README.md", "python").replace(SERVER, client.url), "utf-8")
    run([sys.executable, "example.py"], folder)
    edited, source = (Image.open(folder / name).convert("RGB") for name in ("edited.png", "photo.png"))
    assert edited.size == source.size and ImageChops.difference(edited, source).getbbox()


def test_the_queue_tool_answers_as_documented(client: ComfyClient, folder: Path):
    command = example("docs/templates.md", "bash").split()
    assert command[:2] == ["python", "tools/queue.py"]
    tool = str(CHECKOUT / "tools" / "queue.py")
    printed = run([sys.executable, tool, *command[2:], "--server", client.url], folder)
    documented = re.findall(r"```json\n(.*?)```", (CHECKOUT / "docs" / "templates.md").read_text("utf-8"), re.DOTALL)
    assert json.loads(printed) == json.loads(documented[0])
    assert (folder / json.loads(printed)["files"][0]).is_file()
