"""Written documents look the same, parse to the same values, and are written identically again."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from dreamsampler.svg.document import (
    BLACK,
    IDENTITY,
    Color,
    Contour,
    Document,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
    ViewBox,
)
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.numbers import joined, places_within, short, significant_places
from dreamsampler.svg.raster.scene import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import within
from support.drawings import BLUE, RED
from support.svg_oracle import DOCUMENTS, SAME, difference, svg

BOX = ViewBox(0.0, 0.0, 1000.0, 1000.0)
NAMESPACE = "http://www.w3.org/2000/svg"
STOPS = (Stop(0.0, RED), Stop(1.0, BLUE, 0.5))


def contour(*points: tuple[float, float], closed: bool = False) -> Contour:
    return Contour(tuple(Point(x, y) for x, y in points), closed)


CURVE = contour((1, 2), (3, 40), (50, 6), (70, 8))
LOOP = contour((1, 2), (3, 40), (50, 6), (70, 8), (90, 80), (9, 90), closed=True)


def drawing(*children: Shape | Group, box: ViewBox = BOX) -> Document:
    return Document(box, children)


def body(*children: Shape | Group, **options: int) -> str:
    """The written text of nodes, without the root element."""
    lines = write(drawing(*children), **options).splitlines()
    return "\n".join(line.strip() for line in lines[1:-1])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_look_the_same_after_parsing_and_writing(name):
    source = DOCUMENTS[name]
    parsed = parse(source)
    text = write(parsed.document)
    assert difference(source, text) <= SAME
    again = parse(text)
    assert again.warnings == ()
    assert write(again.document) == text


def test_complete_file():
    document = replace(
        drawing(Shape((LOOP,), Fill(RED, 0.5, "evenodd"), name="a b"), box=ViewBox(-1, 0.5, 100, 50)),
        width="5cm",
        height="50%",
        title="Fish & <Chips>\n",
    )
    assert write(document) == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 .5 100 50" width="5cm" height="50%">\n'
        "  <title>Fish &amp; &lt;Chips&gt;</title>\n"
        '  <path id="a_b" d="M1 2C3 40 50 6 70 8 90 80 9 90 1 2Z" fill="#ff0000" fill-opacity=".5" '
        'fill-rule="evenodd"/>\n'
        "</svg>\n"
    )


def test_default_stroke_attributes_are_omitted():
    assert body(Shape((CURVE,), stroke=Stroke(RED))) == '<path d="M1 2C3 40 50 6 70 8" fill="none" stroke="#ff0000"/>'
    stroke = Stroke(BLUE, 0.25, 3.0, "round", "bevel", 7.0)
    assert body(Shape((CURVE,), stroke=stroke)).endswith(
        'stroke="#0000ff" stroke-opacity=".25" stroke-width="3" stroke-linecap="round" stroke-linejoin="bevel" '
        'stroke-miterlimit="7"/>'
    )


@pytest.mark.parametrize(
    "data",
    [
        "M0 0H3V6L0 9Z",
        "M0 0L3 6 6 3H9 12",
        "M0 0L-3-6-9.5-.25",
        "M5 5C6 7 8 9 1 1-2-3-4-5 5 5Z",
        "M1 1H4M2 2V5",
        "M1 1H1",
    ],
)
def test_path_data_is_written_compactly(data):
    source = f'<svg viewBox="0 0 1000 1000"><path d="{data}" stroke="red" stroke-linecap="round"/></svg>'
    assert f'd="{data}"' in write(parse(source).document)


def test_only_nearly_straight_cubics_become_lines():
    straight, curved = (contour((0, 0), (1, y), (2, 0), (3, 0)) for y in (0.0004, 0.1))
    assert 'd="M0 0H3"' in body(Shape((straight,), stroke=Stroke(RED)))
    assert 'd="M0 0C1 .1 2 0 3 0"' in body(Shape((curved,), stroke=Stroke(RED)))
    uneven = contour((0, 0), (0.1, 0), (2, 0), (3, 0))
    assert "C" in body(Shape((uneven,), stroke=Stroke(RED)))


@pytest.mark.parametrize("size, places", [(1000.0, 2), (24.0, 4), (1.0, 5), (100_000.0, 0)])
def test_precision_follows_the_canvas(size, places):
    x = size / 7
    document = drawing(Shape((contour((0, 0), (x, 1), (2, x), (x, x)),), Fill(RED)), box=ViewBox(0, 0, size, size / 2))
    text = write(document)
    (shape,) = parse(text).document.shapes()
    assert abs(shape.contours[0].points[-1].x - x) <= size * 1e-5
    decimals = re.findall(r"\.(\d+)", text.split(' d="')[1])
    assert max(map(len, decimals), default=0) <= places


def test_coarser_precision_is_shorter():
    shape = Shape((contour((0.123456, 1), (1.23456, 9), (2, 3.3333), (4, 4.44444)),), Fill(RED))
    assert 'd="M0 1C1 9 2 3 4 4"' in body(shape, precision=0)
    assert 'd="M.1235 1C1.2346 9 2 3.3333 4 4.4444"' in body(shape, precision=4)


def test_gradients_are_written_once_and_parse_back():
    linear = LinearGradient(Point(1.0, 2.0), Point(3.0, 4.0), STOPS, spread="repeat")
    stretch = Matrix(0.5, 0.25, 0.25, 1, 3, 4)
    radial = RadialGradient(Point(0.0, 0.0), 7.0, Point(1.0, 2.0), STOPS, stretch, "reflect")
    document = drawing(Shape((LOOP,), Fill(linear), Stroke(radial)), Shape((LOOP,), Fill(linear)))
    text = write(document)
    assert text.count("<linearGradient") == text.count("<radialGradient") == 1
    assert parse(text).document == document


def test_pens_are_written_as_transforms():
    stroke = Stroke(RED, width=2.0, pen=Matrix(2, 0, 0, 1, 0, 0))
    gradient = LinearGradient(Point(10.0, 0.0), Point(20.0, 0.0), STOPS)
    document = drawing(Shape((LOOP,), Fill(gradient), stroke))
    text = write(document)
    assert 'transform="matrix(2 0 0 1 0 0)"' in text and 'd="M.5 2C1.5 40' in text and 'x1="5"' in text
    assert parse(text).document == document


def test_uniformly_scaling_pens_become_wider_strokes():
    (shape,) = parse(
        write(drawing(Shape((CURVE,), stroke=Stroke(RED, width=2.0, pen=Matrix(0, 3, -3, 0)))))
    ).document.shapes()
    assert shape.stroke == Stroke(RED, width=6.0)
    assert shape.contours == (CURVE,)


@pytest.mark.parametrize("inner", ['<use href="#a" x="50"/>', '<g opacity=".5"><use href="#b" x="50"/></g>'])
def test_a_copy_does_not_take_the_id_of_what_it_copies(inner: str):
    """Painted before the original, and nested in another copy."""
    original = '<g id="b"><path id="a" d="M1 1H9V9Z"/><path d="M2 2H5V5Z" fill="red"/></g>'
    text = write(parse(f'<svg xmlns="{NAMESPACE}" viewBox="0 0 100 100">{inner}{original}</svg>').document)
    starts = {path.get("id"): path.get("d", "")[:4] for path in ElementTree.fromstring(text).iter() if path.get("d")}
    assert starts["a"] == "M1 1" and starts["a-2"] == "M51 "


def test_names_are_unique_and_escaped():
    gradient = LinearGradient(Point(1.0, 2.0), Point(3.0, 4.0), STOPS)
    names = ["a", "a", 'quote"<&\x00', "gradient1", "a-2", ""]
    text = write(drawing(*(Shape((LOOP,), Fill(gradient), name=name) for name in names)))
    read = parse(text).document
    assert [shape.name for shape in read.shapes()] == ["a", "a-2", 'quote"<&', "gradient1", "a-2-2", ""]
    assert 'fill="url(#gradient2)"' in text
    assert write(read) == text


TRIANGLE = contour((0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (2, 2), (1, 1), closed=True)
CLIP = Shape((TRIANGLE,), Fill(BLACK, 1.0, "evenodd"))


def test_clips_are_written_once_and_parse_back():
    shapes = (Shape((LOOP,), Fill(RED)), Shape((LOOP,), Fill(BLUE)))
    nested = Group((CLIP,), clip=(Shape((LOOP,), Fill(BLACK)),))
    document = drawing(Group(shapes, 0.5, "g", (CLIP,)), Group(shapes[:1], clip=(CLIP,)), Group(shapes, clip=(nested,)))
    text = write(document)
    assert text.count("<clipPath") == 3
    assert '<clipPath id="clip1"><path d="M0 0H3V3Z" clip-rule="evenodd"/></clipPath>' in text
    assert '<g id="g" opacity=".5" clip-path="url(#clip1)">' in text
    assert parse(text).document == document


def test_masks_as_large_as_the_canvas_are_not_written():
    mask = '<mask id="m"><rect width="24" height="24" fill="#fff"/></mask>'
    masked = '<g mask="url(#m)"><rect width="24" height="12"/><circle r="9" fill="red"/></g>'
    text = write(parse(svg(mask + masked, 'viewBox="0 0 24 24"')).document)
    assert "clip" not in text and write(parse(text).document) == text


def test_paints_of_clips_do_not_matter():
    plain = Group((Shape((LOOP,), Fill(RED)),), clip=(CLIP,))
    painted = replace(CLIP, fill=Fill(BLUE, 0.3, "evenodd"), stroke=Stroke(RED), name="c")
    assert body(replace(plain, clip=(Group((painted,), 0.2, "h"),))) == body(plain)
    assert body(replace(plain, clip=(replace(CLIP, fill=None, stroke=Stroke(RED)),))) == ""


def test_groups_without_effect_are_removed():
    two = (Shape((LOOP,), Fill(RED)), Shape((LOOP,), Fill(BLUE)))
    document = drawing(Group(two, 0.5, "g"))
    assert parse(write(document)).document == document
    assert "<g" not in write(drawing(Group(two, 1.0), Group(two[:1], 0.5), Group((), 0.5)))
    (shape,) = parse(write(drawing(Group(two[:1], 0.5)))).document.shapes()
    assert shape.fill == Fill(RED, 0.5)


@pytest.mark.parametrize(
    "shape",
    [
        Shape((LOOP,)),
        Shape((), Fill(RED)),
        Shape((LOOP,), Fill(LinearGradient(Point(0.0, 0.0), Point(1.0, 0.0), ()))),
        Shape((LOOP,), stroke=Stroke(RED, width=0.0)),
        Shape((LOOP,), stroke=Stroke(RED, pen=Matrix(0, 0, 0, 0))),
        Shape((contour(*[(5, 5)] * 4),), stroke=Stroke(RED)),
    ],
)
def test_nodes_that_paint_nothing_are_dropped(shape):
    assert body(shape) == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_numbers_raise_an_error(value):
    with pytest.raises(ValueError, match="The drawing contains -?(nan|inf), which SVG cannot represent"):
        write(drawing(Shape((contour((0, 0), (1, value), (2, 0), (3, 5)),), Fill(RED))))
    with pytest.raises(ValueError, match="view box is .* Set its width and height to finite numbers above 0"):
        write(drawing(box=ViewBox(0, 0, value, 5)))


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.5, ".5"),
        (-0.25, "-.25"),
        (12.0, "12"),
        (1e-7, "1e-7"),
        (-2.5e20, "-2.5e20"),
        (10, "10"),
    ],
)
def test_numbers_are_short(value, text):
    assert short(value) == text
    assert float(text) == value


def test_numbers_are_separated_compactly():
    assert joined([1.0, -2.0, 0.5, 0.25, -0.5]) == "1-2 .5 .25-.5"


@given(st.floats(1e-12, 1e6), st.floats(-1e6, 1e6))
def test_rounding_stays_within_the_error(error, value):
    assert abs(round(value, places_within(error)) - value) <= error * (1 + 1e-6) + 1e-9 * abs(value)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4), st.integers(2, 10))
def test_significant_places_are_stable_under_rounding(values, digits):
    places = significant_places(values, digits)
    rounded = [round(value, places) for value in values]
    again = significant_places(rounded, digits)
    assert [round(value, again) for value in rounded] == rounded


COORDINATES = st.one_of(st.floats(-2000, 2000), st.integers(-20, 20).map(float))
POINTS = st.builds(Point, COORDINATES, COORDINATES)
SHARES = st.floats(0, 1)
COLORS = st.builds(Color, SHARES, SHARES, SHARES)
FACTORS = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 2.0]), st.floats(-5, 5))
MATRICES = st.one_of(st.just(IDENTITY), st.builds(Matrix, FACTORS, FACTORS, FACTORS, FACTORS, COORDINATES, COORDINATES))
OFFSETS = st.lists(SHARES, min_size=0, max_size=4).map(sorted)
STOP_LISTS = OFFSETS.flatmap(lambda o: st.tuples(*(st.builds(Stop, st.just(x), COLORS, SHARES) for x in o)))
SPREADS = st.sampled_from(["pad", "reflect", "repeat"])
PAINTS = st.one_of(
    COLORS,
    st.builds(LinearGradient, POINTS, POINTS, STOP_LISTS, MATRICES, SPREADS),
    st.builds(RadialGradient, POINTS, st.floats(0, 500), POINTS, STOP_LISTS, MATRICES, SPREADS),
)
FILLS = st.none() | st.builds(Fill, PAINTS, SHARES, st.sampled_from(["nonzero", "evenodd"]))
STROKES = st.none() | st.builds(
    Stroke,
    PAINTS,
    SHARES,
    st.floats(0, 50),
    st.sampled_from(["butt", "round", "square"]),
    st.sampled_from(["miter", "round", "bevel"]),
    st.floats(1, 10),
    MATRICES.map(lambda m: m._replace(e=0.0, f=0.0)),
)
CONTOURS = st.builds(
    lambda points, closed: Contour(
        tuple(points[: len(points) // 3 * 3] if closed else points[: len(points) // 3 * 3 - 2]), closed
    ),
    st.lists(POINTS, min_size=6, max_size=12),
    st.booleans(),
)
SHAPES = st.builds(Shape, st.lists(CONTOURS, max_size=3).map(tuple), FILLS, STROKES, st.text(max_size=3))
CLIP_SHAPES = st.builds(
    Shape,
    st.lists(CONTOURS, max_size=2).map(tuple),
    st.builds(Fill, st.just(RED), SHARES, st.sampled_from(["nonzero", "evenodd"])),
)
CLIPS = st.recursive(
    st.lists(CLIP_SHAPES, max_size=2).map(tuple),
    lambda clips: st.lists(CLIP_SHAPES | st.builds(Group, clips, clip=clips), max_size=2).map(tuple),
    max_leaves=3,
)
DRAWINGS = st.recursive(
    SHAPES,
    lambda inner: st.builds(Group, st.lists(inner, max_size=3).map(tuple), SHARES, st.text(max_size=3), CLIPS),
    max_leaves=5,
)
VISIBLE_SHAPE = st.builds(Shape, st.just((LOOP,)), st.just(Fill(RED)))


@given(st.lists(DRAWINGS, max_size=4), VISIBLE_SHAPE, st.floats(0.01, 5000), st.text(max_size=9), st.integers(0, 5))
@settings(max_examples=200)
def test_any_document_round_trips(children, last, size, title, precision):
    document = Document(ViewBox(0.0, 0.0, size, size), (*children, last), title=title)
    text = write(document, precision=precision)
    parsed = parse(text)
    assert parsed.warnings == ()
    assert write(parsed.document, precision=precision) == text


STRUCTURED = """<svg viewBox="0 0 20 20"><g id="all">
  <g id="head"><path id="eye" d="M1 1H4V4H1Z"/><path d="M6 1H9V4H6Z"/></g>
  <g id="body" opacity=".5"><path id="arm" d="M1 6H9V9H1Z"/></g>
  <g id="hat"><path d="M12 1H18V4H12Z"/></g>
  <g><path id="foot" d="M12 6H18V9H12Z"/><path d="M12 12H18V15H12Z"/></g>
</g></svg>"""


def test_named_groups_are_kept_and_others_dissolved():
    (everything,) = parse(STRUCTURED).document.children
    assert isinstance(everything, Group) and everything.name == "all"
    head, body, hat, foot, last = everything.children
    assert isinstance(head, Group) and [head.name, *(node.name for node in head.children)] == ["head", "eye", ""]
    assert isinstance(body, Group) and [body.name, body.opacity, body.children[0].name] == ["body", 0.5, "arm"]
    assert isinstance(hat, Shape) and [hat.name, foot.name, last.name] == ["hat", "foot", ""]
    text = write(parse(STRUCTURED).document)
    assert write(parse(text).document) == text and parse(text).document == parse(STRUCTURED).document


@pytest.mark.parametrize("inner", ["", ' id="a"'])
def test_a_group_keeps_its_name_from_its_only_shape(inner: str):
    """Neither of two elements with one id gets another when it is read again."""
    text = f'<svg viewBox="0 0 9 9"><g id="a" opacity="0"><path{inner} stroke="#f00" d="M1 1H4V4Z"/></g></svg>'
    document = parse(text).document
    (group,) = document.children
    assert isinstance(group, Group) and [group.name, group.children[0].name] == ["a", ""]
    assert parse(write(document)).document == document


def test_named_groups_cost_no_canvas_of_their_own():
    drawing = scene(parse(STRUCTURED.replace(' opacity=".5"', "")).document, 20, 20)
    assert drawing.layout.order == tuple(range(6)) and len(drawing.opacities) == 3


def test_the_id_of_the_root_stays_with_the_root():
    text = write(parse('<svg id="Layer_1" viewBox="0 0 9 9"><path id="a" d="M0 0H9V9Z"/></svg>').document)
    assert '<svg xmlns="http://www.w3.org/2000/svg" id="Layer_1"' in text
    assert "<g" not in text
    assert write(parse(text).document) == text


def test_a_group_that_loses_its_name_to_the_one_around_it_may_go():
    inner = Group((Group((Shape((LOOP,), Fill(RED), Stroke(RED)),), 0.5, "b"),), 1.0, "a", (Shape((LOOP,), Fill(RED)),))
    document = Document(ViewBox(0, 0, 100, 100), (Group((inner,), 0.5, "a", inner.clip),))
    text = write(document)
    assert text.count("<g ") == 2
    assert write(parse(text).document) == text


def test_names_that_are_no_ids_need_no_group():
    shapes = (Shape((LOOP,), Fill(RED), name="a b"), Shape((LOOP,), Fill(RED), name="\x00"))
    text = write(Document(ViewBox(0, 0, 100, 100), (Group(shapes, name=" "),)))
    assert "<g" not in text
    assert re.findall(' id="(.*?)"', text) == ["a_b"]
    assert write(parse(text).document) == text


@pytest.mark.parametrize(
    "gradient",
    [
        '<linearGradient id="a" gradientUnits="userSpaceOnUse" x1="50" x2="50.0004">',
        '<linearGradient id="a" gradientUnits="userSpaceOnUse" x1="30" y1="20.0003" x2="30.0001" y2="20">',
        '<radialGradient id="a" gradientUnits="userSpaceOnUse" cx="50" cy="40" r=".0004">',
    ],
)
def test_sharp_gradients_stay_sharp(gradient):
    """Rounded to no length, one would be the color of its last stop everywhere."""
    stops = '<stop stop-color="red"/><stop offset="1" stop-color="blue"/>'
    end = gradient[1:15] + ">"
    source = svg(f'{gradient}{stops}</{end}<rect width="100" height="100" fill="url(#a)"/>')
    text = write(parse(source).document)
    assert "Gradient" in text and write(parse(text).document) == text
    assert difference(source, text) <= SAME


def test_ids_of_many_copies_take_linear_time():
    """Each copy has the id of what it copies; counting from 1 for each took 2 s for 4000."""
    copies = "".join(f'<use href="#p" x="{n}"/>' for n in range(4000))
    document = parse(svg(f'<path id="p" d="M0 0h1v1z"/>{copies}')).document
    text = within(1.0, lambda: write(document))
    names = re.findall(r' id="(.*?)"', text)
    assert names == ["p", *(f"p-{n}" for n in range(2, 4002))]
