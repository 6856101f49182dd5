"""Notes on inputs that are seldom meant: they are on the node, the run goes on, and the ordinary case has none."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import Any

import comfy.latent_formats
import comfy.supported_models
import numpy as np
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from dreamsampler.guidance.core.denoiser import NULL, TARGET
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes import checks, host
from dreamsampler.nodes.host.model import PIXELS_PER_CELL
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.sockets import ObjectiveSocket
from PIL import Image, ImageFilter
from support.illusions import PROMPTS, illusion
from support.scenes import save_scene
from support.splat_nodes import cameras, optimized, splat, views_of
from support.svg_nodes import value, vectorize
from support.svg_oracle import svg
from support.tiny_models import (
    EPS,
    FLUX,
    NEGATIVE,
    SD3,
    SOURCE,
    Family,
    cond,
    distill,
    encoded,
    measure,
    photo,
    restore,
    square_hole,
    tiny,
)
from torch import Tensor

from tools.reference import world

DISC = svg('<circle cx="50" cy="50" r="30" fill="#d33"/>')


def pds(latent: Any) -> Any:
    return PosteriorLatentMatch.execute(latent, SOURCE, POSITIVE, NEGATIVE, 7.5, "official", 1.0).args[0]


SAME = "The prompts on positive and "
COVERS = "The mask covers the whole image, "
POSITIVE = cond(1)


# Prompts


def edited(**options: Any) -> list[str]:
    return restore(tiny(EPS), None, encoded(EPS), None, **options).notes


def distilled(family: Family = EPS, **options: Any) -> list[str]:
    notes: list[str] = []
    latent, _ = distill(tiny(family), encoded(family), notes=notes, **options)
    assert latent["samples"].isfinite().all()
    return notes


def copied(value: Any) -> Any:
    """A CONDITIONING that another node encoded from the same text."""
    return [[tokens.clone(), {name: each.clone() for name, each in options.items()}] for tokens, options in value]


def test_an_edit_without_a_target_prompt_says_so():
    (note,) = edited(positive=POSITIVE, negative=copied(POSITIVE))
    assert note.startswith(SAME + "negative are the same, maybe both empty")


@pytest.mark.parametrize("other", [cond(2), cond(1, reference_latents=[torch.ones(1)]), [*cond(1), *cond(2)]])
def test_an_edit_with_a_target_prompt_says_nothing(other: Any):
    assert edited(positive=POSITIVE, negative=other) == []


def test_a_distillation_without_a_target_prompt_says_so():
    assert any(note.startswith(SAME + "negative") for note in distilled(negative=copied(POSITIVE), positive=POSITIVE))
    notes = distilled(method="dds", positive=POSITIVE, source=copied(POSITIVE))
    assert any(note.startswith(SAME + "source") for note in notes)


def test_prompts_that_a_method_does_not_compare_may_be_the_same():
    same = {"positive": POSITIVE, "negative": copied(POSITIVE)}
    assert not any(note.startswith(SAME) for note in distilled(method="dds", source=cond(3), **same))
    scales: dict[str, Any] = {"guidance_scale": 1.0, "source_guidance_scale": 1.0}
    assert distilled(method="flowedit", source=cond(3), **same, **scales) == []


@pytest.mark.parametrize("method", ["sds", "bridge", "dds", "flowedit"])
def test_an_ordinary_distillation_says_nothing(method: str):
    assert distilled(method=method) == []


def test_settings_that_a_method_does_not_have_are_named():
    changed = {"shift": 0.3, "lora_rank": 8, "source_guidance_scale": 3.0, "diversity": True, "t_min": 0.1}
    assert distilled(**changed) == ["No effect with sds: shift, lora_rank, source_guidance_scale, diversity."]
    assert optimized(first_stage=0.3, t_min=0.1).notes == ["No effect with sds: first_stage."]


def test_noise_of_another_view_is_noted():
    (note,) = vectorize(EPS, noise_policy="estimated").page_data["text"]
    assert note.endswith("set noise_policy to fresh, or views to off.")
    made = vectorize(EPS, objective=ObjectiveSocket(METHODS["dreamsampler"], {TARGET: POSITIVE, NULL: NEGATIVE}))
    assert "noise policy fresh" in made.page_data["distillation"][0]["used"] and "text" not in made.page_data


def test_prompts_beside_an_objective_are_named():
    objective = pds(encoded(EPS))
    beside: dict[str, Any] = {"objective": objective, "positive": None, "negative": None, "source": SOURCE}
    assert optimized(splat=splat(), method="sds", **beside).notes == [
        "No effect here: source, method. The objective brings its own method and prompts."
    ]
    (note,) = vectorize(EPS, svg=value(DISC), **beside).page_data["text"]
    assert note == "No effect here: source. The objective brings its own method and prompts."
    assert vectorize(EPS, source=SOURCE).page_data["text"][0].startswith("No effect here: source. It is the prompt of")
    assert "text" not in vectorize(EPS, svg=value(DISC), source=SOURCE).page_data


@pytest.mark.parametrize("method", ["sds", "bridge", "csd"])
def test_an_illusion_without_one_of_its_prompts_says_which(method: str):
    """Also where methods compare with source prompts, in whose place they take the negative one."""
    (note,) = illusion(method=method, conditioning_2=copied(NEGATIVE)).ui["text"]
    assert note.startswith("The prompts on conditioning_2 and negative are the same")
    assert "write in conditioning_2 what" in note


def test_an_illusion_compares_each_view_with_its_own_source_prompt():
    sources = {"source_1": copied(PROMPTS["conditioning_1"]), "source_2": copied(PROMPTS["conditioning_1"])}
    (note,) = illusion(method="bridge", **sources).ui["text"]
    assert note.startswith("The prompts on conditioning_1 and source_1 are the same")


def test_a_scene_without_a_target_prompt_says_so():
    (note,) = optimized(positive=copied(NEGATIVE)).notes
    assert note.startswith(SAME + "negative are the same")
    first, *_ = optimized(splat=splat(), positive=copied(NEGATIVE)).notes
    assert first.startswith(SAME + "negative are the same"), "which is also the source prompt"
    (note,) = optimized(positive_back=copied(NEGATIVE)).notes
    assert note.startswith("The prompts on positive_back and negative are the same")


def test_an_ordinary_illusion_and_scene_say_nothing():
    assert illusion().ui["text"] == [] and optimized().notes == [] and optimized(splat=splat()).notes == []
    assert optimized(None, steps=0, splat=splat()).notes == []


def test_a_restored_scene_needs_no_prompt():
    around = cameras()
    blurred, _ = measure(views_of(splat(), around), "gaussian blur", kernel_size=5, sigma=2.0)
    assert optimized(measurement=blurred, cameras=around, positive=copied(NEGATIVE)).notes == []


# Masks


def test_a_mask_over_everything_is_noted():
    assert [note for note in edited(mask=torch.ones(1, 64, 64)) if note.startswith(COVERS)]
    latent = encoded(EPS, noise_mask=torch.ones(1, 64, 64))
    notes: list[str] = []
    distill(tiny(EPS), latent, notes=notes)
    assert [note for note in notes if note.startswith(COVERS)]


def test_other_masks_are_not_noted():
    assert edited(mask=square_hole()) == []
    assert edited(mask=torch.full((1, 64, 64), 0.9)) == []


# Sizes


def sized(family: Family, width: int, height: int) -> list[str]:
    return checks.notes_on_size(tiny(family), torch.zeros(1, family.shape[0], height // 8, width // 8))


def test_a_size_far_from_the_models_own_is_noted():
    unet = {**EPS.unet, "num_classes": "sequential", "adm_in_channels": 8}
    xl = Family("xl", comfy.supported_models.SDXL, unet, (4,), False)
    assert "640x512" in sized(xl, 640, 512)[0] and "about 1024x1024" in sized(xl, 512, 512)[0]
    assert "about 512x512" in sized(EPS, 1024, 1024)[0]
    for width, height in ((1024, 1024), (832, 1216), (768, 768), (1536, 1024)):
        assert sized(xl, width, height) == []
    for width, height in ((96, 96), (512, 512), (768, 512), (768, 768)):
        assert sized(EPS, width, height) == []
    assert sized(SD3, 256, 256) == [] and sized(FLUX, 2048, 2048) == []


def test_an_illusion_and_a_scene_far_from_the_models_own_size_are_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host.model, "_OWN_SIZES", {type(tiny(EPS).model.model_config): (512, 1 / 3, 3)})
    (note,) = illusion().ui["text"]
    assert "The image is 32x32" in note and "about 512x512" in note and note.endswith("set size to that.")
    (note,) = optimized().notes
    assert "The image is 32x32" in note and note.endswith("set render_size to that.")


# Distilled models


def test_high_guidance_of_a_distilled_model_is_noted():
    (note,) = distilled(FLUX, method="sds", guidance_scale=7.5)
    assert "distilled" in note and "7.5" in note
    assert distilled(FLUX, method="sds", guidance_scale=1.5) == []
    (lcm,) = ModelSamplingDiscrete().patch(tiny(EPS), "lcm", False)
    notes: list[str] = []
    distill(lcm, encoded(EPS), guidance_scale=7.5, notes=notes)
    assert [each for each in notes if "distilled" in each]


def test_high_guidance_of_illusions_and_scenes_is_noted():
    (lcm,) = ModelSamplingDiscrete().patch(tiny(EPS), "lcm", False)
    for run in (illusion, optimized):
        assert ["distilled" in each for each in texts_of(run(model=lcm, guidance_scale=7.5))] == [True]
        assert texts_of(run(model=lcm, guidance_scale=1.5)) == []


def texts_of(output: Any) -> list[str]:
    return output.notes if hasattr(output, "notes") else output.ui["text"]


def test_guidance_of_other_models_is_not_noted():
    assert distilled(EPS, guidance_scale=100.0) == [] and distilled(SD3, guidance_scale=100.0) == []


# Measurements


def measured(image: Tensor, operator: str, **options: Any) -> list[str]:
    """The notes of Measurement on an image that should be degraded already."""
    settings = {"scale": 4, "kernel_size": 61, "sigma": 5.0, "noise_std": 0.0, "simulate": False, "seed": 0, **options}
    ui = MeasurementNode.execute(image=image, operator=operator, **settings).ui
    assert isinstance(ui, dict)
    return ui["text"]


@pytest.fixture(params=range(4))
def scene(request: pytest.FixtureRequest, tmp_path: Any) -> Image.Image:
    """A sharp image of shapes."""
    return Image.open(save_scene(world.sample_scene(Random(request.param)), tmp_path / "scene.png")).convert("RGB")


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image, np.float32) / 255)[None]


def blurred(image: Image.Image, sigma: float, quality: int | None = None, noise: float = 0.0) -> Tensor:
    """An image out of focus by Pillow, saved as JPEG, with the noise of a camera."""
    image = image.filter(ImageFilter.GaussianBlur(sigma))
    if quality is not None:
        image.save(file := BytesIO(), "JPEG", quality=quality)
        image = Image.open(file)
    pixels = as_tensor(image)
    return (pixels + noise * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


@pytest.mark.parametrize("background", ["white", "black"])
def test_a_sharp_image_is_no_measurement_of_a_blur(background: str, tmp_path: Any):
    heart = world.Thing("heart", "red", 48, 48, 30, 0.0)
    scene = world.Scene((heart,), background, "plain", None, "picture", 7)
    sharp = as_tensor(Image.open(save_scene(scene, tmp_path / "scene.png")).convert("RGB"))
    (note,) = measured(sharp, "gaussian blur")
    assert "sharp edges" in note
    assert measured(sharp, "gaussian blur", simulate=True) == []


@pytest.mark.parametrize("sigma", [1.0, 3.0, 5.0])
def test_a_blurred_image_is_not_doubted(scene: Image.Image, sigma: float):
    for damaged in (blurred(scene, sigma), blurred(scene, sigma, quality=60), blurred(scene, sigma, noise=0.01)):
        assert measured(damaged, "gaussian blur", sigma=sigma) == []


def test_colors_are_no_measurement_of_gray():
    (note,) = measured(photo(), "colourisation")
    assert "colors" in note
    assert measured(photo(), "colourisation", simulate=True) == []


def test_gray_and_sepia_images_are_not_doubted(scene: Image.Image):
    gray = as_tensor(scene.convert("L").convert("RGB"))
    sepia = gray * torch.tensor([1.0, 0.9, 0.75])
    assert measured(gray, "colourisation") == [] and measured(sepia, "colourisation") == []


def test_a_hole_over_everything_is_noted():
    assert measured(photo(), "inpaint", mask=torch.ones(1, 64, 64))[0].startswith(COVERS)
    assert measured(photo(), "inpaint", mask=square_hole()) == []
    assert measured(photo(), "super-resolution") == []


FORMATS = {"SD15": 8, "Flux": 8, "Flux2": 16, "Wan22": 16, "HunyuanImage21": 32, "ChromaRadiance": 1}


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_of_an_image_is_known_on_every_host(name: str):
    """Also of formats whose cells are not 8 pixels wide: only newer hosts say so themselves."""
    model = tiny(EPS).clone()
    model.add_object_patch("latent_format", getattr(comfy.latent_formats, name)())
    assert host.image_size(model, torch.zeros(1, 4, 3, 5)) == (3 * FORMATS[name], 5 * FORMATS[name])


def test_the_table_of_cells_is_that_of_hosts_that_know_them():
    formats = [each for each in vars(comfy.latent_formats).values() if isinstance(each, type)]
    own = {each.__name__: each.spacial_downscale_ratio for each in formats if hasattr(each, "spacial_downscale_ratio")}
    if not own:
        pytest.skip("This host knows no sizes of cells.")
    table = PIXELS_PER_CELL
    assert {name: own[name] for name in table} == table
