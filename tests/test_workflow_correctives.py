"""LMC-SDS workflows on a real server: training a corrective, editing with one, and applying a translator."""

from __future__ import annotations

import json
from io import BytesIO
from random import Random

import pytest
import torch
from comfy_client import ComfyClient, PromptRefused, find_node
from comfy_server import ComfyServer
from devhost import CHECKOUT
from dreamsampler.guidance.networks.corrective.storage import decode
from PIL import Image
from safetensors import safe_open
from sample_inputs import HEART
from support.scenes import as_tensor, save_scene

from tools.reference import in_process, world

PROMPTS = CHECKOUT / "workflows" / "api"


def test_lmc_edits_with_a_target_prompt_alone(client: ComfyClient):
    prompt = json.loads((PROMPTS / "lmc_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Distillation Sampler")]["inputs"]["steps"] = 150

    edited = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))

    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["background"], seen["pattern"]) == ("blue", "heart", "white", "dotted")
    outside = torch.from_numpy(world.object_mask(HEART)) < 0.01
    error = (edited - in_process.render([HEART])).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 20


def test_corrective_is_trained_from_a_folder_and_saved(client: ComfyClient, server: ComfyServer):
    folder, rng = server.workdir / "input" / "training", Random(3)
    folder.mkdir()
    for number in range(16):
        save_scene(world.sample_scene(rng, clean=True), folder / f"{number}.png")
    prompt = json.loads((PROMPTS / "train_corrective.json").read_text("utf-8"))
    prompt[find_node(prompt, "Train Manifold Corrective")]["inputs"] |= {"steps": 20, "batch_size": 4, "width": 8}
    prompt[find_node(prompt, "Save Manifold Corrective")]["inputs"]["name"] = "of a folder"

    result = client.run(prompt)

    trained = find_node(prompt, "Train Manifold Corrective")
    (summary,) = result.outputs[trained]["corrective"]
    assert len(summary["loss"]) == 20
    saved = server.workdir / "output" / "dreamsampler_correctives" / "of a folder.safetensors"
    with safe_open(str(saved), "pt") as file:
        corrective = decode({name: file.get_tensor(name) for name in file.keys()}, file.metadata())  # noqa: SIM118
    about = corrective.about
    assert about.family == "ReferenceModel" and about.size == (12, 12) and about.steps == 20
    info = client.object_info("DSManifoldCorrectiveLoad")["DSManifoldCorrectiveLoad"]
    assert saved.name in info["input"]["required"]["name"][1].get("options", [])


@pytest.mark.parametrize("name", ["../outside", ""])
def test_invalid_file_name_is_rejected_before_training(name: str, client: ComfyClient, server: ComfyServer):
    (server.workdir / "input" / "training").mkdir(exist_ok=True)
    prompt = json.loads((PROMPTS / "train_corrective.json").read_text("utf-8"))
    prompt[find_node(prompt, "Save Manifold Corrective")]["inputs"]["name"] = name
    with pytest.raises(PromptRefused, match="is outside ComfyUI's folder|needs a file name to be saved"):
        client.run(prompt)


def test_translator_turns_a_circle_into_a_star(client: ComfyClient):
    prompt = json.loads((PROMPTS / "translate.json").read_text("utf-8"))

    translated = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))

    (seen,) = in_process.load_scorer().read(translated)
    assert (seen["colour"], seen["shape"], seen["background"], seen["pattern"]) == ("red", "star", "white", "plain")
