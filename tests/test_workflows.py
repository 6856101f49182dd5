"""Every shipped workflow, on a real server with the reference checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_client import ComfyClient, OutputFile, find_node
from comfy_server import ComfyServer
from devhost import CHECKOUT
from PIL import Image, ImageSequence
from queueing.workflow import templates, to_api
from sample_inputs import HEART, IMAGES, PAINTED, REFERENCE, STAR
from support.scenes import as_tensor
from support.svg_oracle import render

from tools.reference import in_process, solids, world

TEMPLATES = templates()
PROMPTS = CHECKOUT / "workflows" / "api"
CHOSEN_BY_THE_USER = {
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("LoadImage", "image"),
    ("CLIPTextEncode", "text"),
    ("DSTextSourceDescriptor", "text"),
    ("EmptyLatentImage", "width"),
    ("EmptyLatentImage", "height"),
    ("DSLoadSVG", "file"),
    ("DSSVGOptimizer", "canvas_size"),
    ("DSSplatOptimizer", "render_size"),
    ("DSLoadSplat", "file"),
    ("DSLoadPosedViews", "folder"),
    ("DSOverlayIllusion", "size"),
    ("DSManifoldCorrectiveLoad", "name"),
    ("DSManifoldCorrectiveTrain", "patch_size"),
    ("DSTranslatorApply", "translation"),
}


def without_choices(prompt: dict) -> dict:
    """A prompt without titles and without the inputs that every user sets."""
    return {
        key: {
            "class_type": node["class_type"],
            "inputs": {k: v for k, v in node["inputs"].items() if (node["class_type"], k) not in CHOSEN_BY_THE_USER},
        }
        for key, node in prompt.items()
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_matches_its_api_version(name: str, client: ComfyClient):
    ours = to_api(json.loads(TEMPLATES[name].read_text("utf-8")), client.object_info())
    assert without_choices(ours) == without_choices(json.loads((PROMPTS / f"{name}.json").read_text("utf-8")))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_template_has_a_thumbnail(template: Path):
    with Image.open(template.with_suffix(".jpg")) as thumbnail:
        assert min(thumbnail.size) >= 256


@pytest.mark.parametrize("name", ["edit", "inpaint", "text_to_svg"])
def test_template_is_an_app(name: str, client: ComfyClient):
    """The page's App Mode shows these widgets and outputs, without the graph."""
    saved, info = json.loads(TEMPLATES[name].read_text("utf-8")), client.object_info()
    types, app = {str(node["id"]): node["type"] for node in saved["nodes"]}, saved["extra"]["linearData"]
    assert app["inputs"] and app["outputs"]
    for node, widget in app["inputs"]:
        declared = info[types[node]]["input"]
        kind, *_ = {**declared["required"], **declared.get("optional", {})}[widget]
        assert isinstance(kind, list) or kind in {"COMBO", "STRING", "INT", "FLOAT"}
    assert all(info[types[node]]["output_node"] for node in app["outputs"])


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_template_links_its_checkpoint(template: Path):
    nodes = json.loads(template.read_text("utf-8"))["nodes"]
    for loader in (each for each in nodes if each["type"] == "CheckpointLoaderSimple"):
        (model,) = loader["properties"]["models"]
        assert [model["name"]] == loader["widgets_values"]
        assert model["url"].startswith("https://") and model["name"] in model["url"]
        assert model["directory"] == "checkpoints"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_template_names_this_pack(template: Path):
    """ComfyUI Manager finds a missing pack by this name."""
    nodes = [node for node in json.loads(template.read_text("utf-8"))["nodes"] if node["type"].startswith("DS")]
    assert nodes and {node["properties"]["cnr_id"] for node in nodes} == {"dreamsampler"}


def test_edit_changes_what_the_prompt_names_and_keeps_the_rest(client: ComfyClient):
    prompt = json.loads((PROMPTS / "edit.json").read_text("utf-8"))
    result = client.run(prompt)
    edited = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"]) == ("blue", "heart")
    outside = torch.from_numpy(world.object_mask(HEART)) < 0.01
    error = (edited - in_process.render([HEART])).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 22


def test_distillation_follows_the_prompt(client: ComfyClient):
    prompt = json.loads((PROMPTS / "distil_text_to_image.json").read_text("utf-8"))
    prompt[find_node(prompt, "Distillation Sampler")]["inputs"]["steps"] = 300  # enough for a recognizable image
    result = client.run(prompt)
    (seen,) = in_process.load_scorer().read(as_tensor(Image.open(BytesIO(client.fetch(result.files()[0])))))
    wanted = {"colour": "red", "shape": "heart", "background": "white", "pattern": "dotted"}
    assert {name: seen[name] for name in wanted} == wanted


def test_illusion_shows_one_shape_upright_and_another_upside_down(client: ComfyClient):
    prompt = json.loads((PROMPTS / "illusion.json").read_text("utf-8"))
    prompt[find_node(prompt, "Overlay Illusion")]["inputs"]["steps"] = 60  # enough for recognizable shapes
    files = [file for file in client.run(prompt).files() if file.kind == "output"]
    upright, turned = (as_tensor(Image.open(BytesIO(client.fetch(file)))) for file in files)
    assert (turned - upright.rot90(2, (2, 3))).abs().max() < 0.01
    seen = in_process.load_scorer().read(torch.cat([upright, turned]))
    assert [each["shape"] for each in seen] == ["heart", "triangle"]
    assert {(each["colour"], each["background"]) for each in seen} == {("red", "white")}


def test_painting_becomes_a_photo(client: ComfyClient):
    result = client.run(json.loads((PROMPTS / "painting_to_real.json").read_text("utf-8")))
    real = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    painting, truth = in_process.render([PAINTED]), in_process.render([replace(PAINTED, style="picture")])
    assert in_process.psnr(real, truth) > in_process.psnr(painting, truth) + 3
    (seen,) = in_process.load_scorer().read(real)
    assert (seen["style"], seen["colour"], seen["background"]) == ("picture", "blue", "yellow")


def test_found_region_is_the_object_and_the_rest_is_kept(client: ComfyClient):
    prompt = json.loads((PROMPTS / "edit_found_region.json").read_text("utf-8"))
    result = client.run(prompt)
    edited = as_tensor(Image.open(BytesIO(client.fetch(result.files(node_id=find_node(prompt, "Edited image"))[0]))))
    heat = as_tensor(
        Image.open(BytesIO(client.fetch(result.files(node_id=find_node(prompt, "Where the prompts differ"))[0])))
    )
    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["pattern"]) == ("blue", "heart", "dotted")
    inside = torch.from_numpy(world.object_mask(HEART)) > 0.5
    assert heat.sum(1)[0][inside].mean() > 3 * heat.sum(1)[0][~inside].mean()
    error = (edited - in_process.render([HEART])).square().mean(1)[0]
    assert -10 * error[~inside].mean().log10() > 25


def test_posterior_edit_changes_what_differs_between_the_prompts(client: ComfyClient):
    prompt = json.loads((PROMPTS / "posterior_edit.json").read_text("utf-8"))
    edited = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["pattern"]) == ("blue", "heart", "dotted")
    outside = torch.from_numpy(world.object_mask(HEART)) < 0.01
    error = (edited - in_process.render([HEART])).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 22


FEWER_STEPS = 40
"""Enough to fill a hole recognizably, and to restore a degraded image."""


def rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) values of 0 to 255."""
    return np.asarray(image.convert("RGB"), np.int16)


def test_inpaint_fills_the_hole_and_keeps_every_other_pixel(client: ComfyClient):
    prompt = json.loads((PROMPTS / "inpaint.json").read_text("utf-8"))
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    filled = Image.open(BytesIO(client.fetch(client.run(prompt).files()[0])))

    (seen,) = in_process.load_scorer().read(as_tensor(filled))
    assert (seen["colour"], seen["background"], seen["pattern"]) == ("blue", "white", "dotted")
    source = IMAGES["hole.png"](REFERENCE)
    known = np.asarray(source.getchannel("A")) == 255
    assert 0.3 < known.mean() < 0.7
    assert np.abs(rgb(filled) - rgb(source))[known].max() <= 1  # rounding of the saved image


def test_inpaint_fills_two_holes_with_their_own_prompts(client: ComfyClient):
    prompt = json.loads((PROMPTS / "inpaint_two_texts.json").read_text("utf-8"))
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    prompt[find_node(prompt, "Mask Localized Guidance")]["inputs"]["feather"] = 2.0  # the image has only 96 pixels
    filled = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    seen = in_process.load_scorer().read(torch.cat([filled, filled.flip(-1)]))
    # The reference model draws two objects if a prompt names two. The other prompt's color must not appear.
    assert [each["colour"] for each in seen] == ["red", "green"]


@pytest.mark.parametrize(
    ("template", "sample"), [("super_resolve", "dreamsampler_small.png"), ("deblur", "dreamsampler_blurred.jpg")]
)
def test_degraded_image_is_restored(template: str, sample: str, client: ComfyClient, server: ComfyServer):
    source, truth = server.workdir / "input" / sample, in_process.render([HEART])
    prompt = json.loads((PROMPTS / f"{template}.json").read_text("utf-8"))
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    restored = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    enlarged = as_tensor(Image.open(source).resize((world.SIZE, world.SIZE), Image.Resampling.BICUBIC))
    assert in_process.psnr(restored, truth) > in_process.psnr(enlarged, truth) + 2


def test_distillation_restores_with_a_measurement(client: ComfyClient):
    """The same run with and without it: beside the data, the image is closer to the clean one."""
    truth = in_process.render([HEART])
    prompt = json.loads((PROMPTS / "super_resolve.json").read_text("utf-8"))
    node = prompt[find_node(prompt, "Proximal DreamSampler")]
    linked = {name: node["inputs"][name] for name in ("model", "positive", "negative", "latent_image", "vae")}
    settings = {"method": "dreamsampler", "steps": 25, "guidance_scale": 2.0, "learning_rate": 0.01, "t_max": 0.5}
    own = {"time_schedule": "method's own", "noise_policy": "method's own", "t_min": -1.0, "seed": 0}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": linked["vae"]}}
    save = prompt[find_node(prompt, "Enlarged image")]
    quality = []
    for more in ({}, {"measurement": node["inputs"]["measurement"], "data_weight": 50.0, "pixel_weight": 10.0}):
        run = {"class_type": "DSDistillationSampler", "inputs": {**linked, **settings, **own, **more}}
        graph = {**prompt, "7": run, "9": decode, "8": {**save, "inputs": {**save["inputs"], "images": ["9", 0]}}}
        restored = as_tensor(Image.open(BytesIO(client.fetch(client.run(graph).files()[0]))))
        quality.append(in_process.psnr(restored, truth).item())
    assert quality[1] > quality[0] + 2


def drawn(client: ComfyClient, prompt: dict, saved: str) -> torch.Tensor:
    """The SVG that a prompt saves, rendered by resvg: (1, 3, SIZE, SIZE)."""
    (file,) = client.run(prompt).files(node_id=find_node(prompt, saved))
    pixels = torch.from_numpy(render(client.fetch(file).decode(), world.SIZE))
    return (pixels[..., :3] + 1 - pixels[..., 3:]).movedim(-1, 0)[None].float()


@pytest.mark.parametrize("steps", [0, 40])
def test_prompt_becomes_an_svg(steps: int, client: ComfyClient):
    prompt = json.loads((PROMPTS / "text_to_svg.json").read_text("utf-8"))
    prompt[find_node(prompt, "SVG Optimizer")]["inputs"] |= {"steps": steps, "fit_steps": 15}
    (seen,) = in_process.load_scorer().read(drawn(client, prompt, "The drawing"))
    assert {name: seen[name] for name in ("colour", "shape", "background")} == {
        "colour": "red",
        "shape": "circle",
        "background": "white",
    }


def test_svg_is_edited_by_prompt(client: ComfyClient):
    prompt = json.loads((PROMPTS / "svg_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "SVG Optimizer")]["inputs"]["steps"] = 120
    (seen,) = in_process.load_scorer().read(drawn(client, prompt, "The edited drawing"))
    assert (seen["colour"], seen["shape"], seen["background"]) == ("blue", "heart", "white")


@pytest.mark.parametrize(("at_once", "gain"), [(False, 4.0), (True, 0.5)], ids=["restored, then traced", "at once"])
def test_blurred_image_becomes_a_sharp_svg(at_once: bool, gain: float, client: ComfyClient, server: ComfyServer):
    source, truth = server.workdir / "input" / "dreamsampler_icon.jpg", in_process.render([STAR])
    prompt = json.loads((PROMPTS / "restore_svg.json").read_text("utf-8"))
    inputs = prompt[find_node(prompt, "SVG Optimizer")]["inputs"]
    if at_once:
        inputs |= {"steps": 60, "paths": 16}
        del inputs["image"]
    restored, blurred = drawn(client, prompt, "The restored drawing"), as_tensor(Image.open(source))
    (seen,) = in_process.load_scorer().read(restored)
    assert (seen["shape"], seen["colour"], seen["background"]) == ("star", "red", "white")
    assert in_process.psnr(restored, truth) > in_process.psnr(blurred, truth) + gain
    steepest = [image.diff(dim=-1).abs().amax() for image in (restored, blurred)]
    assert steepest[0] > 3 * steepest[1]


def test_image_is_vectorized_without_a_model(client: ComfyClient):
    prompt = json.loads((PROMPTS / "vectorise.json").read_text("utf-8"))
    prompt[find_node(prompt, "SVG Optimizer")]["inputs"] |= {"fit_steps": 25, "paths": 48}
    assert in_process.psnr(drawn(client, prompt, "The drawing"), in_process.render([HEART])) > 25


def images_in(client: ComfyClient, files: list[OutputFile]) -> torch.Tensor:
    """The images (N, 3, H, W) of files, and all of an animation."""
    opened = [Image.open(BytesIO(client.fetch(file))) for file in files]
    return torch.cat([as_tensor(frame) for image in opened for frame in ImageSequence.Iterator(image)])


def test_prompt_becomes_an_object_that_has_its_color_from_all_sides(client: ComfyClient):
    prompt = json.loads((PROMPTS / "text_to_3d.json").read_text("utf-8"))
    optimizer, orbit = find_node(prompt, "Splat Optimizer"), find_node(prompt, "Orbit")
    prompt[optimizer]["inputs"] |= {"steps": 40, "splats": 300, "learning_rate": 2.0, "frames": 4}
    result = client.run(prompt)
    seen = in_process.load_scorer().read(images_in(client, result.files(node_id=orbit)))
    assert [(each["colour"], each["shape"]) for each in seen] == 4 * [("red", "circle")]
    (scene,) = result.files("3d", find_node(prompt, "The scene"))
    assert client.fetch(scene).startswith(b"ply\n")


def test_scene_is_edited_by_prompt(client: ComfyClient):
    prompt = json.loads((PROMPTS / "edit_3d.json").read_text("utf-8"))
    prompt[find_node(prompt, "Splat Optimizer")]["inputs"] |= {"steps": 20, "learning_rate": 2.0, "frames": 4}
    result = client.run(prompt)
    views = images_in(client, result.files(node_id=find_node(prompt, "Orbit")))
    red, _, blue = views[:, :, 43:53, 43:53].mean((0, 2, 3))
    assert blue > red, "a red ball, in the middle of the views"
    assert [each["shape"] for each in in_process.load_scorer().read(views)] == 4 * ["circle"]


def test_scene_fits_posed_views_and_those_held_out(client: ComfyClient):
    """The object is red in front and blue behind, and held-out views are of both."""
    views = solids.views_of(solids.two_colored_ball("red", "blue", 300), solids.cameras_around(12))
    prompt = json.loads((PROMPTS / "posed_views_to_splat.json").read_text("utf-8"))
    prompt[find_node(prompt, "Fit the scene")]["inputs"] |= {"splats": 300, "fit_steps": 150}
    result = client.run(prompt)
    found = images_in(client, result.files(node_id=find_node(prompt, "The scene in their place")))
    assert in_process.psnr(found, views[[0, 8]]).min() > 22


def test_scene_is_restored_from_small_views(client: ComfyClient):
    sharp = solids.views_of(solids.ball("red", 300), solids.cameras_around(8))
    prompt = json.loads((PROMPTS / "restore_3d.json").read_text("utf-8"))
    prompt[find_node(prompt, "Splat Optimizer")]["inputs"] |= {"splats": 300, "fit_steps": 150, "steps": 10}
    result = client.run(prompt)
    restored = images_in(client, result.files(node_id=find_node(prompt, "Restored views")))
    assert in_process.psnr(restored, sharp).min() > in_process.psnr(torch.ones_like(sharp), sharp).max() + 6
    assert {(each["colour"], each["shape"]) for each in in_process.load_scorer().read(restored)} == {("red", "circle")}
