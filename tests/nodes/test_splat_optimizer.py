"""Splat Optimizer on tiny models: each task, what its inputs do, refusals, canceling and memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import folder_paths
import pytest
import torch
from comfy_extras.nodes_flux import FluxGuidance
from dreamsampler.nodes import host
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.splat_optimizer import LAZY, SplatOptimizer
from dreamsampler.scenes import fitting
from dreamsampler.splats.files import read_splats
from dreamsampler.splats.renderers import RendererUnavailable
from support.corrective_nodes import spectral
from support.host_oracle import progress_hook
from support.splat_nodes import SIZE, cameras, optimized, splat, views_of
from support.splats import ball
from support.tiny_models import (
    EPS,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    Family,
    V,
    ask,
    autoencoder,
    encoded,
    measure,
    tiny,
    tiny_vae,
    wrapped,
)
from torch import Tensor
from torch.nn import functional as F

FAMILIES = [EPS, V, SD3, QWEN]
SCENE, CAMERAS = splat(), cameras()
VIEWS = views_of(SCENE, CAMERAS)
BLURRED, _ = measure(VIEWS, "gaussian blur", kernel_size=5, sigma=2.0)
TETRAHEDRON = SimpleNamespace(
    vertices=torch.tensor([[[0.0, 3.0, 0.0], [2.0, 0.0, 0.0], [-1.0, 0.0, 2.0], [-1.0, 0.0, -2.0]]]),
    faces=torch.tensor([[[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]]),
)
TASKS: dict[str, dict[str, Any]] = {
    "generate": {},
    "sketch": {"mesh": TETRAHEDRON},
    "edit": {"splat": SCENE},
    "edit images": {"images": VIEWS, "cameras": CAMERAS},
    "restore": {"measurement": BLURRED, "cameras": CAMERAS},
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("task", TASKS)
def test_each_task_changes_its_scene_and_shows_it(task: str, family: Family):
    result = optimized(family, **TASKS[task])
    still = optimized(family, **TASKS[task], learning_rate=0.0)
    assert all(each.isfinite().all() for each in result.scene.parameters)
    assert not torch.equal(result.scene.harmonics, still.scene.harmonics)
    given = "cameras" in TASKS[task]
    assert result.image.shape == (3 if given else 2, SIZE, SIZE, 3)
    assert len(result.cameras) == len(result.image)
    assert len(result.page_data["distillation"][0]["step"]) == 2


@pytest.mark.parametrize("method", ["sds", "nfsd", "csd", "vsd", "bridge", "ism", "dds", "pds"])
def test_every_method_moves_a_scene(method: str):
    settings: dict[str, Any] = {"lora_rank": 2} if method == "vsd" else {}
    result = optimized(splat=SCENE, method=method, source=SOURCE, steps=3, first_stage=0.3, **settings)
    assert not torch.equal(result.scene.harmonics, host.splat_scenes("splat", SCENE)[0].harmonics)


def test_first_stage_of_lmc_sees_downscaled_views(monkeypatch: pytest.MonkeyPatch):
    """Of views of 16 cells, which the corrective's 8 do not cover, at almost no noise: first all, then a patch."""
    network: Any = autoencoder(tiny_vae("kl"))
    encode, latents, shown = network.encode, list[Tensor](), list[Tensor]()

    def encode_and_keep(images: Tensor) -> Tensor:
        encoded_images = encode(images)
        latents.append(encoded_images.detach())
        return encoded_images

    def look(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        shown.append(arguments["input"][:1].detach())
        return ask(apply_model, arguments)

    def likeness(one: Tensor, other: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])

    monkeypatch.setattr(network, "encode", encode_and_keep)
    inputs: dict[str, Any] = {"method": "lmc", "corrective": spectral(EPS), "render_size": 128, "first_stage": 0.5}
    optimized(**inputs, model=wrapped(tiny(EPS), look), steps=2, t_min=0.0, t_max=0.001)
    for first, view, seen in zip((True, False), latents, shown, strict=True):
        assert view.shape[-2:] == (16, 16) and seen.shape[-2:] == (8, 8)
        whole = likeness(seen, F.avg_pool2d(view, 2))
        patch = max(likeness(seen, view[..., y : y + 8, x : x + 8]) for y in range(9) for x in range(9))
        assert (whole > 0.8) == first and (patch > 0.8) != first


def test_result_depends_only_on_the_seed():
    assert torch.equal(optimized().image, optimized().image)
    assert not torch.equal(optimized().image, optimized(seed=8).image)


def test_source_of_an_edit_is_the_scene_seen_by_the_same_camera():
    """The same prompt on both sides and no change yet: PDS and DDS have nothing to do, whatever the camera."""
    before = host.splat_scenes("splat", SCENE)[0]
    result = optimized(splat=SCENE, source=POSITIVE, views=2)
    assert result.notes and "was 0 in every step" in result.notes[-1]
    assert torch.allclose(result.scene.positions, before.positions, atol=1e-6)


def test_zero_steps_fit_without_a_model():
    def error(result: Any) -> float:
        return float((result.image - VIEWS).square().mean())

    inputs: dict[str, Any] = {"steps": 0, "images": VIEWS, "cameras": CAMERAS, "splats": 100}
    start, result = (optimized(None, **inputs, fit_steps=steps) for steps in (0, 120))
    assert error(result) < 0.2 * error(start)


def test_zero_steps_fit_a_measurement_without_a_model():
    def error(result: Any) -> float:
        images = result.image.movedim(-1, 1)
        return float(BLURRED.residual(2 * images - 1).square().mean())

    inputs: dict[str, Any] = {"steps": 0, "measurement": BLURRED, "cameras": CAMERAS, "splats": 100}
    start, result = (optimized(None, **inputs, fit_steps=steps) for steps in (0, 80))
    assert error(result) < 0.3 * error(start)


def test_zero_steps_render_a_splat():
    result = optimized(None, steps=0, splat=SCENE, fit_steps=None)
    before = host.splat_scenes("splat", SCENE)[0]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(result.scene.parameters, before.parameters, strict=True))
    assert result.image.amin() < 0.8 and not torch.equal(result.image[0], result.image[1])


def test_only_distillation_evaluates_the_model():
    waiting = dict.fromkeys(LAZY)
    assert SplatOptimizer.check_lazy_status(steps=0, **waiting) == []
    assert SplatOptimizer.check_lazy_status(steps=1, **waiting) == list(LAZY)


def test_mesh_is_turned_upright_and_made_as_large_as_a_new_object():
    result = optimized(mesh=TETRAHEDRON, learning_rate=0.0, splats=400)
    positions = result.scene.positions
    assert positions.norm(dim=1).max() <= 0.5 + 1e-5
    assert (positions[:, 1] < 0).sum() < (positions[:, 1] > 0).sum()  # the tip is up, which is -y


def test_sketches_change_their_shape_at_a_tenth_of_the_rate_of_new_scenes():
    """Adam's first step is the learning rate: that of DreamGaussian, 0.002 for an object of radius 1."""

    def moved(**inputs: Any) -> float:
        still = optimized(**inputs, steps=1, learning_rate=0.0).scene.positions
        return (optimized(**inputs, steps=1).scene.positions - still).abs().max().item()

    assert moved() == pytest.approx(0.5 * 0.002, rel=1e-3)
    assert moved(mesh=TETRAHEDRON) == pytest.approx(0.1 * 0.5 * 0.002, rel=1e-2)


PAPER_SETTINGS: dict[str, dict[str, Any]] = {
    "generate": {"method": "sds", "guidance_scale": 100.0},
    "sketch": {"method": "sds", "guidance_scale": 100.0},
    "edit": {"method": "pds", "guidance_scale": 100.0},
    "restore": {"method": "sds", "guidance_scale": 2.0, "t_max": 0.5, "time_schedule": "descending"},
}
"""What the help page states as each task's own settings. Times are uniform from 0.02 to 0.98, noise is fresh."""


@pytest.mark.parametrize("task", PAPER_SETTINGS)
def test_default_settings_are_the_papers(task: str):
    paper: dict[str, Any] = {
        "t_min": 0.02,
        "t_max": 0.98,
        "time_schedule": "uniform",
        "noise_policy": "fresh",
        **PAPER_SETTINGS[task],
    }
    inputs: dict[str, Any] = {**TASKS[task], "steps": 3}
    own = optimized(**inputs).scene.harmonics
    assert torch.equal(own, optimized(**inputs, **paper).scene.harmonics)
    others: dict[str, Any] = {"guidance_scale": 5.0, "t_min": 0.3, "t_max": 0.4, "noise_policy": "fixed"}
    others["time_schedule"] = "uniform" if task == "restore" else "descending"
    for name, other in others.items():
        changed = optimized(**inputs, **{**paper, name: other}).scene.harmonics
        assert not torch.equal(own, changed), f"{name} does nothing"


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lmc", {"guidance_scale": 20.0}),
        ("vsd", {"guidance_scale": 7.5}),
        ("bridge", {"guidance_scale": 1.0, "first_stage": 0.8}),
    ],
)
def test_methods_have_their_own_settings_in_3d(method: str, settings: dict[str, Any]):
    inputs: dict[str, Any] = {"method": method, "source": SOURCE, "steps": 5}
    if method == "lmc":
        inputs["corrective"] = spectral(EPS)
    if method == "vsd":
        inputs["lora_rank"] = 2
    own = optimized(**inputs).scene.harmonics
    assert torch.equal(own, optimized(**inputs, **settings).scene.harmonics)
    for name in settings:
        changed = optimized(**inputs, **{**settings, name: 0.5 * settings[name]}).scene.harmonics
        assert not torch.equal(own, changed), f"{name} does nothing"


@pytest.mark.parametrize(("operator", "sds", "data"), [("gaussian blur", 2.4, 3.0), ("super-resolution", 1.0, 4.0)])
def test_weights_of_restorations_are_those_of_the_operator(operator: str, sds: float, data: float):
    measurement, _ = measure(VIEWS, operator, kernel_size=5, sigma=2.0)
    inputs: dict[str, Any] = {"measurement": measurement, "cameras": CAMERAS, "steps": 3, "time_schedule": "uniform"}
    own, given = optimized(**inputs), optimized(**inputs, sds_weight=sds, data_weight=data)
    assert torch.equal(own.scene.harmonics, given.scene.harmonics)


def partly_unseen() -> tuple[Any, Tensor]:
    """A SPLAT with transparent splats that no camera sees, and a mask (N,) of these."""
    scene = host.splat_scenes("splat", SCENE)[0]
    unseen = torch.arange(len(scene)) < 20
    positions = torch.where(unseen[:, None], scene.positions - 50, scene.positions)
    hidden = replace(scene, positions=positions, opacity_logits=torch.where(unseen, -9.0, scene.opacity_logits))
    return host.splat_value([hidden]), unseen


@pytest.mark.parametrize("task", ["restore", "edit"])
def test_transparent_splats_fade_and_move_except_in_edits(task: str, monkeypatch: pytest.MonkeyPatch):
    """Only sparsity changes splats that no view shows, and only relocation brings them back."""
    monkeypatch.setattr(fitting, "RELOCATE_EVERY", 2)
    given, unseen = partly_unseen()
    inputs: dict[str, Any] = {"splat": given, **(TASKS["restore"] if task == "restore" else {}), "fit_steps": 0}
    start = host.splat_scenes("splat", given)[0][unseen]
    first, third = (optimized(**inputs, steps=steps).scene[unseen] for steps in (1, 3))
    assert torch.allclose(first.positions, start.positions)
    if task == "edit":
        assert torch.allclose(third.positions, start.positions)
        assert torch.allclose(third.opacity_logits, start.opacity_logits, atol=1e-4)
    else:
        assert (first.opacity_logits < start.opacity_logits - 0.01).all()
        assert (first.log_scales < start.log_scales - 0.001).all()
        assert (third.positions.norm(dim=1) < 2).all() and (third.opacities > 0.004).all()


def test_new_scenes_have_the_chosen_number_and_degree():
    result = optimized(splats=17, color_degree=2)
    assert result.scene.harmonics.shape == (17, 9, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"views": 2}, {"background": "black"}, {"background": "random"}, {"elevation_min": 40.0},
        {"azimuth_min": 170.0}, {"distance": 1.0}, {"fov": 20.0}, {"time_schedule": "descending"},
        {"noise_policy": "fixed"}, {"t_max": 0.5}, {"guidance_scale": 3.0}, {"learning_rate": 0.5},
        {"pixel_weight": 1.0},
    ],
    ids=lambda change: "-".join(change),
)  # fmt: skip
def test_inputs_change_the_result(change: dict[str, Any]):
    assert not torch.equal(optimized(**{"steps": 3, **change}).scene.positions, optimized(steps=3).scene.positions)


def test_weights_of_a_restoration_act():
    inputs: dict[str, Any] = {**TASKS["restore"], "steps": 3, "time_schedule": "uniform"}
    changes: list[dict[str, Any]] = [{}, {"sds_weight": 9.0}, {"data_weight": 9.0}]
    results = [optimized(**inputs, **change).scene.harmonics for change in changes]
    assert not torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_each_side_has_its_own_prompt():
    """Of cameras in front only the front's prompt acts; where one looks from behind, that of the back."""
    front: dict[str, Any] = {"azimuth_min": 0.0, "azimuth_max": 0.0}
    back: dict[str, Any] = {"azimuth_min": 180.0, "azimuth_max": 180.0}
    plain = {azimuth: optimized(**where).scene.positions for azimuth, where in (("front", front), ("back", back))}
    assert torch.equal(optimized(**front, positive_back=SOURCE).scene.positions, plain["front"])
    assert not torch.equal(optimized(**back, positive_back=SOURCE).scene.positions, plain["back"])
    named = optimized(**back, positive=SOURCE).scene.positions
    assert torch.allclose(optimized(**back, positive_back=SOURCE).scene.positions, named, atol=1e-5)


@pytest.mark.parametrize("method", ["vsd", "bridge", "dds"])
def test_methods_with_prompts_by_side(method: str):
    """The prompt of the back acts on the views from behind, and on no others of the same step."""
    inputs: dict[str, Any] = {"splat": SCENE, "method": method, "views": 2, "negative": SOURCE}
    inputs |= {"lora_rank": 2} if method == "vsd" else {}

    def positions(azimuths: tuple[float, float], **prompts: Any) -> Tensor:
        low, high = azimuths
        return optimized(**inputs, **prompts, azimuth_min=low, azimuth_max=high).scene.positions

    back, mixed = (180.0, 180.0), (90.0, 270.0)
    named = {"positive_back": NEGATIVE}
    assert torch.allclose(positions(back, **named), positions(back, positive=NEGATIVE), atol=1e-5)
    assert not torch.allclose(positions(back, **named), positions(back), atol=1e-4)
    for others in ({}, {"positive": NEGATIVE}):
        assert not torch.allclose(positions(mixed, **named), positions(mixed, **others), atol=1e-4)


def test_objective_of_another_node_compares_with_the_scene():
    """Posterior Latent Match with one prompt on both sides has nothing to do, whatever latent it brings."""
    prompts = {"source": POSITIVE, "target": POSITIVE, "negative": NEGATIVE}
    settings: dict[str, Any] = {"guidance_scale": 7.5, "posterior": "official", "identity_weight": 1.0}
    objective = PosteriorLatentMatch.execute(encoded(EPS), **prompts, **settings).args[0]
    result = optimized(splat=SCENE, objective=objective, positive=None, negative=None)
    assert "was 0 in every step" in result.notes[-1]
    objective = PosteriorLatentMatch.execute(encoded(EPS), **{**prompts, "target": SOURCE}, **settings).args[0]
    assert optimized(splat=SCENE, objective=objective, positive=None, negative=None).notes == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "Input 'model' is not connected"),
    "nothing to fit": ({"steps": 0}, "steps is 0"),
    "no cameras": ({"images": VIEWS}, "Input 'images' needs the cameras"),
    "few cameras": ({"images": VIEWS, "cameras": CAMERAS[:2]}, "images holds 3 views, but there are 2 cameras"),
    "other proportions": ({"images": VIEWS[:, :16], "cameras": CAMERAS}, "camera 1 has 32x32"),
    "measurement of other size": (
        {"measurement": BLURRED, "cameras": cameras(2)}, "The measurement holds 3 views, but there are 2 cameras"
    ),
    "both": ({"images": VIEWS, "measurement": BLURRED, "cameras": CAMERAS}, "disconnect images to restore"),
    "mesh and splat": ({"mesh": TETRAHEDRON, "splat": SCENE}, "A mesh starts a new scene"),
    "no mesh": ({"mesh": SimpleNamespace()}, "Input 'mesh' is not a valid mesh"),
    "two scenes": ({"splat": host.splat_value([ball(3), ball(4)])}, "Input 'splat' has 2 scenes"),
    "random background": ({"background": "random", **TASKS["restore"]}, "background 'random' is for new scenes"),
    "range": ({"elevation_min": 50.0, "elevation_max": 40.0}, "elevation_min is 50"),
    "no corrective": ({"method": "lmc"}, "corrective"),
    "no camera": ({"cameras": ("camera",)}, "Input 'cameras' has no valid cameras"),
    "NaN camera": (
        {"cameras": (replace(CAMERAS[0], position=torch.full((3,), torch.nan)),)}, "Camera 1 on input 'cameras' has NaN"
    ),
    "inside": ({"distance": 0.3}, "distance is 0.3, which is inside the object"),
    "a video": ({"images": VIEWS.repeat(9, 1, 1, 1), "cameras": CAMERAS}, "images holds 27 views"),
    "no gsplat": ({"renderer": "gsplat"}, "The renderer 'gsplat' needs"),
    "no prompt of a side": ({"positive_side": []}, "'positive_side' is empty"),
    "times": ({"t_min": 0.6, "t_max": 0.5}, "t_min is 0.6"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_input_before_any_work(case: str, monkeypatch: pytest.MonkeyPatch):
    inputs, words = REFUSED[case]
    monkeypatch.setattr(host, "run_in_sampler", lambda *_, **__: pytest.fail("It went on."))
    with pytest.raises((ValueError, RendererUnavailable), match=words):
        optimized(**inputs)


def test_a_guided_prompt_of_a_side_is_refused():
    plain = {
        name: FluxGuidance.execute(prompt, 1.0).args[0]
        for name, prompt in (("positive", POSITIVE), ("negative", NEGATIVE))
    }
    with pytest.raises(ValueError, match="input 'positive_back' has guidance 3.5"):
        optimized(FLUX_DISTILLED, **plain, positive_back=FluxGuidance.execute(SOURCE, 3.5).args[0])


def test_canceling_saves_the_scene_so_far(caplog: pytest.LogCaptureFixture):
    turns = [False, True]  # the last preview is shown again after canceling

    def cancel(done: int, *_: Any, **__: Any) -> None:
        if done == 2 and turns.pop():
            comfy.model_management.interrupt_current_processing()

    with progress_hook(cancel), caplog.at_level("INFO", "dreamsampler"), pytest.raises(host.Cancelled):
        optimized(steps=5)
    (name,) = [word for record in caplog.records for word in record.getMessage().split() if word.endswith(".ply")]
    saved = Path(folder_paths.get_temp_directory(), name)
    assert len(read_splats(saved.read_bytes(), name)) == 40


def test_out_of_memory_takes_fewer_views_then_smaller_ones(monkeypatch: pytest.MonkeyPatch):
    from dreamsampler.nodes import splat_optimizer

    sizes, run = [], host.run_in_sampler

    def first_ones_do_not_fit(algorithm: Any, **inputs: Any) -> Any:
        sizes.append(tuple(inputs["samples"].shape[-4:]))
        if len(sizes) < 3:
            raise torch.OutOfMemoryError
        return run(algorithm, **inputs)

    monkeypatch.setattr(splat_optimizer, "SMALLEST", 8)
    monkeypatch.setattr(host, "run_in_sampler", first_ones_do_not_fit)
    result = optimized(views=3)
    cells = SIZE // 8
    assert [(shape[0], shape[-1]) for shape in sizes] == [(3, cells), (1, cells), (1, cells // 2)]
    assert result.notes == [
        "Out of memory: starts the steps over with views 1 in place of 3.",
        "Out of memory: starts the steps over with render_size 16 in place of 32.",
    ]
    assert result.image.shape[1] == SIZE


def test_after_out_of_memory_an_edit_starts_from_its_source(monkeypatch: pytest.MonkeyPatch):
    edit: dict[str, Any] = {"splat": SCENE, "method": "dds", "source": SOURCE, "steps": 4}
    expected, run, runs = optimized(**edit, views=1), host.run_in_sampler, []

    def ends_at_its_third_step(algorithm: Any, **inputs: Any) -> Any:
        def preview(done: int, image: Tensor) -> None:
            if len(runs) == 1 and done == 3:
                raise torch.OutOfMemoryError

        runs.append(algorithm)
        return run(replace(algorithm, preview=preview), **inputs)

    monkeypatch.setattr(host, "run_in_sampler", ends_at_its_third_step)
    result = optimized(**edit, views=2)
    assert len(runs) == 2
    for mine, others in zip(result.scene.parameters, expected.scene.parameters, strict=True):
        assert torch.equal(mine, others)


def test_nan_is_a_sentence():
    broken = replace(ball(3), positions=torch.full((3, 3), torch.nan))
    with pytest.raises(ValueError, match="Input 'splat' contains NaN"):
        optimized(splat=host.splat_value([broken]))
