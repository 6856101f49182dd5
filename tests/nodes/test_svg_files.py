"""Load SVG, SVG to Image and Image to SVG, compared with ComfyUI's own nodes, resvg and vtracer."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import dreamsampler
import folder_paths
import numpy as np
import pytest
import torch
import vtracer
from comfy_api.latest import io
from comfy_client import ComfyClient, ExecutionFailed, PromptRefused
from dreamsampler.nodes import host
from dreamsampler.nodes.image_to_svg import ImageToSVG
from dreamsampler.nodes.load_svg import LoadSVG
from dreamsampler.nodes.svg_inputs import drawn_if_possible
from dreamsampler.nodes.svg_to_image import SVGToImage
from dreamsampler.svg.markup.parser import parse
from PIL import Image
from support.host_oracle import progress_hook
from support.node_texts import shown_text, texts_on_nodes
from support.svg_nodes import SVG, contents, drawn, saved_by_host, value
from support.svg_oracle import DOCUMENTS, SAME, render, svg
from support.tensors import psnr
from torch import Tensor

SQUARE = svg('<rect x="25" y="25" width="50" height="50" fill="#f00"/>')
WIDE = svg('<rect width="40" height="20" fill="#00f"/>', 'viewBox="0 0 40 20"')
SOFT = svg('<circle cx="50" cy="50" r="31.3" fill="#c84" opacity=".6"/><path d="M0 0L90 40L20 95z" fill="#0a7"/>')


TRACING: dict[str, Any] = {
    "mode": "colour",
    "shapes": "spline",
    "stacking": "stacked",
    "filter_speckle": 4,
    "color_precision": 6,
    "layer_difference": 16,
    "corner_threshold": 60,
    "length_threshold": 4.0,
    "splice_threshold": 45,
    "path_precision": 2,
}


@torch.inference_mode()
def traced(image: Tensor, **settings: Any) -> list[str]:
    """The SVG files from Image to SVG."""
    return [file.decode() for file in contents(ImageToSVG.execute(image, **{**TRACING, **settings}))]


def flat(width: int = 80, height: int = 60) -> Tensor:
    """An image (1, height, width, 3) of three flat colors, with edges that do not align with pixels."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image = torch.tensor((1.0, 0.9, 0.6)).repeat(height, width, 1)
    image[(x - 30).square() + (y - 28).square() < 20**2] = torch.tensor((0.1, 0.3, 0.8))
    image[(x > 45) & (y > 35) & (x - y < 28)] = torch.tensor((0.7, 0.1, 0.2))
    return image[None]


# Load SVG


@pytest.fixture
def inputs(tmp_path: Path) -> Iterator[Path]:
    """ComfyUI's input folder, with an SVG file outside of it in the parent folder."""
    before = folder_paths.get_input_directory()
    folder = tmp_path / "input"
    folder.mkdir()
    (tmp_path / "outside.svg").write_text(SQUARE)
    folder_paths.set_input_directory(str(folder))
    yield folder
    folder_paths.set_input_directory(before)


LATIN = '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n<svg viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg">\
<metadata>{"prompt": "café"}</metadata><path d="M0 0h9v9z"/></svg>'.encode("latin-1")


def test_loads_the_file_unchanged(inputs: Path):
    (inputs / "latin.svg").write_bytes(LATIN)
    output = LoadSVG.execute("latin.svg")
    assert contents(output) == [LATIN]
    assert isinstance(output.args[0], SVG)
    assert shown_text(output) == "9 x 9, 1 shape."


def test_output_uses_the_socket_class_of_newer_comfyui(inputs: Path, monkeypatch: pytest.MonkeyPatch):
    class Newer(SVG):
        """Since ComfyUI 0.8.0, io.SVG.Type is ComfyUI's own class."""

    monkeypatch.setattr(io.SVG, "Type", Newer)
    (inputs / "a.svg").write_text(SQUARE)
    assert type(LoadSVG.execute("a.svg").args[0]) is Newer


def test_the_hosts_node_saves_what_was_loaded(inputs: Path):
    (inputs / "a.svg").write_text(SOFT)
    assert saved_by_host(LoadSVG.execute("a.svg").args[0]) == [SOFT.encode()]


def test_lists_svg_files_in_the_input_folder(inputs: Path):
    for name in ("b.svg", "A.SVG", "image.png", "svg", "c.svg.txt"):
        (inputs / name).write_text(SQUARE)
    (inputs / "folder.svg").mkdir()
    found = LoadSVG.INPUT_TYPES()
    assert isinstance(found, dict)
    options, details = found["required"]["file"]
    assert (details["options"] if options == "COMBO" else options) == ["A.SVG", "b.svg"]
    assert details["image_upload"] is True
    folder_paths.set_input_directory(str(inputs / "missing"))
    assert host.input_svg_names() == []


@pytest.mark.parametrize("name", ["a.svg", "a.svg [input]", "in/deep.svg", "in/../a.svg", "in/UPPER.SVG"])
def test_names_in_the_input_folder_are_accepted(inputs: Path, name: str):
    (inputs / "in").mkdir()
    for file in ("a.svg", "in/deep.svg", "in/UPPER.SVG"):
        (inputs / file).write_text(SQUARE)
    assert LoadSVG.validate_inputs(name) is True
    assert contents(LoadSVG.execute(name)) == [SQUARE.encode()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside.svg", "is not in ComfyUI's input folder: put the file there"),
        ("in/../../outside.svg", "is not in ComfyUI's input folder"),
        ("{folder}/outside.svg", "is not in ComfyUI's input folder"),
        ("../input-other/a.svg", "is not in ComfyUI's input folder"),
        ("../outside.svg [output]", "is not in ComfyUI's output folder"),
        ("input/../../outside.svg [temp]", "is not in ComfyUI's temp folder"),
        ("none.svg [output]", "output folder has no file 'none.svg [output]': run the node again that writes it, or"),
        ("none.svg", "ComfyUI's input folder has no file 'none.svg': upload it, or choose another."),
        ("Drawings.svg", "has no file 'Drawings.svg': upload it, or choose another. Did you mean 'drawing.svg'?"),
        ("folder.svg", "has no file 'folder.svg'"),
        ("a\0.svg", "has no file"),
        ("image.png", "'image.png' is not an .svg file: choose one, or load an image with Load Image"),
        ("", "is not an .svg file"),
    ],
)
def test_other_names_are_rejected_before_reading(inputs: Path, name: str, words: str):
    other = inputs.parent / "input-other"
    for folder in (other, inputs / "folder.svg", inputs / "in"):
        folder.mkdir()
    for file in (other / "a.svg", inputs / "image.png", inputs / "drawing.svg"):
        file.write_text(SQUARE)
    name = name.format(folder=inputs.parent)
    before = folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    folder_paths.set_output_directory(str(inputs.parent))
    folder_paths.set_temp_directory(str(inputs.parent))
    try:
        message = LoadSVG.validate_inputs(name)
        assert isinstance(message, str) and words in message and message.endswith((".", "?"))
        for method in (LoadSVG.fingerprint_inputs, LoadSVG.execute):
            with pytest.raises(ValueError) as refusal:
                method(name)
            assert str(refusal.value) == message
    finally:
        folder_paths.set_output_directory(before[0])
        folder_paths.set_temp_directory(before[1])


@pytest.mark.parametrize("folder", ["output", "temp"])
def test_loads_what_was_saved(inputs: Path, folder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder_paths, f"{folder}_directory", str(inputs.parent / "svg"))
    (inputs.parent / "svg" / "in").mkdir(parents=True)
    (inputs.parent / "svg" / "in" / "a.svg").write_text(WIDE)
    name = f"in/a.svg [{folder}]"
    assert LoadSVG.validate_inputs(name) is True
    assert contents(LoadSVG.execute(name)) == [WIDE.encode()]


@pytest.mark.parametrize("name", [5, [], {}])
def test_what_is_no_name_is_refused(inputs: Path, name: Any):
    for found in (LoadSVG.validate_inputs(name), str(pytest.raises(ValueError, LoadSVG.execute, name).value)):
        assert found == f"Input 'file' is {name!r}, which is not the name of a file: connect or enter a name."
    missing: Any = None
    with pytest.raises(ValueError, match="Input 'file' is None, which"):
        LoadSVG.execute(missing)


def test_a_linked_name_is_loaded_and_read_again_when_a_file_changes(client: ComfyClient):
    def loaded(content: str) -> list[float]:
        client.upload("linked.svg", content.encode())
        prompt = {
            "name": {"class_type": "PrimitiveString", "inputs": {"value": "linked.svg"}},
            "load": {"class_type": "DSLoadSVG", "inputs": {"file": ["name", 0]}},
            "image": {
                "class_type": "DSSVGToImage",
                "inputs": {"svg": ["load", 0], "width": 8, "height": 0, "background": "white"},
            },
            "save": {"class_type": "SaveImage", "inputs": {"images": ["image", 0], "filename_prefix": "linked"}},
        }
        (saved,) = client.run(prompt).files(node_id="save")
        return np.asarray(Image.open(BytesIO(client.fetch(saved))).convert("RGB"))[4, 4].tolist()

    first = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path fill="#f00" d="M0 0h1v1h-1z"/></svg>'
    assert loaded(first) == [255, 0, 0]
    assert loaded(first.replace("#f00", "#00ff00")) == [0, 255, 0]


def test_fingerprint_changes_only_with_the_content(inputs: Path):
    file = inputs / "a.svg"
    file.write_text(SQUARE)
    first = LoadSVG.fingerprint_inputs("a.svg")
    file.touch()
    assert LoadSVG.fingerprint_inputs("a.svg") == first
    file.write_text(WIDE)
    assert LoadSVG.fingerprint_inputs("a.svg") != first


def test_unsupported_features_are_listed_on_the_node(inputs: Path, caplog: pytest.LogCaptureFixture):
    (inputs / "a.svg").write_text(svg('<text>a</text><g filter="url(#f)"><path d="M0 0h9v9z"/><path d="M0 0h9z"/></g>'))
    output = LoadSVG.execute("a.svg")
    assert shown_text(output).split("\n\n") == [
        "100 x 100, 2 shapes.",
        "<text> is not drawn: <text> on line 1. Convert text to paths.",
        "The property filter is ignored: <g> on line 1. Expand the effect to plain paths in an SVG editor.",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "Load SVG: a.svg: <text> is not drawn: <text> on line 1. Convert text to paths.",
        "Load SVG: a.svg: The property filter is ignored: <g> on line 1. Expand the effect to plain paths in an SVG "
        "editor.",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not well-formed XML"),
        ("<svg", "not well-formed XML"),
        ("<html/>", "root element is <html>, not <svg>"),
        ("\x89PNG", "not well-formed XML"),
        ('<svg viewBox="0 0 9 9"/>', "contains nothing that can be drawn"),
        ('<svg viewBox="0 0 0 9"><path d="M0 0h9v9z"/></svg>', "Give <svg> a viewBox with sides from"),
        ('<svg width="0" height="9"><path d="M0 0h9v9z"/></svg>', "Set it above 0"),
    ],
)
def test_invalid_file_raises_an_error_that_names_it(inputs: Path, content: str, words: str):
    (inputs / "bad.svg").write_text(content)
    with pytest.raises(ValueError, match=words) as refusal:
        LoadSVG.execute("bad.svg")
    message = str(refusal.value)
    assert message.startswith("The file 'bad.svg' cannot be used. The ") and message.endswith(".")


# SVG to Image

FEW = ("radial gradients", "translucent groups", "skewed dashes", "even-odd", "round dots")


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize(("background", "gray"), [("white", 1.0), ("black", 0.0)])
def test_rendering_on_a_background_matches_resvg(name: str, background: str, gray: float):
    image, mask = drawn(DOCUMENTS[name], width=128, background=background)
    theirs = render(DOCUMENTS[name], 128)
    expected = theirs[..., :3] + gray * (1 - theirs[..., 3:])
    assert image.shape == (1, 128, 128, 3) and mask.shape == (1, 128, 128)
    assert image.dtype == mask.dtype == torch.float32
    assert np.abs(image[0].numpy() - expected).mean() < 2 * SAME
    assert np.abs(mask[0].numpy() - (1 - theirs[..., 3])).mean() < 2 * SAME


@pytest.mark.parametrize("name", FEW)
def test_transparent_rendering_matches_load_image(name: str, inputs: Path):
    pixels = render(DOCUMENTS[name], 128)
    alpha = pixels[..., 3:]
    straight = np.divide(pixels[..., :3], alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 0)
    rgba = np.concatenate([straight, alpha], axis=-1)
    Image.fromarray((rgba * 255).round().astype(np.uint8)).save(inputs / "resvg.png")
    expected, expected_mask = import_module("nodes").LoadImage().load_image("resvg.png")

    image, mask = drawn(DOCUMENTS[name], width=128, background="transparent")
    assert (mask - expected_mask).abs().mean() < 2 * SAME
    seen = expected_mask < 0.75  # at low alpha, 8 bits store the color imprecisely
    assert (image - expected)[seen].abs().mean() < 2 * SAME


def test_transparent_edges_keep_the_full_color():
    image, mask = drawn(svg('<circle cx="50" cy="50" r="33.3" fill="#f80"/>'), background="transparent")
    edge = (mask > 0.01) & (mask < 0.99)
    assert edge.sum() > 50
    torch.testing.assert_close(image[mask < 1], torch.tensor((1, 136 / 255, 0)).expand_as(image[mask < 1]))
    assert not image[mask == 1].any()


def test_backgrounds_are_consistent_with_transparent():
    straight, mask = drawn(SOFT, background="transparent")
    alpha = 1 - mask[..., None]
    for background, gray in (("white", 1.0), ("black", 0.0)):
        image, same = drawn(SOFT, background=background)
        assert torch.equal(mask, same)
        torch.testing.assert_close(image, straight * alpha + gray * (1 - alpha), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("file", "width", "height", "size"),
    [
        (SQUARE, 64, 0, (64, 64)),
        (WIDE, 64, 0, (64, 32)),
        (WIDE, 0, 64, (128, 64)),
        (WIDE, 33, 0, (33, 16)),
        (WIDE, 64, 64, (64, 64)),
        (WIDE, 7, 50, (7, 50)),
        (DOCUMENTS["other proportions"], 64, 0, (64, 64)),
        (DOCUMENTS["no viewBox"], 64, 0, (64, 32)),
        (svg('<rect width="9" height="9"/>', 'viewBox="0 0 40 20" width="100%" height="100%"'), 64, 0, (64, 32)),
        (svg('<rect width="9" height="9"/>', 'viewBox="0 0 40 20" width="300"'), 64, 0, (64, 32)),
        (svg('<rect width="9" height="9"/>', 'viewBox="0 0 9 9" width="1in" height="72pt"'), 64, 0, (64, 64)),
        (svg('<rect width="9" height="9"/>', 'viewBox="0 0 4000 1"'), 64, 0, (64, 1)),
    ],
)
def test_image_size(file: str, width: int, height: int, size: tuple[int, int]):
    image, mask = drawn(file, width=width, height=height)
    assert (image.shape[2], image.shape[1]) == size
    assert mask.shape == image.shape[:3]


def test_other_aspect_ratio_is_fitted_and_centered():
    image, mask = drawn(WIDE, width=64, height=64, background="black")
    covered = torch.zeros(64, 64)
    covered[16:48] = 1
    torch.testing.assert_close(1 - mask[0], covered)
    torch.testing.assert_close(image[0, ..., 2], covered)


def test_huge_sizes_keep_the_aspect_ratio():
    huge = svg('<rect width="1" height="1"/>', 'viewBox="0 0 1 1" width="1e308" height="1e308"')
    assert drawn(huge, width=16)[0].shape == (1, 16, 16, 3)


def test_batch_has_the_size_of_its_first_svg():
    image, mask = drawn(SQUARE, WIDE, SOFT)
    assert image.shape == (3, 64, 64, 3)
    for n, file in enumerate((SQUARE, WIDE, SOFT)):
        alone, alone_mask = drawn(file, height=64)
        assert torch.equal(image[n], alone[0]) and torch.equal(mask[n], alone_mask[0])
    assert drawn(WIDE, SQUARE)[0].shape == (2, 32, 64, 3)


def test_images_and_masks_stay_in_range():
    shapes = "".join(f'<circle cx="{n}" cy="50" r="{n / 3}" fill="#fff" opacity=".9"/>' for n in range(100))
    for background in ("white", "black", "transparent"):
        for tensor in drawn(svg(shapes), background=background):
            assert tensor.min() >= 0 and tensor.max() <= 1


def test_shapes_outside_the_canvas_are_not_drawn():
    image, mask = drawn(svg('<rect x="200" y="200" width="9" height="9"/>'))
    assert (image == 1).all() and (mask == 1).all()


def test_input_svg_is_unchanged():
    given = value(SQUARE)
    given.data[0].seek(5)
    for _ in range(2):
        SVGToImage.execute(given, 16, 0, "white")
    assert given.data[0].tell() == 5 and given.data[0].getvalue() == SQUARE.encode()


def test_svg_values_of_other_classes_are_accepted():
    other = SimpleNamespace(data=[BytesIO(SQUARE.encode())])  # like other packs' own SVG classes
    image, _ = SVGToImage.execute(other, 64, 0, "white").args
    assert torch.equal(image, drawn(SQUARE)[0])


def test_batches_show_progress_and_can_be_canceled():
    seen = []

    def listen(value: int, total: int, *_: Any, **__: Any) -> None:
        seen.append((value, total))
        comfy.model_management.throw_exception_if_processing_interrupted()

    with progress_hook(listen):
        drawn(SQUARE, WIDE, SOFT)
        traced(torch.cat([noise(0), noise(1)]))
        assert seen == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]
        comfy.model_management.interrupt_current_processing(True)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            drawn(SQUARE, WIDE, SOFT)
    assert seen[5:] == [(1, 3)]


def test_batches_can_be_canceled_between_updates():
    """Newer hosts skip updates that come too fast, which are then no chance to cancel."""
    done = 0
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        for _ in host.with_progress(range(5)):
            done += 1
            comfy.model_management.interrupt_current_processing(done == 2)
    assert done == 2


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing": (None, {}, "Input 'svg' is not a valid SVG, its type is NoneType: connect Load SVG or another node"),
    "text": (SQUARE, {}, "Input 'svg' is not a valid SVG, its type is str: connect Load SVG"),
    "image": (torch.zeros(1, 8, 8, 3), {}, "Input 'svg' is not a valid SVG, its type is Tensor: connect Load SVG"),
    "number": (SimpleNamespace(data=5), {}, "Input 'svg' is not a valid SVG, its type is SimpleNamespace: connect"),
    "strings": (SVG([SQUARE]), {}, "Input 'svg' is not a valid SVG, its type is SVG: connect Load SVG"),
    "no files": (SVG([]), {}, "Input 'svg' has no SVGs: check the node connected to it"),
    "empty": (value(SQUARE, ""), {}, "Drawing 2 on input 'svg' cannot be used. The document is not well-formed XML"),
    "no shapes": (value(svg("")), {}, "Drawing 1 on input 'svg' cannot be used. The document contains nothing"),
    "no canvas": (value("<svg><path d='M0 0h9v9z'/></svg>"), {}, "Drawing 1 .* does not define its size. Give <svg>"),
    "no size": (value(SQUARE), {"width": 0}, "width and height are both 0: set at least one of them"),
    "infinite width": (
        value(svg('<rect width="1" height="1"/>', 'viewBox="0 0 1 1" width="1e308" height="1e-308"')),
        {"width": 0, "height": 512},
        "aspect ratio of the drawing, 1e.308 to 1e-308, the image would be infx512 pixels, more than 16384.*: set both",
    ),
    "too many pixels": (
        value(svg('<rect width="1" height="1"/>' * 6100, 'viewBox="0 0 1 1"')),
        {"width": 4096},
        "cover 10.,.* pixels on a canvas of 4096x4096, all layers added up; .* smaller canvas. Set width and height",
    ),
    "too many edges": (
        value(svg('<path d="M0 0C9 9 0 9 9 0z"/>' * 9000, 'viewBox="0 0 9 9"')),
        {"width": 4096},
        "The curves of the drawing need .* edges on this canvas; .* smaller canvas. Set width and height lower",
    ),
    "too many images": (
        value(*(SQUARE,) * 4000),
        {"width": 16384},
        "4000 images of 16384x16384 pixels need 34.* GB of memory, and .* GB are free. Set width and height lower",
    ),
    "too wide": (
        value(svg('<rect width="1" height="1"/>', 'viewBox="0 0 100 1"')),
        {"width": 0, "height": 512},
        "aspect ratio of the drawing, 100 to 1, the image would be 51200x512 pixels, more than 16384.*: set both",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_svg_to_image_rejects_invalid_input_with_a_full_sentence(case: str):
    given, sizes, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as refusal:
        SVGToImage.execute(given, **{"width": 64, "height": 0, "background": "white", **sizes})
    assert str(refusal.value).endswith(".")


def test_running_out_of_memory_is_a_full_sentence():
    with pytest.raises(ValueError, match="not enough memory to draw. Set paths lower.") as refusal:
        with drawn_if_possible("Set paths lower."):
            torch.empty(2**55)
    assert isinstance(refusal.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="size"), drawn_if_possible(""):
        torch.zeros(2).add_(torch.zeros(3))


# Image to SVG


@pytest.mark.parametrize("stacking", ["stacked", "cutout"])
@pytest.mark.parametrize("shapes", ["spline", "polygon", "pixel"])
def test_traced_svg_looks_like_the_image(shapes: str, stacking: str):
    (text,) = traced(flat(), shapes=shapes, stacking=stacking)
    parsed = parse(text)
    assert not parsed.warnings
    assert tuple(parsed.document.view_box) == (0, 0, 80, 60)
    assert len(list(parsed.document.shapes())) == 3
    image, _ = drawn(text, width=80)
    assert psnr(image, flat()) > (30 if shapes == "pixel" else 20)


@pytest.mark.parametrize("shapes", ["spline", "polygon", "pixel"])
def test_black_and_white_traces_dark_areas(shapes: str):
    (text,) = traced(flat(), mode="black and white", shapes=shapes)
    assert not parse(text).warnings
    _, mask = drawn(text, width=80)
    luma = (flat() * torch.tensor([0.299, 0.587, 0.114])).sum(-1)
    assert luma.min() < 0.3 and luma.max() > 0.85
    assert ((mask > 0.5) == (luma > 0.5)).float().mean() > 0.98


def test_black_and_white_uses_brightness():
    red, blue = torch.tensor((0.9, 0.0, 0.0)), torch.tensor((0.4, 0.8, 1.0))
    image = torch.where(torch.arange(40)[None, None, :, None] < 20, red, blue).repeat(1, 40, 1, 1)
    (text,) = traced(image, mode="black and white", shapes="pixel")
    _, mask = drawn(text, width=40)
    assert not mask[..., :20].any() and mask[..., 20:].all()


def noise(seed: int = 0) -> Tensor:
    rough = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, (48, 64), mode="bicubic").clamp(0, 1).movedim(1, -1)


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "polygon": {"mode": "polygon"},
    "pixel": {"mode": "none"},
    "cutout": {"hierarchical": "cutout"},
    "filter_speckle": {"filter_speckle": 0},
    "color_precision": {"color_precision": 3},
    "layer_difference": {"layer_difference": 60},
    "corner_threshold": {"corner_threshold": 150},
    "length_threshold": {"length_threshold": 9.5},
    "splice_threshold": {"splice_threshold": 120},
    "path_precision": {"path_precision": 0},
}


def theirs(image: Tensor, **settings: Any) -> str:
    """The image traced by vtracer itself."""
    # vtracer's command line has this default; its Python function writes all decimals.
    chosen: dict[str, Any] = {"path_precision": 2, **settings}
    _, height, width, _ = image.shape
    pixels = [(*pixel, 255) for pixel in (image[0].reshape(-1, 3) * 255).round().int().tolist()]
    return vtracer.convert_pixels_to_svg(pixels, (width, height), **chosen)


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_match_vtracer(case: str):
    settings, image = SETTINGS[case], noise()
    ours = {name: setting for name, setting in settings.items() if name in TRACING and name != "mode"}
    if "mode" in settings:
        ours["shapes"] = case
    if "hierarchical" in settings:
        ours["stacking"] = case
    expected = theirs(image, **settings)
    assert traced(image, **ours) == [expected]
    if settings:
        assert expected != theirs(image), "the setting makes no difference here"


def test_defaults_and_ranges_match_vtracer():
    widgets = [given for given in ImageToSVG.GET_SCHEMA().inputs if isinstance(given, io.WidgetInput)]
    defaults = {given.id: given.default for given in widgets}
    assert defaults == TRACING
    assert traced(noise(), **defaults) == [theirs(noise())]
    numbers = [given for given in widgets if isinstance(given, io.Int.Input | io.Float.Input)]
    ranges = {given.id: (given.min, given.max) for given in numbers}
    assert ranges == {
        "filter_speckle": (0, 16),
        "color_precision": (1, 8),
        "layer_difference": (0, 255),
        "corner_threshold": (0, 180),
        "length_threshold": (3.5, 10.0),
        "splice_threshold": (0, 180),
        "path_precision": (0, 8),
    }


def test_each_image_becomes_an_svg():
    image = torch.cat([noise(0), noise(1), noise(2)])
    assert traced(image) == [traced(noise(seed))[0] for seed in range(3)]
    files = ImageToSVG.execute(image, **TRACING).args[0]
    assert isinstance(files, SVG)
    assert SVGToImage.execute(files, 64, 0, "white").args[0].shape == image.shape


def test_transparent_areas_stay_empty():
    image = torch.cat([flat(), torch.zeros(1, 60, 80, 1)], dim=-1)
    image[:, 10:50, 20:60, 3] = 1
    (text,) = traced(image, shapes="pixel")
    _, mask = drawn(text, width=80)
    assert torch.equal(1 - mask, image[..., 3])
    (text,) = traced(image, shapes="pixel", mode="black and white")
    _, mask = drawn(text, width=80)
    assert mask[image[..., 3] == 0].all() and not mask.all()


def test_gray_images_are_traced():
    gray = flat()[..., :1]
    assert traced(gray) == traced(gray.expand(-1, -1, -1, 3))


def test_input_image_is_unchanged():
    image = flat()
    traced(image)
    assert torch.equal(image, flat())


UNTRACED: dict[str, tuple[Tensor, dict[str, Any], str]] = {
    "no images": (torch.zeros(0, 8, 8, 3), {}, r"Input 'image' is empty \(0 images of 8x8 pixels\): connect"),
    "no pixels": (torch.zeros(1, 0, 8, 3), {}, r"Input 'image' is empty \(1 images of 8x0 pixels\): connect an image"),
    "NaN": (flat() * float("nan"), {}, "Input 'image' contains NaN or infinite values"),
    "NaN alpha": (
        torch.full((1, 8, 8, 4), float("nan")),
        {},
        "Input 'image' contains NaN or infinite values: check the node",
    ),
    "infinite": (flat() / 0, {}, "Input 'image' contains NaN or infinite values"),
    "blank": (
        torch.cat([flat(), torch.ones_like(flat())]),
        {"mode": "black and white"},
        "Tracing image 2 found no shapes: lower filter_speckle, or set mode to colour",
    ),
}


@pytest.mark.parametrize("case", UNTRACED)
def test_image_to_svg_rejects_invalid_input_with_a_full_sentence(case: str):
    image, settings, words = UNTRACED[case]
    with pytest.raises(ValueError, match=words) as refusal:
        traced(image, **settings)
    assert str(refusal.value).endswith(".")


MISSING = pytest.mark.parametrize(
    "installed", [None, SimpleNamespace(Config=object)], ids=["not installed", "version 1"]
)


@MISSING
def test_without_vtracer_images_are_traced_by_regions(installed: Any, monkeypatch: pytest.MonkeyPatch):
    (by_vtracer,) = traced(flat())
    monkeypatch.setitem(sys.modules, "vtracer", installed)
    output = ImageToSVG.execute(flat(), **TRACING)
    (text,) = (file.decode() for file in contents(output))
    assert text.count("<path") == 3
    assert psnr(drawn(text, width=80)[0], flat()) > psnr(drawn(by_vtracer, width=80)[0], flat()) > 20
    assert isinstance(output.ui, dict)
    (note,) = output.ui["text"]
    assert note.startswith("Traced without the package vtracer") and note.endswith("run 'pip install \"vtracer<1\"'.")


@MISSING
def test_outlines_that_need_vtracer_say_how_to_install_it(installed: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vtracer", installed)
    with pytest.raises(RuntimeError, match=r"require the package vtracer: set shapes to spline, or run 'pip install"):
        traced(flat(), shapes="pixel")


def test_small_images_keep_their_size_and_outlines_without_vtracer(monkeypatch: pytest.MonkeyPatch):
    """Found in pixels of its own size, the disc is at 23.2 dB at 8 times the size, not 26.7."""
    monkeypatch.setitem(sys.modules, "vtracer", None)
    disc = '<svg viewBox="0 0 24 24"><circle cx="11.7" cy="12.4" r="7.3"/></svg>'
    (text,) = traced(drawn(disc, width=24)[0])
    assert re.search(r'viewBox="0 0 24 24"', text)
    assert psnr(drawn(text, width=192)[0], drawn(disc, width=192)[0]) > 25.5


def test_settings_act_without_vtracer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vtracer", None)
    image = flat()
    image[:, 4:9, 50:55] = 0.0  # 25 pixels
    image[:, 4:12, 60:72] = torch.tensor((1.0, 0.9, 0.75))  # differs by 38 of 255 in one channel
    count = {
        name: traced(image, **settings)[0].count("<path")
        for name, settings in {
            "all": {},
            "no specks": {"filter_speckle": 6},
            "rough": {"layer_difference": 64},
        }.items()
    }
    assert count == {"all": 5, "no specks": 4, "rough": 4}
    lowest = [re.sub(r"(<path[^>]*>).*</svg>", r"\1</svg>", traced(flat(), stacking=how)[0], flags=re.DOTALL)
              for how in ("stacked", "cutout")]  # fmt: skip
    assert [drawn(text, width=80)[1][0, 28, 30].item() for text in lowest] == [0, 1]  # MASK: 1 is empty


def test_black_and_white_without_vtracer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vtracer", None)
    (text,) = traced(flat(), mode="black and white")
    image, mask = drawn(text, width=80)
    dark = flat().mean(-1) < 0.5
    assert ((mask < 0.5) == dark).float().mean() > 0.99
    assert set(re.findall('fill="(.*?)"', text)) == {"#000000"}
    with pytest.raises(ValueError, match="found no shapes"):
        traced(torch.ones_like(flat()), mode="black and white")


# The nodes


@pytest.mark.parametrize(
    ("node", "node_id", "name"),
    [
        (LoadSVG, "DSLoadSVG", "Load SVG"),
        (SVGToImage, "DSSVGToImage", "SVG to Image"),
        (ImageToSVG, "DSImageToSVG", "Image to SVG"),
    ],
)
def test_node_schema(node: Any, node_id: str, name: str):
    extension = asyncio.run(dreamsampler.comfy_entrypoint())
    assert node in asyncio.run(extension.get_node_list())
    schema = node.GET_SCHEMA()
    assert (schema.node_id, schema.display_name) == (node_id, name)


def prompt(file: str) -> dict[str, Any]:
    """A prompt that loads, renders and traces an SVG, and saves it as an image and as an SVG."""
    return {
        "load": {"class_type": "DSLoadSVG", "inputs": {"file": file}},
        "draw": {
            "class_type": "DSSVGToImage",
            "inputs": {"svg": ["load", 0], "width": 96, "height": 0, "background": "white"},
        },
        "trace": {"class_type": "DSImageToSVG", "inputs": {"image": ["draw", 0], **TRACING}},
        "image": {"class_type": "SaveImage", "inputs": {"images": ["draw", 0], "filename_prefix": "drawn"}},
        "drawing": {"class_type": "SaveSVGNode", "inputs": {"svg": ["trace", 0], "filename_prefix": "traced"}},
    }


def test_server_lists_unsupported_features_on_the_node(client: ComfyClient, tmp_path: Path):
    (tmp_path / "text.svg").write_text(svg('<text>a</text><path d="M0 0h9v9z"/>'))
    texts = asyncio.run(texts_on_nodes(client, prompt(client.upload_image(tmp_path / "text.svg"))))
    assert texts == {"load": "100 x 100, 1 shape.\n\n<text> is not drawn: <text> on line 1. Convert text to paths."}


def test_server_loads_renders_traces_and_saves_an_svg(client: ComfyClient, tmp_path: Path):
    (tmp_path / "soft.svg").write_text(SOFT)
    (tmp_path / "bad.svg").write_text("<svg/>")
    uploaded = client.upload_image(tmp_path / "soft.svg")
    result = client.run(prompt(uploaded))
    assert result.outputs["load"]["text"] == ["100 x 100, 2 shapes."]

    (image,) = result.files(node_id="image")
    pixels = np.asarray(Image.open(BytesIO(client.fetch(image))).convert("RGB")) / 255
    expected, _ = drawn(SOFT, width=96)
    assert np.abs(pixels - expected[0].numpy()).max() <= 1.01 / 255

    (drawing,) = result.files(node_id="drawing")
    parsed = parse(client.fetch(drawing))
    assert not parsed.warnings and tuple(parsed.document.view_box) == (0, 0, 96, 96)

    with pytest.raises(PromptRefused, match="ComfyUI's input folder has no file 'other.svg'"):
        client.run(prompt("other.svg"))
    with pytest.raises(ExecutionFailed, match="'bad.svg' cannot be used. The document does not define its size"):
        client.run(prompt(client.upload_image(tmp_path / "bad.svg")))
