"""Every shipped workflow, on a real server with the reference checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_client import ComfyClient, OutputFile, find_node
from comfy_server import ComfyServer
from devhost import CHECKOUT
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.splats import write_ply
from PIL import Image, ImageSequence
from queueing.workflow import to_api
from support.scenes import as_tensor, save_scene
from support.svg_oracle import render

from tools.reference import in_process, solids, world

TEMPLATES = sorted((CHECKOUT / "workflows").glob("*.json"))
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


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_matches_its_api_version(template: Path, client: ComfyClient):
    ours = to_api(json.loads(template.read_text("utf-8")), client.object_info())
    assert without_choices(ours) == without_choices(json.loads((PROMPTS / template.name).read_text("utf-8")))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_has_a_thumbnail(template: Path):
    with Image.open(template.with_suffix(".jpg")) as thumbnail:
        assert min(thumbnail.size) >= 256


TITLE_BAR = 30
"""In pixels, above a node's position."""
NOTES = ("Note", "MarkdownNote")


def box_of(node: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title bar."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_BAR, x + width, y + height


def inner_box(group: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a group without its title."""
    x, y, width, height = group["bounding"]
    return x, y + 1.4 * group["font_size"], x + width, y + height


def overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def contains(outer: tuple, inner: tuple) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_has_no_overlapping_nodes_or_groups(template: Path):
    saved = json.loads(template.read_text("utf-8"))
    boxes = {node["id"]: box_of(node) for node in saved["nodes"]}
    groups = [group["bounding"] for group in saved["groups"]]
    groups = [(x, y, x + width, y + height) for x, y, width, height in groups]
    assert groups
    assert not [(a, b) for a, b in combinations(boxes, 2) if overlap(boxes[a], boxes[b])], "nodes overlap"
    assert not [pair for pair in combinations(groups, 2) if overlap(*pair)], "groups overlap"
    for each in saved["nodes"]:
        box = boxes[each["id"]]
        enclosing = [group["title"] for group in saved["groups"] if contains(inner_box(group), box)]
        overlapping = [group for group in groups if overlap(group, box)]
        assert len(overlapping) == len(enclosing), f"node {each['id']} crosses the border of a group"
        assert len(enclosing) == 1 or each["type"] in NOTES, f"node {each['id']} is in the groups {enclosing}"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_has_a_saved_view(template: Path):
    """Otherwise the page fits the view on opening, which in Nodes 2.0 moves nodes out of their groups."""
    view = json.loads(template.read_text("utf-8"))["extra"]["ds"]
    assert view["scale"] >= 0.58  # below, Nodes 2.0 draws empty boxes
    assert len(view["offset"]) == 2


@pytest.mark.parametrize("name", ["edit", "inpaint", "text_to_svg"])
def test_template_is_an_app(name: str, client: ComfyClient):
    """The page's App Mode shows these widgets and outputs, without the graph."""
    saved, info = json.loads((CHECKOUT / "workflows" / f"{name}.json").read_text("utf-8")), client.object_info()
    types, app = {str(node["id"]): node["type"] for node in saved["nodes"]}, saved["extra"]["linearData"]
    assert app["inputs"] and app["outputs"]
    for node, widget in app["inputs"]:
        declared = info[types[node]]["input"]
        kind, *_ = {**declared["required"], **declared.get("optional", {})}[widget]
        assert isinstance(kind, list) or kind in {"COMBO", "STRING", "INT", "FLOAT"}
    assert all(info[types[node]]["output_node"] for node in app["outputs"])


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_links_its_checkpoint(template: Path):
    nodes = json.loads(template.read_text("utf-8"))["nodes"]
    for loader in (each for each in nodes if each["type"] == "CheckpointLoaderSimple"):
        (model,) = loader["properties"]["models"]
        assert [model["name"]] == loader["widgets_values"]
        assert model["url"].startswith("https://") and model["name"] in model["url"]
        assert model["directory"] == "checkpoints"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_template_names_this_pack(template: Path):
    """ComfyUI Manager finds a missing pack by this name."""
    nodes = [node for node in json.loads(template.read_text("utf-8"))["nodes"] if node["type"].startswith("DS")]
    assert nodes and {node["properties"]["cnr_id"] for node in nodes} == {"dreamsampler"}


def test_edit_changes_what_the_prompt_names_and_keeps_the_rest(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "Target prompt")]["inputs"]["text"] = "a blue heart"

    result = client.run(prompt)
    edited = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"]) == ("blue", "heart")
    outside = torch.from_numpy(world.object_mask(scene)) < 0.01
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
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


def test_painting_becomes_a_photo(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("circle", "blue", 48, 48, 30, 0.1),), "yellow", "checkered", None, "painting", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "painting_to_real.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(source)
    text = "a blue circle on a checkered yellow background"
    prompt[find_node(prompt, "Text-Source Descriptor")]["inputs"]["text"] = text

    result = client.run(prompt)
    real = as_tensor(Image.open(BytesIO(client.fetch(result.files()[0]))))

    truth = in_process.render([replace(scene, style="picture")])
    assert in_process.psnr(real, truth) > in_process.psnr(as_tensor(Image.open(source)), truth) + 3
    (seen,) = in_process.load_scorer().read(real)
    assert (seen["style"], seen["colour"], seen["background"]) == ("picture", "blue", "yellow")


def test_found_region_is_the_object_and_the_rest_is_kept(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "edit_found_region.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(source)
    result = client.run(prompt)
    edited = as_tensor(Image.open(BytesIO(client.fetch(result.files(node_id=find_node(prompt, "Edited image"))[0]))))
    heat = as_tensor(
        Image.open(BytesIO(client.fetch(result.files(node_id=find_node(prompt, "Where the prompts differ"))[0])))
    )
    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["pattern"]) == ("blue", "heart", "dotted")
    inside = torch.from_numpy(world.object_mask(scene)) > 0.5
    assert heat.sum(1)[0][inside].mean() > 3 * heat.sum(1)[0][~inside].mean()
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
    assert -10 * error[~inside].mean().log10() > 25


def test_posterior_edit_changes_what_differs_between_the_prompts(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "posterior_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(source)
    edited = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    (seen,) = in_process.load_scorer().read(edited)
    assert (seen["colour"], seen["shape"], seen["pattern"]) == ("blue", "heart", "dotted")
    outside = torch.from_numpy(world.object_mask(scene)) < 0.01
    error = (edited - as_tensor(Image.open(source))).square().mean(1)[0]
    assert -10 * error[outside].mean().log10() > 22


FEWER_STEPS = 40
"""Enough to fill a hole recognizably, and to restore a degraded image."""


def with_hole(scene: world.Scene, hole: tuple[int, int, int, int], path: Path) -> Path:
    """An image as the mask editor saves it: transparent in the hole (left, top, right, bottom)."""
    image = Image.fromarray((world.render(scene) * 255).astype(np.uint8)).convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, hole)
    image.putalpha(alpha)
    image.save(path)
    return path


def rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) values of 0 to 255."""
    return np.asarray(image.convert("RGB"), np.int16)


def test_inpaint_fills_the_hole_and_keeps_every_other_pixel(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    hole = (14, 14, 82, 82)
    source = with_hole(scene, hole, tmp_path / "hole.png")
    prompt = json.loads((PROMPTS / "inpaint.json").read_text("utf-8"))
    prompt[find_node(prompt, "Image with a hole")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    filled = Image.open(BytesIO(client.fetch(client.run(prompt).files()[0])))

    (seen,) = in_process.load_scorer().read(as_tensor(filled))
    assert (seen["colour"], seen["background"], seen["pattern"]) == ("blue", "white", "dotted")
    change = np.abs(rgb(filled) - rgb(Image.open(source))).max(-1)
    change[hole[1] : hole[3], hole[0] : hole[2]] = 0
    assert change.max() <= 1  # rounding of the saved image


def test_inpaint_fills_two_holes_with_their_own_prompts(client: ComfyClient, tmp_path: Path):
    left, right = world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)
    scene = world.Scene((left, right), "purple", "plain", None, "picture", 7)
    prompt = json.loads((PROMPTS / "inpaint_two_texts.json").read_text("utf-8"))
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    prompt[find_node(prompt, "Mask Localized Guidance")]["inputs"]["feather"] = 2.0  # the image has only 96 pixels
    for title, hole in (
        ("Image with the first hole", (4, 24, 47, 72)),
        ("Same image with the second hole", (49, 24, 92, 72)),
    ):
        source = with_hole(scene, hole, tmp_path / f"{hole[0]}.png")
        prompt[find_node(prompt, title)]["inputs"]["image"] = client.upload_image(source)
    filled = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    seen = in_process.load_scorer().read(torch.cat([filled, filled.flip(-1)]))
    # The reference model draws two objects if a prompt names two. The other prompt's color must not appear.
    assert [each["colour"] for each in seen] == ["red", "green"]


def degraded(scene: world.Scene, operator: str, folder: Path, **inputs: float) -> tuple[Path, torch.Tensor]:
    """A scene degraded by Measurement, as a file, and the clean image."""
    truth = in_process.render([scene])
    settings: dict[str, Any] = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.01, "seed": 0, **inputs}
    measurement, _ = MeasurementNode.execute(truth.movedim(1, -1), operator, simulate=True, **settings).args
    array = ((measurement.y[0].movedim(0, -1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    Image.fromarray(array).save(folder / "degraded.png")
    return folder / "degraded.png", truth


@pytest.mark.parametrize(
    ("template", "title", "operator"),
    [
        ("super_resolve", "Small image", "super-resolution"),
        ("deblur", "Blurred image", "gaussian blur"),
    ],
)
def test_degraded_image_is_restored(template: str, title: str, operator: str, client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source, truth = degraded(scene, operator, tmp_path)
    prompt = json.loads((PROMPTS / f"{template}.json").read_text("utf-8"))
    prompt[find_node(prompt, title)]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = FEWER_STEPS
    restored = as_tensor(Image.open(BytesIO(client.fetch(client.run(prompt).files()[0]))))
    enlarged = as_tensor(Image.open(source).resize((world.SIZE, world.SIZE), Image.Resampling.BICUBIC))
    assert in_process.psnr(restored, truth) > in_process.psnr(enlarged, truth) + 2


def test_distillation_restores_with_a_measurement(client: ComfyClient, tmp_path: Path):
    """The same run with and without it: beside the data, the image is closer to the clean one."""
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "dotted", None, "picture", 7)
    source, truth = degraded(scene, "super-resolution", tmp_path)
    prompt = json.loads((PROMPTS / "super_resolve.json").read_text("utf-8"))
    prompt[find_node(prompt, "Small image")]["inputs"]["image"] = client.upload_image(source)
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


RED_SQUARE = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {world.SIZE} {world.SIZE}">
  <rect width="{world.SIZE}" height="{world.SIZE}" fill="#f4f4f4"/>
  <rect x="24" y="24" width="48" height="48" fill="#d22"/>
</svg>"""


def test_svg_is_edited_by_prompt(client: ComfyClient, tmp_path: Path):
    source = tmp_path / "square.svg"
    source.write_text(RED_SQUARE)
    prompt = json.loads((PROMPTS / "svg_edit.json").read_text("utf-8"))
    prompt[find_node(prompt, "Drawing to edit")]["inputs"]["file"] = client.upload_image(source)
    for title, color in (("What it shows", "red"), ("What it should show", "blue")):
        text = f"a {color} square on a plain white background"
        prompt[find_node(prompt, title)]["inputs"]["text"] = text
    prompt[find_node(prompt, "SVG Optimizer")]["inputs"]["steps"] = 120
    (seen,) = in_process.load_scorer().read(drawn(client, prompt, "The edited drawing"))
    assert (seen["colour"], seen["shape"], seen["background"]) == ("blue", "square", "white")


@pytest.mark.parametrize(("at_once", "gain"), [(False, 4.0), (True, 0.5)], ids=["restored, then traced", "at once"])
def test_blurred_image_becomes_a_sharp_svg(at_once: bool, gain: float, client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("star", "red", 48, 48, 30, 0.0),), "white", "plain", None, "picture", 7)
    source, truth = degraded(scene, "gaussian blur", tmp_path, kernel_size=31, sigma=5.0, noise_std=0.0)
    prompt = json.loads((PROMPTS / "restore_svg.json").read_text("utf-8"))
    prompt[find_node(prompt, "Blurred image")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "What it shows, and its style")]["inputs"]["text"] = world.describe(scene)
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


def test_image_is_vectorized_without_a_model(client: ComfyClient, tmp_path: Path):
    scene = world.Scene((world.Thing("heart", "red", 48, 48, 30, 0.0),), "white", "plain", None, "picture", 7)
    source = save_scene(scene, tmp_path / "source.png")
    prompt = json.loads((PROMPTS / "vectorise.json").read_text("utf-8"))
    prompt[find_node(prompt, "Image")]["inputs"]["image"] = client.upload_image(source)
    prompt[find_node(prompt, "SVG Optimizer")]["inputs"] |= {"fit_steps": 25, "paths": 32}
    assert in_process.psnr(drawn(client, prompt, "The drawing"), as_tensor(Image.open(source))) > 25


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
    ball = solids.ball("red", 300)
    prompt[find_node(prompt, "Scene to edit")]["inputs"]["file"] = client.upload("ball.ply", write_ply(ball))
    prompt[find_node(prompt, "Splat Optimizer")]["inputs"] |= {"steps": 20, "learning_rate": 2.0, "frames": 4}
    result = client.run(prompt)
    views = images_in(client, result.files(node_id=find_node(prompt, "Orbit")))
    red, _, blue = views[:, :, 43:53, 43:53].mean((0, 2, 3))
    assert blue > red, "a red ball, in the middle of the views"
    assert [each["shape"] for each in in_process.load_scorer().read(views)] == 4 * ["circle"]


def test_scene_fits_posed_views_and_those_held_out(client: ComfyClient, server: ComfyServer):
    """The object is red in front and blue behind, and held-out views are of both."""
    cameras = solids.cameras_around(16)
    views = solids.views_of(solids.two_colored_ball("red", "blue"), cameras)
    folder = solids.write_posed_views(server.workdir / "input" / "posed", views, cameras)
    prompt = json.loads((PROMPTS / "posed_views_to_splat.json").read_text("utf-8"))
    prompt[find_node(prompt, "Views")]["inputs"]["folder"] = folder.name
    prompt[find_node(prompt, "Fit the scene")]["inputs"] |= {"splats": 300, "fit_steps": 150}
    result = client.run(prompt)
    found = images_in(client, result.files(node_id=find_node(prompt, "The scene in their place")))
    assert in_process.psnr(found, views[[0, 8]]).min() > 22


def test_scene_is_restored_from_small_views(client: ComfyClient, server: ComfyServer):
    sharp = solids.views_of(solids.ball("red"), solids.cameras_around(8))
    small = torch.nn.functional.interpolate(sharp, scale_factor=0.25, mode="area")
    folder = server.workdir / "input" / "small"
    prompt = json.loads((PROMPTS / "restore_3d.json").read_text("utf-8"))
    folder = solids.write_posed_views(folder, small, solids.cameras_around(8, world.SIZE // 4))
    prompt[find_node(prompt, "Degraded views")]["inputs"]["folder"] = folder.name
    prompt[find_node(prompt, "Splat Optimizer")]["inputs"] |= {"splats": 300, "fit_steps": 150, "steps": 10}
    result = client.run(prompt)
    restored = images_in(client, result.files(node_id=find_node(prompt, "Restored views")))
    assert in_process.psnr(restored, sharp).min() > in_process.psnr(torch.ones_like(sharp), sharp).max() + 6
    assert {(each["colour"], each["shape"]) for each in in_process.load_scorer().read(restored)} == {("red", "circle")}
