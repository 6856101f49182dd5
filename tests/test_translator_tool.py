"""`python -m tools.translator`: a checkpoint, a folder of pictures and texts become a file for Apply Translator."""

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
    """Loaded once, after which the host knows the reference model's shape."""
    return in_process.load()


@pytest.fixture
def circles(tmp_path: Path) -> Path:
    """A folder of pictures, one of them oddly large, beside something that is none."""
    folder = tmp_path / "circles"
    folder.mkdir()
    for number, scene in enumerate(scenes(3)):
        picture = Image.fromarray((world.render(scene) * 255).astype("uint8"))
        picture.resize((101, 130) if number == 2 else picture.size).save(folder / f"{number}.png")
    folder.joinpath("notes.txt").write_text("circles")
    return folder


def told(folder: Path, *more: str, checkpoint: Path = CHECKPOINT) -> list[str]:
    return [str(checkpoint), str(folder), "--source", "a circle", "--name", "shapes", "--size", "96", *more]


SMALL = ["--steps", "2", "--batch", "2", "--method"]


@pytest.mark.parametrize("method", ["sds", "dds", "lmc"])
def test_makes_a_translator_that_the_node_applies(
    method: str, circles: Path, reference: in_process.Reference, capsys: pytest.CaptureFixture[str]
):
    more = ["--corrective", str(CORRECTIVE)] if method == "lmc" else []
    assert translator.main(told(circles, *TARGETS, *SMALL, method, *more)) == 0
    place = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert place == Path(folder_paths.get_output_directory(), "dreamsampler_translators", "shapes.safetensors")
    about = host.TRANSLATORS.read("shapes.safetensors").about
    assert (about.source, about.targets, about.texts) == ("a circle", ("star", "heart"), ("a star", "a heart"))
    assert (about.family, about.method, about.steps) == ("ReferenceModel", method, 2)
    with torch.inference_mode():
        latent = reference.latent(in_process.pictures(scenes(1)))
        (made,) = TranslatorApply.execute(latent, "shapes.safetensors: heart", 1.0).args
    assert made["samples"].isfinite().all() and not torch.equal(made["samples"], latent["samples"])


def test_goes_on_from_a_file_and_never_replaces_one(circles: Path, own_folders: Path):
    assert translator.main(told(circles, *TARGETS, *SMALL, "sds")) == 0
    first = own_folders / "output" / "dreamsampler_translators" / "shapes.safetensors"
    assert translator.main(told(circles, *TARGETS, *SMALL, "sds", "--start", str(first))) == 0
    assert host.TRANSLATORS.read("shapes.safetensors").about.steps == 2
    assert host.TRANSLATORS.read("shapes_2.safetensors").about.steps == 4


def refusal(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    assert translator.main(given) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_what_cannot_be_trained_is_said(circles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    empty = tmp_path / "empty"
    empty.mkdir()
    sds = (*SMALL, "sds")
    assert refusal(capsys, *told(empty, *TARGETS, *sds)) == (
        f"error: There are no pictures in {empty}: name a folder with PNG, JPEG or WebP files."
    )
    assert refusal(capsys, *told(circles, *TARGETS, *sds, "--size", "128")) == (
        "error: 0.png is smaller than 128 pixels: lower --size, or enlarge it."
    )
    for wrong in ("star", "=a star", "star=", "a: b=a star"):
        assert refusal(capsys, *told(circles, "--target", wrong, *sds)) == (
            f"error: --target '{wrong}' is not of the form name=text, without ': ' in the name."
        )
    assert refusal(capsys, *told(circles, *TARGETS, *SMALL, "lmc")) == (
        "error: --method lmc needs the model's manifold corrective: name its file with --corrective."
    )
    assert refusal(capsys, *told(circles, *TARGETS, *SMALL, "nonsense")).startswith(
        "error: There is no method 'nonsense': choose one of sds, dds, nfsd,"
    )
    assert refusal(capsys, *told(circles, *TARGETS, *SMALL, "sds", "--batch", "3")) == (
        "error: A batch of 3 cannot hold each of 2 targets equally often: choose a multiple."
    )
    assert refusal(capsys, *told(circles, *TARGETS, *sds, checkpoint=tmp_path / "gone.safetensors")) == (
        f"error: There is no file {tmp_path / 'gone.safetensors'}: name the model's checkpoint."
    )
    assert not Path(folder_paths.get_output_directory()).exists()


def test_a_model_with_guidance_distilled_into_it_is_refused_as_nodes_refuse_it(reference: in_process.Reference):
    words = "This model has guidance distilled into it (guidance 3.5 on input 'negative'), so it has no true negative"
    with pytest.raises(ValueError) as refusal:
        translator.told(tiny(FLUX_DISTILLED), reference.clip, "a circle", ["a star"])
    assert str(refusal.value).startswith(words)
    texts = translator.told(tiny(FLUX), reference.clip, "a circle", ["a star", "a heart"])
    assert {name: len(cond) for name, ((cond, _),) in texts.items()} == {"positive": 2, "source": 1, "negative": 1}
