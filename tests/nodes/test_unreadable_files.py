"""Files and folders that cannot be read, among those that nodes list: the rest is listed, and the fault is named."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_api.latest import io
from comfy_server import ComfyServer
from dreamsampler.guidance.networks.translation.network import Architecture, initial_network
from dreamsampler.guidance.networks.translation.storage import About, Translator
from dreamsampler.nodes import host
from dreamsampler.nodes.apply_translator import TranslatorApply
from dreamsampler.nodes.host import model_files
from dreamsampler.nodes.host.files import write_tensors
from dreamsampler.nodes.load_manifold_corrective import ManifoldCorrectiveLoad
from dreamsampler.nodes.load_svg import LoadSVG
from support.corrective_nodes import network
from support.systems import POSIX
from support.tiny_models import EPS

pytestmark = POSIX
CORRECTIVES, TRANSLATORS = "dreamsampler_correctives", "dreamsampler_translators"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="4" height="4"/></svg>'


def translator() -> Translator:
    blank = initial_network(Architecture(4, 4, 1), [torch.ones(4, 8, 8)], torch.Generator())
    about = About("SD15", 4, "a cat", ("dog",), ("a dog",), "lmc", 15.0, 7)
    return Translator(blank.requires_grad_(False), about)


def nested(place: Path) -> None:
    """A safetensors file whose description is JSON that is nested too deep to be parsed."""
    deep = "[" * 100_000 + "]" * 100_000
    for noun in ("translator", "manifold corrective"):
        text = {"format": f"dreamsampler {noun}", "version": "1", "about": deep, "form": deep, "kind": "network"}
        write_tensors(place.with_name(f"nested {noun}.safetensors"), {"x": torch.zeros(1)}, text)


def endless(place: Path) -> None:
    """A translator that says that its number of channels is infinite."""
    tensors, text = translator().encode()
    write_tensors(place, tensors, {**text, "about": text["about"].replace('"channels": 4', '"channels": Infinity')})


def without_permissions(place: Path) -> None:
    place.write_bytes(SVG)
    place.chmod(0)


def in_a_folder(mode: int) -> Callable[[Path], None]:
    """A file in a folder that may be listed but not entered, or neither."""

    def make(place: Path) -> None:
        place.with_suffix("").mkdir()
        place.with_suffix("").joinpath(place.name).write_bytes(SVG)
        place.with_suffix("").chmod(mode)

    return make


FAULTS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a link to nothing": lambda place: place.symlink_to("nothing"),
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a link to a name that is too long": lambda place: place.symlink_to("a" * 300),
    "a device": lambda place: place.symlink_to("/dev/full"),
    "memory that cannot be read": lambda place: place.symlink_to("/proc/self/mem"),
    "a pipe": lambda place: os.mkfifo(place),
    "a name in no encoding": lambda place: place.with_stem(os.fsdecode(b"\xff")).touch(),
    "nothing": lambda place: place.write_bytes(b""),
    "text": lambda place: place.write_text("hello"),
    "metadata nested too deep": nested,
    "an infinite number": endless,
    "no permission to read": without_permissions,
    "a folder that cannot be entered": in_a_folder(0o444),
    "a folder that cannot be listed": in_a_folder(0),
}  # fmt: skip
NEEDS_PERMISSIONS = {"no permission to read", "a folder that cannot be entered", "a folder that cannot be listed"}
LISTED_ALL_THE_SAME = {
    "nothing", "text", "memory that cannot be read", "metadata nested too deep", "an infinite number"
}  # fmt: skip
"""Faults that show only when a file is opened, which listing correctives and SVGs does not do."""


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> str:
    """Skips those that a superuser does not notice."""
    if request.param in NEEDS_PERMISSIONS and os.geteuid() == 0:
        pytest.skip("Everything is readable for a superuser.")
    return request.param


@pytest.fixture
def faulty(fault: str, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """ComfyUI's folders with a good file of each kind, and one of each kind with the fault."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(own_folders / "input"))
    host.CORRECTIVES.save("good", network(EPS))
    host.TRANSLATORS.save("good", translator())
    folders = {own_folders / "output" / each: ".safetensors" for each in (CORRECTIVES, TRANSLATORS)}
    folders[own_folders / "input"] = ".svg"
    for folder, suffix in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        FAULTS[fault](folder / f"bad{suffix}")
    (own_folders / "input" / "good.svg").write_bytes(SVG)
    yield own_folders
    for folder in folders:
        for place in folder.rglob("*"):
            if not place.is_symlink():
                place.chmod(0o700)


def options(node: type[io.ComfyNode]) -> list[str]:
    """What the node's list offers."""
    (choice,) = (each for each in node.define_schema().inputs if isinstance(each, io.Combo.Input))
    return list(choice.options)  # type: ignore[arg-type]


def test_the_rest_is_listed(fault: str, faulty: Path):
    assert options(TranslatorApply) == ["good.safetensors: dog"]
    for node, good in ((ManifoldCorrectiveLoad, "good.safetensors"), (LoadSVG, "good.svg")):
        listed = options(node)
        assert good in listed
        assert fault in LISTED_ALL_THE_SAME or listed == [good]


def test_what_cannot_be_read_is_refused_in_a_sentence(fault: str, faulty: Path):
    def refusal(act: Callable[[], Any]) -> str:
        with pytest.raises(ValueError) as refused:
            act()
        return str(refused.value)

    for files in (host.CORRECTIVES, host.TRANSLATORS):
        names = [name for name in files.names() if name != "good.safetensors"] or ["bad.safetensors"]
        for name in names:
            said = refusal(lambda name=name, files=files: files.read(name))
            assert said.endswith(".") and f"'{name}'" in said and "\n" not in said
            assert said.startswith(("The file", "There is no")), said
    with torch.inference_mode():
        if fault not in ("metadata nested too deep", "an infinite number"):  # they are no SVG files
            assert "bad.svg" in refusal(lambda: LoadSVG.execute("bad.svg"))


def kinds() -> list[tuple[Any, Any]]:
    """Where each kind of network is saved, and one of it."""
    return [(host.CORRECTIVES, network(EPS)), (host.TRANSLATORS, translator())]


WEIGHTS = {
    torch.int8: "Its weights are int8, and this pack reads float16, bfloat16, float32, float64: choose a file that was "
    "not quantized or converted.",
    torch.complex64: "Its weights are complex64, and this pack reads",
    torch.float8_e4m3fn: "Its weights are float8_e4m3fn, and this pack reads",
    torch.float16: None,
    torch.float64: None,
}


@pytest.mark.parametrize("dtype", WEIGHTS, ids=str)
def test_weights_of_a_type_whose_numbers_would_change_are_refused(dtype: torch.dtype, own_folders: Path):
    for files, made in kinds():
        tensors, text = made.encode()
        place = files.save("converted", made)
        write_tensors(place, {name: tensor.to(dtype) for name, tensor in tensors.items()}, text)
        words = WEIGHTS[dtype]
        if words is None:
            assert files.read(place.name).about == made.about
            continue
        with pytest.raises(ValueError) as refusal:
            files.read(place.name)
        assert str(refusal.value).startswith(f"The file 'converted.safetensors' cannot be used. {words}")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float, own_folders: Path):
    for files, made in kinds():
        tensors, text = made.encode()
        tensors["last.bias"][0] = value
        place = files.save("broken", made)
        write_tensors(place, tensors, text)
        with pytest.raises(ValueError, match="It holds NaN or infinite weights: the file is damaged"):
            files.read(place.name)


def test_a_name_that_is_too_long_for_the_system_is_said_to_be_missing(own_folders: Path):
    for files in (host.CORRECTIVES, host.TRANSLATORS):
        with pytest.raises(ValueError, match="^There is no"):
            files.find("a" * 300 + ".safetensors")
    assert "has no file" in str(LoadSVG.validate_inputs("a" * 300 + ".svg"))


def test_a_file_is_opened_once_and_again_when_it_changes(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    opened: list[Path] = []
    read = model_files.read_metadata
    monkeypatch.setattr(model_files, "read_metadata", lambda path: opened.append(path) or read(path))
    good = host.TRANSLATORS.save("good", translator())
    bad = good.with_name("bad.safetensors")
    bad.write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        assert [options(TranslatorApply) for _ in range(3)] == [["good.safetensors: dog"]] * 3
    assert opened == [bad, good] and caplog.text.count("'bad.safetensors' is damaged") == 1
    os.replace(host.TRANSLATORS.save("other", translator()), bad)
    assert options(TranslatorApply) == ["bad.safetensors: dog", "good.safetensors: dog"]
    assert opened == [bad, good, bad]


def test_a_server_starts_and_tells_of_every_node(tmp_path: Path, host: Any):
    """With every fault at once that a superuser notices too."""
    folders = {f"output/{each}": ".safetensors" for each in (CORRECTIVES, TRANSLATORS)} | {"input": ".svg"}
    for folder, suffix in folders.items():
        tmp_path.joinpath(folder).mkdir(parents=True)
        for number, (name, make) in enumerate(FAULTS.items()):
            if name not in NEEDS_PERMISSIONS:
                make(tmp_path / folder / f"{number}{suffix}")
    write_tensors(tmp_path / "output" / TRANSLATORS / "good.safetensors", *translator().encode())
    with ComfyServer(host, tmp_path) as server:
        told = server.client.object_info()
        choices = told["DSTranslatorApply"]["input"]["required"]["translation"][1]["options"]
        assert "good.safetensors: dog" in choices and not any("nested" in choice for choice in choices)
        assert {"DSManifoldCorrectiveLoad", "DSLoadSVG"} <= told.keys()
