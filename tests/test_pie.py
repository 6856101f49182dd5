"""`python -m benchmarks.pie`: a folder of images, edited on a real server and measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_client import ComfyClient
from devhost import CHECKOUT
from PIL import Image
from support.house_words import unwanted
from support.systems import POSIX

from benchmarks import editing, pie, pie_data, pie_methods
from benchmarks.pie_metrics import METRICS
from tools.reference import world

CHECKPOINT = "dreamsampler_reference.safetensors"
TYPES = {"colour": "6", "background": "8", "pattern": "4", "shape": "1"}
SIDE = 512


def pairs(mask: np.ndarray) -> list[int]:
    """A mask as start and length pairs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(np.int8), [0]])))
    return [int(n) for start, end in edges.reshape(-1, 2) for n in (start, end - start)]


def enlarged(image: Image.Image) -> Image.Image:
    return image.resize((SIDE, SIDE), Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight edits of the reference world in the layout of PIE-Bench, and an entry without an image."""
    folder = tmp_path_factory.mktemp("data") / "PIE-Bench"
    mapping: dict[str, dict[str, Any]] = {}
    for number, edit in enumerate(editing.edits(2)):
        path = f"{TYPES[edit.attribute]}_change/{number:012}.png"
        file = folder / pie_data.IMAGES / path
        file.parent.mkdir(parents=True, exist_ok=True)
        enlarged(Image.fromarray((world.render(edit.source) * 255).astype(np.uint8))).save(file)
        target, source = edit.prompt("full"), edit.source_prompt("full")
        mapping[f"{number:012}"] = {
            "image_path": path,
            "original_prompt": source,
            "editing_prompt": target.replace(edit.wanted, f"[{edit.wanted}]"),
            "editing_instruction": f"make it {edit.wanted}",
            "editing_type_id": TYPES[edit.attribute],
            "blended_word": "",
            "mask": pairs(np.asarray(enlarged(Image.fromarray(~edit.kept())))),
        }
    mapping["broken"] = {**mapping["000000000000"], "image_path": "1_change/nothing.png"}
    (folder / pie_data.MAPPING).write_text(json.dumps(mapping))
    return folder


def arguments(data: Path, output: Path, client: ComfyClient, *more: str) -> list[str]:
    common = ["--data", str(data), "--output", str(output), "--server", client.url, "--checkpoint", CHECKPOINT]
    return [*common, "--size", "96", "--stand-in", *more]


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / pie.LEDGER).read_text("utf-8").splitlines()]


def finished(client: ComfyClient) -> set[str]:
    """The prompts that the server has finished."""
    return set(client._json("/history"))


def table(output: Path) -> dict[str, Any]:
    (rows,) = json.loads((output / "pie.json").read_text("utf-8"))["tables"].values()
    return rows


def test_edits_measures_reports_and_resumes(
    data: Path, tmp_path: Path, client: ComfyClient, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "output"
    command = arguments(data, output, client, "--methods", "proximal:gamma=0.5", "img2img", "--set", "steps=2")
    before = finished(client)
    assert pie.main(command) == 1  # the broken entry
    assert len(finished(client) - before) == 16
    rows = table(output)
    assert list(rows) == ["proximal, gamma=0.5, steps=2", "img2img, steps=2"]
    for row in rows.values():
        assert (row["images"], row["failed"], row["not measured"], row["without a mask"]) == (8, 1, 0, 0)
        assert {each: kind["images"] for each, kind in row["by type"].items()} == {"1": 2, "4": 2, "6": 2, "8": 2}
        assert all(row[name]["count"] == 8 for name in METRICS)
        assert row["psnr"]["mean"] > row["psnr_whole"]["mean"] > 5

    report = (output / "pie.md").read_text("utf-8")
    assert "| PSNR outside |" in report and "| CLIP similarity (stand-in) |" in report
    assert "| LPIPS outside x 1000 (stand-in) |" in report and "| structure distance x 1000 (stand-in) |" in report
    assert f"## PIE-Bench, {CHECKPOINT}, 96 pixels" in report and "8 images per row; commit" in report
    assert "- img2img, steps=2, broken: The image nothing.png does not exist." in report
    assert unwanted(report) == []
    found = json.loads((output / "pie.json").read_text("utf-8"))
    assert found["provenance"]["runs"][0]["servers"][0]["torch"] and set(found["networks"].values()) == {"stand-in"}

    recorded = lines(output)
    assert pie.main(command) == 1  # nothing is queued, measured or recorded again
    assert len(finished(client) - before) == 16
    assert lines(output) == recorded and table(output) == rows
    assert "broken, img2img, steps=2: The image nothing.png does not exist." in capsys.readouterr().err

    kept = pie.Ledger(output / pie.LEDGER).lines
    line = kept[(f"PIE-Bench, {CHECKPOINT}, 96 pixels", "img2img, steps=2", "000000000003")]
    entry = {each.key: each for each in pie_data.read(data)}["000000000003"]
    edited = Image.open(output / line["file"]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    a, b = (np.asarray(each, np.float64) / 255 for each in (edited, entry.image()))
    mask = entry.mask()
    assert mask is not None
    assert line["scores"]["mse"] == pytest.approx(np.square((a - b) * ~mask[..., None]).mean(), rel=1e-5)


def test_failures_of_the_server_are_recorded_and_retried(data: Path, tmp_path: Path, client: ComfyClient):
    chosen = ("--types", "6", "--limit", "1", "--methods")
    failing = arguments(data, tmp_path, client, *chosen, "dds:t_min=0.9,t_max=0.1,steps=1", "img2img:steps=1")
    assert pie.main(failing) == 1
    (failure,) = json.loads((tmp_path / "pie.json").read_text("utf-8"))["failures"]
    assert failure["method"] == "dds, t_min=0.9, t_max=0.1, steps=1" and "t_min is 0.9" in failure["error"]
    assert table(tmp_path)["img2img, steps=1"]["images"] == 1
    before = finished(client)
    assert pie.main(failing) == 1
    assert len(finished(client) - before) == 1  # the failed one alone


def test_every_method_has_a_graph(data: Path, tmp_path: Path, client: ComfyClient):
    info = client.object_info()
    methods = pie_methods.names(info)
    assert {*pie_methods.DEFAULTS, "inpaint", "ddpm-inversion", "bridge", "lmc"} <= {*methods}
    options = pie.parsed(arguments(data, tmp_path, client, "--set", "steps=1", "--methods", *methods))
    assert len(pie.checked_methods({client.url: info}, options)) == len(methods)


def test_settings_go_to_the_sampler_or_the_node_named(client: ComfyClient):
    info = client.object_info()
    case = pie_methods.Case(CHECKPOINT, "image.png", "a cat", "a dog", 7)
    method = pie_methods.parsed("proximal+region:steps=3,region.steps=4,threshold=0.6", info)
    made = {name: node["inputs"] for name, node in method.prompt(info, case).items()}
    assert (made["sampler"]["steps"], made["region"]["steps"], made["region"]["threshold"]) == (3, 4, 0.6)
    assert (made["sampler"]["seed"], made["sampler"]["gamma"]) == (7, 0.3)
    assert (made["source"]["text"], made["target"]["text"], made["empty"]["text"]) == ("a cat", "a dog", "")


def test_methods_edit(data: Path, tmp_path: Path, client: ComfyClient):
    methods = ("proximal+region", "ddpm-inversion", "inpaint", "pds", "dds:region=find", "nfsd", "lmc", "chord")
    command = arguments(data, tmp_path, client, "--limit", "1", "--set", "steps=1", "--methods", *methods)
    assert pie.main(command) == 0
    rows = table(tmp_path)
    assert len(rows) == len(methods) and all(row["images"] == 1 for row in rows.values())
    assert all(0 < row["mse"]["mean"] < row["mse"]["count"] for row in rows.values())
    assert rows["inpaint, steps=1"]["psnr"]["mean"] > 25  # the VAE and the change of size alone
    assert len({row["psnr_whole"]["mean"] for row in rows.values()}) == len(methods)


def test_a_small_folder_needs_no_masks(tmp_path: Path, client: ComfyClient):
    folder = tmp_path / "cats"
    folder.mkdir()
    Image.fromarray((world.render(editing.edits(1)[0].source) * 255).astype(np.uint8)).save(folder / "cat.png")
    entry = {"image_path": "cat.png", "original_prompt": "a red heart", "editing_prompt": "a blue heart"}
    (folder / pie_data.MAPPING).write_text(json.dumps({"cat": entry}))
    command = arguments(folder, tmp_path / "out", client, "--methods", "img2img:steps=1", "inpaint:steps=1")
    assert pie.main(command) == 1
    row = table(tmp_path / "out")["img2img, steps=1"]
    assert row["without a mask"] == 1 and row["psnr"] == row["psnr_whole"] and row["clip_edited"]["mean"] is None
    report = (tmp_path / "out" / "pie.md").read_text("utf-8")
    assert (
        "Images without a mask, up to 1 per row, count as outside" in report
        and "The entry has no mask, so there is no hole to fill." in report
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--methods", "ddz"), "--methods: there is no method 'ddz'. Did you mean dds"),
        (("--methods", "dds:gamma=1"), "dds, gamma=1"),
        (("--methods", "proximal", "--set", "denoise=0.5"), "--set denoise=0.5: none of the methods has this input."),
        (("--methods", "proximal:gamma=many"), "'gamma' must be a number, not 'many'."),
        (("--checkpoint", "nothing.safetensors"), "nothing.safetensors"),
        (("--types", "x"), "--limit and --types leave no image."),
        (("--server", "127.0.0.1:1"), "does not answer"),
    ],
)
def test_wrong_options_start_nothing(
    data: Path,
    tmp_path: Path,
    client: ComfyClient,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
):
    command = arguments(data, tmp_path, client)
    if "--server" in more:
        del command[command.index("--server") : command.index("--server") + 2]
    before = finished(client)
    assert pie.main([*command, *more]) == 2
    assert message in capsys.readouterr().err and finished(client) == before


@POSIX
def test_ctrl_c_leaves_a_report(data: Path, tmp_path: Path, client: ComfyClient):
    command = arguments(data, tmp_path, client, "--limit", "3", "--methods", "img2img:steps=1", "proximal:steps=2000")
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.pie", *command], cwd=CHECKOUT, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while (
            not any('"done"' in line for line in read(tmp_path / pie.LEDGER))
            or not client._json("/queue")["queue_running"]
        ):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    except BaseException:  # 2000 steps would keep the server from the tests to come
        process.kill()
        client.interrupt()
        raise
    assert process.returncode == pie.STOPPED, error
    assert b"Traceback" not in error and client._json("/queue")["queue_running"] == []
    row = table(tmp_path)["img2img, steps=1"]
    assert (row["images"], row["not measured"]) == (0, 1)

    assert pie.main([*command, "--no-edits"]) == 0
    assert table(tmp_path)["img2img, steps=1"]["images"] == 1


def read(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_an_unfinished_line_is_dropped(tmp_path: Path):
    path = tmp_path / pie.LEDGER
    pie.Ledger(path).add(("a", "b", "c"), state="done")
    with path.open("ab") as file:
        file.write(b'{"setup": "a", "me')
    ledger = pie.Ledger(path)
    ledger.add(("a", "b", "c"), scores={"mse": 1.0})
    assert pie.Ledger(path).lines == {
        ("a", "b", "c"): {"setup": "a", "method": "b", "image": "c", "state": "done", "scores": {"mse": 1.0}}
    }
