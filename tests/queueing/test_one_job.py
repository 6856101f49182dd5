"""The outcome of a job on one server when the job, the server or a proxy fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfy_client import Prompt
from comfy_server import ComfyServer
from queueing.work import Failed, ServerLost, Task, run_task
from support.gateway import gateway
from support.queue_runs import Start, finish, manifest

GENERATE: Prompt = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "empty"}},
}
TASK = Task("1" * 32, GENERATE, {"any.png": b""})


@pytest.mark.parametrize("status", [502, 503, 504, 522])
def test_server_is_lost_when_its_gateway_says_so(status: int):
    with gateway(status=status) as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    url = f"http://127.0.0.1:{port}"
    assert isinstance(outcome, ServerLost)
    assert outcome.message.startswith(f"{url} is unreachable: it answered '{status} ")


def test_server_error_fails_the_job():
    with gateway(status=500) as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    url = f"http://127.0.0.1:{port}"
    assert outcome == Failed(f"{url} answered '500 Internal Server Error' to {url}/upload/image.")


def test_unexpected_answer_fails_the_job():
    with gateway(answer=b"{}") as port:
        outcome = run_task(f"http://127.0.0.1:{port}", TASK)
    assert outcome == Failed("The job stopped with an unexpected error (KeyError: 'subfolder').")


def test_password_is_sent_but_never_written(
    server: ComfyServer, start: Start, invert: Path, images: Path, tmp_path: Path
):
    one = images / "p00.png"
    with gateway(behind=server.port, user="me:p@ss") as port:
        url = f"http://127.0.0.1:{port}"
        code, _, stderr = finish(start(invert, "--image", one, "--server", f"127.0.0.1:{port}"))
        assert code == 2
        assert stderr.startswith(
            f"error: {url} answered '401 Unauthorized'. Write its address as USER:PASSWORD@HOST:PORT. "
        )
        code, paths, stderr = finish(start(invert, "--image", one, "--server", f"me:p%40ss@127.0.0.1:{port}"))
    assert code == 0, stderr
    assert paths == [str(tmp_path / "results" / "p00_inverted.png")]
    assert "p%40ss" not in stderr + (tmp_path / "results" / "manifest.jsonl").read_text()
    assert [line["server"] for line in manifest(tmp_path / "results") if "server" in line] == [url]
