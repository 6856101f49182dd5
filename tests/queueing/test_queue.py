"""`tools/queue.py` on real servers: jobs are shared, survive killed processes, and never run twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from comfy_server import ComfyServer
from devhost import CHECKOUT
from PIL import Image
from support.queue_runs import Popen, Start, assert_each_inverted_once, finish, kill, manifest, times
from support.systems import POSIX

SAMPLE = CHECKOUT / "tools" / "assets" / "sample.png"
EDIT = (
    *("edit", "--image", SAMPLE, "--set", "CheckpointLoaderSimple.ckpt_name=dreamsampler_reference.safetensors"),
    *("--set", "Target prompt.text=a blue heart"),
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def read_lines(process: Popen, number: int) -> list[str]:
    """Wait for this many results."""
    assert process.stdout
    return list(islice(process.stdout, number))


def get(server: ComfyServer, path: str) -> dict:
    with urllib.request.urlopen(server.url + path) as reply:
        return json.load(reply)


def wait_until_running(server: ComfyServer) -> str:
    """The id of the prompt that the server is running."""
    deadline = time.monotonic() + 60
    while not (running := get(server, "/queue")["queue_running"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running[0][1]


def test_killed_client_resumes(server: ComfyServer, start: Start, invert: Path, images: Path, results: Path):
    arguments = (invert, "--image", images, "--server", server.url)
    process = start(*arguments)
    read_lines(process, 10)
    process.kill()
    process.wait()
    assert 10 <= len(times(results, "done")) < 40
    with (results / "manifest.jsonl").open("ab") as file:
        file.write(b'{"job": "unfini')  # as after a kill during a write

    code, _, stderr = finish(start(*arguments))
    assert code == 0, stderr
    assert_each_inverted_once(images, results)
    queued = {line["prompt_id"] for line in manifest(results) if line.get("state") == "queued"}
    assert len(queued) == 40
    assert get(server, "/history").keys() >= queued


def test_prompt_of_a_killed_client_does_not_run_again(
    server: ComfyServer, second: ComfyServer, start: Start, results: Path
):
    before = {each.url: get(each, "/history").keys() for each in (server, second)}
    arguments = (*EDIT, "--set", "6.steps=40")
    process = start(*arguments, "--server", second.url)
    prompt_id = wait_until_running(second)
    process.kill()
    code, paths, stderr = finish(start(*arguments, "--server", server.url, "--server", second.url))
    assert code == 0, stderr
    assert paths == [str(results / "sample_edited.png")]
    assert get(server, "/history").keys() == before[server.url]
    assert get(second, "/history").keys() - before[second.url] == {prompt_id}


@POSIX
def test_ctrl_c_cancels_the_prompt_and_says_how_to_continue(server: ComfyServer, start: Start, results: Path):
    process = start(*EDIT, "--set", "6.steps=1000", "--server", server.url)
    prompt_id = wait_until_running(server)
    process.send_signal(signal.SIGINT)
    code, _, stderr = finish(process)
    assert code == 130
    assert (
        stderr.strip().splitlines()[-1]
        == f"Stopped. Results so far are in {results}. Run the command again to continue."
    )
    assert not get(server, "/queue")["queue_running"]
    status = get(server, f"/history/{prompt_id}")[prompt_id]["status"]["messages"][-1][0]
    assert (status, manifest(results)[-1]["state"]) == ("execution_interrupted", "cancelled")


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """A folder for Ray's files. Its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_ray_workers_write_the_same_files(
    server: ComfyServer,
    second: ComfyServer,
    start: Start,
    invert: Path,
    images: Path,
    results: Path,
    tmp_path: Path,
    ray_logs: Path,
):
    pytest.importorskip("ray", reason="Ray is not available for this Python")
    few = tmp_path / "few"
    few.mkdir()
    for image in sorted(images.glob("*.png"))[:8]:
        shutil.copy(image, few)
    arguments = (invert, "--image", few, "--server", server.url, "--server", second.url)
    code, _, stderr = finish(start(*arguments))
    assert code == 0, stderr
    here = {path.name: path.read_bytes() for path in results.glob("*.png")}
    shutil.rmtree(results)

    code, _, stderr = finish(start(*arguments, "--ray", RAY_TMPDIR=str(ray_logs)))
    assert code == 0, stderr
    assert_each_inverted_once(few, results)
    assert {path.name: path.read_bytes() for path in results.glob("*.png")} == here
    assert {line["server"] for line in manifest(results) if "server" in line} == {server.url, second.url}
    assert len([*ray_logs.glob("ray/session_2*/logs/worker-*.out")]) >= 2


def test_unreachable_ray_cluster_is_an_error(server: ComfyServer, start: Start, invert: Path, images: Path):
    pytest.importorskip("ray", reason="Ray is not available for this Python")
    arguments = (invert, "--image", images / "p00.png", "--server", server.url, "--ray")
    code, _, stderr = finish(start(*arguments, RAY_ADDRESS="127.0.0.1:9"))
    assert code == 2
    assert stderr.startswith("error: The Ray cluster at RAY_ADDRESS, 127.0.0.1:9, does not answer")
    assert stderr.endswith("Start it, or unset RAY_ADDRESS.\n")


def test_failed_job_is_reported_and_the_others_finish(server: ComfyServer, start: Start, tmp_path: Path, results: Path):
    drawings = tmp_path / "drawings"
    drawings.mkdir()
    square = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="{}"/></svg>'
    for name, text in (("blue", square.format("#00f")), ("half", square[:40]), ("red", square.format("#f00"))):
        (drawings / f"{name}.svg").write_text(text)
    drawing_to_image = tmp_path / "draw.json"
    drawing_to_image.write_text(
        json.dumps(
            {
                "1": {"class_type": "DSLoadSVG", "inputs": {"file": "any.svg"}},
                "2": {
                    "class_type": "DSSVGToImage",
                    "inputs": {"svg": ["1", 0], "width": 8, "height": 8, "background": "white"},
                },
                "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "drawn"}},
            }
        )
    )
    arguments = (drawing_to_image, "--image", drawings, "--server", server.url)
    code, paths, stderr = finish(start(*arguments))
    assert code == 1
    assert [line for line in stderr.splitlines() if line[:1].isdigit()] == [
        *("1/3 blue: done", "2/3 half: failed", "3/3 red: done")
    ]
    assert "error: half: " in stderr
    assert paths == [str(results / name) for name in ("blue_drawn.png", "red_drawn.png")]
    assert Image.open(results / "red_drawn.png").convert("RGB").getpixel((4, 4)) == (255, 0, 0)

    code, lines, stderr = finish(start(*arguments, "--json"))
    assert code == 1, stderr
    done = [{"job": name, "state": "done", "files": [str(results / f"{name}_drawn.png")]} for name in ("blue", "red")]
    *others, failed = [json.loads(line) for line in lines]
    assert others == [{**each, "error": None} for each in done]
    assert (failed["job"], failed["state"], failed["files"]) == ("half", "failed", [])
    assert f"error: half: {failed['error']}\n" in stderr

    (drawings / "half.svg").write_text(square.format("#0f0"))
    code, paths, stderr = finish(start(*arguments))
    assert (code, paths) == (0, [str(results / "half_2_drawn.png")]), stderr


@POSIX
def test_two_runs_cannot_share_an_output_folder(
    server: ComfyServer, start: Start, invert: Path, images: Path, results: Path
):
    first = start(*EDIT, "--set", "6.steps=1000", "--server", server.url)
    wait_until_running(server)
    code, _, stderr = finish(start(invert, "--image", images, "--server", server.url))
    first.send_signal(signal.SIGINT)
    finish(first)
    assert code == 2
    wait = "Wait for it to finish, or choose another --output."
    assert stderr == f"error: Another run is writing to {results}. {wait}\n"


def test_deleted_result_is_recreated(server: ComfyServer, start: Start, invert: Path, images: Path, results: Path):
    arguments = (invert, "--image", images / "p00.png", images / "p01.png", "--server", server.url)
    finish(start(*arguments))
    (results / "p01_inverted.png").unlink()
    code, paths, stderr = finish(start(*arguments))
    assert (code, paths) == (0, [str(results / "p01_inverted.png")]), stderr
    assert stderr == "1 of 2 jobs are already done.\n2/2 p01: done\n"


def test_file_names_are_escaped_for_the_terminal(
    server: ComfyServer, start: Start, invert: Path, images: Path, results: Path, tmp_path: Path
):
    image = tmp_path / "猫.png"
    shutil.copy(images / "p00.png", image)
    arguments = (invert, "--image", image, "--server", server.url)
    code, paths, stderr = finish(start(*arguments, PYTHONIOENCODING="ascii"))
    assert code == 0, stderr
    assert paths == [f"{results}{os.sep}\\u732b_inverted.png"]
    assert (results / "猫_inverted.png").is_file()


def test_jobs_of_a_killed_server_move_to_the_other(
    server: ComfyServer, second: ComfyServer, start: Start, invert: Path, images: Path, results: Path
):
    process = start(invert, "--image", images, "--server", server.url, "--server", second.url)
    read_lines(process, 10)
    kill(second)
    code, _, stderr = finish(process)
    assert code == 0, stderr
    assert_each_inverted_once(images, results)
    assert f"warning: {second.url} is unreachable" in stderr
    shares = {line["server"] for line in manifest(results)[:60] if line.get("state") == "queued"}
    assert shares == {server.url, second.url}
    # One job was queued on the killed server and again on the other.
    assert sum(times(results, "queued").values()) == 41


def test_results_survive_the_loss_of_the_last_server(
    server: ComfyServer, second: ComfyServer, start: Start, invert: Path, images: Path, results: Path
):
    process = start(invert, "--image", images, "--server", second.url)
    read_lines(process, 10)
    kill(second)
    code, _, stderr = finish(process)
    done = len(times(results, "done"))
    assert code == 1
    assert f"error: No server is left; {40 - done} of 40 jobs are not done." in stderr

    code, paths, stderr = finish(start(invert, "--image", images, "--server", server.url))
    assert code == 0, stderr
    assert f"{done} of 40 jobs are already done." in stderr
    assert len(paths) == 40 - done
    assert_each_inverted_once(images, results)


@pytest.mark.parametrize(
    "command", [["tools/queue.py", "--help"], ["-m", "tools.queue", "--help"]], ids=["script", "module"]
)
def test_help_shows_an_example(command: list[str]):
    completed = subprocess.run([sys.executable, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "python tools/queue.py edit --image cat.png" in completed.stdout


def test_other_scripts_import_the_standard_queue_module():
    """Python puts the script's folder, which contains `queue.py`, first on `sys.path`."""
    code = "import sys; sys.path.insert(0, 'tools'); import queue, asyncio, multiprocessing.pool; queue.SimpleQueue()"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
