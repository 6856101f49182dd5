"""`python -m tools.translator` trains a translator file from a checkpoint, images and prompts."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import pytest
import torch
from dreamsampler.nodes import host
from dreamsampler.nodes.apply_translator import TranslatorApply
from PIL import Image
from support.tiny_models import FLUX, FLUX_DISTILLED, tiny

from tools import translator
from tools.reference import in_process, world
from tools.reference.corrective import CORRECTIVE
from tools.reference.export import CHECKPOINT
from tools.reference.translator import scenes

TARGETS = ["--target", "star=a star", "--target", "heart=a heart"]
pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture(autouse=True, scope="module")
def reference() -> in_process.Reference:
    """The reference model. Loading it also registers its architecture with ComfyUI."""
    return in_process.load()


@pytest.fixture
def circles(tmp_path: Path) -> Path:
    """A folder of images, one with sides that are not multiples of 8, and a text file."""
    folder = tmp_path / "circles"
    folder.mkdir()
    for number, scene in enumerate(scenes(3)):
        image = Image.fromarray((world.render(scene) * 255).astype("uint8"))
        image.resize((101, 130) if number == 2 else image.size).save(folder / f"{number}.png")
    folder.joinpath("notes.txt").write_text("circles")
    return folder


def command(folder: Path, *more: str, checkpoint: Path = CHECKPOINT) -> list[str]:
    return [str(checkpoint), str(folder), "--source", "a circle", "--name", "shapes", "--size", "96", *more]


SMALL = ["--steps", "2", "--batch", "2", "--method"]


@pytest.mark.parametrize("method", ["sds", "dds", "lmc"])
def test_trained_translator_works_in_the_node(
    method: str, circles: Path, reference: in_process.Reference, capsys: pytest.CaptureFixture[str]
):
    more = ["--corrective", str(CORRECTIVE)] if method == "lmc" else []
    assert translator.main(command(circles, *TARGETS, *SMALL, method, *more)) == 0
    path = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert path == Path(folder_paths.get_output_directory(), "dreamsampler_translators", "shapes.safetensors")
    about = host.TRANSLATORS.read("shapes.safetensors").about
    assert (about.source, about.targets, about.texts) == ("a circle", ("star", "heart"), ("a star", "a heart"))
    assert (about.family, about.method, about.steps) == ("ReferenceModel", method, 2)
    with torch.inference_mode():
        latent = reference.latent(in_process.render(scenes(1)))
        (translated,) = TranslatorApply.execute(latent, "shapes.safetensors: heart", 1.0).args
    assert translated["samples"].isfinite().all() and not torch.equal(translated["samples"], latent["samples"])


def test_training_continues_from_a_file_without_overwriting_it(circles: Path, own_folders: Path):
    assert translator.main(command(circles, *TARGETS, *SMALL, "sds")) == 0
    first = own_folders / "output" / "dreamsampler_translators" / "shapes.safetensors"
    assert translator.main(command(circles, *TARGETS, *SMALL, "sds", "--start", str(first))) == 0
    assert host.TRANSLATORS.read("shapes.safetensors").about.steps == 2
    assert host.TRANSLATORS.read("shapes_2.safetensors").about.steps == 4


def error_line(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    assert translator.main(given) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_invalid_arguments_are_rejected(circles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    empty = tmp_path / "empty"
    empty.mkdir()
    sds = (*SMALL, "sds")
    assert error_line(capsys, *command(empty, *TARGETS, *sds)) == (
        f"error: {empty} contains no images: choose a folder with PNG, JPEG or WebP files."
    )
    assert error_line(capsys, *command(circles, *TARGETS, *sds, "--size", "128")) == (
        "error: 0.png is smaller than 128 pixels: lower --size, or enlarge the image."
    )
    for wrong in ("star", "=a star", "star=", "a: b=a star"):
        assert error_line(capsys, *command(circles, "--target", wrong, *sds)) == (
            f"error: --target '{wrong}' is invalid: write name=prompt, without ': ' in the name."
        )
    assert error_line(capsys, *command(circles, *TARGETS, *SMALL, "lmc")) == (
        "error: --method lmc needs the model's manifold corrective: pass its file with --corrective."
    )
    assert error_line(capsys, *command(circles, *TARGETS, *SMALL, "nonsense")).startswith(
        "error: --method cannot be 'nonsense': choose one of sds, dds, nfsd,"
    )
    assert error_line(capsys, *command(circles, *TARGETS, *SMALL, "sds", "--batch", "3")) == (
        "error: A batch of 3 cannot hold each of 2 targets equally often: choose a multiple of 2."
    )
    assert error_line(capsys, *command(circles, *TARGETS, *sds, checkpoint=tmp_path / "gone.safetensors")) == (
        f"error: checkpoint: the file {tmp_path / 'gone.safetensors'} does not exist. Check the path."
    )
    assert not Path(folder_paths.get_output_directory()).exists()


def test_guidance_distilled_model_is_rejected(reference: in_process.Reference):
    message = "This model is guidance-distilled and input 'negative' has guidance 3.5, so there is no unconditional"
    with pytest.raises(ValueError) as error:
        translator.encode_prompts(tiny(FLUX_DISTILLED), reference.clip, "a circle", ["a star"])
    assert str(error.value).startswith(message)
    prompts = translator.encode_prompts(tiny(FLUX), reference.clip, "a circle", ["a star", "a heart"])
    assert {name: len(cond) for name, ((cond, _),) in prompts.items()} == {"positive": 2, "source": 1, "negative": 1}
