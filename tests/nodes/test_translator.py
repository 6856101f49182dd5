"""Translators in ComfyUI: training on tiny models of every family, saving, listing and applying."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dreamsampler.guidance.distillation.translator import Recipe
from dreamsampler.guidance.networks.translation.network import Architecture, initial_network
from dreamsampler.guidance.networks.translation.storage import About, Translator
from dreamsampler.nodes import host
from dreamsampler.nodes.apply_translator import TranslatorApply
from dreamsampler.nodes.host.files import write_tensors
from dreamsampler.nodes.runs.translator_training import TranslatorTraining, train
from support.tiny_models import (
    EPS,
    FAMILIES,
    NEGATIVE,
    QWEN,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    ask,
    cond,
    encoded,
    tiny,
    untouched,
    wrapped,
)
from torch import Tensor

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
FOLDER = "dreamsampler_translators"
TARGETS = {"dog": "a photo of a dog", "bear": "a photo of a bear"}
pytestmark = pytest.mark.usefixtures("own_folders")


def translator(family: Family, seed: int = 0) -> Translator:
    """A random translator for a family's latents."""
    channels = family.shape[0]
    network = initial_network(Architecture(channels, 4, 1), list(encoded(family, 4)["samples"]), torch.Generator())
    torch.nn.init.normal_(network.last.weight, std=0.2, generator=torch.Generator().manual_seed(seed))
    about = About(str(family), channels, "a cat", tuple(TARGETS), tuple(TARGETS.values()), "lmc", 15.0, 7)
    return Translator(network.requires_grad_(False), about)


def saved(made: Translator, name: str = "cats") -> str:
    """Save a translator. Returns its file name."""
    return host.TRANSLATORS.save(name, made).name


def applied(latent: dict, translation: str, strength: float = 1.0) -> Tensor:
    """Run Apply Translator like ComfyUI, in inference mode."""
    with torch.inference_mode():
        (output,) = TranslatorApply.execute(latent, translation, strength).args
    return output["samples"]


# Applying


@every_family
def test_node_returns_the_networks_output(family: Family):
    made, latent = translator(family), encoded(family, 3)
    name = saved(made)
    for target in TARGETS:
        expected = made(latent["samples"], target)
        torch.testing.assert_close(applied(latent, f"{name}: {target}"), expected, rtol=1e-5, atol=1e-5)
        assert expected.shape == latent["samples"].shape
        assert (expected - latent["samples"]).std() > 0.01 * latent["samples"].std()


def test_strength_interpolates_from_the_source():
    name, latent = saved(translator(EPS)), encoded(EPS)
    z, full = latent["samples"], applied(latent, f"{name}: dog")
    assert torch.equal(applied(latent, f"{name}: dog", 0.0), z)
    torch.testing.assert_close(applied(latent, f"{name}: dog", 0.25), z + 0.25 * (full - z))


@pytest.mark.parametrize("family", [EPS, QWEN], ids=str)
def test_noise_mask_limits_the_change(family: Family):
    name, mask = saved(translator(family)), torch.zeros(1, 64, 64)
    mask[:, :, 32:] = 1
    latent = encoded(family, 2)
    z, free = latent["samples"], applied(latent, f"{name}: bear")
    made = applied({**latent, "noise_mask": mask}, f"{name}: bear")
    assert torch.equal(made[..., :3], z[..., :3])
    torch.testing.assert_close(made[..., 5:], free[..., 5:])


def test_batch_matches_single_images_and_latent_keys_are_kept():
    name, latent = saved(translator(EPS)), encoded(EPS, 3, batch_index=[4, 5, 6])
    whole = applied(latent, f"{name}: dog")
    for i in range(3):
        torch.testing.assert_close(applied(encoded(EPS, seed=i), f"{name}: dog")[0], whole[i], rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        (output,) = TranslatorApply.execute(latent, f"{name}: dog", 1.0).args
    assert output["batch_index"] == [4, 5, 6]


# Files


def options() -> list[str]:
    (choice,) = (each for each in TranslatorApply.define_schema().inputs if each.id == "translation")
    return choice.options  # type: ignore[attr-defined]


def test_all_targets_of_all_files_are_listed(own_folders: Path, caplog: pytest.LogCaptureFixture):
    assert options() == []
    saved(translator(EPS), "a/cats")
    saved(translator(EPS), "birds: of prey")
    own_folders.joinpath("output", FOLDER, "bad.safetensors").write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        listed = options()
    assert listed == [f"{name}: {target}" for name in ("a/cats.safetensors", "birds: of prey.safetensors")
                      for target in TARGETS]  # fmt: skip
    assert "The file 'bad.safetensors' is damaged or not a safetensors file." in caplog.text
    assert all(TranslatorApply.validate_inputs(each) is True for each in listed)
    assert applied(encoded(EPS), listed[-1]).isfinite().all()


REFUSED = {
    "cats.safetensors: cat": "The translator 'cats.safetensors' has no target 'cat': choose cats.safetensors: dog or "
    "cats.safetensors: bear on input 'translation'.",
    "gone.safetensors: dog": "There is no translator 'gone.safetensors' in ComfyUI's folders "
    "models/dreamsampler_translators and output/dreamsampler_translators: put the file into one of them, or make one "
    "with tools/translator.",
    "cats.safetensors": "'cats.safetensors' is not a file and a target, such as 'cats.safetensors: dog': choose an",
    "": "'' is not a file and a target, such as 'cats.safetensors: dog': choose an entry of the list on input",
    "../cats.safetensors: dog": "'../cats.safetensors' is outside ComfyUI's folder for translators, "
    "dreamsampler_translators: use a name inside that folder; subfolders are allowed.",
    "bad.safetensors: dog": "The file 'bad.safetensors' is damaged or not a safetensors file.",
    "other.safetensors: dog": "The file 'other.safetensors' cannot be used. It is not a translator: choose a file that "
    "tools/translator wrote.",
}


@pytest.mark.parametrize("translation", REFUSED)
def test_invalid_choice_is_rejected_before_running(translation: str, own_folders: Path):
    name = saved(translator(EPS))
    assert name == "cats.safetensors"
    own_folders.joinpath("output", FOLDER, "bad.safetensors").write_bytes(b"nothing")
    write_tensors(own_folders / "output" / FOLDER / "other.safetensors", {"x": torch.zeros(1)}, {})
    message = TranslatorApply.validate_inputs(translation)
    assert isinstance(message, str) and message.startswith(REFUSED[translation]) and message.endswith(".")


def test_linked_choice_is_checked_when_it_runs():
    assert TranslatorApply.validate_inputs(None) is True
    with pytest.raises(ValueError, match="There is no translator 'gone.safetensors'"):
        applied(encoded(EPS), "gone.safetensors: dog")


@pytest.mark.parametrize("linked", [False, True])
def test_only_a_changed_file_changes_the_fingerprint(own_folders: Path, linked: bool):
    name = saved(translator(EPS))

    def fingerprint() -> str:
        return TranslatorApply.fingerprint_inputs(None if linked else f"{name}: dog", latent_image=None, strength=1.0)

    before = fingerprint()
    assert fingerprint() == before
    host.TRANSLATORS.write(own_folders / "output" / FOLDER / name, translator(EPS, seed=1))
    assert fingerprint() != before


@pytest.mark.parametrize(
    "samples, words",
    [
        (torch.zeros(1, 16, 8, 8), "latent_image has 16 channels but the translator works on 4: encode the image"),
        (torch.zeros(1, 4, 3, 8, 8), "latent_image has 3 frames or layers"),
        (torch.zeros(1, 4, 8), "latent_image has 3 dimensions"),
        (torch.full((1, 4, 8, 8), torch.nan), "Input 'latent_image' contains NaN or infinite values"),
    ],
    ids=["channels", "video", "dimensions", "NaN"],
)
def test_unsupported_latents_are_rejected(samples: Tensor, words: str):
    name = saved(translator(EPS))
    with pytest.raises(ValueError) as refusal:
        applied({"samples": samples}, f"{name}: dog")
    assert str(refusal.value).startswith(words)


# Training


def several(*conditionings: Conditioning) -> Conditioning:
    """One CONDITIONING with one row per prompt."""
    rows = [entry for ((entry, _),) in conditionings]
    pooled = [options["pooled_output"] for ((_, options),) in conditionings]
    return [[torch.cat(rows), {"pooled_output": torch.cat(pooled)}]]


def job(family: Family, model: Any = None) -> TranslatorTraining:
    prompts = {"positive": several(cond(1), cond(5)), "source": SOURCE, "negative": NEGATIVE}
    latents = list(encoded(family, 8)["samples"])
    return TranslatorTraining(model or tiny(family), latents, (8, 8), "a cat", TARGETS, prompts)


RECIPE = Recipe(method="dds", steps=3, batch=4, learning_rate=1e-3, width=4, levels=1)


def weights(made: Translator) -> dict[str, Tensor]:
    return made.network.state_dict()


def same(one: Translator, other: Translator) -> bool:
    return all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


@every_family
@pytest.mark.parametrize("method", ["sds", "dds"])
def test_trains_on_every_family_without_changing_the_model(family: Family, method: str):
    model, random_numbers = tiny(family), torch.get_rng_state()
    with untouched(model.model):
        made = train(job(family), replace(RECIPE, method=method))
    assert torch.equal(torch.get_rng_state(), random_numbers)
    about = made.about
    assert (about.family, about.channels, about.source) == (host.family(model), family.shape[0], "a cat")
    assert (about.targets, about.texts) == (tuple(TARGETS), tuple(TARGETS.values()))
    assert (about.method, about.guidance_scale, about.steps) == (method, 15.0, 3)
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in weights(made).values())
    assert made.network.last.weight.any()
    assert applied(encoded(family, 2), f"{saved(made)}: bear").isfinite().all()


def test_each_step_makes_one_call_for_all_targets():
    calls = Calls()
    train(job(EPS, calls.watch(tiny(EPS))), RECIPE)
    assert calls.batches == [16] * 3 and calls.runs == 1  # 4 images, 4 predictions each for dds


def test_each_image_is_trained_with_the_prompt_of_its_target():
    """The model sees the target prompts in turn."""
    seen: list[Tensor] = []

    def record(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        seen.append(arguments["c"]["c_crossattn"].clone())
        return ask(apply_model, arguments)

    train(job(EPS, wrapped(tiny(EPS), record)), replace(RECIPE, method="sds", steps=1))
    dog, bear = cond(1)[0][0][0], cond(5)[0][0][0]
    rows = torch.cat(seen)
    names = [next(name for name, row in {"dog": dog, "bear": bear, "": NEGATIVE[0][0][0]}.items()
                 if torch.equal(row, each)) for each in rows]  # fmt: skip
    assert sorted(names) == [""] * 4 + ["bear"] * 2 + ["dog"] * 2
    assert [name for name in names if name] == ["dog", "bear"] * 2


def test_result_depends_only_on_the_seed():
    first, again, other = (train(job(EPS), replace(RECIPE, seed=seed)) for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)


def test_training_continues_from_a_translator_without_changing_it():
    first = train(job(EPS), RECIPE)
    copied = {name: tensor.clone() for name, tensor in weights(first).items()}
    further = train(job(EPS), RECIPE, start=first)
    assert further.about.steps == 6 and not same(first, further)
    assert all(torch.equal(tensor, copied[name]) for name, tensor in weights(first).items())


def test_interrupted_training_keeps_its_progress():
    # Each image and each source of a batch is predicted alone, because a wrapper may look at the noise level.
    left = [2 * 2 * RECIPE.batch]

    def stop(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return ask(apply_model, arguments)

    made = train(job(EPS, wrapped(tiny(EPS), stop)), RECIPE)
    assert made.about.steps == 2 and made.network.last.weight.any()


def test_nan_gradient_raises():
    def broken(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        return torch.full_like(ask(apply_model, arguments), torch.nan)

    with pytest.raises(
        ValueError, match="became NaN or infinite at step 1 of 3 .*Lower learning_rate or guidance_scale"
    ):
        train(job(EPS, wrapped(tiny(EPS), broken)), RECIPE)


def test_batch_not_divisible_by_targets_is_rejected():
    with pytest.raises(ValueError, match="A batch of 5 cannot hold each of 2 targets equally often"):
        train(job(EPS), replace(RECIPE, batch=5))
