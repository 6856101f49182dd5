"""Functions of CSS that make colors, against values from CSS Color 4 and closed forms."""

from __future__ import annotations

import colorsys

import pytest
from dreamsampler.svg.markup.color_spaces import COLOR_SPACES
from dreamsampler.svg.markup.colors import MAX_LENGTH, read_color

RED, LIME, BLUE, REBECCA = (255, 0, 0), (0, 255, 0), (0, 0, 255), (102, 51, 153)


@pytest.mark.parametrize(
    "text, color, opacity",
    [
        ("oklab(62.796% 0.22486 0.12585)", RED, 1),
        ("oklab(45.201% -0.03245 -0.31153)", BLUE, 1),
        ("oklch(86.644% 0.294827 142.4953)", LIME, 1),
        ("oklch(.4403 40.075% 303.373deg / 50%)", REBECCA, 0.5),
        ("lab(54.29 80.805 69.891)", RED, 1),
        ("lab(87.8185% -63.4168% 64.7957%)", LIME, 1),
        ("lab(29.5683% 68.2874 -112.0297)", BLUE, 1),
        ("lch(54.2905% 106.837 40.8576)", RED, 1),
        ("lch(32.393% 61.244 308.866 / .25)", REBECCA, 0.25),
        ("hwb(120 10% 20%)", (25.5, 204, 25.5), 1),
        ("hwb(90 60% 60%)", (127.5, 127.5, 127.5), 1),
        ("color(srgb 1 50% 0)", (255, 127.5, 0), 1),
        ("color(srgb-linear .21404 1 0)", (127.5, 255, 0), 1),
        ("color(display-p3 .91749 .20029 .13856)", RED, 1),
        ("hsl(none 100% 50%)", RED, 1),
        ("hsl(120 100 50)", LIME, 1),
        ("rgb(10 20% 30)", (10, 51, 30), 1),
        ("light-dark(#F00, rgb(1, 2, 3))", RED, 1),
        ("light-dark(color-mix(in srgb, red, blue), white)", (127.5, 0, 127.5), 1),
        ("color-mix(in srgb, red 25%, blue)", (63.75, 0, 191.25), 1),
        ("color-mix(in srgb, red, 25% blue)", (191.25, 0, 63.75), 1),
        ("color-mix(in srgb, red 20%, blue 20%)", (127.5, 0, 127.5), 0.4),
        ("color-mix(in srgb, red, transparent)", RED, 0.5),
        ("color-mix(in oklab, red, blue)", (140.36, 83.03, 162.31), 1),
        ("color-mix(in hsl, red, blue)", (255, 0, 255), 1),
        ("color-mix(in hwb, red, lime)", (255, 255, 0), 1),
        ("color-mix(in oklch, white, black)", (99.1, 99.1, 99.1), 1),
        ("color-mix(in lch, white 30%, black)", (70.63, 70.63, 70.63), 1),
    ],
)
def test_functions(text, color, opacity):
    found = read_color(text)
    assert found is not None
    assert [255 * channel for channel in found[0]] == pytest.approx(color, abs=0.06)
    assert found[1] == pytest.approx(opacity)


@pytest.mark.parametrize("text", ["oklch(.9 .4 140)", "lab(100 -200 200)", "color(display-p3 0 1 0)"])
def test_colors_out_of_gamut_are_clipped(text):
    found = read_color(text)
    assert found is not None and all(0 <= channel <= 1 for channel in found[0]) and max(found[0]) == 1


@pytest.mark.parametrize(
    "text",
    ["rgb(1 2 / 3)", "rgb(1 2 3 .5)", "rgb(1, 2 3)", "rgb(1,,2,3)", "rgba(1,2,3,)", "rgb(1 2 3 /)", "rgb(1, 2 / 3, 4)"]
    + ["lab(50, 20, 30)", "hwb(90, 10%, 10%)", "color(srgb 1, 0, 0)", "rgb(1, 2, 3 / 4)", "rgb(1, 2, 3, 4, 5)"]
    + ["rgb(1, 50%, 3)", "rgb(1 2 3 / 4 5)", "lab(1 2)", "lab(1deg 2 3)", "oklch(1 2 3%)", "color(xyz 1 1)", "lime()"]
    + ["light-dark(red)", "light-dark(red, reddish)", "color-mix(red, blue)", "color-mix(in rgb, red, blue)"]
    + ["color-mix(in srgb, red 0%, blue 0%)", "color-mix(in srgb, red -1%, blue)", "color-mix(in srgb, red)"]
    + ["color-mix(in srgb, , )", "rgb(1e999 0 0)", "rgb(from red r g b)", "hsl(50% 50% 50%)"]
    + [f"rgb({'1' * MAX_LENGTH} 0 0)"],
)
def test_invalid_functions(text):
    assert read_color(text) is None


def rgb(text: str) -> list[float]:
    """The channels of an opaque color, from 0 to 255."""
    found = read_color(text)
    assert found is not None and found[1] == 1
    return [255 * channel for channel in found[0]]


@pytest.mark.parametrize("gray, lightness", [("white", 1), ("black", 0), ("#808080", 128 / 255)])
def test_mixtures_with_gray_have_the_hue_of_the_other_color(gray, lightness):
    """CSS Color 4, section 12.2: the hue of a gray is missing. Blue has hue 240 in HSL and 264.052 in OKLCH."""
    for pair in (f"{gray}, blue", f"blue, {gray}"):
        hsl, hwb, oklch = (rgb(f"color-mix(in {space}, {pair})") for space in ("hsl", "hwb", "oklch"))
        expected = colorsys.hls_to_rgb(240 / 360, (lightness + 0.5) / 2, 0.5)
        assert hsl == pytest.approx([255 * channel for channel in expected])
        assert hwb == pytest.approx([255 * lightness / 2, 255 * lightness / 2, 255 * (lightness + 1) / 2])
        whitish = (((lightness + 0.055) / 1.055) ** 2.4 if lightness else 0) ** (1 / 3)
        assert oklch == pytest.approx(rgb(f"oklch({(whitish + 0.452014) / 2} {0.313214 / 2} 264.052)"), abs=0.1)


@pytest.mark.parametrize(
    "text", ["lch(50 1e200 0)", "oklab(.5 1e150 0)", "lab(1e300 0 1e300)", "color(display-p3 1 1e155 0)"]
)
def test_huge_channels_are_clipped(text):
    found = read_color(text)
    assert found is not None and all(0 <= channel <= 1 for channel in found[0]) and max(found[0]) == 1


@pytest.mark.parametrize("name", COLOR_SPACES)
def test_spaces_are_inverted(name):
    space = COLOR_SPACES[name]
    for color in ((0.1, 0.5, 0.9), (0.8, 0.2, 0.3), (0.4, 0.9, 0.2), (0.02, 0.01, 0.03)):
        assert space.to_srgb(space.from_srgb(color)) == pytest.approx(color, abs=1e-7)


def test_hsl_agrees_with_the_standard_library():
    hue, saturation, lightness = COLOR_SPACES["hsl"].from_srgb((0.8, 0.2, 0.3))
    assert (hue / 360, lightness, saturation) == pytest.approx(colorsys.rgb_to_hls(0.8, 0.2, 0.3))
