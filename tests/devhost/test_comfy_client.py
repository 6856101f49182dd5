"""The client on a real server: results and errors."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from comfy_client import (
    ComfyClient,
    ExecutionFailed,
    Progress,
    Prompt,
    PromptInterrupted,
    PromptRefused,
    ServerFailed,
    find_node,
)
from comfy_server import ComfyServer
from devhost import Host
from devhost.links import CHECKPOINT
from PIL import Image


def _copy_image(name: str) -> Prompt:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}, "_meta": {"title": "Source image"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }


def _generate(steps: int) -> Prompt:
    """Text to image with the reference checkpoint."""
    settings = {"seed": 1, "steps": steps, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a red circle"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 96, "height": 96, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {**settings, **links}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "generated"}},
    }


def test_image_round_trip(client: ComfyClient, tmp_path: Path):
    image = Image.effect_noise((24, 16), 80).convert("RGB")
    image.save(tmp_path / "noise.png")
    result = client.run(_copy_image(client.upload_image(tmp_path / "noise.png")))
    [file] = result.files(node_id="2")
    returned = Image.open(BytesIO(client.fetch(file)))
    assert returned.convert("RGB").tobytes() == image.tobytes()
    assert result.outputs == client.history(result.prompt_id)["outputs"]


def test_rejected_prompt_error_names_the_node_and_the_reason(client: ComfyClient):
    with pytest.raises(PromptRefused, match=r"node 1 \(Source image\).*Invalid image file: nowhere\.png"):
        client.run(_copy_image("nowhere.png"))


def test_unknown_node_type_error_names_it(client: ComfyClient):
    prompt = _copy_image("any.png") | {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    with pytest.raises(PromptRefused, match="NoSuchNode"):
        client.run(prompt)


def test_prompt_without_outputs_raises_comfyuis_message(client: ComfyClient):
    del (prompt := _copy_image("any.png"))["2"]
    with pytest.raises(PromptRefused, match="^ComfyUI refused the prompt: Prompt has no outputs$"):
        client.run(prompt)


def test_failed_node_is_reported_with_its_message(client: ComfyClient, tmp_path: Path):
    (tmp_path / "broken.png").write_text("not an image")
    prompt = _copy_image(client.upload_image(tmp_path / "broken.png"))
    with pytest.raises(ExecutionFailed, match="cannot identify image file") as failure:
        client.run(prompt)
    assert (failure.value.node_id, failure.value.node_type) == ("1", "LoadImage")
    assert Path(failure.value.file).parts[-2:] == ("PIL", "Image.py")


def test_progress_is_reported_to_the_end(client: ComfyClient):
    steps: list[Progress] = []
    client.run(_generate(steps=3), on_progress=steps.append)
    assert Progress("4", 3, 3) in steps
    assert [step.value for step in steps] == sorted(step.value for step in steps)


def test_run_can_be_interrupted_from_a_progress_callback(client: ComfyClient):
    steps: list[Progress] = []

    def stop(progress: Progress) -> None:
        steps.append(progress)
        client.interrupt()

    with pytest.raises(PromptInterrupted, match=r"canceled at node 4 \(KSampler\)"):
        client.run(_generate(steps=5000), on_progress=stop)
    assert len(steps) < 1000


def test_run_is_canceled_after_the_timeout(client: ComfyClient):
    with pytest.raises(PromptInterrupted, match="longer than 2 s"):
        client.run(_generate(steps=9000), timeout=2)
    client.run(_generate(steps=1), timeout=30)  # the server is free again


def test_find_node_by_title():
    prompt = _copy_image("any.png")
    assert find_node(prompt, "Source image") == "1"
    with pytest.raises(LookupError, match="0 nodes titled 'Target prompt'"):
        find_node(prompt, "Target prompt")


def test_server_has_the_pack(client: ComfyClient):
    assert "DSProximalDreamSampler" in client.object_info("DSProximalDreamSampler")


def test_error_of_a_server_that_cannot_start_shows_its_log(host: Host, tmp_path: Path):
    server = ComfyServer(host, tmp_path, arguments=["--no-such-option"])
    with pytest.raises(ServerFailed, match="unrecognized arguments: --no-such-option"), server:
        pass
