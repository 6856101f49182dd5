"""The outcome of a job if the job, its server or a gateway fails."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from comfy_client import Prompt
from comfy_server import ComfyServer
from PIL import Image
from queueing.work import Done, Failed, Refused, ServerLost, Task, run_task
from support.gateway import gateway
from support.queue_runs import Start, files_limited, finish, manifest
from support.systems import POSIX

GENERATE: Prompt = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "empty"}},
}
TASK = Task(str(uuid.UUID(int=1)), GENERATE, {"any.png": b""})


@pytest.mark.parametrize("status", [502, 503, 504, 522])
def test_gateway_error_means_the_server_is_lost(status: int):
    with gateway(status=status) as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    url = f"http://127.0.0.1:{port}"
    assert isinstance(outcome, ServerLost)
    assert outcome.message.startswith(f"{url} is unreachable: it answered '{status} ")


def test_server_with_an_error_does_not_do_the_job():
    with gateway(status=500) as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    url = f"http://127.0.0.1:{port}"
    assert outcome == Refused(f"{url} answered '500 Internal Server Error' to {url}/upload/image.")


def test_unexpected_response_does_not_do_the_job():
    with gateway(answer=b"{}") as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    assert outcome == Refused("The job stopped with an unexpected error (KeyError: 'subfolder').")


def test_refusal_is_told_with_its_details(server: ComfyServer):
    unknown = {"1": {"class_type": "Nowhere", "inputs": {}}}
    outcome = run_task(server.url, Task(str(uuid.uuid4()), unknown, {}))
    assert isinstance(outcome, Refused)
    assert outcome.message.startswith("ComfyUI refused the prompt: ")
    assert outcome.message.endswith("(Node ID '#1')")
    wide = {**GENERATE, "1": {**GENERATE["1"], "inputs": {**GENERATE["1"]["inputs"], "width": 0}}}
    outcome = run_task(server.url, Task(str(uuid.uuid4()), wide, {}))
    assert outcome == Refused("ComfyUI refused the prompt: node 1 (EmptyImage): Value 0 smaller than min of 1 (width)")


def test_part_that_the_server_leaves_out_is_told(server: ComfyServer):
    """As the page, which marks the node, ComfyUI runs the other outputs."""
    prompt = {**GENERATE, "3": {"class_type": "PreviewImage", "inputs": {}}}
    outcome = run_task(server.url, Task(str(uuid.uuid4()), prompt, {}))
    assert isinstance(outcome, Done)
    assert [result.kind for result in outcome.results] == ["empty"]
    assert outcome.warning == (
        "ComfyUI left a part of the prompt out: node 3 (PreviewImage): Required input is missing (images)"
    )


def test_file_that_cannot_be_fetched_fails_the_job(server: ComfyServer):
    with gateway(behind=server.port, status=404, only="/view") as port:
        outcome = run_task(f"http://127.0.0.1:{port}", Task(str(uuid.uuid4()), GENERATE, {}))
    assert isinstance(outcome, Failed)
    assert re.search(r" made files but could not send 'empty_\d+_\.png' \(404 Not Found\)\.$", outcome.message)


@POSIX
def test_server_that_cannot_write_does_not_do_the_job(server: ComfyServer):
    """A limit on the size of files stands in for a full disk."""
    red = {**GENERATE, "1": {**GENERATE["1"], "inputs": {**GENERATE["1"]["inputs"], "color": 0xFF0000}}}
    with files_limited(server, 64):
        outcome = run_task(server.url, Task(str(uuid.uuid4()), red, {}))
    assert isinstance(outcome, Refused)
    assert outcome.message.startswith("Node 2 (SaveImage) failed: [Errno 27] File too large")


def test_names_of_files_on_the_server(server: ComfyServer):
    for folder, name in (("input", "here.png"), ("input/clipspace/deep", "p [x].png"), ("output", "made.png")):
        (server.workdir / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(server.workdir / folder / name)
    there = "here.png", "here.png [input]", "clipspace/deep/p [x].png", "clipspace/deep/p [x].png [input]"
    gone = "made.png", "here.png [output]", "p [x].png", "../here.png", "a\0b.png", "clipspace", ""
    assert [name for name in (*there, "made.png [output]", *gone) if server.client.has_file(name)] == [
        *(*there, "made.png [output]")
    ]


def test_upload_with_a_quote_in_its_name(server: ComfyServer):
    assert server.client.upload('a"\r\nb.png', b"1") == "a%22%0D%0Ab.png"


def test_password_is_sent_but_never_written(
    server: ComfyServer, start: Start, invert: Path, images: Path, tmp_path: Path
):
    image = images / "p00.png"
    with gateway(behind=server.port, user="me:p@ss") as port:
        url = f"http://127.0.0.1:{port}"
        code, _, stderr = finish(start(invert, "--image", image, "--server", f"127.0.0.1:{port}"))
        assert code == 2
        assert stderr.startswith(
            f"error: {url} answered '401 Unauthorized'. Write its address as USER:PASSWORD@HOST:PORT. "
        )
        code, paths, stderr = finish(start(invert, "--image", image, "--server", f"me:p%40ss@127.0.0.1:{port}"))
    assert code == 0, stderr
    assert paths == [str(tmp_path / "results" / "p00_inverted.png")]
    assert "p%40ss" not in stderr + (tmp_path / "results" / "manifest.jsonl").read_text()
    assert [line["server"] for line in manifest(tmp_path / "results") if "server" in line] == [url]
