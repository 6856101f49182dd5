"""CSS: colors compared with Pillow, lengths, the cascade and inheritance."""

from __future__ import annotations

import pytest
from dreamsampler.svg.document import Color, Shape
from dreamsampler.svg.markup.colors import NAMED, read_color
from dreamsampler.svg.markup.lengths import read_fraction, read_length
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.properties import INHERITED
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
        ("currentColor", (0.1, 0.2, 0.3), 0.4),
    ],
)
def test_color_opacities_and_keywords(text, color, opacity):
    color_and_opacity = read_color(text, (Color(0.1, 0.2, 0.3), 0.4))
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
        ("", "style='font-family:\"x;fill:red;y\";fill:blue'", "", "blue"),
        ("", "style='fill:blue;font-family:\"x;fill:red;y\"'", "", "blue"),
        ("", 'style=\'fill:blue;font-family:"a\\";fill:red;"\'', "", "blue"),
        ("", "style='fill:blue;x:url(a;fill:red;b)'", "", "blue"),
        ("", 'style=\'--u:"/*";fill:blue;--v:"*/"\'', "fill='red'", "blue"),
        ("", "style='fill:/*;fill:red;*/blue'", "", "blue"),
        ("rect{fill:blue;font-family:'}rect{fill:red}'}", "", "", "blue"),
        ("g{font-family:'/*'} rect{fill:blue} g{font-family:'*/'}", "", "", "blue"),
        ("g{font-family:'\\''} rect{fill:blue} g{font-family:'{'}", "", "", "blue"),
        ("g{cursor:url(data:a;b{c)} rect{fill:blue}", "", "", "blue"),
        ("/*'*/ rect{fill:blue} /*\\*/ circle{fill:red} /*'*/", "", "", "blue"),
        ("rect[id='a,b{']{fill:blue}", "id='a,b{'", "", "blue"),
        ("g{background-image:url('a;b)') } rect{fill:blue}", "", "", "blue"),
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
    "sheet",
    [
        "g{rect{fill:red}}rect{fill:blue}",
        "rect{fill:blue;circle{fill:red}}",
        "rect{circle{fill:red} fill:blue}",
        "rect{fill:red;circle{fill:red;g{fill:red}}stroke:red;fill:blue} g{circle{fill:red}}",
        "rect{fill:blue;&:hover{fill:red}}",
        "rect{fill:blue;@media print{fill:red}}",
        "rect{fill:blue;circle{content:'}'}} g{fill:red}",
    ],
)
def test_nested_rules_are_reported(sheet):
    parsed = parse(svg(f"<style>{sheet.replace('&', '&amp;')}</style><rect width='9' height='9'/>"))
    (warning,) = parsed.warnings
    assert "Nested CSS rules are ignored" in warning and "Move them out of the rules around them." in warning
    (shape,) = parsed.document.shapes()
    assert shape.fill is not None and shape.fill.paint == NAMED["blue"]


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


def shapes_of(path: str, group: str = "") -> tuple[list[Shape], tuple[str, ...]]:
    """The shapes of a stroked path in a group with these attributes, and the warnings."""
    marked = f'<g stroke="red"><g {group}><path d="M0 0h9v9" {path}/></g></g><path id="other" d="M0 0h1v1"/>'
    parsed = parse(svg(marked))
    return [shape for shape in parsed.document.shapes() if shape.name != "other"], parsed.warnings


@pytest.mark.parametrize(
    "name, good, bad, beside",
    [
        ("display", "none", "foo", ""),
        ("visibility", "hidden", "foo", ""),
        ("fill-rule", "evenodd", "foo", ""),
        ("stroke-linecap", "round", "null", ""),
        ("stroke-linejoin", "bevel", "arcs", ""),
        ("stroke-width", "7", "-2", ""),
        ("stroke-width", "7", "2furlong", ""),
        ("stroke-miterlimit", "7", ".5", ""),
        ("stroke-dasharray", "3 2", "4 -1", ""),
        ("stroke-dasharray", "3 2", "4,,1", ""),
        ("stroke-dashoffset", "1", "much", "stroke-dasharray='3 2'"),
        ("paint-order", "stroke", "stroke top", ""),
        ("paint-order", "stroke", "fill fill", ""),
        ("fill-opacity", ".5", "much", ""),
        ("transform", "translate(10px, 10px)", "foo", ""),
        ("transform", "translate(10px, 10px)", "translate(9)", ""),
        ("transform-origin", "5px 2px", "foo", "transform='scale(2)'"),
        ("transform-box", "fill-box", "foo", "transform='scale(2)' transform-origin='center'"),
    ],
)
def test_invalid_values_are_ignored(name, good, bad, beside):
    """A weaker or an inherited value counts, and the warning names property and value."""
    expected, _ = shapes_of(f"{beside} style='{name}:{good}'")
    assert expected != shapes_of(beside)[0]
    message = f"The {name} '{bad[:40]}' is not valid and is ignored: <path> on line 1. Use "
    weaker = [(f"{beside} style='{name}:{good};{name}:{bad}'", "")]
    if name != "transform":  # whose attribute has another syntax
        weaker.append((f"{beside} {name}='{good}' style='{name}:{bad}'", ""))
    if name in INHERITED:
        weaker.append((f"{beside} {name}='{bad}'", f"{name}='{good}'"))
    for path, group in weaker:
        shapes, (warning,) = shapes_of(path, group)
        assert shapes == expected and warning.startswith(message)


def test_an_invalid_transform_in_a_style_keeps_the_attribute():
    moved, (warning,) = shapes_of("transform='translate(10 10)' style='transform:foo'")
    assert moved == shapes_of("transform='translate(10 10)'")[0]
    assert warning.startswith("The transform 'foo' is not valid and is ignored")


def test_invalid_clip_rules_are_ignored():
    clip = "<clipPath id='c' clip-rule='{}'><path d='M0 0h5v5' clip-rule='{}'/></clipPath>"
    rect = "<rect width='9' height='9' clip-path='url(#c)'/>"
    parsed = parse(svg(clip.format("evenodd", "foo") + rect))
    assert parsed.document == parse(svg(clip.format("evenodd", "evenodd") + rect)).document
    assert "The clip-rule 'foo' is not valid and is ignored" in parsed.warnings[0]


@pytest.mark.parametrize(
    "path, group, expected",
    [
        ("style='display:NONE'", "", "display='none'"),
        ("visibility='VISIBLE'", "visibility='hidden'", ""),
        ("", "stroke-linecap='ROUND' stroke-linejoin='Bevel'", "stroke-linecap='round' stroke-linejoin='bevel'"),
        ("", "fill-rule='EvenOdd'", "fill-rule='evenodd'"),
        ("stroke-dasharray='None'", "stroke-dasharray='3'", ""),
        ("paint-order='STROKE'", "", "paint-order='stroke'"),
        ("transform='scale(2)' style='transform:NONE'", "", ""),
        ("style='transform:ROTATE(9DEG)'", "", "transform='rotate(9)'"),
        ("stroke-dasharray='3E0 -0'", "", "stroke-dasharray='3 0'"),
    ],
)
def test_keywords_in_any_case(path, group, expected):
    shapes, warnings = shapes_of(path, group)
    assert warnings == ()
    assert shapes == shapes_of(expected)[0]


def test_only_inherited_properties_are_inherited():
    parent = {"fill": "red", "opacity": ".5"}
    assert inherit(parent, {}) == {"fill": "red"}
    assert inherit(parent, {"opacity": "inherit", "fill": "initial"}) == {"opacity": ".5"}
    assert inherit(parent, {"opacity": "unset", "fill": "unset"}) == {"fill": "red"}
