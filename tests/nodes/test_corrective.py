"""Train, Save and Load Manifold Corrective, on tiny models of every family."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.sd
import execution
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io
from comfy_execution.utils import CurrentNodeContext
from comfy_extras.nodes_freelunch import FreeU
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3
from dreamsampler.guidance.networks.corrective.network import CorrectiveNetwork
from dreamsampler.guidance.networks.corrective.spectral import SpectralCorrective
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from dreamsampler.nodes import host
from dreamsampler.nodes.host.files import read_tensors
from dreamsampler.nodes.host.text import NOTE_EVENT
from dreamsampler.nodes.load_manifold_corrective import ManifoldCorrectiveLoad
from dreamsampler.nodes.runs import corrective_training
from dreamsampler.nodes.save_manifold_corrective import ManifoldCorrectiveSave
from dreamsampler.nodes.train_manifold_corrective import ManifoldCorrectiveTrain
from safetensors.torch import load_file, save_file
from support.corrective_nodes import about, network, spectral, train, vae_of
from support.host_oracle import HOST_NODES, progress_hook, tiny_lora
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX_DISTILLED,
    NEGATIVE,
    QWEN,
    SD3,
    Calls,
    Conditioning,
    Family,
    V,
    ask,
    cond,
    photo,
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
def test_trains_without_changing_model_or_vae(family: Family, kind: str):
    model, vae, random_numbers = tiny(family), vae_of(family), torch.get_rng_state()
    with untouched(model.model, vae.first_stage_model):
        made, ui = train(family, kind=kind, steps=3)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert isinstance(made.network, SpectralCorrective if kind == "spectral" else CorrectiveNetwork)
    steps = 0 if kind == "spectral" else 3
    loss = made.about.loss
    assert made.about == about(family, steps=steps, loss=loss, size=(4, 4))
    assert len(ui["corrective"][0]["loss"]) == steps
    rate = ui["corrective"][0]["images_per_second"]
    if kind != "spectral":
        assert loss == pytest.approx(sum(ui["corrective"][0]["loss"]) / 3)
        summary = f"3 steps, loss {loss:.4f}, {rate:.1f} images per second."
        assert ui["text"] == [f"Corrective for {made.about.family}, patches of 4x4 latent cells: {summary}"]
    else:
        assert rate is None and not ui["distillation"]
        assert ui["text"] == [f"Spectral corrective for {made.about.family}, patches of 4x4 latent cells."]
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in weights(made).values())
    z = torch.randn(1, family.shape[0], 9, 7, generator=torch.Generator().manual_seed(0))
    assert made(z, torch.tensor([0.5])).shape == z.shape


def test_each_step_makes_one_batched_call():
    calls = Calls()
    train(EPS, model=calls.watch(tiny(EPS)), steps=4, batch_size=3)
    assert calls.batches == [3] * 4 and calls.runs == 1
    calls = Calls()
    train(EPS, model=calls.watch(tiny(EPS)), kind="spectral", steps=32, batch_size=2)
    assert calls.batches == [2] * 32


def test_result_depends_only_on_seed_and_images():
    first, again, other, other_images = (
        train(EPS, images, seed=seed)[0]
        for images, seed in ((PHOTOS, 1), (PHOTOS, 1), (PHOTOS, 2), ([photo(16, seed=50, size=32)], 1))
    )
    assert same_weights(first, again)
    assert not same_weights(first, other) and not same_weights(first, other_images)


def test_list_of_images_of_different_sizes_is_accepted():
    lists = [photo(1, seed=i, size=32 + 8 * (i % 3)) for i in range(16)]
    made, _ = train(EPS, lists)
    assert made.about.size == (4, 4)
    schema = ManifoldCorrectiveTrain.GET_SCHEMA()
    assert schema.is_input_list


def test_patches_are_cropped_from_larger_images():
    seen: list[tuple[int, ...]] = []

    def look(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        seen.append(tuple(arguments["input"].shape[-2:]))
        return ask(apply_model, arguments)

    made, _ = train(EPS, [photo(16, size=64)], model=wrapped(tiny(EPS), look), patch_size=40)
    assert set(seen) == {(5, 5)} and made.about.size == (5, 5)
    assert isinstance(made.network, CorrectiveNetwork) and made.network.architecture.levels == 1


FEW_IMAGES = "Trained on 15 images: the corrective may not generalize to others. Connect at least 16; more is better."


@pytest.mark.parametrize("kind", ["network", "spectral"])
def test_few_images_give_a_warning(kind: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "dreamsampler"):
        _, ui = train(EPS, [photo(16, size=32)], kind=kind)
        assert not caplog.records and "generalize" not in ui["text"][0]
        _, ui = train(EPS, [photo(8, size=32), photo(7, seed=20, size=32)], kind=kind)
    assert caplog.messages == [f"Train Manifold Corrective: {FEW_IMAGES}"]
    assert ui["text"][0].startswith(("Corrective for", "Spectral")) and ui["text"][0].endswith(f".\n{FEW_IMAGES}")


def slowed(seconds: float) -> Any:
    """A model whose calls take this long."""

    def wait(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        time.sleep(seconds)
        return ask(apply_model, arguments)

    return wrapped(tiny(EPS), wait)


def test_warning_stays_on_the_node_during_training(monkeypatch: pytest.MonkeyPatch):
    shown: list[tuple[str, str]] = []

    def receive(event: str, data: dict[str, Any], _page: str | None) -> None:
        if event == NOTE_EVENT:
            shown.append((data["node"], data["text"]))

    page = SimpleNamespace(send_sync=receive, client_id=None)
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=page)))
    with CurrentNodeContext("a prompt", "7"):
        train(EPS, [photo(15, size=32)], model=slowed(0.6), steps=4)
        few = list(shown)
        shown.clear()
        train(EPS, kind="spectral")
    first, *during, last = (text for _, text in few)
    assert {node for node, _ in few} == {"7"} and first == FEW_IMAGES
    assert during and all(text.startswith("Step ") for text in during)
    assert all(text.endswith(f" images per second.\n{FEW_IMAGES}") for text in during)
    assert last.startswith("Corrective for") and last.endswith(f" images per second.\n{FEW_IMAGES}")
    assert shown == [("7", "Spectral corrective for SD15, patches of 4x4 latent cells.")]


def test_images_per_second_are_reported():
    """Images from before an interruption do not count."""
    model, began = slowed(0.05), time.monotonic()
    _, ui = train(EPS, model=model, steps=6, batch_size=4)
    slowest = 6 * 4 / (time.monotonic() - began)
    assert slowest <= ui["corrective"][0]["images_per_second"] <= 4 / 0.05
    with progress_hook(cancel_after(5)), pytest.raises(InterruptProcessingException):
        train(EPS, model=model, steps=6, seed=1, batch_size=4)
    _, ui = train(EPS, model=model, steps=6, seed=1, batch_size=4)
    assert ui["corrective"][0]["images_per_second"] <= 4 / 0.05


def test_loss_is_sent_as_a_curve(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(host, "send_event", lambda event, data: sent.append({"event": event, **data}))
    monkeypatch.setattr(corrective_training, "MAX_CURVE_POINTS", 3)
    monkeypatch.setattr(corrective_training, "EVENT_INTERVAL", 0.0)
    _, ui = train(EPS, steps=8)
    losses, (curve,) = ui["corrective"][0]["loss"], ui["distillation"]
    means = [sum(part) / len(part) for part in (losses[:3], losses[3:6], losses[6:])]
    assert curve["step"] == [2, 5, 7] and curve["method"] == "training"
    assert curve["training_loss"] == [[pytest.approx(mean)] for mean in means]
    assert [part["curve"]["step"] for part in sent] == [[2], [5], [7]]
    assert [part["curve"]["training_loss"] for part in sent] == [[each] for each in curve["training_loss"]]
    assert {(part["event"], part["steps"]) for part in sent} == {(corrective_training.EVENT, 8)}


def test_the_losses_of_a_long_training_are_few_points():
    blind = wrapped(tiny(EPS), lambda apply_model, arguments: torch.zeros_like(arguments["input"]))
    made, told = train(EPS, model=blind, steps=505, batch_size=1)
    (data,) = told["corrective"]
    assert made.about.steps == 505
    assert len(data["loss"]) == len(data["step"]) <= 500 and data["step"][:: len(data["step"]) - 1] == [0, 504]


def test_resumed_training_has_a_complete_curve():
    _, ui = train(EPS, steps=6)
    calls = interrupted(4, steps=6)
    assert train(EPS, model=calls.watch(tiny(EPS)), steps=6)[1]["distillation"] == ui["distillation"]
    calls = interrupted(4, steps=6)
    _, fewer = train(EPS, model=calls.watch(tiny(EPS)), steps=2)
    assert fewer["distillation"][0]["step"] == [0, 1, 2, 3]
    assert fewer["corrective"][0]["images_per_second"] is None and "second" not in fewer["text"][0]


def test_progress_counts_every_step():
    seen = []
    with progress_hook(lambda value, total, preview, **_: seen.append((value, total))):
        train(EPS, steps=4)
    assert [pair for pair in seen if pair[1] == 4] == [(i + 1, 4) for i in range(4)]


def cancel_after(steps: int) -> Any:
    """A progress hook that cancels the run."""

    def listen(value: int, total: int, preview: Any, **_: Any) -> None:
        if value == steps:
            raise InterruptProcessingException

    return listen


def interrupted(after: int, family: Family = EPS, model: Any = None, **options: Any) -> Calls:
    """Cancel a training after some steps. Returns a new counter for the calls of later trainings."""
    with progress_hook(cancel_after(after)), pytest.raises(InterruptProcessingException):
        train(family, model=Calls().watch(model or tiny(family)), **options)
    return Calls()


def test_canceled_training_is_saved_and_resumed(own_folders: Path):
    whole, ui = train(EPS, steps=6)
    calls = interrupted(4, steps=6)
    assert len(unfinished(own_folders)) == 1
    resumed, again = train(EPS, model=calls.watch(tiny(EPS)), steps=6)
    assert len(calls.batches) == 2
    assert same_weights(resumed, whole) and again["corrective"][0]["loss"] == ui["corrective"][0]["loss"]
    assert resumed.about == whole.about
    assert not unfinished(own_folders)


def test_residual_network_is_fitted_once_before_training(own_folders: Path):
    calls = Calls()
    whole, _ = train(EPS, model=calls.watch(tiny(EPS)), kind="residual network", steps=18)
    assert len(calls.batches) == 16 + 18
    assert isinstance(whole.network, CorrectiveNetwork) and whole.network.base is not None
    fitted, _ = train(EPS, kind="spectral", steps=18)
    assert torch.equal(whole.network.base.gain, weights(fitted)["gain"])
    calls = interrupted(17, kind="residual network", steps=18)
    resumed, _ = train(EPS, model=calls.watch(tiny(EPS)), kind="residual network", steps=18)
    assert len(calls.batches) == 1 and same_weights(resumed, whole)
    further, _ = train(EPS, corrective=resumed, steps=1)
    assert isinstance(further.network, CorrectiveNetwork) and further.network.base is not None


def test_failed_training_is_saved_and_resumed(own_folders: Path):
    calls: list[int] = []

    def fail_once(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        calls.append(len(calls))
        if len(calls) == 4:
            raise RuntimeError("the model fails")
        return ask(apply_model, arguments)

    with pytest.raises(RuntimeError, match="the model fails"):
        train(EPS, model=wrapped(tiny(EPS), fail_once), steps=6)
    resumed, _ = train(EPS, model=wrapped(tiny(EPS), fail_once), steps=6)
    # Two images a step, each predicted alone as a wrapper may look at the noise level: step 2 failed, 5 were left.
    assert len(calls) == 4 + 5 * 2
    assert same_weights(resumed, train(EPS, model=wrapped(tiny(EPS), ask), steps=6)[0])


def test_canceled_training_can_be_finished_with_fewer_steps(own_folders: Path):
    calls = interrupted(4, steps=9)
    made, _ = train(EPS, model=calls.watch(tiny(EPS)), steps=3)
    assert not calls.batches and made.about.steps == 4


def pooled(seed: int) -> Conditioning:
    """The negative prompt with another pooled output."""
    ((tokens, values),) = NEGATIVE
    return [[tokens, {**values, "pooled_output": cond(seed)[0][1]["pooled_output"]}]]


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 6},
    "width": {"width": 8},
    "normalisation": {"normalisation": "none"},
    "prompt": {"negative": cond(9)},
    "pooled output": {"negative": pooled(9)},
    "images": {"images": [photo(16, seed=3, size=32)]},
}


@pytest.mark.parametrize("other", OTHERS)
def test_different_inputs_start_a_new_training(other: str):
    calls = interrupted(2, steps=3)
    train(EPS, model=calls.watch(tiny(EPS)), **{"steps": 3, **OTHERS[other]})
    assert len(calls.batches) == 3


def lora_model(strength: float) -> Any:
    """The model with a newly loaded LoRA, as after a restart."""
    return comfy.sd.load_lora_for_models(tiny(EPS), None, tiny_lora(), strength, 0.0)[0]


def shifted(shift: float) -> Any:
    return ModelSamplingSD3().patch(tiny(SD3), shift)[0]


def discrete(sampling: str, *, zsnr: bool = False) -> Any:
    return ModelSamplingDiscrete().patch(tiny(EPS), sampling, zsnr)[0]


def freed(b1: float) -> Any:
    """A model with a patch whose settings are only stored in its closure."""
    return FreeU().patch(tiny(EPS), b1, 1.2, 0.9, 0.2)[0]


MODELS: dict[str, tuple[Family, Any, Any]] = {
    "LoRA": (EPS, lambda: lora_model(1.0), lambda: tiny(EPS)),
    "LoRA's strength": (EPS, lambda: lora_model(1.0), lambda: lora_model(0.5)),
    "noise schedule": (SD3, lambda: shifted(3.5), lambda: shifted(9.0)),
    "schedule of the checkpoint": (SD3, lambda: tiny(SD3), lambda: shifted(9.0)),
    "zero terminal SNR": (EPS, lambda: discrete("eps"), lambda: discrete("eps", zsnr=True)),
    "parametrization": (EPS, lambda: discrete("eps"), lambda: discrete("v_prediction")),
    "FreeU": (EPS, lambda: freed(1.1), lambda: tiny(EPS)),
    "FreeU's settings": (EPS, lambda: freed(1.1), lambda: freed(1.3)),
}


@pytest.mark.parametrize("change", MODELS)
def test_changed_model_starts_a_new_training_and_the_same_one_resumes(change: str):
    family, before, after = MODELS[change]
    calls = interrupted(2, family, before(), steps=3)
    train(family, model=calls.watch(after()), steps=3)
    assert sum(calls.batches) == 3 * 2
    train(family, model=calls.watch(before()), steps=3)
    assert sum(calls.batches) == 3 * 2 + 1 * 2


RESTARTED = """
import sys
sys.path[:0] = {paths!r}
import conftest, torch
import test_corrective as cases
torch.set_num_threads(1)
print("names", *cases.fingerprints())
"""


def fingerprints() -> list[str]:
    """Fingerprints of changed models and of values."""
    changed = map(host.model_fingerprint, (lora_model(1.0), shifted(9.0), freed(1.1)))
    return [*changed, host.fingerprint(NEGATIVE, {"a": (0.5, None), "b": torch.float16})]


def test_fingerprints_are_the_same_after_a_restart():
    tests = Path(__file__).resolve().parents[1]
    script = RESTARTED.format(paths=[str(tests), str(tests / "nodes")])
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in output.splitlines() if line.startswith("names"))
    assert line.split()[1:] == fingerprints()


def test_different_values_have_different_fingerprints():
    values = [1, 1.0, True, "1", [1], [[1]], {"a": 1}, {"b": 1}, {}, None, torch.ones(1), torch.ones(1, 1), [1, 1]]
    assert len(set(map(host.fingerprint, values))) == len(values)
    large = torch.zeros(3 * 2**20)
    assert host.fingerprint(large) != host.fingerprint(large + 1)
    assert host.fingerprint({"a": 1, "b": 2}) == host.fingerprint({"b": 2, "a": 1})


def test_corrupt_saved_state_is_ignored(own_folders: Path):
    interrupted(2, steps=3)
    unfinished(own_folders)[0].write_bytes(b"not a state")
    assert same_weights(train(EPS, steps=3)[0], train(EPS, steps=3)[0])


def test_network_can_be_trained_further():
    first, _ = train(EPS, steps=3)
    further, _ = train(EPS, steps=2, corrective=first, width=32, levels=1)
    assert further.about.steps == 5
    assert isinstance(further.network, CorrectiveNetwork) and isinstance(first.network, CorrectiveNetwork)
    assert further.network.architecture == first.network.architecture
    changed = max((tensor - weights(first)[name]).abs().max().item() for name, tensor in weights(further).items())
    assert 0 < changed < 0.01


def test_further_training_keeps_the_normalization():
    first, _ = train(EPS, steps=1, normalisation="none")
    others, same = (train(EPS, steps=2, corrective=first, normalisation=each)[0] for each in ("full", "none"))
    assert others.about.statistics == "none"
    assert same_weights(others, same) and others.about == same.about


def test_nan_loss_raises():
    nan = wrapped(tiny(EPS), lambda apply_model, arguments: torch.full_like(arguments["input"], torch.nan))
    with pytest.raises(ValueError, match=r"became NaN or infinite at step 1 of 2\. Lower learning_rate, or load the"):
        train(EPS, model=nan)


def nan_images(size: int = 64) -> Tensor:
    return torch.full((16, size, size, 3), torch.nan)


REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "small images": (
        EPS,
        {"images": [*PHOTOS, photo(1, size=28)]},
        "An image on input 'images' is 28x28 pixels, which is smaller than patch_size, 32: leave it out, or lower "
        "patch_size to 24.",
    ),
    "images smaller than a latent cell": (
        EPS,
        {"images": [photo(16, size=6)]},
        "An image on input 'images' is 6x6 pixels, which is smaller than patch_size, 32: leave it out.",
    ),
    "patch_size not a multiple of 8": (
        EPS,
        {"patch_size": 60},
        "patch_size is 60, which is not a multiple of the 8 pixels of a latent cell: set it to 56.",
    ),
    "no images": (
        EPS,
        {"images": [torch.zeros(0, 64, 64, 3)]},
        "Input 'images' is empty (0 images of 64x64 pixels): connect an image, for example from Load Image. Nodes that "
        "detect or filter give an empty batch when they find nothing.",
    ),
    "NaN": (
        EPS,
        {"images": [nan_images()]},
        "Input 'images' contains NaN or infinite values: check the node connected to it.",
    ),
    "no prompt": (
        EPS,
        {"negative": []},
        "The conditioning on input 'negative' is empty: connect a CLIP Text Encode node to it.",
    ),
    "other VAE": (
        SD3,
        {"vae": tiny_vae("taesd")},
        "The VAE makes latents of 4 channels but the model works on 16: connect the VAE that belongs to the model.",
    ),
    "distilled guidance": (
        FLUX_DISTILLED,
        {},
        "This model is guidance-distilled and input 'negative' has guidance 3.5, so there is no unconditional "
        "prediction: add a FluxGuidance node with guidance 1.0 after every text encoder, or use a model that is not "
        "guidance-distilled.",
    ),
    "spectral corrective to train further": (
        EPS,
        {"corrective": spectral(EPS)},
        "Only a network can be trained further, not a spectral corrective: set kind to network and connect a network "
        "to input 'corrective', or disconnect it.",
    ),
    "network with kind spectral": (
        EPS,
        {"corrective": network(EPS), "kind": "spectral"},
        "Only a network can be trained further, not a spectral corrective: set kind to network and connect a network "
        "to input 'corrective', or disconnect it.",
    ),
    "other model's corrective": (
        EPS,
        {"corrective": network(SD3)},
        "The corrective is for 'SD3' with 16 latent channels, but the model has 4: load or train one for this model.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_training(case: str):
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
    ui: Any = output.ui
    return ui.value


def load(name: str) -> ManifoldCorrective:
    with torch.inference_mode():
        return ManifoldCorrectiveLoad.execute(name).args[0]


@pytest.mark.parametrize("make", [network, spectral], ids=["network", "spectral"])
@pytest.mark.parametrize("family", [EPS, QWEN], ids=str)
def test_saved_corrective_is_loaded(make: Any, family: Family, own_folders: Path):
    corrective = make(family)
    assert save(corrective, "mine") == "Saved as mine.safetensors."
    path = own_folders / "output" / FOLDER / "mine.safetensors"
    assert path.is_file() and not list(path.parent.glob("*.partial"))
    read = load("mine.safetensors")
    assert same_weights(read, corrective) and read.about == corrective.about
    assert not any(tensor.is_inference() for tensor in weights(read).values())


def test_existing_name_gets_a_number():
    first, second = network(EPS), spectral(EPS)
    assert [save(each, name) for each, name in ((first, "a/b"), (second, "a/b.safetensors"), (second, "a/b"))] == [
        "Saved as b.safetensors.",
        "Saved as b_2.safetensors.",
        "Saved as b_3.safetensors.",
    ]
    assert same_weights(load("a/b.safetensors"), first) and same_weights(load("a/b_2.safetensors"), second)
    found = [name for name in host.CORRECTIVES.names() if name.startswith("a/")]
    assert found == ["a/b.safetensors", "a/b_2.safetensors", "a/b_3.safetensors"]


def test_list_is_updated():
    def offered() -> list[str]:
        (choice,) = ManifoldCorrectiveLoad.define_schema().inputs
        assert isinstance(choice, io.Combo.Input) and choice.options is not None
        return list(choice.options)  # type: ignore[arg-type]

    before = offered()
    save(network(EPS), "zebra")
    assert offered() == [*before, "zebra.safetensors"]
    assert ManifoldCorrectiveLoad.validate_inputs("zebra.safetensors") is True


def test_changed_file_changes_the_fingerprint():
    save(network(EPS), "mine")
    first = ManifoldCorrectiveLoad.fingerprint_inputs("mine.safetensors")
    host.CORRECTIVES.write(host.CORRECTIVES.find("mine.safetensors"), spectral(EPS))
    assert ManifoldCorrectiveLoad.fingerprint_inputs("mine.safetensors") != first


OUTSIDE = ["../mine", "/tmp/mine", "a/../../mine", "..\\mine", "../dreamsampler_correctives_2/mine"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_name_outside_the_folder_is_rejected(name: str, own_folders: Path):
    words = "is outside ComfyUI's folder for manifold correctives, dreamsampler_correctives: use a name inside that "
    for refusal in (
        ManifoldCorrectiveSave.validate_inputs(name),
        ManifoldCorrectiveLoad.validate_inputs(name + ".safetensors"),
    ):
        assert isinstance(refusal, str) and refusal.startswith(f"'{name}") and words in refusal
    with pytest.raises(ValueError, match="is outside"):
        save(network(EPS), name)
    with pytest.raises(ValueError, match="is outside"):
        load(name + ".safetensors")
    assert not (own_folders / "output").exists()


@pytest.mark.parametrize("name", ["", "  ", "folder/", ".safetensors"])
def test_saving_requires_a_name(name: str):
    expected = "The manifold corrective needs a file name to be saved: enter one on input 'name'."
    assert ManifoldCorrectiveSave.validate_inputs(name) == expected


def test_missing_file_error_names_the_folders():
    expected = (
        "There is no manifold corrective 'gone.safetensors' in ComfyUI's folders models/dreamsampler_correctives and "
        "output/dreamsampler_correctives: put the file into one of them, or make one with Save Manifold Corrective."
    )
    assert ManifoldCorrectiveLoad.validate_inputs("gone.safetensors") == expected


class Made(io.ComfyNode):
    """A node of another pack whose outputs are linked to our inputs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        name, choice = io.String.Output(display_name="name"), io.Custom("COMBO").Output(display_name="choice")
        return io.Schema(node_id="Made", inputs=[], outputs=[name, choice])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput("mine", "gone.safetensors")


def linked(monkeypatch: pytest.MonkeyPatch) -> tuple[bool, Any]:
    """Validate a prompt in which the names to load and to save are linked. Returns whether it is valid, and errors."""
    own = {"Made": Made, "DSManifoldCorrectiveLoad": ManifoldCorrectiveLoad}
    for node, kind in {**own, "DSManifoldCorrectiveSave": ManifoldCorrectiveSave}.items():
        monkeypatch.setitem(HOST_NODES, node, kind)
    prompt = {
        "1": {"class_type": "Made", "inputs": {}},
        "2": {"class_type": "DSManifoldCorrectiveLoad", "inputs": {"name": ["1", 1]}},
        "3": {"class_type": "DSManifoldCorrectiveSave", "inputs": {"corrective": ["2", 0], "name": ["1", 0]}},
    }
    valid, _, _, errors = asyncio.run(execution.validate_prompt("a prompt", prompt, None))
    return valid, errors


def test_linked_names_are_checked_when_the_node_runs(monkeypatch: pytest.MonkeyPatch):
    assert linked(monkeypatch) == (True, {})
    with pytest.raises(ValueError) as refusal:
        save(network(EPS), " ")
    assert str(refusal.value) == ManifoldCorrectiveSave.validate_inputs(" ")
    with pytest.raises(ValueError) as refusal:
        load("gone.safetensors")
    assert str(refusal.value) == ManifoldCorrectiveLoad.validate_inputs("gone.safetensors")


def test_linked_file_changes_the_fingerprint():
    save(network(EPS), "mine")
    first = ManifoldCorrectiveLoad.fingerprint_inputs(None)
    assert ManifoldCorrectiveLoad.fingerprint_inputs(None) == first
    host.CORRECTIVES.write(host.CORRECTIVES.find("mine.safetensors"), spectral(EPS))
    assert ManifoldCorrectiveLoad.fingerprint_inputs(None) != first


def write_invalid_file(folder: Path, content: str) -> None:
    """Write a file "bad.safetensors" that is not a valid corrective."""
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
        tensors, metadata = network(EPS).encode()
        del tensors["last.bias"]
        save_file(tensors, path, metadata=metadata)
    elif content == "version":
        tensors, metadata = network(EPS).encode()
        save_file(tensors, path, metadata={**metadata, "version": "7"})


UNREADABLE = "The file 'bad.safetensors' is damaged or not a safetensors file."
INVALID = {
    "cut": UNREADABLE,
    "text": UNREADABLE,
    "empty": UNREADABLE,
    "LoRA": "The file 'bad.safetensors' cannot be used. It is not a manifold corrective: choose a file that Save "
    "Manifold Corrective wrote.",
    "missing": "The file 'bad.safetensors' cannot be used. Its tensors do not fit the network it describes: the "
    "file is damaged.",
    "version": "The file 'bad.safetensors' cannot be used. Its version is 7, and this pack reads version 1: update "
    "the pack.",
}


@pytest.mark.parametrize("content", INVALID)
def test_invalid_file_is_rejected(content: str, own_folders: Path):
    write_invalid_file(own_folders, content)
    with pytest.raises(ValueError) as refusal:
        load("bad.safetensors")
    assert str(refusal.value) == INVALID[content]


def test_file_records_how_it_was_trained(own_folders: Path):
    made, _ = train(V, steps=2)
    save(made)
    path = own_folders / "output" / FOLDER / "mine.safetensors"
    assert load_file(path).keys() == weights(made).keys()
    tensors, metadata = read_tensors(path)
    about = json.loads(metadata["about"])
    assert about["family"] == "SD15" and about["channels"] == 4 and about["path"] == "scaled" and about["steps"] == 2
    assert about["base"] == host.weights_digest(tiny(V)) and about["loss"] == made.about.loss
    assert len(about["levels"]) == 5


# Identifying models


def test_weights_digest_ignores_dtype_and_loras():
    base = host.weights_digest(tiny(EPS))
    assert base == host.weights_digest(tiny(EPS, torch.bfloat16))
    others = [tiny(SD3), tiny(QWEN), tiny(FLUX_DISTILLED), tiny(EPS, torch.float32, 3.0)]
    assert len({base, *map(host.weights_digest, others)}) == 5
    patched, _ = comfy.sd.load_lora_for_models(tiny(EPS), None, tiny_lora(), 1.0, 0.0)
    assert patched is not None
    comfy.model_management.load_models_gpu([patched])
    assert host.weights_digest(patched) == base
    patched.detach()


def test_noise_schedule_follows_the_model():
    (shifted,) = ModelSamplingSD3().patch(tiny(SD3), 9.0)
    name, levels = host.noise_schedule(tiny(SD3))
    assert name == "flow" and list(levels) == sorted(levels) and 0 < levels[0] and levels[-1] < 1
    assert host.noise_schedule(shifted)[1] != levels
