"""The sample inputs of the templates, and how they reach the host's input folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import sample_inputs as recipe
from devhost import CHECKOUT
from dreamsampler.nodes import SAMPLES, host
from PIL import Image

MOST_BYTES = 300_000
NAMES = {path.name for path in SAMPLES.iterdir()}


@pytest.fixture
def inputs(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's input folder, empty."""
    import folder_paths

    folder = own_folders / "input"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(folder))
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_are_copied_once(inputs: Path):
    host.offer_samples(SAMPLES)
    assert files_in(inputs) == files_in(SAMPLES)
    host.offer_samples(SAMPLES)
    assert files_in(inputs) == files_in(SAMPLES)


def test_a_file_of_the_user_is_kept(inputs: Path):
    name = "dreamsampler_photo.jpg"
    (inputs / name).write_bytes(b"mine")
    host.offer_samples(SAMPLES)
    assert files_in(inputs) == {**files_in(SAMPLES), name: b"mine"}


def test_what_the_user_deletes_does_not_come_back(inputs: Path):
    host.offer_samples(SAMPLES)
    (inputs / "dreamsampler_photo.jpg").unlink()
    (inputs / "dreamsampler_views" / "3.png").unlink()
    left = files_in(inputs)
    host.offer_samples(SAMPLES)
    assert files_in(inputs) == left


def test_each_input_folder_gets_them(inputs: Path, monkeypatch: pytest.MonkeyPatch):
    import folder_paths

    host.offer_samples(SAMPLES)
    other = inputs.parent / "other"
    other.mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(other))
    host.offer_samples(SAMPLES)
    assert files_in(other) == files_in(SAMPLES)


def test_a_later_version_adds_its_own(inputs: Path, tmp_path: Path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "first.txt").write_text("1")
    host.offer_samples(shipped)
    (inputs / "first.txt").unlink()
    (shipped / "second.txt").write_text("2")
    host.offer_samples(shipped)
    assert files_in(inputs) == {"second.txt": b"2"}


def test_the_rest_follows_when_a_copy_was_interrupted(inputs: Path):
    (inputs / "dreamsampler_views").mkdir()
    host.offer_samples(SAMPLES)
    assert files_in(inputs) == files_in(SAMPLES)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', "null", '{"a": null}'])
def test_a_damaged_record_is_written_again(content: str, inputs: Path):
    record = inputs.parent / "user" / "dreamsampler" / "samples.json"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    host.offer_samples(SAMPLES)
    assert set(json.loads(record.read_text())[str(inputs)]) == NAMES


def test_a_folder_that_cannot_be_written_to_gives_a_line_in_the_log(inputs: Path, caplog: pytest.LogCaptureFixture):
    (inputs / "dreamsampler_small_views").write_text("a file where a folder has to be")
    with caplog.at_level(logging.INFO, "dreamsampler"):
        host.offer_samples(SAMPLES)
    (line,) = caplog.messages
    assert line.startswith("The sample inputs of DreamSampler's templates could not be copied: The file '")


def test_a_missing_input_folder_is_not_made(inputs: Path):
    inputs.rmdir()
    host.offer_samples(SAMPLES)
    assert not inputs.exists()


# The files themselves


def test_they_are_small():
    assert sum(map(len, files_in(SAMPLES).values())) < MOST_BYTES


def test_their_names_say_whose_they_are():
    assert all(name.startswith(recipe.PREFIX) for name in NAMES)


def test_each_is_named_in_a_template():
    templates = "".join(path.read_text("utf-8") for path in (CHECKOUT / "workflows").glob("*.json"))
    assert [name for name in sorted(NAMES) if f'"{name}"' not in templates] == []


@pytest.mark.parametrize("look", [recipe.PHOTO, recipe.REFERENCE], ids=["photo", "reference"])
def test_the_recipe_makes_them(look: recipe.Look, tmp_path: Path):
    """Other versions of Pillow and torch may round otherwise, so images are compared by their pixels."""
    recipe.write(tmp_path, look)
    assert set(files_in(tmp_path)) == set(files_in(SAMPLES))
    for path in sorted(SAMPLES.rglob("*.*g")) if look is recipe.PHOTO else ():
        if path.suffix in {".jpg", ".png"}:
            made, shipped = (Image.open(each) for each in (tmp_path / path.relative_to(SAMPLES), path))
            assert made.mode == shipped.mode and made.size == shipped.size
            difference = np.asarray(made, np.int16) - np.asarray(shipped, np.int16)
            assert np.abs(difference).mean() < 1, path.name


@pytest.mark.parametrize("name", ["hole", "hole_1", "hole_2"])
def test_a_hole_is_transparent_and_nothing_of_it_is_left(name: str):
    image = np.asarray(Image.open(SAMPLES / f"dreamsampler_{name}.png"))
    inside = image[..., 3] == 0
    assert 0.1 < inside.mean() < 0.6 and set(np.unique(image[..., 3])) == {0, 255}
    assert (image[inside][:, :3] == 255).all()
