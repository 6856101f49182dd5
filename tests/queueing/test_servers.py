"""A server that cannot do the jobs leaves them to the others."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_server import ComfyServer
from devhost import Host
from support.gateway import gateway
from support.queue_runs import INVERT, Start, assert_each_inverted_once, files_limited, finish, manifest, times
from support.systems import POSIX


@pytest.fixture
def few(images: Path, tmp_path: Path) -> Path:
    """A folder of eight images."""
    folder = tmp_path / "few"
    folder.mkdir()
    for image in sorted(images.glob("*.png"))[:8]:
        shutil.copy(image, folder)
    return folder


@pytest.fixture(scope="module")
def bare_server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A ComfyUI without this pack."""
    folder = tmp_path_factory.mktemp("bare")
    no_packs = ["--disable-all-custom-nodes", "--whitelist-custom-nodes", "none"]
    with ComfyServer(host, folder, arguments=no_packs) as running:
        yield running


def shares(results: Path) -> Counter[str]:
    """How many jobs were queued on each server."""
    return Counter(line["server"] for line in manifest(results) if line.get("state") == "queued")


@pytest.mark.parametrize(("refused", "status"), [("/prompt", 400), ("/upload", 507)])
def test_server_that_refuses_every_job(
    refused: str,
    status: int,
    server: ComfyServer,
    second: ComfyServer,
    start: Start,
    invert: Path,
    few: Path,
    tmp_path: Path,
):
    with gateway(behind=second.port, status=status, only=refused) as port:
        url = f"http://127.0.0.1:{port}"
        code, paths, stderr = finish(start(invert, "--image", few, "--server", url, "--server", server.url))
    assert code == 0, stderr
    assert len(paths) == 8
    assert_each_inverted_once(few, tmp_path / "results")
    assert shares(tmp_path / "results") == {url: 1, server.url: 8}
    assert f"warning: {url} gets no more jobs, as it refused one that {server.url} did: " in stderr
    assert f"answered '{status} " in stderr


@POSIX
def test_server_with_a_full_disk(
    server: ComfyServer, second: ComfyServer, start: Start, invert: Path, few: Path, tmp_path: Path
):
    with files_limited(second, 64):
        code, _, stderr = finish(start(invert, "--image", few, "--server", second.url, "--server", server.url))
    assert code == 0, stderr
    assert_each_inverted_once(few, tmp_path / "results")
    assert shares(tmp_path / "results") == {second.url: 1, server.url: 8}


def test_only_server_that_refuses_every_job_is_given_up(
    server: ComfyServer, start: Start, invert: Path, few: Path, tmp_path: Path
):
    with gateway(behind=server.port, status=400, only="/prompt") as port:
        url = f"http://127.0.0.1:{port}"
        code, lines, stderr = finish(start(invert, "--image", few, "--server", url, "--json"))
    assert code == 1
    assert f"warning: {url} gets no more jobs, as it refused 3 in a row." in stderr
    assert "error: No server is left; 5 of 8 jobs are not done." in stderr
    assert Counter(json.loads(line)["state"] for line in lines) == {"failed": 3, "left": 5}
    assert json.loads(lines[0])["error"].startswith(f"{url} answered '400 Bad Request' to {url}/prompt")
    code, _, stderr = finish(start(invert, "--image", few, "--server", server.url))
    assert code == 0, stderr
    assert set(times(tmp_path / "results", "done").values()) == {1}


def test_jobs_that_every_server_refuses_cost_no_server(
    server: ComfyServer, second: ComfyServer, start: Start, images: Path, tmp_path: Path
):
    """Each job is offered to both servers. They are at work at once, so each waits for the other's verdict."""
    incomplete = json.loads(json.dumps(INVERT))
    del incomplete["3"]["inputs"]["filename_prefix"]
    (tmp_path / "mine.json").write_text(json.dumps(incomplete))
    two = images / "p00.png", images / "p01.png"
    code, paths, stderr = finish(start("mine.json", "--image", *two, "--server", server.url, "--server", second.url))
    assert (code, paths) == (1, [])
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    reason = "ComfyUI refused the prompt: node 3 (SaveImage): Required input is missing (filename_prefix)"
    assert sorted(errors) == [f"error: p00: {reason}", f"error: p01: {reason}"]
    assert "gets no more jobs" not in stderr and "No server is left" not in stderr
    assert shares(tmp_path / "results") == {server.url: 2, second.url: 2}


def test_server_without_the_nodes_gets_no_jobs(
    server: ComfyServer, bare_server: ComfyServer, start: Start, tmp_path: Path
):
    (tmp_path / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8"/></svg>'
    )
    prompt = {
        "1": {"class_type": "DSLoadSVG", "inputs": {"file": "any.svg"}},
        "2": {
            "class_type": "DSSVGToImage",
            "inputs": {"svg": ["1", 0], "width": 8, "height": 8, "background": "white"},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "drawn"}},
    }
    (tmp_path / "draw.json").write_text(json.dumps(prompt))
    for servers in ([bare_server, server], [server, bare_server]):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        addresses = [part for each in servers for part in ("--server", each.url)]
        code, _, stderr = finish(start("draw.json", "--image", "a.svg", *addresses))
        assert code == 0, stderr
        assert shares(tmp_path / "results") == {server.url: 1}
        assert f"warning: {bare_server.url}: The server has no node 'DSLoadSVG'." in stderr
        assert "It gets no jobs." in stderr
    code, _, stderr = finish(start("draw.json", "--image", "a.svg", "--server", bare_server.url, "--json"))
    assert code == 2
