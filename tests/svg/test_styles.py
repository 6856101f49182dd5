"""CSS: colors compared with Pillow, lengths, the cascade and inheritance."""

from __future__ import annotations

import pytest
from dreamsampler.svg.document import Color
from dreamsampler.svg.markup.colors import NAMED, read_color
from dreamsampler.svg.markup.lengths import read_fraction, read_length
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.styles import inherit
from PIL import ImageColor
from support.svg_oracle import svg


def test_named_colors_match_pillow():
    assert NAMED.keys() == ImageColor.colormap.keys()
    assert len(NAMED) == 148
    for name in NAMED:
        assert read_color(name.upper()) == (Color(*(v / 255 for v in ImageColor.getrgb(name)[:3])), 1.0)


@pytest.mark.parametrize(
    "text",
    ["#f80", "#FF8800", "rgb(255,136,0)", "rgb(100%, 53%, 0%)", "hsl(32, 100%, 50%)", "hsl(120,100%,25%)"]
    + ["hsl(312, 37%, 81%)", "hsl(300, 0%, 37%)"],
)
def test_colors_match_pillow(text):
    color_and_opacity = read_color(text)
    assert color_and_opacity is not None
    assert color_and_opacity[0] == pytest.approx([v / 255 for v in ImageColor.getrgb(text)[:3]], abs=0.51 / 255)
    assert color_and_opacity[1] == 1


@pytest.mark.parametrize(
    "text, color, opacity",
    [
        ("#f808", (1, 136 / 255, 0), 136 / 255),
        ("#ff880040", (1, 136 / 255, 0), 64 / 255),
        ("rgba(255, 136, 0, .5)", (1, 136 / 255, 0), 0.5),
        ("rgb(255 136 0 / 50%)", (1, 136 / 255, 0), 0.5),
        ("rgb(300, -5, 0)", (1, 0, 0), 1),
        ("hsla(0.5turn, 100%, 50%, 25%)", (0, 1, 1), 0.25),
        ("transparent", (0, 0, 0), 0),
        ("currentColor", (0.1, 0.2, 0.3), 1),
    ],
)
def test_color_opacities_and_keywords(text, color, opacity):
    color_and_opacity = read_color(text, Color(0.1, 0.2, 0.3))
    assert color_and_opacity is not None
    assert color_and_opacity[0] == pytest.approx(color, abs=1e-9) and color_and_opacity[1] == pytest.approx(opacity)


@pytest.mark.parametrize(
    "text", ["", "reddish", "#ff", "#fffff", "#ggg", "rgb(1,2)", "rgb(1px,2,3)", "url(#a)", "rgb()"]
)
def test_invalid_colors(text):
    assert read_color(text) is None


@pytest.mark.parametrize(
    "text, expected",
    [("5", 5), ("5px", 5), ("3pt", 4), ("2pc", 32), ("1in", 96), ("2.54cm", 96), ("25.4mm", 96), ("40Q", 96 / 2.54)]
    + [
        ("2em", 20),
        ("2ex", 10),
        ("50%", 100),
        ("-.5e1", -5),
        ("5 px", None),
        ("px", None),
        ("5furlong", None),
        ("", None),
    ]
    + [("1e999", None), ("nan", None)],
)
def test_lengths(text, expected):
    length = read_length(text, whole=200, font_size=10)
    assert length == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "text, expected", [("0.5", 0.5), ("50%", 0.5), ("7", 1), ("-3", 0), ("5px", None), ("x", None)]
)
def test_fractions(text, expected):
    assert read_fraction(text) == expected


def fill(style: str, attributes: str, group_attributes: str = "") -> Color:
    """The fill color of a rectangle under the given styles."""
    shape = next(
        parse(
            svg(f"<style>{style}</style><g {group_attributes}><rect width='9' height='9' {attributes}/></g>")
        ).document.shapes()
    )
    assert shape.fill is not None and isinstance(shape.fill.paint, Color)
    return shape.fill.paint


@pytest.mark.parametrize(
    "style, attributes, group_attributes, expected",
    [
        ("", "", "", "black"),
        ("", "", "fill='red'", "red"),
        ("", "fill='lime'", "fill='red'", "lime"),
        ("rect{fill:blue}", "fill='lime'", "", "blue"),
        ("*{fill:blue}", "fill='lime'", "", "blue"),
        ("rect{fill:blue}", "style='fill:lime'", "", "lime"),
        ("rect{fill:blue!important}", "style='fill:lime'", "", "blue"),
        (".a{fill:blue} rect{fill:red}", "class='b a'", "", "blue"),
        ("#k{fill:blue} .a{fill:red}", "class='a' id='k'", "", "blue"),
        (".a{fill:red} .a{fill:blue}", "class='a'", "", "blue"),
        (".b{fill:red} .a{fill:blue}", "class='a b'", "", "blue"),
        ("rect.a{fill:blue} .a{fill:red} circle.a{fill:lime}", "class='a'", "", "blue"),
        ("circle, .a , #z { fill : blue ; }", "class='a'", "", "blue"),
        ("/* rect{fill:red} */ rect{fill:/**/blue}", "", "", "blue"),
        ("@charset 'utf-8'; rect{fill:blue}", "", "", "blue"),
        ("g{fill:red}", "fill='inherit'", "", "red"),
        ("g{color:red}", "fill='currentColor'", "", "red"),
        ("", "fill='currentColor' color='lime'", "color='red'", "lime"),
        ("", "style='fill: RED;;nonsense; : ; fill'", "", "red"),
        ("g rect{fill:blue}", "", "", "blue"),
        ("svg>g > rect{fill:blue} svg > rect{fill:red}", "", "", "blue"),
        ("svg rect.a.b{fill:blue} svg rect.b.c{fill:red}", "class='a b'", "", "blue"),
        (".x > .a.b{fill:blue} rect.a{fill:red}", "class='b a'", "class='x y'", "blue"),
        ("* rect{fill:blue} rect rect{fill:red}", "", "", "blue"),
        ("g#k rect{fill:red} #r{fill:blue}", "id='r'", "id='j'", "blue"),
        ("#r{fill:red} g rect#r, g.b rect.c{fill:blue}", "id='r' class='c'", "class='b'", "blue"),
        ("rect[width='9']{fill:blue} [x]{fill:red}", "", "", "blue"),
        ("[class~=b][id^=re][id$=ct]{fill:blue} [class=b]{fill:red}", "class='a b' id='rect'", "", "blue"),
        (":root{color:blue} rect:first-child{fill:currentColor} rect:root{fill:red}", "", "", "blue"),
        ("", "fill='qwerty'", "fill='blue'", "blue"),
        ("", "fill='qwerty'", "", "black"),
        ("", "fill='blue' style='fill:#ggg'", "", "blue"),
        ("rect{fill:rgb(1,2)} *{fill:blue}", "", "", "blue"),
        ("", "fill='url(#none) qwerty'", "fill='blue'", "blue"),
        ("", "fill='rgb(0, 50%, 0)'", "fill='blue'", "blue"),
        ("", "fill='var(--c, #00f)'", "", "blue"),
        ("", "fill='var(--c)'", "fill='blue'", "blue"),
        ("g{--c:blue;--d:var(--c)} rect{--c:red}", "style='fill:var(--d)'", "", "blue"),
        ("g{--d:var(--c);--c:blue}", "style='fill:var( --d )'", "", "blue"),
        ("g{--a:var(--b);--b:var(--a)}", "style='fill:var(--a, blue)'", "", "blue"),
        ("g{--C:red;--c:blue}", "style='fill:var(--c)'", "", "blue"),
        (":root{--n:}", f"style='fill:blue{'var(--n)' * 40}'", "", "blue"),
        (":root{--n:}", f"style='fill:red{'var(--n)' * 60}'", "fill='blue'", "blue"),
        ("", "fill='light-dark(var(--d, blue), red)'", "", "blue"),
        ("rect{fill:red}", "style='all:unset'", "fill='blue'", "blue"),
        ("rect{all:unset; fill:blue}", "fill='red'", "", "blue"),
        ("rect{fill:red; all:initial}", "", "fill='blue'", "black"),
        ("rect{fill:blue!important}", "style='all:unset'", "", "blue"),
        ("rect{all:qwerty}", "fill='blue'", "", "blue"),
        ("", "color='currentColor' fill='currentColor'", "color='blue'", "blue"),
    ],
)
def test_cascade(style, attributes, group_attributes, expected):
    assert fill(style, attributes, group_attributes) == NAMED[expected]


@pytest.mark.parametrize(
    "style, message",
    [
        ("g + rect{fill:red}", "The CSS selector 'g + rect' is ignored"),
        ("rect:not(.a){fill:red}", "The CSS selector 'rect:not(.a)' is ignored"),
        ("rect:hover, .a{fill:red}", "The CSS selector 'rect:hover' is ignored"),
        ("@media print { rect{fill:red} } g{}", "The CSS rule @media is ignored"),
        ("@import url(http://evil);", "The CSS rule @import is ignored"),
        ("rect{d:path('M0 0')}", "The CSS property 'd' is ignored"),
    ],
)
def test_ignored_css_is_reported(style, message):
    parsed = parse(svg(f"<style>{style}</style><rect width='9' height='9'/>"))
    assert any(message in warning for warning in parsed.warnings)
    shape = next(parsed.document.shapes())
    assert shape.fill is not None and shape.fill.paint == NAMED["black"]


@pytest.mark.parametrize(
    "root, group, rect, expected",
    [
        ("", "font-size:10px", "1em", 10.0),
        ("", "font:20px sans-serif", "1em", 20.0),
        ("", "font:italic 700 10.5pt/2 'A B', serif", "3em", 42.0),
        ("font-size:32px", "font-size:8px", "1rem", 32.0),
        ("font-size:2rem", "font-size:.5rem", "1em", 16.0),
        ("font-size:32px", "font-size:small", "1em", 13.0),
        ("font:caption", "", "1rem", 16.0),
    ],
)
def test_lengths_relative_to_fonts(root, group, rect, expected):
    """em and rem in attributes of shapes, in properties, and in positions of <use>."""
    body = (
        f'<rect id="r" x="{rect}" width="9" height="9" style="stroke:red;stroke-width:{rect}"/>'
        f'<use href="#r" x="{rect}"/>'
    )
    found, used = parse(
        svg(f'<g style="{group}">{body}</g>', f'viewBox="0 0 100 100" style="{root}"')
    ).document.shapes()
    assert found.stroke is not None and found.stroke.width == pytest.approx(expected)
    assert found.contours[0].points[0].x == pytest.approx(expected)
    assert used.contours[0].points[0].x == pytest.approx(2 * expected)


def test_invalid_widths_and_opacities_are_ignored():
    body = '<g stroke="red" stroke-width="7" fill-opacity=".5">{}</g>'
    rect = "<rect width='9' height='9' stroke-width='-2' fill-opacity='much'/>"
    (shape,) = parse(svg(body.format(rect))).document.shapes()
    assert shape.stroke is not None and shape.stroke.width == 7
    assert shape.fill is not None and shape.fill.opacity == 0.5


def test_only_inherited_properties_are_inherited():
    parent = {"fill": "red", "opacity": ".5"}
    assert inherit(parent, {}) == {"fill": "red"}
    assert inherit(parent, {"opacity": "inherit", "fill": "initial"}) == {"opacity": ".5"}
    assert inherit(parent, {"opacity": "unset", "fill": "unset"}) == {"fill": "red"}
