"""The workflows of LMC-SDS on a real server: a corrective trained from a folder, and pictures edited with one, or by a
translator that was trained with one."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
import torch
from comfy_client import ComfyClient, PromptRefused, find_node
from comfy_server import ComfyServer
from devhost import CHECKOUT
from dreamsampler.guidance.networks.corrective.storage import decode
from PIL import Image
from safetensors import safe_open
from support.scenes import as_tensor, save_scene

from tools.reference import in_process, world

PROMPTS = CHECKOUT / "workflows" / "api"


def test_lmc_edits_by_a_target_text_alone(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "lmc_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "Distillation Sampler")]["inputs"]["steps"] = 150

    edited = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))

    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["background"], seen["pattern"]) == ("blue", "heart", "white", "dotted")
    outside = torch.from_numpy(world.object_mask(scene)) < 0.01
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 20


def test_a_corrective_is_trained_from_a_folder_and_kept(client: ComfyClient, server: ComfyServer):
    folder, rng = server.workdir / "input" / "training", Random(3)
    folder.mkdir()
    for number in range(16):
        save_scene(world.sample_scene(rng, clean=True), folder / f"{number}.png")
    prompt = json.loads((PROMPTS / "train_corrective.json").read_text("utf-8"))
    prompt[find_node(prompt, "Train Manifold Corrective")]["inputs"] |= {"steps": 20, "batch_size": 4, "width": 8}
    prompt[find_node(prompt, "Save Manifold Corrective")]["inputs"]["name"] = "of a folder"

    result = client.run(prompt)

    trained = find_node(prompt, "Train Manifold Corrective")
    (shown,) = result.outputs[trained]["corrective"]
    assert len(shown["loss"]) == 20
    kept = server.workdir / "output" / "dreamsampler_correctives" / "of a folder.safetensors"
    with safe_open(str(kept), "pt") as file:
        made = decode({name: file.get_tensor(name) for name in file.keys()}, file.metadata())  # noqa: SIM118
    assert made.about.family == "ReferenceModel" and made.about.size == (12, 12) and made.about.steps == 20
    assert kept.name in client.object_info("DSManifoldCorrectiveLoad")["DSManifoldCorrectiveLoad"]["input"]["required"][
        "name"
    ][1].get("options", [])


@pytest.mark.parametrize("name", ["../outside", ""])
def test_a_name_that_cannot_be_saved_is_refused_before_training(name: str, client: ComfyClient, server: ComfyServer):
    (server.workdir / "input" / "training").mkdir(exist_ok=True)
    prompt = json.loads((PROMPTS / "train_corrective.json").read_text("utf-8"))
    prompt[find_node(prompt, "Save Manifold Corrective")]["inputs"]["name"] = name
    with pytest.raises(PromptRefused, match="is outside ComfyUI's folder|needs a file name to be saved"):
        client.run(prompt)


def test_a_translator_makes_a_star_of_a_circle(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("circle", "red", 48, 48, 30, 0.0),), "white", "plain", None, "picture", 7)
    prompt = json.loads((PROMPTS / "translate.json").read_text("utf-8"))
    source = client.upload_image(save_scene(scene, tmp_path / "circle.png"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = source

    made = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))

    (seen,) = in_process.load_scorer().read(made)
    assert (seen["colour"], seen["shape"], seen["background"], seen["pattern"]) == ("red", "star", "white", "plain")
