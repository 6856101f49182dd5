"""Train, Save and Load Manifold Corrective on small random models of every family, inside the real host."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from corrective_nodes import about, network, spectral, train, vae_of
from dreamsampler_pack.guidance.corrective.network import CorrectiveNetwork
from dreamsampler_pack.guidance.corrective.spectral import SpectralCorrective
from dreamsampler_pack.guidance.corrective.storage import ManifoldCorrective
from dreamsampler_pack.nodes import host
from dreamsampler_pack.nodes.corrective import (
    ManifoldCorrectiveLoad,
    ManifoldCorrectiveSave,
    ManifoldCorrectiveTrain,
)
from host_oracle import progress_hook, tiny_lora
from safetensors.torch import load_file, save_file
from tiny_models import (
    EPS,
    FAMILIES,
    FLUX_DISTILLED,
    QWEN,
    SD3,
    Calls,
    Family,
    V,
    ask,
    photo,
    text,
    tiny,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
FOLDER = "dreamsampler_correctives"
PHOTOS = [photo(16, size=32)]
pytestmark = pytest.mark.usefixtures("own_folders")


def weights(corrective: ManifoldCorrective) -> dict[str, Tensor]:
    return corrective.network.state_dict()


def same_weights(one: ManifoldCorrective, other: ManifoldCorrective) -> bool:
    return weights(one).keys() == weights(other).keys() and all(
        torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items()
    )


def unfinished(folder: Path) -> list[Path]:
    return list((folder / "user" / "dreamsampler" / "unfinished_correctives").glob("*"))


# Training


@every_family
@pytest.mark.parametrize("kind", ["network", "residual network", "spectral"])
def test_trains_and_leaves_everything_as_it_was(family: Family, kind: str):
    model, vae, random_numbers = tiny(family), vae_of(family), torch.get_rng_state()
    with untouched(model.model, vae.first_stage_model):
        made, told = train(family, kind=kind, steps=3)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert isinstance(made.network, SpectralCorrective if kind == "spectral" else CorrectiveNetwork)
    steps = 0 if kind == "spectral" else 3
    loss = made.about.loss
    assert made.about == about(family, steps=steps, loss=loss, size=(4, 4))
    assert len(told["corrective"][0]["loss"]) == steps
    if kind != "spectral":
        assert loss == pytest.approx(sum(told["corrective"][0]["loss"]) / 3)
        assert told["text"] == [f"Corrective of {made.about.family}, 4x4 cells: 3 steps, loss {loss:.4f}."]
    else:
        assert told["text"] == [f"Spectral corrective of {made.about.family}, 4x4 cells."]
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in weights(made).values())
    z = torch.randn(1, family.shape[0], 9, 7, generator=torch.Generator().manual_seed(0))
    assert made(z, torch.tensor([0.5])).shape == z.shape


def test_a_step_is_one_call_of_the_batch():
    calls = Calls()
    train(EPS, model=calls.watch(tiny(EPS)), steps=4, batch_size=3)
    assert calls.batches == [3] * 4 and calls.runs == 1
    calls = Calls()
    train(EPS, model=calls.watch(tiny(EPS)), kind="spectral", steps=32, batch_size=2)
    assert calls.batches == [2] * 32


def test_the_seed_and_the_pictures_decide_every_bit():
    first, again, other, elsewhere = (
        train(EPS, images, seed=seed)[0]
        for images, seed in ((PHOTOS, 1), (PHOTOS, 1), (PHOTOS, 2), ([photo(16, seed=50, size=32)], 1))
    )
    assert same_weights(first, again)
    assert not same_weights(first, other) and not same_weights(first, elsewhere)


def test_a_folder_of_pictures_of_many_sizes_is_a_list():
    lists = [photo(1, seed=i, size=32 + 8 * (i % 3)) for i in range(16)]
    made, _ = train(EPS, lists)
    assert made.about.size == (4, 4)
    schema = ManifoldCorrectiveTrain.GET_SCHEMA()
    assert schema.is_input_list


def test_patches_are_cut_from_larger_pictures():
    seen: list[tuple[int, ...]] = []

    def look(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        seen.append(tuple(arguments["input"].shape[-2:]))
        return ask(apply_model, arguments)

    made, _ = train(EPS, [photo(16, size=64)], model=wrapped(tiny(EPS), look), patch_size=40)
    assert set(seen) == {(5, 5)} and made.about.size == (5, 5)
    assert isinstance(made.network, CorrectiveNetwork) and made.network.architecture.levels == 1


def test_few_pictures_are_warned_of_with_their_number(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "dreamsampler"):
        train(EPS, [photo(16, size=32)])
        assert not caplog.records
        train(EPS, [photo(8, size=32), photo(7, seed=20, size=32)])
    assert caplog.messages == [
        "Train Manifold Corrective: 15 pictures are few, and what is learned may hold for them alone. Connect 16 or "
        "more, the more the better."
    ]


def test_shows_progress_at_every_step():
    seen = []
    with progress_hook(lambda value, total, preview, **_: seen.append((value, total))):
        train(EPS, steps=4)
    assert [pair for pair in seen if pair[1] == 4] == [(i + 1, 4) for i in range(4)]


def cancel_after(steps: int) -> Any:
    """A listener that makes the host stop as it does when the user cancels."""

    def listen(value: int, total: int, preview: Any, **_: Any) -> None:
        if value == steps:
            raise InterruptProcessingException

    return listen


def test_what_was_trained_when_the_user_cancels_is_kept_and_goes_on(own_folders: Path):
    whole, told = train(EPS, steps=6)
    with progress_hook(cancel_after(4)), pytest.raises(InterruptProcessingException):
        train(EPS, steps=6)
    assert len(unfinished(own_folders)) == 1
    calls = Calls()
    resumed, again = train(EPS, model=calls.watch(tiny(EPS)), steps=6)
    assert len(calls.batches) == 2
    assert same_weights(resumed, whole) and again["corrective"] == told["corrective"]
    assert resumed.about == whole.about
    assert not unfinished(own_folders)


def test_a_residual_network_is_fitted_first_and_only_once(own_folders: Path):
    calls = Calls()
    whole, _ = train(EPS, model=calls.watch(tiny(EPS)), kind="residual network", steps=18)
    assert len(calls.batches) == 16 + 18
    assert isinstance(whole.network, CorrectiveNetwork) and whole.network.base is not None
    fitted, _ = train(EPS, kind="spectral", steps=18)
    assert torch.equal(whole.network.base.gain, weights(fitted)["gain"])
    with progress_hook(cancel_after(17)), pytest.raises(InterruptProcessingException):
        train(EPS, kind="residual network", steps=18)
    calls = Calls()
    resumed, _ = train(EPS, model=calls.watch(tiny(EPS)), kind="residual network", steps=18)
    assert len(calls.batches) == 1 and same_weights(resumed, whole)
    further, _ = train(EPS, corrective=resumed, steps=1)
    assert isinstance(further.network, CorrectiveNetwork) and further.network.base is not None


def test_a_training_that_fails_is_kept_as_well(own_folders: Path):
    left = [3]

    def fail(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the model fails")
        return ask(apply_model, arguments)

    with pytest.raises(RuntimeError, match="the model fails"):
        train(EPS, model=wrapped(tiny(EPS), fail), steps=6)
    calls = Calls()
    resumed, _ = train(EPS, model=calls.watch(tiny(EPS)), steps=6)
    assert len(calls.batches) == 3
    assert same_weights(resumed, train(EPS, steps=6)[0])


def test_a_cancelled_training_can_be_finished_early(own_folders: Path):
    with progress_hook(cancel_after(4)), pytest.raises(InterruptProcessingException):
        train(EPS, steps=9)
    calls = Calls()
    made, _ = train(EPS, model=calls.watch(tiny(EPS)), steps=3)
    assert not calls.batches and made.about.steps == 4


@pytest.mark.parametrize(
    "other", [{"seed": 6}, {"width": 8}, {"negative": text(9)}, {"images": [photo(16, seed=3, size=32)]}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_another_training_begins_anew(other: dict[str, Any]):
    with progress_hook(cancel_after(2)), pytest.raises(InterruptProcessingException):
        train(EPS, steps=3)
    calls = Calls()
    train(EPS, model=calls.watch(tiny(EPS)), **{"steps": 3, **other})
    assert len(calls.batches) == 3


def test_a_damaged_state_is_not_gone_on_from(own_folders: Path):
    with progress_hook(cancel_after(2)), pytest.raises(InterruptProcessingException):
        train(EPS, steps=3)
    unfinished(own_folders)[0].write_bytes(b"not a state")
    assert same_weights(train(EPS, steps=3)[0], train(EPS, steps=3)[0])


def test_a_network_is_trained_further():
    first, _ = train(EPS, steps=3)
    further, _ = train(EPS, steps=2, corrective=first, width=32, levels=1)
    assert further.about.steps == 5
    assert isinstance(further.network, CorrectiveNetwork) and isinstance(first.network, CorrectiveNetwork)
    assert further.network.architecture == first.network.architecture
    changed = max((tensor - weights(first)[name]).abs().max().item() for name, tensor in weights(further).items())
    assert 0 < changed < 0.01


def test_a_loss_that_breaks_says_what_to_do():
    nan = wrapped(tiny(EPS), lambda apply_model, arguments: torch.full_like(arguments["input"], torch.nan))
    with pytest.raises(ValueError, match=r"became NaN or infinite at step 1 of 2\. Lower learning_rate, or load the"):
        train(EPS, model=nan)


def nothing_in_it(size: int = 64) -> Tensor:
    return torch.full((16, size, size, 3), torch.nan)


REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "small pictures": (
        EPS,
        {"images": [*PHOTOS, photo(1, size=28)]},
        "A picture on input 'images' is 28x28 pixels, which is smaller than patch_size, 32: leave it out, or lower "
        "patch_size to 24.",
    ),
    "patch between cells": (
        EPS,
        {"patch_size": 60},
        "patch_size is 60, which the 8 pixels of a latent cell do not divide: set it to 56.",
    ),
    "no pictures": (
        EPS,
        {"images": [torch.zeros(0, 64, 64, 3)]},
        "The image is empty (0 pictures of 64x64 pixels): connect a node that makes pictures to input 'image'.",
    ),
    "NaN": (
        EPS,
        {"images": [nothing_in_it()]},
        "The image holds NaN or infinite values: check the node that makes it.",
    ),
    "no text": (
        EPS,
        {"negative": []},
        "The conditioning on input 'negative' is empty: connect a CLIP Text Encode node to it.",
    ),
    "another VAE": (
        SD3,
        {"vae": tiny_vae("taesd")},
        "The VAE makes latents of 4 channels but the model works on 16: connect the VAE that belongs to the model.",
    ),
    "distilled guidance": (
        FLUX_DISTILLED,
        {},
        "This model has guidance distilled into it (guidance 3.5 on input 'negative'), so it has no true negative "
        "prediction to edit against. Put a FluxGuidance node with guidance 1.0 behind both text encoders, or use a "
        "model that was not guidance-distilled.",
    ),
    "a spectral one to train further": (
        EPS,
        {"corrective": spectral(EPS)},
        "Only a network can be trained further, and a spectral corrective is fitted at once: set kind to network and "
        "connect a network to input 'corrective', or nothing.",
    ),
    "a network to fit": (
        EPS,
        {"corrective": network(EPS), "kind": "spectral"},
        "Only a network can be trained further, and a spectral corrective is fitted at once: set kind to network and "
        "connect a network to input 'corrective', or nothing.",
    ),
    "another model's to train further": (
        EPS,
        {"corrective": network(SD3)},
        "The corrective is for latents of 16 channels, of 'SD3', but the model works on 4: load or train one for this "
        "model.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_before_work_starts_and_says_what_to_do(case: str):
    family, options, words = REFUSED[case]
    calls = Calls()
    with pytest.raises(ValueError) as refusal:
        train(family, model=calls.watch(tiny(family)), **options)
    assert str(refusal.value) == words
    assert (calls.runs, calls.batches) == (0, [])


# Files


def save(corrective: ManifoldCorrective, name: str = "mine") -> str:
    with torch.inference_mode():
        output = ManifoldCorrectiveSave.execute(corrective, name)
    shown: Any = output.ui
    return shown.value


def load(name: str) -> ManifoldCorrective:
    with torch.inference_mode():
        return ManifoldCorrectiveLoad.execute(name).args[0]


@pytest.mark.parametrize("make", [network, spectral], ids=["network", "spectral"])
@pytest.mark.parametrize("family", [EPS, QWEN], ids=str)
def test_what_is_saved_is_loaded(make: Any, family: Family, own_folders: Path):
    corrective = make(family)
    assert save(corrective, "mine") == "Saved as mine.safetensors."
    path = own_folders / "output" / FOLDER / "mine.safetensors"
    assert path.is_file() and not list(path.parent.glob("*.partial"))
    read = load("mine.safetensors")
    assert same_weights(read, corrective) and read.about == corrective.about
    assert not any(tensor.is_inference() for tensor in weights(read).values())


def test_a_name_that_is_taken_gets_a_number():
    first, second = network(EPS), spectral(EPS)
    assert [save(each, name) for each, name in ((first, "a/b"), (second, "a/b.safetensors"), (second, "a/b"))] == [
        "Saved as b.safetensors.",
        "Saved as b_2.safetensors.",
        "Saved as b_3.safetensors.",
    ]
    assert same_weights(load("a/b.safetensors"), first) and same_weights(load("a/b_2.safetensors"), second)
    found = [name for name in host.CORRECTIVES.names() if name.startswith("a/")]
    assert found == ["a/b.safetensors", "a/b_2.safetensors", "a/b_3.safetensors"]


def test_the_list_is_what_is_there_now():
    def offered() -> list[str]:
        (choice,) = ManifoldCorrectiveLoad.define_schema().inputs
        assert isinstance(choice, io.Combo.Input) and choice.options is not None
        return list(choice.options)  # type: ignore[arg-type]

    before = offered()
    save(network(EPS), "zebra")
    assert offered() == [*before, "zebra.safetensors"]
    assert ManifoldCorrectiveLoad.validate_inputs("zebra.safetensors") is True


def test_a_file_that_changes_is_read_again():
    save(network(EPS), "mine")
    first = ManifoldCorrectiveLoad.fingerprint_inputs("mine.safetensors")
    host.CORRECTIVES.write(host.CORRECTIVES.file("mine.safetensors"), spectral(EPS))
    assert ManifoldCorrectiveLoad.fingerprint_inputs("mine.safetensors") != first


OUTSIDE = ["../mine", "/tmp/mine", "a/../../mine", "..\\mine", "../dreamsampler_correctives_2/mine"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, own_folders: Path):
    words = "leads out of ComfyUI's folder for manifold correctives, dreamsampler_correctives: give a name, which "
    for refusal in (
        ManifoldCorrectiveSave.validate_inputs(name),
        ManifoldCorrectiveLoad.validate_inputs(name + ".safetensors"),
    ):
        assert isinstance(refusal, str) and refusal.startswith(f"'{name}") and words in refusal
    with pytest.raises(ValueError, match="leads out of"):
        save(network(EPS), name)
    with pytest.raises(ValueError, match="leads out of"):
        load(name + ".safetensors")
    assert not (own_folders / "output").exists()


@pytest.mark.parametrize("name", ["", "  ", "folder/", ".safetensors"])
def test_a_name_is_needed_to_save(name: str):
    expected = "The manifold corrective has no name to be saved by: give it one on input 'name'."
    assert ManifoldCorrectiveSave.validate_inputs(name) == expected


def test_no_file_of_a_name_is_said_with_the_folders():
    expected = (
        "There is no manifold corrective 'gone.safetensors' in ComfyUI's folders models/dreamsampler_correctives and "
        "output/dreamsampler_correctives: put the file into one of them, or make one with Save Manifold Corrective."
    )
    assert ManifoldCorrectiveLoad.validate_inputs("gone.safetensors") == expected


def broken(folder: Path, content: str) -> None:
    """A file "bad.safetensors" that is no corrective."""
    path = folder / "output" / FOLDER / "bad.safetensors"
    path.parent.mkdir(parents=True)
    host.CORRECTIVES.write(path, network(EPS))
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "text":
        path.write_text("hello")
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "LoRA":
        save_file({"lora_up.weight": torch.zeros(2, 2)}, path)
    elif content == "missing":
        tensors, text_beside = network(EPS).encoded()
        del tensors["last.bias"]
        save_file(tensors, path, metadata=text_beside)
    elif content == "version":
        tensors, text_beside = network(EPS).encoded()
        save_file(tensors, path, metadata={**text_beside, "version": "7"})


UNREADABLE = "The file 'bad.safetensors' cannot be read: it is damaged or no safetensors file."
BROKEN = {
    "cut": UNREADABLE,
    "text": UNREADABLE,
    "empty": UNREADABLE,
    "LoRA": "The file 'bad.safetensors' cannot be used. It is no manifold corrective: choose a file that Save Manifold "
    "Corrective wrote.",
    "missing": "The file 'bad.safetensors' cannot be used. Its tensors are not those of the network it describes: the "
    "file is damaged.",
    "version": "The file 'bad.safetensors' cannot be used. It is of version 7, and this pack knows version 1: update "
    "the pack.",
}


@pytest.mark.parametrize("content", BROKEN)
def test_refuses_a_file_that_is_no_corrective(content: str, own_folders: Path):
    broken(own_folders, content)
    with pytest.raises(ValueError) as refusal:
        load("bad.safetensors")
    assert str(refusal.value) == BROKEN[content]


def test_the_file_says_where_it_comes_from(own_folders: Path):
    made, _ = train(V, steps=2)
    save(made)
    path = own_folders / "output" / FOLDER / "mine.safetensors"
    assert load_file(path).keys() == weights(made).keys()
    tensors, text_beside = host.shelf.read_tensors(path)
    told = json.loads(text_beside["about"])
    assert told["family"] == "SD15" and told["channels"] == 4 and told["path"] == "scaled" and told["steps"] == 2
    assert told["base"] == host.base_of(tiny(V)) and told["loss"] == made.about.loss and len(told["levels"]) == 5


# What tells models apart


def test_the_base_is_the_weights_whatever_their_type_and_loras():
    base = host.base_of(tiny(EPS))
    assert base == host.base_of(tiny(EPS, torch.bfloat16))
    others = [tiny(SD3), tiny(QWEN), tiny(FLUX_DISTILLED), tiny(EPS, torch.float32, 3.0)]
    assert len({base, *map(host.base_of, others)}) == 5
    patched, _ = comfy.sd.load_lora_for_models(tiny(EPS), None, tiny_lora(), 1.0, 0.0)
    assert patched is not None
    comfy.model_management.load_models_gpu([patched])
    assert host.base_of(patched) == base
    patched.detach()


def test_the_noise_schedule_is_the_models():
    (shifted,) = ModelSamplingSD3().patch(tiny(SD3), 9.0)
    name, levels = host.noise_schedule(tiny(SD3))
    assert name == "flow" and list(levels) == sorted(levels) and 0 < levels[0] and levels[-1] < 1
    assert host.noise_schedule(shifted)[1] != levels
