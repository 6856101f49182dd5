"""What trainings leave on the disk: on a disk that is full, from another version, and of two processes at a time."""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from comfy_client import ComfyClient, ExecutionFailed
from dreamsampler.guidance.distillation.translator import Recipe
from dreamsampler.guidance.networks.translation import network as translation
from dreamsampler.guidance.networks.translation.network import Architecture
from dreamsampler.guidance.networks.translation.storage import About, Translator
from dreamsampler.nodes import host
from dreamsampler.nodes.host.files import UnwritableFileError, read_tensors, write_tensors
from dreamsampler.nodes.host.training_state import training_state_path
from dreamsampler.nodes.runs import corrective_training, translator_training
from dreamsampler.nodes.runs.translator_training import TranslatorTraining
from dreamsampler.nodes.runs.translator_training import train as train_translator
from dreamsampler.nodes.save_manifold_corrective import ManifoldCorrectiveSave
from support.corrective_nodes import spectral, train
from support.host_oracle import progress_hook
from support.tiny_models import EPS, NEGATIVE, SOURCE, cond, encoded, tiny
from torch import Tensor

from tools.translator import KeptTranslator

resource = pytest.importorskip("resource", reason="Windows cannot limit the size of files.")
pytestmark = pytest.mark.usefixtures("own_folders")
ROOM = 2**16
"""Bytes that a file may have on a full disk."""
WIDTH = 16
"""The width of a network whose state is larger than that."""


@contextmanager
def full_disk() -> Iterator[None]:
    """The system writes no file beyond `ROOM` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left() -> list[Path]:
    """The files that trainings left."""
    return sorted(training_state_path("x").parent.glob("*"))


def same(one: Any, other: Any) -> bool:
    weights = other.network.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.network.state_dict().items())


@contextmanager
def at_steps(acts: dict[int, Callable[[], Any]]) -> Iterator[None]:
    """Does something after some steps of a training."""
    with progress_hook(lambda value, total, preview, **_: acts.get(value, lambda: None)()):
        yield


def cancel() -> None:
    raise InterruptProcessingException


def interrupted() -> Path:
    """The state of a training of 6 steps that was canceled after 4."""
    with at_steps({4: cancel}), pytest.raises(InterruptProcessingException):
        train(EPS, steps=6, width=WIDTH)
    (state,) = left()
    assert state.stat().st_size > ROOM
    return state


# Full disks


def test_a_full_disk_does_not_end_a_training(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    whole, _ = train(EPS, steps=6, width=WIDTH)
    monkeypatch.setattr(corrective_training, "SAVE_INTERVAL", 0.0)
    with full_disk(), caplog.at_level(logging.WARNING):
        made, _ = train(EPS, steps=6, width=WIDTH)
    assert same(made, whole)
    assert not left()
    assert "The training is not saved, and if interrupted continues from its last save. The file " in caplog.text
    assert "Free disk space, or check the folder's permissions." in caplog.text


def test_the_node_says_so_while_it_trains(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corrective_training, "SAVE_INTERVAL", 0.0)
    monkeypatch.setattr(corrective_training, "REPORT_INTERVAL", 0.0)
    shown: list[str] = []
    monkeypatch.setattr(host, "show_on_node", shown.append)
    with full_disk():
        train(EPS, steps=3, width=WIDTH)
    assert any(text.startswith("Step 3 of 3, ") and "The training is not saved" in text for text in shown)


def test_a_full_disk_keeps_the_last_good_state(monkeypatch: pytest.MonkeyPatch):
    whole, _ = train(EPS, steps=6, width=WIDTH)
    with ExitStack() as disk, monkeypatch.context() as settings:
        settings.setattr(corrective_training, "SAVE_INTERVAL", 0.0)
        with at_steps({3: lambda: disk.enter_context(full_disk()), 5: cancel}):
            with pytest.raises(InterruptProcessingException):
                train(EPS, steps=6, width=WIDTH)
    (state,) = left()
    assert len(read_tensors(state)[0]["losses"]) == 3
    assert same(train(EPS, steps=6, width=WIDTH)[0], whole)


def large_translator() -> Translator:
    network = translation.initial_network(Architecture(4, 32, 1), [torch.ones(4, 8, 8)], torch.Generator())
    about = About("SD15", 4, "a cat", ("dog",), ("a dog",), "lmc", 15.0, 7)
    return Translator(network.requires_grad_(False), about)


def test_what_cannot_be_saved_is_said_and_leaves_what_was_there():
    first = host.TRANSLATORS.save("mine", large_translator())
    before = first.read_bytes()
    message = r"^The file 'mine\.safetensors' cannot be written to .*\. Free disk space, or check .* permissions\.$"
    with full_disk():
        with pytest.raises(UnwritableFileError, match=message):
            host.TRANSLATORS.write(first, large_translator())
        with pytest.raises(UnwritableFileError, match=message):
            host.TRANSLATORS.save("mine", large_translator())
    assert [file.name for file in first.parent.iterdir()] == ["mine.safetensors"] and first.read_bytes() == before


def test_a_full_disk_does_not_end_the_training_of_a_translator(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(translator_training, "SAVE_INTERVAL", 0.0)
    conditionings = {"positive": cond(1), "source": SOURCE, "negative": NEGATIVE}
    latents = list(encoded(EPS, 4)["samples"])
    job = TranslatorTraining(tiny(EPS), latents, (8, 8), "a cat", {"dog": "a dog"}, conditionings)
    recipe = Recipe(method="dds", steps=3, batch=2, learning_rate=1e-3, width=32, levels=1)
    kept = KeptTranslator("mine")
    with torch.inference_mode(), full_disk(), caplog.at_level(logging.WARNING):
        made = train_translator(job, recipe, kept.save)
    assert made.about.steps == 3 and kept.path is None
    assert caplog.text.count("Not saved after 1 steps; the training goes on. The file 'mine.safetensors' cannot") == 1
    with torch.inference_mode():
        kept.save_at_last(made)
    assert kept.path == Path(folder_paths.get_output_directory(), "dreamsampler_translators", "mine.safetensors")


def test_a_trained_translator_that_has_no_room_is_saved_elsewhere(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(tempfile, "tempdir", str(own_folders))
    own_folders.joinpath("output").write_text("a file where the folder should be")
    kept, made = KeptTranslator("a/mine.safetensors"), large_translator()
    kept.save_at_last(made)
    assert kept.path is not None and kept.path.name == "mine.safetensors" and own_folders in kept.path.parents
    assert same(host.TRANSLATORS.read_file(kept.path), made)
    assert f"The translator was saved as {kept.path}: move it to output/dreamsampler_translators." in caplog.text


# States that cannot be continued

Change = Callable[[dict[str, Tensor], dict[str, str]], object]
UNUSABLE: dict[str, tuple[Change, str]] = {
    "another version": (lambda state, about: about.update(version="0"), "was written by another version of this pack"),
    "no version": (lambda state, about: about.clear(), "was written by another version of this pack"),
    "no losses": (lambda state, about: state.pop("losses"), "does not fit"),
    "a number of losses": (lambda state, about: state.update(losses=torch.ones(())), "does not fit"),
    "a missing average": (lambda state, about: state.pop("average last.bias"), "does not fit"),
    "a missing moment": (lambda state, about: state.pop("adam 0 exp_avg"), "does not fit"),
    "an unknown weight": (lambda state, about: state.update({"weight x": torch.ones(1)}), "does not fit"),
    "another shape": (lambda state, about: state.update({"average last.bias": torch.ones(1)}), "does not fit"),
    "NaN": (lambda state, about: state["weight last.bias"].fill_(torch.nan), "does not fit"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_state_that_cannot_be_continued_is_set_aside(case: str, caplog: pytest.LogCaptureFixture):
    whole, _ = train(EPS, steps=6, width=WIDTH)
    path = interrupted()
    change, words = UNUSABLE[case]
    tensors, about = read_tensors(path)
    change(tensors, about)
    write_tensors(path, tensors, about)
    content = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert same(train(EPS, steps=6, width=WIDTH)[0], whole)
    (aside,) = left()
    assert aside.name == f"{path.name}.unusable" and aside.read_bytes() == content
    assert (
        f"Train Manifold Corrective: the state of an interrupted training {words}, so the training starts over. It is "
        f"kept as {aside}." in caplog.text
    )


def test_a_damaged_state_is_set_aside():
    path = interrupted()
    path.write_bytes(b"not a state")
    train(EPS, steps=6, width=WIDTH)
    assert [file.name for file in left()] == [f"{path.name}.unusable"]


def test_old_states_are_removed():
    path = interrupted()
    for days, name in ((29, "young"), (31, "old"), (31, "old.unusable")):
        path.with_name(name).write_text("a state")
        written = time.time() - days * 24 * 3600
        os.utime(path.with_name(name), (written, written))
    train(EPS, steps=6, width=WIDTH)
    assert [file.name for file in left()] == ["young"]


# Several processes, and names


def save_many(numbers: range) -> None:
    for number in numbers:
        host.CORRECTIVES.save("a/mine", spectral(EPS, steps=number))


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_processes_that_save_under_one_name_never_overwrite_each_other(links: bool, monkeypatch: pytest.MonkeyPatch):
    if not links:

        def refuse(*_: Any) -> None:
            raise PermissionError("This file system has no hard links.")

        monkeypatch.setattr(os, "link", refuse)
    spectral(EPS)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=save_many, args=(range(10 * n, 10 * n + 10),)) for n in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 5
    names = host.CORRECTIVES.names()
    assert len(names) == 50
    assert {host.CORRECTIVES.read(name).about.steps for name in names} == set(range(50))
    assert len(list(host.CORRECTIVES.find(names[0]).parent.iterdir())) == 50


BAD_NAMES = {
    "a\nb": "The name 'a\\nb' has the character '\\n', which a file name cannot have: remove it on input 'name'.",
    "a\0b": "The name 'a\\x00b' has the character '\\x00', which a file name cannot have: remove it on input 'name'.",
    "x/" + "ä" * 101: f"The name '{'ä' * 20}...' has 202 bytes: shorten it to at most 200 on input 'name'.",
    "taken/mine": "'taken/mine' cannot be saved, because ",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_file_can_have_is_refused_before_the_training(name: str, own_folders: Path):
    folder = own_folders / "output" / "dreamsampler_correctives"
    folder.mkdir(parents=True)
    folder.joinpath("taken").write_text("not a folder")
    refusal = ManifoldCorrectiveSave.validate_inputs(name)
    assert isinstance(refusal, str) and refusal.startswith(BAD_NAMES[name]) and refusal.endswith(".")
    with pytest.raises(ValueError):
        host.CORRECTIVES.save(name, spectral(EPS))
    assert [file.name for file in folder.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", ["a" * 200, "ä" * 100, "a/b/c", "two words. and dots"])
def test_a_name_that_a_file_can_have_is_taken(name: str):
    assert ManifoldCorrectiveSave.validate_inputs(name) is True
    assert host.CORRECTIVES.save(name, spectral(EPS)).stem == Path(name).name
    assert host.CORRECTIVES.save(name, spectral(EPS)).stem == f"{Path(name).name}_2"


def test_a_name_from_another_node_is_refused_before_the_training(client: ComfyClient):
    inputs = {"ckpt_name": "dreamsampler_reference.safetensors"}
    training = {"model": ["1", 0], "negative": ["2", 0], "vae": ["1", 2], "images": ["3", 0], "kind": "network"}
    training |= {"steps": 100_000, "batch_size": 1, "learning_rate": 1e-3, "patch_size": 96, "seed": 0}
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": inputs},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "3": {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 96, "batch_size": 1, "color": 0}},
        "4": {"class_type": "DSManifoldCorrectiveTrain", "inputs": training},
        "5": {"class_type": "PrimitiveString", "inputs": {"value": "../outside"}},
        "6": {"class_type": "DSManifoldCorrectiveSave", "inputs": {"corrective": ["4", 0], "name": ["5", 0]}},
    }
    with pytest.raises(ExecutionFailed, match="is outside ComfyUI's folder for manifold correctives") as refusal:
        client.run(prompt, timeout=60)
    assert refusal.value.node_id == "6"
