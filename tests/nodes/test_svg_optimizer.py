"""SVG Optimizer on tiny models and VAEs of every family: properties that hold for any model."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from dreamsampler.drawings.drawing import Drawing, render
from dreamsampler.drawings.optimizer import PIXEL_ART
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.sockets import ObjectiveSocket
from dreamsampler.nodes.svg_optimizer import LAZY, SVGOptimizer
from dreamsampler.svg.document import Color
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from support.corrective_nodes import spectral
from support.diffvg import stand_in
from support.svg_nodes import SVG, Optimized, drawn, value, vectorize
from support.svg_oracle import DOCUMENTS, svg
from support.tensors import uniform
from support.tiny_models import (
    EPS,
    FLUX,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    Calls,
    Family,
    V,
    cond,
    encoded,
    measure,
    photo,
    square_hole,
    tiny,
    tiny_vae,
    untouched,
)
from torch import Tensor
from torch.nn import functional as F

every_family = pytest.mark.parametrize("family", [EPS, SD3, QWEN], ids=str)
some_families = pytest.mark.parametrize("family", [V, SD3, QWEN], ids=str)
every_style = pytest.mark.parametrize("style", ART_STYLES)

CORNERS = svg(
    '<path d="M10 10H90V55H10Z" fill="#d33"/><path d="M20 40L70 30 80 85 15 90Z" fill="#36c" opacity=".8"/>',
)
"""Polygons."""
ROUND = svg(
    '<g><circle cx="48" cy="47" r="33" fill="#fa0"/></g><path d="M10 80C30 10 60 95 90 20" fill="none" stroke="#083" '
    'stroke-width="7" stroke-linecap="round"/>'
)
WIDE = svg('<path d="M5 5H90V30Z" fill="#80c"/><ellipse cx="60" cy="40" rx="30" ry="9"/>', 'viewBox="0 0 100 50"')
OPERATORS: dict[str, dict[str, Any]] = {
    "super-resolution": {},
    "gaussian blur": {},
    "inpaint": {"mask": square_hole()},
    "motion blur": {"angle": 30.0},
    "colourisation": {},
    "outpaint": {"left": 16},
    "jpeg": {"quality": 30},
}


def measured(operator: str = "gaussian blur", count: int = 1, seed: int = 0, image: Tensor | None = None) -> Any:
    return measure(photo(count, seed) if image is None else image, operator, **OPERATORS[operator])[0]


def drawings(count: int, first: int) -> Any:
    return value(*[CORNERS, ROUND][first : first + count])


def blurred(count: int, first: int) -> dict[str, Any]:
    return {"measurement": measured(count=count, seed=first)}


TASKS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "draw": lambda count, first: {},
    "refine": lambda count, first: {"image": photo(count, first)},
    "edit": lambda count, first: {"svg": drawings(count, first)},
    "restore": lambda count, first: blurred(count, first),
    "edit a fitted SVG": lambda count, first: {"svg": drawings(count, first), "image": photo()},
    "restore from an SVG": lambda count, first: {"svg": value(ROUND), **blurred(count, first)},
    "restore from an image": lambda count, first: {"image": photo(), **blurred(count, first)},
}
"""The inputs of each task, for a batch of `count` items starting at item `first`."""

every_task = pytest.mark.parametrize("task", TASKS)


def differ(one: Optimized, other: Optimized) -> bool:
    """Whether any pixel clearly differs."""
    return bool((one.image - other.image).abs().max() > 5e-3)


def objective(method: str, reference: dict[str, Any] | None = None, **settings: Any) -> ObjectiveSocket:
    """A method with its own prompts, and those of `settings` that it has."""
    prompts = {"positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE}
    corrective = spectral(EPS) if "corrective" in METHODS[method].needs else None
    mine, config = replace(METHODS[method], name="mine"), METHODS[method].config()
    own = {name: value for name, value in settings.items() if config.has(name)}
    return ObjectiveSocket(mine, prompts, reference, "source_latent", own, corrective)


# The tasks and their results


def assert_sound(made: Optimized, count: int = 1, height: int = 64, width: int = 64) -> None:
    """The files are read without warnings, and the images show them."""
    assert isinstance(made.svg, SVG)
    assert len(made.documents) == count
    assert made.image.shape == (count, height, width, 3) and made.image.dtype == torch.float32
    assert 0 <= made.image.min() and made.image.max() <= 1
    for file, own in zip(made.texts, made.image):
        shown, _ = drawn(file, width=width, height=height)
        assert (shown[0] - own).abs().max() < 2 / 255


@every_family
@every_task
def test_each_task_returns_an_svg_and_its_image(task: str, family: Family):
    made = vectorize(family, **TASKS[task](1, 0))
    assert_sound(made)
    assert len(made.curve["step"]) == 2 and made.curve["method"] == ("pds" if "edit" in task else "sds")
    assert all(norm > 0 for step in made.curve["gradient_norm"] for norm in step)
    if family is EPS:
        assert differ(made, vectorize(family, **TASKS[task](1, 0), positive=cond(5)))


def test_flow_models_draw():
    assert_sound(vectorize(FLUX))
    assert_sound(vectorize(SD3, model=ModelSamplingSD3().patch(tiny(SD3), 9.0)[0]))


@pytest.mark.parametrize("task", ["draw", "refine", "edit", "restore"])
def test_default_settings_are_the_papers(task: str):
    """Except for the guidance of restorations, which is lower to suit their noise."""
    times = {"draw": (0.05, 0.95), "refine": (0.05, 0.95), "edit": (0.1, 0.98), "restore": (0.02, 0.98)}
    restores = task == "restore"
    low, high = times[task]
    paper = {
        "t_min": low,
        "t_max": high,
        "guidance_scale": 7.5 if restores else 100.0,
        "time_schedule": "descending" if restores else "uniform",
        "noise_policy": "estimated" if restores else "fresh",
        "views": "on" if task in ("draw", "refine") else "off",
        "crossing_weight": 0.01,
        **({"sds_weight": 2.4, "data_weight": 3.0} if restores else {}),
    }
    own = vectorize(V, **TASKS[task](1, 0))
    assert own.texts == vectorize(V, **TASKS[task](1, 0), **paper).texts
    others = {
        "t_min": 0.5,
        "t_max": 0.5,
        "guidance_scale": 5.0,
        "time_schedule": "uniform" if restores else "descending",
        **({"views": "off"} if task in ("draw", "refine") else {}),
        **({"sds_weight": 0.0, "data_weight": 0.0} if restores else {}),
        "noise_policy": "fresh" if restores else "estimated",
    }
    for name, other in others.items():
        assert vectorize(V, **TASKS[task](1, 0), **{name: other}).texts != own.texts, f"{name} does nothing"


def test_restoration_weights_depend_on_the_operator():
    for operator in OPERATORS:
        sds, data = (2.4, 3.0) if "blur" in operator else (1.0, 4.0)
        own = vectorize(EPS, measurement=measured(operator))
        assert_sound(own)
        again = vectorize(EPS, measurement=measured(operator), sds_weight=sds, data_weight=data)
        assert again.texts == own.texts


@pytest.mark.parametrize("image", [photo(2), photo(1, 4)[..., :1], photo(1)[:, :40]], ids=["batch", "gray", "wide"])
def test_zero_steps_trace_without_a_model(image: Tensor):
    made = vectorize(None, image=image, steps=0, paths=16, fit_steps=45)
    count, height, width, _ = image.shape
    assert_sound(made, count, height, width)
    assert "distillation" not in made.page_data
    image = image.expand(-1, -1, -1, 3)
    one_color = image.mean((1, 2), keepdim=True).expand_as(image)
    assert F.mse_loss(made.image, image) < 0.7 * F.mse_loss(one_color, image)
    for shapes in made.shapes:
        assert [shape.name for shape in shapes] == ["background", *[""] * 16]


def test_more_fit_steps_fit_better():
    errors = [
        F.mse_loss(vectorize(None, image=photo(), steps=0, paths=6, fit_steps=n).image, photo()).item()
        for n in (1, 4, 16)
    ]
    assert errors[0] > 1.1 * errors[1] > 1.2 * errors[2]


def test_fit_settings_change_the_result():
    default, grouped, sparse, unfitted = (
        vectorize(None, image=photo(), steps=0, **other)
        for other in ({}, {"fit_groups": 5}, {"fit_places": "sparse"}, {"fit_steps": 1})
    )
    assert differ(default, grouped) and differ(default, sparse) and differ(default, unfitted)
    assert_sound(unfitted)


@pytest.mark.parametrize("fit_places", ["component-wise", "trace"])
def test_svg_is_fitted_to_an_image_without_a_model(fit_places: str):
    target, _ = drawn(ROUND)
    made = vectorize(None, svg=value(CORNERS), image=target, steps=0, fit_steps=20, fit_places=fit_places)
    assert_sound(made)
    ((first, second),) = made.shapes
    assert len(first.contours[0].points) == 12 and len(second.contours[0].points) == 12
    assert F.mse_loss(made.image, target) < 0.6 * F.mse_loss(drawn(CORNERS)[0], target)


@pytest.mark.parametrize("fit_places", ["component-wise", "sparse", "anywhere"])
@pytest.mark.parametrize("operator", ["super-resolution", "gaussian blur", "motion blur"])
def test_measurement_is_traced_without_a_model(operator: str, fit_places: str):
    """The degraded drawing approaches the measurement. The sides of the image are no powers of 2."""
    target = drawn(ROUND)[0][:, :, :52]
    measurement = measured(operator, image=target)
    fit = {"paths": 6, "fit_steps": 60, "fit_groups": 2, "fit_places": fit_places}
    made = vectorize(None, measurement=measurement, steps=0, **fit)
    assert_sound(made, 1, 64, 52)
    assert "distillation" not in made.page_data
    assert misfit(measurement, made.image) < 0.5 * misfit(measurement, torch.ones_like(made.image))


def test_svg_is_fitted_to_a_measurement_without_a_model():
    measurement = measured("gaussian blur", image=drawn(ROUND)[0])
    made = vectorize(None, svg=value(CORNERS), measurement=measurement, steps=0, fit_steps=20)
    ((first, second),) = made.shapes
    assert len(first.contours[0].points) == 12 and len(second.contours[0].points) == 12
    assert misfit(measurement, made.image) < 0.6 * misfit(measurement, drawn(CORNERS)[0])


def test_zero_steps_ignore_all_model_inputs():
    model, calls = tiny(EPS), Calls()
    alone = vectorize(None, image=photo(), steps=0)
    with_all = vectorize(
        EPS,
        image=photo(),
        steps=0,
        model=calls.watch(model),
        measurement=measured(),
        objective=objective("sds"),
        source=SOURCE,
        views="on",
        learning_rate=9.0,
    )
    assert alone.texts == with_all.texts and not calls.runs


@pytest.mark.parametrize(("steps", "required"), [(0, set()), (1, set(LAZY))])
def test_only_required_lazy_inputs_are_evaluated(steps: int, required: set[str]):
    """ComfyUI leaves out unconnected inputs and passes None for inputs that are not evaluated yet."""
    missing = dict.fromkeys(LAZY)
    others = {"svg": None, "image": photo(), "style": "sketch", "paths": -1, "t_min": None}
    assert set(SVGOptimizer.check_lazy_status(steps=steps, **missing, **others)) == required
    missing["model"] = tiny(EPS)
    del missing["source"], missing["objective"]
    assert set(SVGOptimizer.check_lazy_status(steps=steps, **missing, **others)) == required - {
        "model",
        "source",
        "objective",
    }


def test_traced_measurement_is_evaluated():
    missing = {"model": None, "measurement": None, "svg": value(CORNERS)}
    assert SVGOptimizer.check_lazy_status(steps=0, **missing) == ["measurement"]
    assert SVGOptimizer.check_lazy_status(steps=0, **{**missing, "measurement": measured()}) == []


def test_lazy_inputs_are_marked_in_the_schema():
    schema = SVGOptimizer.GET_SCHEMA()
    assert {each.id for each in schema.inputs if getattr(each, "lazy", None)} == set(LAZY)


# Sizes


@pytest.mark.parametrize(("canvas_size", "image", "size"), [
    (64, (64, 64), (64, 64)),
    (32, (60, 30), (32, 16)),
    (64, (30, 48), (40, 64)),
    (40, (100, 3), (40, 8)),
    (36, (10, 10), (32, 32)),
])  # fmt: skip
@pytest.mark.parametrize("steps", [0, 1])
def test_size_keeps_the_aspect_ratio_in_multiples_of_8(
    canvas_size: int, image: tuple[int, int], size: tuple[int, int], steps: int
):
    resized = F.interpolate(photo().movedim(-1, 1), image).movedim(1, -1)
    made = vectorize(EPS if steps else None, image=resized, steps=steps, canvas_size=canvas_size)
    assert_sound(made, 1, *size)
    (box,) = (document.view_box for document in made.documents)
    assert box[:2] == (0, 0) and box.height * size[1] == box.width * size[0]


@some_families
@pytest.mark.parametrize("task", ["edit", "restore", "refine"])
def test_wide_images(family: Family, task: str):
    image = photo()[:, 12:52]
    connected = {"svg": value(WIDE)} if task == "edit" else {"image": image}
    if task == "restore":
        connected = {"measurement": measured("super-resolution", image=image)}
    made = vectorize(family, canvas_size=64, **connected)
    assert_sound(made, 1, 32 if task == "edit" else 40, 64)


def test_edit_keeps_the_canvas_of_the_file():
    own = svg('<path d="M-4 5H90V30Z"/>', 'viewBox="-10 -5 120 60" width="12cm" height="6cm"')
    made = vectorize(EPS, svg=value(own))
    (document,) = made.documents
    assert document.view_box == (-10, -5, 120, 60) and (document.width, document.height) == ("12cm", "6cm")
    assert made.image.shape == (1, 32, 64, 3)
    assert [shape.name for shape in document.shapes()] == [""]


@pytest.mark.parametrize("size", [(64, 40), (40, 64), (64, 24)])
def test_background_of_a_new_drawing_fills_its_image(size: tuple[int, int]):
    gray = torch.full((1, *size, 3), 0.1)
    for steps in (0, 1):
        made = vectorize(EPS if steps else None, image=gray, steps=steps, style="low-poly", paths=1, fit_steps=20)
        assert (made.shapes[0][0].name, made.shapes[0][0].contours[0].closed) == ("background", True)
        background = made.image.median()
        assert background < 0.9
        for edge in (made.image[:, 0], made.image[:, -1], made.image[:, :, 0], made.image[:, :, -1]):
            assert edge.median() == pytest.approx(background.item(), abs=0.01)


def test_measurement_sets_the_size():
    for scale, size in ((2, 64), (4, 32)):
        image = photo(size=size)
        measurement, _ = measure(image, "super-resolution", scale=scale)
        assert_sound(vectorize(EPS, measurement=measurement, canvas_size=512), 1, size, size)


# Seeds and batches


@pytest.mark.parametrize("task", ["refine", "edit", "restore", "restore from an image"])
@pytest.mark.parametrize("family", [V, QWEN], ids=str)
def test_batch_matches_single_drawings(family: Family, task: str):
    count = 2
    together = vectorize(family, **TASKS[task](count, 0), seed=3)
    assert len(together.image) == count
    for i in range(count):
        alone = vectorize(family, **TASKS[task](1, i), seed=item_seeds(3, [i])[0])
        torch.testing.assert_close(alone.image, together.image[i : i + 1], rtol=0, atol=1e-3)
        assert alone.curve["t"] == [[step[i]] for step in together.curve["t"]]
        for step, own in zip(together.curve["gradient_norm"], alone.curve["gradient_norm"]):
            assert step[i] == pytest.approx(own[0], rel=1e-3)


def test_one_svg_is_used_for_the_whole_batch():
    image, measurement = photo(2), measured(count=2)
    made = vectorize(EPS, svg=value(ROUND), measurement=measurement, image=image[:1])
    twice = vectorize(EPS, svg=value(ROUND, ROUND), measurement=measurement, image=image[[0, 0]])
    assert made.texts == twice.texts and len(made.texts) == 2
    one = vectorize(EPS, svg=value(ROUND, CORNERS), measurement=measured())
    assert_sound(one, 2)


@pytest.mark.parametrize("task", ["draw", "refine", "edit", "restore"])
def test_result_depends_only_on_the_seed(task: str):
    first, again, other = (vectorize(SD3, **TASKS[task](1, 0), seed=seed) for seed in (1, 1, 2**64 - 1))
    assert first.texts == again.texts and torch.equal(first.image, again.image)
    assert first.texts != other.texts


@every_task
def test_run_does_not_change_inputs_or_global_state(task: str):
    inputs = TASKS[task](2 if task != "draw" else 1, 0)
    before = {name: each.clone() for name, each in inputs.items() if isinstance(each, Tensor)}
    model, vae = tiny(V), tiny_vae("kl")
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert vae.first_stage_model is not None
    with untouched(model.model, vae.first_stage_model):
        vectorize(V, **inputs, style="low-poly", noise_policy="estimated")
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    for name, each in before.items():
        assert torch.equal(inputs[name], each)
    if "svg" in inputs:
        assert inputs["svg"].data[0].getvalue().decode() in (CORNERS, ROUND) and inputs["svg"].data[0].tell() == 0
    if "measurement" in inputs:
        assert torch.equal(inputs["measurement"].y, TASKS[task](2, 0)["measurement"].y)


# Styles


def test_help_page_lists_every_style():
    page = (Path(__file__).resolve().parents[2] / "js" / "docs" / "DSSVGOptimizer.md").read_text("utf-8")
    table = page.partition("\n## Styles\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w -]+) \| (\d+) [^|`]*`([^`]+)` \|$", table, re.MULTILINE)
    listed = {name: (int(count), suffix) for name, count, suffix in rows}
    styles = {name: (style.path_count, style.prompt_suffix) for name, style in ART_STYLES.items()}
    assert listed == styles, "Add a row to the table 'Styles' of js/docs/DSSVGOptimizer.md: docs/add-an-svg-style.md"


def test_tooltips_list_every_style():
    tooltips = {each.id: each.tooltip for each in SVGOptimizer.GET_SCHEMA().inputs}
    for name, style in ART_STYLES.items():
        assert f"{style.elements} ({name})" in tooltips["style"]
        assert f'"{style.prompt_suffix[2:]}" ({name})' in tooltips["positive"]


@every_style
@pytest.mark.parametrize("image", [None, photo()], ids=["anywhere", "traced"])
def test_every_style_draws(style: str, image: Tensor | None):
    made, art = vectorize(SD3, style=style, image=image, paths=6, steps=3), ART_STYLES[style]
    assert_sound(made)
    ((*shapes,),) = made.shapes
    if "background" in art.optimized:
        assert shapes.pop(0).name == "background"
    expected = art.random_paths(6, (made.image.shape[1], made.image.shape[2]), torch.Generator())
    stroked = expected.widths is not None
    assert len(shapes) == len(expected.points)
    for shape in shapes:
        assert (shape.stroke is not None, shape.fill is None) == (stroked, stroked)
        assert len(shape.contours[0].points) == expected.points.shape[1] and shape.contours[0].closed != stroked
        if style == "sketch":
            assert shape.stroke and shape.stroke.paint == Color(0, 0, 0) and shape.stroke.opacity == 1
    if style in ("low-poly", "pixel art"):
        assert "C" not in made.texts[0]
    other = vectorize(SD3, style=style, image=image, paths=6, steps=3, positive=cond(5))
    slow = image is not None and art.rates_after_tracing is PIXEL_ART  # 1e-4 per step
    assert differ(made, other) or slow


@every_style
def test_each_style_has_its_own_default_path_count(style: str):
    for paths, count in ((-1, ART_STYLES[style].path_count), (0, 1)):
        made = vectorize(EPS, style=style, paths=paths, canvas_size=32, steps=1, views="off")
        assert sum(shape.name != "background" for shape in made.shapes[0]) == count


@pytest.mark.parametrize(("size", "cells"), [((64, 64), 16), ((32, 64), 32), ((64, 32), 32), ((64, 8), 32)])
def test_pixel_art_consists_of_squares(size: tuple[int, int], cells: int):
    made = vectorize(None, style="pixel art", image=uniform(1, *size, 3, dtype=torch.float32), steps=0, paths=cells)
    (shapes,) = made.shapes
    assert len(shapes) == cells
    for shape in shapes:
        x, y = zip(*shape.contours[0].points)
        assert max(x) - min(x) == pytest.approx(max(y) - min(y))


def test_faint_pixel_art_squares_are_not_moved():
    made = vectorize(EPS, style="pixel art", paths=9, steps=5, learning_rate=1e3)
    corners = [shape.contours[0].points[0] for shape in made.shapes[0]]
    assert corners == [shape.contours[0].points[0] for shape in vectorize(EPS, style="pixel art", paths=9).shapes[0]]


def test_dead_paths_are_reinitialized_when_drawing_but_not_when_restoring():
    thin = {"style": "low-poly", "paths": 8, "canvas_size": 64, "learning_rate": 0.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamsampler.drawings.reinitialization.dead", lambda opacity, area: opacity > 0)
        first, later = (vectorize(EPS, steps=steps, **thin) for steps in (1, 5))
        assert differ(first, later)
        first, later = (vectorize(EPS, steps=n, measurement=measured(), **thin) for n in (1, 5))
    assert first.texts == later.texts


# Objectives


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["draw", "edit", "restore"])
def test_every_method_works_as_an_objective(task: str, method: str):
    made = vectorize(V, **TASKS[task](1, 0), objective=objective(method, ode_steps=1), positive=None, negative=None)
    assert_sound(made)
    assert made.curve["method"] == "mine"
    assert made.curve["gradient_norm"][1][0] > 0


@pytest.mark.parametrize("task", ["draw", "refine", "edit", "restore"])
def test_objective_replaces_prompts_and_gradient_but_not_times(task: str):
    inputs = {**TASKS[task](1, 0), "views": "off", "positive": cond(5), "negative": cond(6)}
    plain = vectorize(EPS, **{**inputs, "positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE})
    if task in ("draw", "refine"):
        assert vectorize(EPS, **inputs, objective=objective("sds")).texts == plain.texts
    if task == "edit":
        empty = {"samples": torch.zeros(1, 4, 8, 8)}
        pds = PosteriorLatentMatch.execute(empty, SOURCE, POSITIVE, NEGATIVE, 100.0, "official", 1.0).args[0]
        assert vectorize(EPS, **inputs, objective=pds).texts == plain.texts
    times = vectorize(EPS, **inputs, objective=objective("flowedit"), steps=6).curve["t"]
    low, high = (0.1, 0.98) if task == "edit" else (0.02, 0.98) if task == "restore" else (0.05, 0.95)
    assert times[0] == [pytest.approx(high)] and low < times[-1][0] < low + 0.2  # flowedit needs descending times
    free = vectorize(EPS, **inputs, objective=objective("flowedit"), time_schedule="uniform", t_max=0.5, steps=6)
    assert max(free.curve["t"])[0] < 0.5 and len(free.curve["t"]) == 6


@some_families
def test_posterior_latent_match_uses_its_source_latent(family: Family):
    latent = encoded(family)
    made = {}
    for name, reference in (("own", {"samples": torch.zeros(1, *family.shape)}), ("other", latent)):
        for weight in (0.0, 1.0):
            pds = PosteriorLatentMatch.execute(reference, SOURCE, POSITIVE, NEGATIVE, 7.5, "official", weight).args[0]
            made[name, weight] = vectorize(family, svg=value(CORNERS), objective=pds)
    assert all(differ(made["other", weight], made["own", weight]) for weight in (0.0, 1.0))
    assert differ(made["other", 0.0], made["other", 1.0])


def test_node_guidance_overrides_that_of_the_objective():
    def made(own: float, given: float) -> list[str]:
        return vectorize(EPS, objective=objective("sds", guidance_scale=own), guidance_scale=given).texts

    assert made(5.0, -1) == made(9.0, 5.0) != made(9.0, -1)


def test_views_show_parts_of_the_drawing():
    for task in ("draw", "refine"):
        whole, parts = (vectorize(EPS, views=views, **TASKS[task](1, 0)) for views in ("off", "on"))
        (whole_box,), (parts_box,) = ([d.view_box for d in made.documents] for made in (whole, parts))
        assert whole_box == parts_box == (0, 0, 64, 64)
        assert whole.image.shape == parts.image.shape and differ(whole, parts)
    edited = vectorize(EPS, svg=value(ROUND), objective=objective("sds"), views="on")
    assert_sound(edited)
    assert differ(edited, vectorize(EPS, svg=value(ROUND), objective=objective("sds"), views="off"))


@pytest.mark.parametrize("method", ["dds", "bridge"])
def test_views_are_off_for_objectives_that_compare_with_a_source(method: str):
    own, off = (vectorize(EPS, objective=objective(method), views=views).texts for views in (None, "off"))
    assert (own == off) == (method == "dds")


# Settings


FILES = {**DOCUMENTS, "corners": CORNERS, "round": ROUND}
ROUNDED = {"skewed dashes", "linear gradients", "units"}
"""Files with numbers that float32 cannot represent to the last written digit."""


@pytest.mark.parametrize("file", FILES)
def test_learning_rate_0_returns_the_svg_and_others_keep_it_valid(file: str):
    source = FILES[file]
    still = vectorize(EPS, svg=value(source), learning_rate=0.0, steps=1)
    assert still.texts == [write(parse(source).document)] or file in ROUNDED
    shown, _ = drawn(source, width=still.image.shape[2], height=still.image.shape[1])
    assert (still.image - shown).abs().max() < 2 / 255
    moved = vectorize(EPS, svg=value(source), learning_rate=20.0)
    assert moved.image.isfinite().all() and len(moved.documents) == 1


@every_style
def test_nothing_moves_at_learning_rate_0(style: str):
    draw = {"style": style, "learning_rate": 0.0, "steps": 1}
    assert vectorize(EPS, **draw).texts == vectorize(EPS, **draw, positive=cond(6)).texts
    traced = vectorize(None, image=photo(), steps=0, style=style)
    assert vectorize(EPS, **draw, image=photo(), views="off").texts == traced.texts


def test_higher_learning_rates_move_further():
    still, slow, fast = (vectorize(V, svg=value(ROUND), learning_rate=rate) for rate in (0.0, 0.2, 2.0))
    assert (slow.image - still.image).abs().mean() < 0.5 * (fast.image - still.image).abs().mean()


def test_straight_sides_and_curves_are_preserved():
    made = vectorize(V, svg=value(CORNERS), steps=5, learning_rate=5.0)
    assert differ(made, vectorize(V, svg=value(CORNERS), learning_rate=0.0))
    assert "C" not in made.texts[0] and "C" in vectorize(V, svg=value(ROUND)).texts[0]


def test_source_prompt_defaults_to_the_negative():
    own, negative, source = (vectorize(V, svg=value(ROUND), source=prompt) for prompt in (None, NEGATIVE, SOURCE))
    assert own.texts == negative.texts and differ(own, source)
    same = vectorize(V, svg=value(ROUND), source=POSITIVE, steps=3)
    assert not differ(same, vectorize(V, svg=value(ROUND), learning_rate=0.0))


@pytest.mark.parametrize("noise_policy", ["fresh", "fixed", "estimated", "inverted"])
@pytest.mark.parametrize("time_schedule", ["uniform", "annealed", "descending"])
def test_every_time_schedule_with_every_noise_policy(time_schedule: str, noise_policy: str):
    options = {"time_schedule": time_schedule, "noise_policy": noise_policy, "t_min": 0.3, "t_max": 0.7}
    made = vectorize(SD3, **TASKS["edit"](2, 0), **options)
    assert_sound(made, 2)
    times = torch.tensor(made.curve["t"])
    assert 0.3 <= times.min() and times.max() <= 0.7001
    if time_schedule == "descending":
        torch.testing.assert_close(times, torch.tensor([0.7, 0.5])[:, None].expand(2, 2))
    if time_schedule == "uniform":
        alone = vectorize(SD3, **TASKS["edit"](1, 1), **options, seed=item_seeds(7, [1])[0])
        torch.testing.assert_close(alone.image, made.image[1:], rtol=0, atol=1e-3)


def test_crossing_weight_acts_except_in_edits():
    loop = svg('<path d="M20 50C90 10 10 10 80 50L50 80Z" fill="#06c"/>')
    restored = {"svg": value(loop), "measurement": measured(image=drawn(loop)[0]), "sds_weight": 0.0, "steps": 4}
    still, crossing = (vectorize(EPS, **restored, crossing_weight=weight) for weight in (0.0, 10.0))
    assert differ(still, crossing)
    edits = [vectorize(EPS, svg=value(loop), crossing_weight=weight).texts for weight in (0.0, 10.0)]
    assert edits[0] == edits[1]


# The renderer


@pytest.mark.parametrize("task", ["draw", "refine", "edit", "restore"])
def test_diffvg_renders_tracing_and_distillation(task: str, monkeypatch: pytest.MonkeyPatch):
    """The stand-in follows pydiffvg's conventions but uses the built-in rasterizer, so results agree."""
    monkeypatch.setitem(sys.modules, "pydiffvg", pydiffvg := stand_in())
    rendered = []
    apply = pydiffvg.RenderFunction.apply
    pydiffvg.RenderFunction.apply = lambda *given: rendered.append(given[:2]) or apply(*given)
    made = vectorize(EPS, **TASKS[task](1, 0), renderer="diffvg")
    own = vectorize(EPS, **TASKS[task](1, 0))
    assert_sound(made)
    # Distillation: once before and in each of 2 steps. Tracing: 2 steps for each of 2 groups, and once in between.
    assert len(rendered) == 3 + (5 if task in ("refine", "restore") else 0)
    assert (made.image - own.image).abs().mean() < 2e-3


def test_output_image_uses_the_built_in_renderer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydiffvg", stand_in())
    made = vectorize(EPS, svg=value(CORNERS), renderer="diffvg", learning_rate=0.0)
    assert torch.equal(made.image, vectorize(EPS, svg=value(CORNERS), learning_rate=0.0).image)


# Restoration


@pytest.mark.parametrize(
    ("family", "operator"), [*((V, operator) for operator in OPERATORS), (QWEN, "super-resolution")], ids=str
)
def test_drawing_that_matches_its_measurement_does_not_move(family: Family, operator: str):
    image = render([Drawing(parse(ROUND).document, 64, 64)]).detach().movedim(1, -1)
    explained = {"svg": value(ROUND), "measurement": measured(operator, image=image), "crossing_weight": 0.0}
    made = vectorize(family, **explained, sds_weight=0.0, steps=4)
    assert (made.image - image).abs().max() < 2e-3
    assert differ(made, vectorize(family, **explained, steps=4))


def misfit(measurement: Any, image: Tensor) -> float:
    return float(measurement.residual(2 * image.movedim(-1, 1) - 1).square().mean())


@pytest.mark.parametrize("operator", ["super-resolution", "gaussian blur", "inpaint", "outpaint", "jpeg"])
def test_restoration_reduces_the_data_error(operator: str):
    measurement = measured(operator, image=drawn(ROUND)[0])
    inputs = {"svg": value(CORNERS), "measurement": measurement, "crossing_weight": 0.0, "learning_rate": 5.0}
    start, middle, end = (
        misfit(measurement, vectorize(SD3, **inputs, steps=steps, sds_weight=0.0, data_weight=weight).image)
        for steps, weight in ((1, 0.0), (2, 4.0), (6, 4.0))
    )
    assert end < 0.95 * middle < 0.95 * start


@pytest.mark.parametrize("views", ["off", "on"])
def test_pixel_weight_pulls_what_the_model_sees(views: str):
    runs = [vectorize(SD3, steps=2, pixel_weight=weight, views=views) for weight in (0.0, 1.0, 100.0)]
    assert all(run.image.isfinite().all() for run in runs)
    assert differ(runs[0], runs[1]) and differ(runs[1], runs[2])
    restored = [vectorize(SD3, measurement=measured("inpaint"), pixel_weight=weight) for weight in (0.0, 1.0)]
    assert differ(*restored)


def test_restoration_works_from_pure_noise():
    for family in (V, SD3):
        assert_sound(vectorize(family, measurement=measured(), t_max=1.0))


def test_says_if_the_gradient_was_0_in_every_step():
    """An edit between equal prompts, in its first step."""
    options = {"svg": value(ROUND), "steps": 1, "positive": POSITIVE}
    still, moved = (vectorize(**options, source=source).page_data for source in (POSITIVE, SOURCE))
    assert "was 0 in every step" in still["text"][-1]
    assert not any("was 0 in every step" in note for note in moved.get("text", ()))
