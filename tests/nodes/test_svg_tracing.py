"""SVG Optimizer: tracing by regions, and choosing what changes in a drawing."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from support.svg_nodes import drawn, value, vectorize
from torch import Tensor

DISC = """<svg viewBox="0 0 64 64">
  <path fill="#fff" d="M0 0H64V64H0Z"/><circle cx="34" cy="30" r="20.5" fill="#c33"/>
  <path id="bar" fill="#36c" d="M8 44H56V56H8Z"/>
</svg>"""


def disc() -> Tensor:
    return drawn(DISC)[0]


def test_trace_makes_few_opaque_shapes():
    result = vectorize(None, steps=0, image=disc(), fit_places="trace", fit_steps=30, canvas_size=64)
    (shapes,) = result.shapes
    assert [shape.fill.opacity for shape in shapes if shape.fill] == [1.0, 1.0, 1.0]
    assert (result.image - disc()).square().mean() < 1e-4


@pytest.mark.parametrize("places, psnr", [("trace", 42), ("component-wise", 15)])
def test_a_small_image_becomes_a_drawing_with_sharp_edges(places: str, psnr: float):
    """Fitted to the enlarged image, whose edges are soft, it is at 32.7 and 13.5 dB."""
    sharp = drawn(DISC, width=256)[0]
    small = torch.nn.functional.interpolate(sharp.movedim(-1, 1), (64, 64), mode="area").movedim(1, -1)
    traced = vectorize(None, steps=0, image=small, fit_places=places, paths=16, fit_steps=50, canvas_size=256)
    assert -10 * (traced.image - sharp).square().mean().log10() > psnr


def test_trace_is_refined_by_a_prompt():
    inputs = {"image": disc(), "fit_places": "trace", "fit_steps": 5, "canvas_size": 64}
    start, end = (vectorize(**inputs, steps=steps) for steps in (0, 3))
    assert len(start.shapes[0]) == len(end.shapes[0])
    assert [shape.fill.opacity for shape in end.shapes[0] if shape.fill] == [1.0, 1.0, 1.0]
    assert start.texts != end.texts


def test_transparent_images_are_traced_without_a_canvas():
    mask = (disc()[..., :1] < 0.9).float()
    logo = torch.cat([disc() * mask, mask], -1)  # black where transparent
    result = vectorize(None, steps=0, image=logo, fit_places="trace", fit_steps=5, canvas_size=64)
    assert (result.image - disc()).square().mean() < 1e-3
    assert len(result.shapes[0]) == 2


@pytest.mark.parametrize("style", ART_STYLES)
def test_every_style_is_traced_at_once(style: str):
    inputs = {"paths": 100, "fit_places": "trace", "fit_steps": 5, "canvas_size": 64}
    result = vectorize(None, image=disc(), steps=0, style=style, **inputs)
    parts = [part for shape in result.shapes[0] for part in (shape.fill, shape.stroke) if part]
    assert 0 < len(parts) <= 100
    assert all(part.opacity == 1 for part in parts)
    if style != "sketch":
        assert (result.image - disc()).abs().mean() < 0.1  # squares of pixel art are 6 pixels large
    assert "text" not in result.page_data


def test_black_lines_stay_where_they_are_traced():
    lines = {"image": disc(), "steps": 0, "style": "sketch", "fit_places": "trace", "canvas_size": 64}
    assert vectorize(None, **lines, fit_steps=30).texts == vectorize(None, **lines, fit_steps=1).texts


def test_styles_that_cannot_be_traced_start_elsewhere_and_say_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ART_STYLES, "sketch", dataclasses.replace(ART_STYLES["sketch"], traced=None))
    lines = {"image": disc(), "steps": 0, "style": "sketch", "fit_steps": 3, "canvas_size": 64}
    result = vectorize(None, **lines, fit_places="trace")
    assert result.texts == vectorize(None, **lines, fit_places="component-wise").texts
    assert result.page_data["text"] == [
        "The style 'sketch' is made of black lines, which cannot be traced at once: they start as with fit_places "
        "component-wise."
    ]


@pytest.mark.parametrize(
    "inputs, moved, recolored",
    [
        ({"move": "colors"}, {0: False, 1: False, 2: False}, {0: True, 1: True, 2: True}),
        ({"move": "shapes"}, {1: True, 2: True}, {0: False, 1: False, 2: False}),
        ({"selected": "bar"}, {0: False, 1: False, 2: True}, {0: False, 1: False, 2: True}),
    ],
)
def test_only_what_may_move_changes(inputs: dict[str, Any], moved: dict[int, bool], recolored: dict[int, bool]):
    before = list(parse(write(parse(DISC).document)).document.shapes())
    (after,) = vectorize(svg=value(DISC), steps=4, learning_rate=5.0, canvas_size=64, **inputs).shapes
    for number, changed in moved.items():
        assert (after[number].contours != before[number].contours) is changed
    for number, changed in recolored.items():
        assert (after[number].fill != before[number].fill) is changed


def test_only_shapes_in_the_mask_change():
    mask = torch.zeros(1, 32, 32)
    mask[:, 22:28, 4:28] = 1
    before = list(parse(write(parse(DISC).document)).document.shapes())
    (after,) = vectorize(svg=value(DISC), steps=4, learning_rate=5.0, canvas_size=64, mask=mask).shapes
    assert [shape == old for shape, old in zip(after, before, strict=True)] == [True, True, False]


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"svg": value(DISC), "selected": "bars"}, "no part named 'bars'. Its names are: 'bar'"),
        ({"svg": value(DISC), "mask": torch.zeros(1, 8, 8)}, "No shape of the drawing lies in the selected area"),
        ({"move": "colors"}, "Input 'move' chooses what may change in a drawing, but none is connected to 'svg'"),
        ({"mask": torch.zeros(1, 8, 8)}, "disconnect the mask"),
    ],
)
def test_a_choice_of_nothing_is_refused(inputs: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        vectorize(steps=2, canvas_size=64, **inputs)


@pytest.mark.parametrize("inputs", [{"fit_places": "trace"}, {"fit_places": "component-wise"}, {"image": None}])
def test_new_drawings_have_the_size_of_the_canvas(inputs: dict[str, Any]):
    """Random views come from a larger canvas, which the file does not show."""
    result = vectorize(**{"image": disc(), "steps": 2, **inputs})
    (document,) = result.documents
    assert (document.width, document.height, document.view_box) == ("64", "64", (0, 0, 64, 64))
    assert torch.allclose(drawn(result.texts[0])[0], result.image, atol=0.02)


def test_clean_up_makes_drawings_simpler():
    inputs = {"image": disc(), "steps": 0, "paths": 24, "fit_steps": 15, "canvas_size": 64}
    off, on, strong = (vectorize(None, **inputs, clean=clean) for clean in ("off", "on", "strong"))
    sizes = [sum(map(len, re.findall(' d="(.*?)"', made.texts[0]))) for made in (off, on, strong)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(strong.shapes[0]) < len(off.shapes[0])
    assert (on.image - off.image).abs().mean() < 1 / 255
    assert (strong.image - off.image).abs().mean() < 2 / 255


def test_cleaned_drawings_have_a_palette_and_layers_named_by_color():
    inputs = {"image": disc(), "steps": 0, "fit_places": "trace", "fit_steps": 15, "canvas_size": 64}
    off, on = (vectorize(None, **inputs, clean=clean).documents[0] for clean in ("off", "on"))
    assert [node.name for node in on.children] == ["white", "crimson", "royalblue"]
    assert re.fullmatch("#f[c-f]f[c-f]f[c-f], #[0-9a-f]{6}, #[0-9a-f]{6}", on.title)
    assert (off.title, [node.name for node in off.children]) == ("", ["", "", ""])


def test_drawings_on_svg_are_not_cleaned_up():
    speck = DISC.replace("</svg>", '<path d="M60 60H60.5V60.5H60Z"/><path d="M20 46H30V50H20Z" fill="#36c"/></svg>')
    one, other = (
        vectorize(svg=value(speck), steps=2, canvas_size=64, clean=clean).texts for clean in ("off", "strong")
    )
    assert one == other and len(parse(one[0]).document.children) == 5
