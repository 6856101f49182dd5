"""SVG Optimizer: invalid inputs, failures and canceling, cleanup after a run, and runs on a server."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import numpy as np
import pytest
import torch
from comfy_client import ComfyClient, ExecutionFailed
from comfy_extras.nodes_flux import FluxGuidance
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.sockets import ObjectiveSocket
from dreamsampler.svg.markup.parser import parse
from PIL import Image
from support.diffvg import stand_in
from support.host_oracle import progress_hook
from support.svg_nodes import drawn, saved_by_host, value, vectorize
from support.svg_oracle import svg
from support.tiny_models import (
    EPS,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    ApplyModel,
    Calls,
    Family,
    V,
    ask,
    encoded,
    measure,
    photo,
    tiny,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor

SHAPES = svg('<circle cx="48" cy="47" r="33" fill="#fa0"/><path d="M20 40L70 30 80 85Z" fill="#36c"/>')
BLURRED, _ = measure(photo(), "gaussian blur")


def pds(latent: Any = None, **prompts: Any) -> dict[str, Any]:
    prompts = {"source": SOURCE, "target": POSITIVE, "negative": NEGATIVE, **prompts}
    latent = encoded(EPS) if latent is None else latent
    settings: dict[str, Any] = {"guidance_scale": 7.5, "posterior": "official", "identity_weight": 1.0}
    return {"objective": PosteriorLatentMatch.execute(latent, **prompts, **settings).args[0]}


def objective(method: str, reference: Any = None, **prompts: Any) -> dict[str, Any]:
    return {"objective": ObjectiveSocket(replace(METHODS[method], name="mine"), prompts, reference, "source_latent")}


def latent(*shape: int, fill: float = 0.5) -> dict[str, Any]:
    return {"samples": torch.full(shape, fill)}


def small() -> Any:
    """A measurement of an image whose sides are not multiples of 8."""
    return measure(photo(size=20), "super-resolution")[0]


# Refusals


PROMPTS = {"positive": POSITIVE, "negative": NEGATIVE}
TRACED = {"fit_places": "trace", "fit_steps": 2}
REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "nothing to trace": (
        EPS,
        {"image": torch.cat([photo(2), torch.eye(2)[:, 0].view(2, 1, 1, 1).expand(2, 64, 64, 1)], -1), **TRACED},
        "Nothing was found to trace in image 2: it has one color, or is transparent everywhere",
    ),
    "more masks than drawings": (
        EPS,
        {"svg": value(SHAPES, SHAPES), "mask": torch.ones(3, 64, 64)},
        "The mask holds 3 masks but svg holds 2 drawings: connect one mask, or one for each drawing",
    ),
    "no image to trace": (EPS, {"steps": 0}, "steps is 0, which only traces an image, and no image is connected"),
    "only an SVG to trace": (EPS, {"steps": 0, "svg": value(SHAPES)}, "no image is connected: connect one to"),
    "negative steps": (EPS, {"steps": -1}, "Input 'steps' is -1: set it to a number from 0 to 100000"),
    **{
        f"no {name}": (EPS, {name: None}, f"Input '{name}' is not connected, and distillation needs it: connect it, or")
        for name in ("model", "vae", "positive", "negative")
    },
    "no model for an objective": (EPS, {**pds(), "model": None}, "Input 'model' is not connected"),
    **{
        f"empty {name}": (EPS, {name: []}, f"conditioning on input '{name}' is empty: connect a CLIP Text Encode")
        for name in ("positive", "negative")
    },
    "empty source": (EPS, {"svg": value(SHAPES), "source": []}, "input 'source' is empty: connect a CLIP Text"),
    "no SVGs": (EPS, {"svg": value()}, "Input 'svg' has no SVGs: check the node connected to it"),
    "no svg": (EPS, {"svg": SHAPES}, "Input 'svg' is not a valid SVG, its type is str: connect Load SVG"),
    "unreadable": (
        EPS,
        {"svg": value(SHAPES, "<svg")},
        "Drawing 2 on input 'svg' cannot be used. The document is not well-formed XML",
    ),
    "only text": (
        EPS,
        {"svg": value(svg("<text>a</text>"))},
        "Drawing 1 on input 'svg' cannot be used. The document contains nothing that can be drawn. <text> is not drawn",
    ),
    "NaN": (EPS, {"image": photo() * float("nan")}, "Input 'image' contains NaN or infinite values"),
    "NaN to trace": (EPS, {"image": photo() / 0, "steps": 0}, "Input 'image' contains NaN"),
    "no images": (EPS, {"image": photo()[:0]}, r"Input 'image' is empty \(0 images of 64x64 pixels\): connect"),
    "no pixels": (EPS, {"image": photo()[:, :0], "steps": 0}, r"Input 'image' is empty \(1 images of 64x0 pixels\)"),
    "2 images, 3 SVGs": (
        EPS,
        {"image": photo(2), "svg": value(*[SHAPES] * 3)},
        "Input 'image' holds 2 items and another input 3: connect one to 'image', or one for each of the 3 drawings",
    ),
    "2 drawings, 3 measurements": (
        EPS,
        {"measurement": measure(photo(3), "gaussian blur")[0], "svg": value(SHAPES, SHAPES)},
        "Input 'svg' holds 2 items and another input 3",
    ),
    "size of a measurement": (
        EPS,
        {"measurement": small()},
        "measurement is of images of 20x20 pixels, but the VAE needs multiples of 8: crop or resize the image",
    ),
    **{
        f"unknown blur, {steps} steps": (
            EPS,
            {"measurement": measure(photo(), "unknown gaussian blur")[0], "steps": steps},
            "measurement is of an unknown blur, which SVG Optimizer does not fit: restore the image with Proximal",
        )
        for steps in (0, 2)
    },
    "equal times": (EPS, {"t_min": 0.5, "t_max": 0.5}, "t_min is 0.5 and t_max 0.5: t_min must be below t_max"),
    "t_min above t_max": (EPS, {"svg": value(SHAPES), "t_min": 0.99}, "t_min is 0.99 and t_max 0.98"),
    "views of an edit": (
        EPS,
        {"svg": value(SHAPES), "views": "on"},
        "views is on.* compares the whole drawing with its source: set views to off or to method's own",
    ),
    "views of a measurement": (EPS, {"measurement": BLURRED, "views": "on"}, "the whole drawing with the measurement"),
    "views of an objective with a source": (
        EPS,
        {**pds(), "views": "on"},
        "compares the whole drawing with its source",
    ),
    "size of a source": (
        EPS,
        {"svg": value(SHAPES), **pds(latent(1, 4, 4, 8))},
        "source_latent is of 64x32 pixels, but the model sees the drawings at 64x64: encode",
    ),
    "number of sources": (
        EPS,
        {"svg": value(*[SHAPES] * 3), **pds(encoded(EPS, 2))},
        "source_latent holds 2 images for 3 drawings: connect one, or one for each",
    ),
    "channels of a source": (EPS, pds(latent(1, 16, 8, 8)), "source_latent has 16 channels but the model works on 4"),
    "objective without a source": (
        EPS,
        objective("csd", **PROMPTS),
        "'mine' needs a source prompt that describes the image as it is now",
    ),
    "objective with an empty prompt": (EPS, objective("sds", positive=[], negative=NEGATIVE), "'positive' is empty"),
    "VAE of other channels": (EPS, {"vae": tiny_vae("taesd-16")}, "VAE makes latents of 16 channels but the model"),
    "VAE with frames": (SD3, {"vae": tiny_vae("wan")}, "frame dimension.*connect the VAE that belongs to the model"),
    "VAE without frames": (QWEN, {"vae": tiny_vae("taesd-16")}, "frame dimension.*connect the VAE that belongs"),
    "guidance": (
        FLUX_DISTILLED,
        {
            "positive": FluxGuidance.execute(POSITIVE, 1.0).args[0],
            "negative": FluxGuidance.execute(NEGATIVE, 2.0).args[0],
        },
        "input 'negative' has guidance 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    family, inputs, words = REFUSED[case]
    calls, seen = Calls(), []
    connected = {"model": calls.watch(tiny(family)), "image": photo() if "steps" not in inputs else None}
    if "measurement" in inputs or "svg" in inputs:
        connected["image"] = None
    with progress_hook(lambda *event, **_: seen.append(event)):
        with pytest.raises(ValueError, match=f"(?s){words}") as refusal:
            vectorize(family, **{**connected, **inputs})
    assert (calls.runs, calls.batches, seen) == (0, [], [])
    message = str(refusal.value)
    assert message.endswith(".")
    assert message[0].isupper() or message.startswith(("steps", "source_latent", "t_min", "views"))


@pytest.mark.parametrize("inputs", [{}, {"image": photo(), "steps": 0}], ids=["draw", "trace"])
def test_missing_renderer_raises_before_sampling(inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", None)  # as if it were not installed
    calls, seen = Calls(), []
    with progress_hook(lambda *event, **_: seen.append(event)):
        with pytest.raises(ImportError, match="needs the Python package pydiffvg.* or choose the renderer 'built-in'"):
            vectorize(EPS, model=calls.watch(tiny(EPS)), renderer="diffvg", **inputs)
    assert (calls.runs, seen) == (0, [])


def test_svg_unsupported_by_the_renderer_raises_before_sampling(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    square_joins = svg('<path d="M20 40L70 30 80 85Z" fill="#36c" stroke="#000"/>')
    calls = Calls()
    with pytest.raises(ValueError) as refusal:
        vectorize(EPS, model=calls.watch(tiny(EPS)), svg=value(SHAPES, square_joins), source=SOURCE, renderer="diffvg")
    assert calls.runs == 0
    assert str(refusal.value) == (
        "Drawing 2 on input 'svg' cannot be drawn by the renderer 'diffvg'. pydiffvg cannot draw a stroke whose caps "
        "or joins are not round. Choose the renderer 'built-in' or change the drawing."
    )


# NaN


def broken_from(call: int) -> Any:
    calls = 0

    def wrap(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        nonlocal calls
        calls += 1
        prediction = ask(apply_model, arguments)
        return prediction * float("nan") if calls >= call else prediction

    return wrap


@pytest.mark.parametrize(
    ("inputs", "name"),
    [({}, "sds"), ({"svg": value(SHAPES)}, "pds"), ({"measurement": BLURRED, "sds_weight": 0.0}, "sds")],
    ids=["draw", "edit", "restore"],
)
@pytest.mark.parametrize("step", [1, 3])
def test_nan_prediction_raises_with_step_and_time(inputs: dict[str, Any], name: str, step: int):
    with pytest.raises(ValueError) as failure:
        vectorize(V, **inputs, model=wrapped(tiny(V), broken_from(step)), steps=4, t_min=0.5, t_max=0.50001)
    assert str(failure.value) == (
        f"The gradient of '{name}' became NaN or infinite at step {step} of 4 (t = 0.500). The preview, if previews "
        "are on, shows the last good image. Lower learning_rate or guidance_scale, or load the model in a wider type "
        "(bf16 or fp32 instead of fp16)."
    )


# Progress and cleanup


@pytest.mark.parametrize(
    ("inputs", "total"),
    [
        ({}, 3),
        ({"image": photo(2)}, 7),
        ({"image": photo(), "steps": 0}, 4),
        ({"image": photo(), "fit_groups": 50, "paths": 3}, 9),
        ({"image": photo(), "style": "pixel art", "fit_groups": 8}, 5),
        ({"image": photo(), "svg": value(SHAPES)}, 5),
        ({"measurement": BLURRED}, 7),
        ({"measurement": BLURRED, "fit_places": "anywhere"}, 3),
        ({"image": photo(), "fit_groups": 1, "fit_steps": 1}, 4),
    ],
)
def test_progress_counts_every_step_and_shows_the_drawing(
    inputs: dict[str, Any], total: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dreamsampler.nodes.host.progress.PREVIEW_INTERVAL", 0.0)
    seen = []
    with progress_hook(lambda done, of, preview, **_: seen.append((done, of, preview))):
        vectorize(EPS, **{"steps": 3, **inputs})
    assert [entry[:2] for entry in seen] == [(n, total) for n in range(1, total + 1)]
    for *_, (kind, image, largest) in seen:
        assert kind == "PNG" and isinstance(image, Image.Image) and largest == 512
        assert image.size[0] == image.size[1] and image.size[0] in (64, 75)
    assert all(np.asarray(preview[1]).std() > 0 for *_, preview in seen[1:])


def test_previews_are_rate_limited_and_start_immediately():
    seen = []
    with progress_hook(lambda done, of, preview, **_: seen.append(preview)):
        vectorize(EPS, svg=value(SHAPES), steps=4)
    assert seen[0] is not None and None in seen[1:]
    preview = torch.from_numpy(np.asarray(seen[0][1]) / 255)
    assert (preview - drawn(SHAPES)[0][0]).abs().max() < 2 / 255


@pytest.mark.parametrize("ends", ["canceled", "failed"])
@pytest.mark.parametrize("at", [2, 6])
def test_failed_or_canceled_run_leaves_no_trace(ends: str, at: int):
    """During tracing and during distillation."""
    model, vae = tiny(V), tiny_vae("kl")
    whole = vectorize(V, image=photo(), steps=4)
    error = {"canceled": comfy.model_management.InterruptProcessingException, "failed": ZeroDivisionError}[ends]
    seen = []

    def stop(done: int, *_: Any, **__: Any) -> None:
        seen.append(done)
        if len(seen) == at:
            comfy.model_management.interrupt_current_processing(ends == "canceled")
            if ends == "failed":
                raise ZeroDivisionError

    assert vae.first_stage_model is not None
    with untouched(model.model, vae.first_stage_model):
        with progress_hook(stop), pytest.raises(error):
            vectorize(V, image=photo(), steps=4)
    assert seen[:at] == list(range(1, at + 1))
    assert len(seen) == (at + 1 if ends == "canceled" else at)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert model.model.current_patcher is None or not model.model.current_patcher.forced_hooks
    again = vectorize(V, image=photo(), steps=4)
    assert again.texts == whole.texts and torch.equal(again.image, whole.image)


@pytest.mark.parametrize("inputs", [{"image": photo()}, {"svg": value(SHAPES)}], ids=["traced", "edited"])
def test_canceled_run_keeps_its_last_result(inputs: dict[str, Any], at: int = 3):
    """The preview on the node, and the SVG in the temp folder."""
    folder = Path(folder_paths.get_temp_directory())
    before = {*folder.glob("DreamSampler*.svg")}
    previews = []

    def cancel(done: int, _: int, preview: Any, **__: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        previews.append((done, preview))
        if len(previews) == at:
            comfy.model_management.interrupt_current_processing(True)

    with progress_hook(cancel), pytest.raises(comfy.model_management.InterruptProcessingException):
        vectorize(V, **inputs, steps=6)
    (done, (_, image, _)) = previews[-1]
    assert done in (at, at + 1)
    (saved_file,) = {*folder.glob("DreamSampler*.svg")} - before
    seen = torch.from_numpy(np.asarray(image) / 255).float()
    assert (drawn(saved_file.read_text(), width=seen.shape[1], height=seen.shape[0])[0][0] - seen).abs().mean() < 0.05


def tensors() -> int:
    gc.collect()
    return sum(1 for each in gc.get_objects() if type(each) in (Tensor, torch.nn.Parameter))


def test_runs_do_not_leak_tensors_or_load_models():
    inputs = {"image": photo(), "measurement": BLURRED, "steps": 2, "fit_steps": 1}

    def run() -> None:
        vectorize(V, image=photo(), steps=1, fit_steps=1)
        vectorize(V, **inputs)
        vectorize(V, svg=value(SHAPES), steps=1)

    run()
    before, loaded = tensors(), comfy.model_management.loaded_models()
    for _ in range(6):
        run()
    assert tensors() <= before
    assert comfy.model_management.loaded_models() == loaded


# ComfyUI's own nodes


@pytest.mark.parametrize("inputs", [{}, {"svg": value(SHAPES, SHAPES)}, {"image": photo(2)}], ids=["1", "2", "traced"])
def test_the_hosts_node_saves_its_drawings(inputs: dict[str, Any]):
    made = vectorize(EPS, **inputs)
    files = saved_by_host(made.svg)
    assert [file.decode() for file in files] == made.texts
    assert not any(parse(file).warnings for file in files)


def optimizer(**inputs: Any) -> dict[str, Any]:
    widgets = {"style": "iconography", "paths": 6, "steps": 0, "guidance_scale": -1, "canvas_size": 96, "seed": 3}
    return {"class_type": "DSSVGOptimizer", "inputs": {**widgets, "fit_steps": 3, "fit_groups": 2, **inputs}}


def saving(**nodes: dict[str, Any]) -> dict[str, Any]:
    """A prompt that saves both outputs of the node `optimize`."""
    return {
        **nodes,
        "image": {"class_type": "SaveImage", "inputs": {"images": ["optimize", 1], "filename_prefix": "made"}},
        "drawing": {"class_type": "SaveSVGNode", "inputs": {"svg": ["optimize", 0], "filename_prefix": "made"}},
    }


def check_files(client: ComfyClient, result: Any, size: int = 96) -> str:
    """The saved SVG. Asserts that the saved image and the node show the same drawing."""
    (drawing,), (shown,), (image,) = (result.files(node_id=node) for node in ("drawing", "optimize", "image"))
    file = client.fetch(drawing)
    parsed = parse(file)
    assert not parsed.warnings and len(list(parsed.document.shapes())) == 7
    assert parse(client.fetch(shown)).document == parsed.document
    with Image.open(BytesIO(client.fetch(image))) as opened:
        pixels = torch.from_numpy(np.asarray(opened.convert("RGB")) / 255)
    assert (pixels - drawn(file.decode(), width=size)[0][0]).abs().max() < 3 / 255
    return client.fetch(shown).decode()


def test_server_traces_an_image_without_a_model(client: ComfyClient, tmp_path: Path):
    Image.fromarray((255 * photo()[0]).byte().numpy()).save(tmp_path / "photo.png")
    load = {"class_type": "LoadImage", "inputs": {"image": client.upload_image(tmp_path / "photo.png")}}
    settings = {"operator": "gaussian blur", "scale": 4, "sigma": 5.0, "noise_std": 0.0, "simulate": False, "seed": 0}
    broken = {"class_type": "DSMeasurement", "inputs": {"image": ["load", 0], "kernel_size": 511, **settings}}
    inputs = {"image": ["load", 0], "measurement": ["broken", 0]}
    result = client.run(saving(load=load, broken=broken, optimize=optimizer(**inputs)))
    assert "distillation" not in result.outputs["optimize"]
    file = check_files(client, result)
    here = vectorize(None, image=(255 * photo()).byte() / 255, steps=0, paths=6, canvas_size=96, seed=3, fit_steps=3)
    assert (drawn(file, width=96)[0] - here.image).abs().max() < 3 / 255
    with pytest.raises(ExecutionFailed, match="kernel"):  # with steps, the lazy input is evaluated
        client.run(saving(load=load, broken=broken, optimize=optimizer(**inputs, steps=1)))


def test_server_draws_an_svg_from_a_prompt(client: ComfyClient):
    nodes = {
        "load": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dreamsampler_reference.safetensors"}},
        "text": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": "a red heart"}},
        "empty": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": ""}},
    }
    connected = {"model": ["load", 0], "vae": ["load", 2], "positive": ["text", 0], "negative": ["empty", 0]}
    result = client.run(saving(**nodes, optimize=optimizer(steps=3, **connected)))
    check_files(client, result)
    (curve,) = result.outputs["optimize"]["distillation"]
    assert curve["method"] == "sds" and curve["step"] == [0, 1, 2] and all(n > 0 for (n,) in curve["gradient_norm"])
    with pytest.raises(ExecutionFailed, match="Input 'vae' is not connected, and distillation needs it"):
        del connected["vae"]
        client.run(saving(**nodes, optimize=optimizer(steps=3, **connected)))
