"""Every shipped workflow, on a real server with the reference checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_client import ComfyClient, find_node
from devhost import CHECKOUT
from PIL import Image
from ui_workflow import to_api

from tools.reference import in_process, world

TEMPLATES = sorted((CHECKOUT / "workflows").glob("*.json"))
PROMPTS = CHECKOUT / "tests" / "workflows"
CHOSEN_BY_THE_USER = {
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("LoadImage", "image"),
    ("CLIPTextEncode", "text"),
    ("DSTextSourceDescriptor", "text"),
    ("EmptyLatentImage", "width"),
    ("EmptyLatentImage", "height"),
}


def without_choices(prompt: dict) -> dict:
    """A prompt without titles and without what every user sets for themselves."""
    return {
        key: {
            "class_type": node["class_type"],
            "inputs": {k: v for k, v in node["inputs"].items() if (node["class_type"], k) not in CHOSEN_BY_THE_USER},
        }
        for key, node in prompt.items()
    }


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_is_the_prompt_that_is_tested(template: Path, client: ComfyClient):
    ours = to_api(json.loads(template.read_text("utf-8")), client.object_info())
    assert without_choices(ours) == without_choices(json.loads((PROMPTS / template.name).read_text("utf-8")))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_has_a_thumbnail(template: Path):
    with Image.open(template.with_suffix(".jpg")) as thumbnail:
        assert min(thumbnail.size) >= 256


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255).movedim(-1, 0)[None]


def stored(scene: world.Scene, folder: Path) -> Path:
    """A picture of a scene as a file."""
    path = folder / "source.png"
    Image.fromarray((world.render(scene) * 255).astype(np.uint8)).save(path)
    return path


def test_edit_changes_what_the_text_names_and_keeps_the_rest(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = stored(scene, tmp_path)
    prompt = json.loads((PROMPTS / "edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source picture")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "Target prompt")]["inputs"]["text"] = "a blue heart"

    result = client.run(prompt)
    edited = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"]) == ("blue", "heart")
    outside = torch.from_numpy(world.object_mask(scene)) < 0.01
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 22


def test_distillation_makes_what_the_text_says(client: ComfyClient):
    prompt = json.loads((PROMPTS / "distil_text_to_image.json").read_text("utf-8"))
    prompt[find_node(prompt, "Distillation Sampler")]["inputs"]["steps"] = 300  # enough for a recognisable picture
    result = client.run(prompt)
    (seen,) = in_process.load_scorer().read(as_tensor(Image.open(BytesIO(client.fetch(result.files()[0])))))
    wanted = {"colour": "red", "shape": "heart", "background": "white", "pattern": "dotted"}
    assert {name: seen[name] for name in wanted} == wanted


def test_painting_becomes_a_picture(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("circle", "blue", 48, 48, 30, 0.1),), "yellow", "checkered", None, "painting", 7)
    source = stored(scene, tmp_path)
    prompt = json.loads((PROMPTS / "painting_to_real.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source picture")]["inputs"]["image"] = client.upload_image(source)
    text = "a blue circle on a checkered yellow background"
    prompt[find_node(prompt, "Text-Source Descriptor")]["inputs"]["text"] = text

    result = client.run(prompt)
    real = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    truth = in_process.pictures([replace(scene, style="picture")])
    assert in_process.psnr(real, truth) > in_process.psnr(as_tensor(Image.open(source)), truth) + 3
    (seen,) = in_process.load_scorer().read(real)
    assert (seen["style"], seen["colour"], seen["background"]) == ("picture", "blue", "yellow")


def test_posterior_edit_changes_what_the_texts_differ_in(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = stored(scene, tmp_path)
    prompt = json.loads((PROMPTS / "posterior_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source picture")]["inputs"]["image"] = client.upload_image(source)
    edited = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["pattern"]) == ("blue", "heart", "dotted")
    outside = torch.from_numpy(world.object_mask(scene)) < 0.01
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 22
