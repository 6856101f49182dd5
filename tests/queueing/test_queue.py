"""`tools/queue.py` on real servers: work is shared, survives what is killed, and nothing is done twice."""

from __future__ import annotations

import json
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

SAMPLE = CHECKOUT / "tools" / "assets" / "sample.png"
EDIT = (
    *("edit", "--image", SAMPLE, "--set", "CheckpointLoaderSimple.ckpt_name=dreamsampler_reference.safetensors"),
    *("--set", "Target prompt.text=a blue heart"),
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def read_lines(process: Popen, number: int) -> list[str]:
    """Wait for so many results."""
    assert process.stdout
    return list(islice(process.stdout, number))


def ask(server: ComfyServer, path: str) -> dict:
    with urllib.request.urlopen(server.url + path) as reply:
        return json.load(reply)


def wait_until_running(server: ComfyServer) -> str:
    """The id of the prompt that the server runs."""
    deadline = time.monotonic() + 60
    while not (running := ask(server, "/queue")["queue_running"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running[0][1]


def test_killed_client_goes_on_where_it_was(
    server: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path
):
    arguments = (invert, "--image", pictures, "--server", server.url)
    process = start(*arguments)
    read_lines(process, 10)
    process.kill()
    process.wait()
    assert 10 <= len(times(results, "done")) < 40
    with (results / "manifest.jsonl").open("ab") as file:
        file.write(b'{"job": "unfini')  # what a kill in mid-write leaves

    code, _, said = finish(start(*arguments))
    assert code == 0, said
    assert_each_inverted_once(pictures, results)
    queued = {line["prompt_id"] for line in manifest(results) if line.get("state") == "queued"}
    assert len(queued) == 40
    assert ask(server, "/history").keys() >= queued


def test_prompt_that_outlived_its_client_is_not_run_again(
    server: ComfyServer, second: ComfyServer, start: Start, results: Path
):
    before = {each.url: ask(each, "/history").keys() for each in (server, second)}
    arguments = (*EDIT, "--set", "6.steps=40")
    process = start(*arguments, "--server", second.url)
    prompt_id = wait_until_running(second)
    process.kill()
    code, named, said = finish(start(*arguments, "--server", server.url, "--server", second.url))
    assert code == 0, said
    assert named == [str(results / "sample_edited.png")]
    assert ask(server, "/history").keys() == before[server.url]
    assert ask(second, "/history").keys() - before[second.url] == {prompt_id}


def test_ctrl_c_cancels_on_the_server_and_says_how_to_go_on(server: ComfyServer, start: Start, results: Path):
    process = start(*EDIT, "--set", "6.steps=1000", "--server", server.url)
    prompt_id = wait_until_running(server)
    process.send_signal(signal.SIGINT)
    code, _, said = finish(process)
    assert code == 130
    assert said.strip() == f"Stopped. What is done is in {results}; the same command goes on from there."
    assert not ask(server, "/queue")["queue_running"]
    status = ask(server, f"/history/{prompt_id}")[prompt_id]["status"]["messages"][-1][0]
    assert (status, manifest(results)[-1]["state"]) == ("execution_interrupted", "cancelled")


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """A folder for what Ray writes. Its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_ray_workers_make_the_same_files(
    server: ComfyServer,
    second: ComfyServer,
    start: Start,
    invert: Path,
    pictures: Path,
    results: Path,
    tmp_path: Path,
    ray_logs: Path,
):
    pytest.importorskip("ray", reason="Ray is not to be had for this Python")
    few = tmp_path / "few"
    few.mkdir()
    for picture in sorted(pictures.glob("*.png"))[:8]:
        shutil.copy(picture, few)
    arguments = (invert, "--image", few, "--server", server.url, "--server", second.url)
    code, _, said = finish(start(*arguments))
    assert code == 0, said
    here = {path.name: path.read_bytes() for path in results.glob("*.png")}
    shutil.rmtree(results)

    code, _, said = finish(start(*arguments, "--ray", RAY_TMPDIR=str(ray_logs)))
    assert code == 0, said
    assert_each_inverted_once(few, results)
    assert {path.name: path.read_bytes() for path in results.glob("*.png")} == here
    assert {line["server"] for line in manifest(results) if "server" in line} == {server.url, second.url}
    assert len([*ray_logs.glob("ray/session_2*/logs/worker-*.out")]) >= 2


def test_ray_cluster_that_is_away(server: ComfyServer, start: Start, invert: Path, pictures: Path):
    pytest.importorskip("ray", reason="Ray is not to be had for this Python")
    arguments = (invert, "--image", pictures / "p00.png", "--server", server.url, "--ray")
    code, _, said = finish(start(*arguments, RAY_ADDRESS="127.0.0.1:9"))
    assert code == 2
    assert said.startswith("error: The Ray cluster of RAY_ADDRESS, 127.0.0.1:9, does not answer")


def test_failing_job_is_named_and_the_others_are_done(server: ComfyServer, start: Start, tmp_path: Path, results: Path):
    drawings = tmp_path / "drawings"
    drawings.mkdir()
    whole = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="{}"/></svg>'
    for name, text in (("blue", whole.format("#00f")), ("half", whole[:40]), ("red", whole.format("#f00"))):
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
    code, named, said = finish(start(*arguments))
    assert code == 1
    assert "error: half: " in said
    assert named == [str(results / name) for name in ("blue_drawn.png", "red_drawn.png")]
    assert Image.open(results / "red_drawn.png").convert("RGB").getpixel((4, 4)) == (255, 0, 0)

    (drawings / "half.svg").write_text(whole.format("#0f0"))
    code, named, said = finish(start(*arguments))
    assert (code, named) == (0, [str(results / "half_2_drawn.png")]), said


def test_two_runs_do_not_share_a_folder(server: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path):
    first = start(*EDIT, "--set", "6.steps=1000", "--server", server.url)
    wait_until_running(server)
    code, _, said = finish(start(invert, "--image", pictures, "--server", server.url))
    first.send_signal(signal.SIGINT)
    finish(first)
    assert code == 2
    assert said == f"error: Another run writes to {results}. Wait for it, or choose another --output.\n"


def test_deleted_result_is_made_again(server: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path):
    arguments = (invert, "--image", pictures / "p00.png", pictures / "p01.png", "--server", server.url)
    finish(start(*arguments))
    (results / "p01_inverted.png").unlink()
    code, named, said = finish(start(*arguments))
    assert (code, named) == (0, [str(results / "p01_inverted.png")]), said
    assert said == "1 of 2 jobs were done before.\n"


def test_names_that_the_output_cannot_show_are_done_all_the_same(
    server: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path, tmp_path: Path
):
    cat = tmp_path / "猫.png"
    shutil.copy(pictures / "p00.png", cat)
    arguments = (invert, "--image", cat, "--server", server.url)
    code, named, said = finish(start(*arguments, PYTHONIOENCODING="ascii"))
    assert code == 0, said
    assert named == [f"{results}/\\u732b_inverted.png"]
    assert (results / "猫_inverted.png").is_file()


def test_killed_server_leaves_its_jobs_to_the_other(
    server: ComfyServer, second: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path
):
    process = start(invert, "--image", pictures, "--server", server.url, "--server", second.url)
    read_lines(process, 10)
    kill(second)
    code, _, said = finish(process)
    assert code == 0, said
    assert_each_inverted_once(pictures, results)
    assert f"warning: {second.url} is away" in said
    shares = {line["server"] for line in manifest(results)[:60] if line.get("state") == "queued"}
    assert shares == {server.url, second.url}
    assert sum(times(results, "queued").values()) == 41  # one job was at the server that was killed


def test_last_server_killed_keeps_what_is_done_for_the_next_run(
    server: ComfyServer, second: ComfyServer, start: Start, invert: Path, pictures: Path, results: Path
):
    process = start(invert, "--image", pictures, "--server", second.url)
    read_lines(process, 10)
    kill(second)
    code, _, said = finish(process)
    done = len(times(results, "done"))
    assert code == 1
    assert f"error: No server is left, and {40 - done} of 40 jobs are not done." in said

    code, named, said = finish(start(invert, "--image", pictures, "--server", server.url))
    assert code == 0, said
    assert f"{done} of 40 jobs were done before." in said
    assert len(named) == 40 - done
    assert_each_inverted_once(pictures, results)


@pytest.mark.parametrize(
    "command", [["tools/queue.py", "--help"], ["-m", "tools.queue", "--help"]], ids=["script", "module"]
)
def test_command_explains_itself(command: list[str]):
    said = subprocess.run([sys.executable, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "python tools/queue.py edit --image cat.png" in said.stdout


def test_scripts_beside_it_keep_the_standard_queue():
    """A script's folder comes first on its path, where `queue.py` lies as well."""
    code = "import sys; sys.path.insert(0, 'tools'); import queue, asyncio, multiprocessing.pool; queue.SimpleQueue()"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
