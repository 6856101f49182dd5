"""Untrusted XML: what is refused, how quickly, and how names are understood."""

from __future__ import annotations

import time

import pytest
from dreamsampler_pack.svg.markup.xml import SVGError, read_xml

SVG = 'xmlns="http://www.w3.org/2000/svg"'


def test_elements_keep_their_order_attributes_text_and_lines():
    root = read_xml(f'<svg {SVG}>\n<g id="a"><title>one &amp; <b/>two</title></g>\n<g id="b"/></svg>')
    assert [e.tag for e in root.walk()] == ["svg", "g", "title", "b", "g"]
    assert [child.attributes["id"] for child in root.children] == ["a", "b"]
    title = root.children[0].children[0]
    assert title.text == "one & two"
    assert title.parent is root.children[0]
    assert root.children[1].where() == "<g id='b'> in line 3"


def test_namespaces_decide_what_is_svg():
    root = read_xml(
        '<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" xmlns:o="http://o">'
        '<s:use x:href="#a" o:label="no"/><o:rect/><rect xmlns="http://o"/></s:svg>'
    )
    assert [e.tag for e in root.walk()] == ["svg", "use", "o:rect", "other:rect"]
    assert root.children[0].attributes == {"xlink:href": "#a"}


@pytest.mark.parametrize("text", ['<svg><use xlink:href="#a"/></svg>', '<svg xmlns=""><use xlink:href="#a"/></svg>'])
def test_svg_without_namespaces_is_svg(text):
    root = read_xml(text)
    assert (root.tag, root.children[0].tag) == ("svg", "use")
    assert root.children[0].attributes["xlink:href"] == "#a"


@pytest.mark.parametrize(
    "data",
    [
        '<svg a="ü"/>',
        '<svg a="ü"/>'.encode(),
        '\ufeff<svg a="ü"/>'.encode(),
        '<?xml version="1.0" encoding="UTF-16"?><svg a="ü"/>'.encode("utf-16"),
        '<?xml version="1.0" encoding="ISO-8859-1"?><svg a="ü"/>'.encode("latin-1"),
        '<?xml version="1.0" encoding="windows-1252"?><svg a="ü"/>'.encode("cp1252"),
        '<?xml version="1.0" encoding="UTF-16"?><svg a="ü"/>',
    ],
)
def test_encodings(data):
    assert read_xml(data).attributes["a"] == "ü"


def test_a_plain_doctype_is_fine_and_nothing_is_fetched():
    doctype = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "file:///etc/passwd">'
    assert read_xml(f"{doctype}<svg/>").tag == "svg"


ILLUSTRATOR = '<!DOCTYPE svg [\n<!ENTITY ns_svg "http://www.w3.org/2000/svg">]><svg xmlns="&ns_svg;"/>'
LAUGHS = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><svg>&b;</svg>'
DEFAULTS = f'<!DOCTYPE svg [<!ATTLIST g a CDATA "{"a" * 10000}">]><svg>{"<g/>" * 1000}</svg>'
EXTERNAL = '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'


@pytest.mark.parametrize("text", [ILLUSTRATOR, LAUGHS, DEFAULTS, EXTERNAL])
def test_markup_declarations_are_refused(text):
    with pytest.raises(SVGError, match="DOCTYPE in line 1 declares entities .* Save the drawing as plain SVG"):
        read_xml(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not well-formed XML: no element found in line 1, column 1"),
        ("hello", "not well-formed XML: syntax error in line 1"),
        ("<svg>\n  <g></svg>", "not well-formed XML: mismatched tag in line 2, column 8"),
        ("<svg>&nbsp;</svg>", "not well-formed XML: undefined entity in line 1"),
        (b"\x1f\x8b\x08", r"compressed \(.svgz\): unpack it first"),
        (b'<?xml version="1.0" encoding="klingon"?><svg/>', "unknown encoding|encoding cannot be read"),
        (b'<?xml version="1.0" encoding="utf-7"?><svg/>', "encoding cannot be read .* save it in UTF-8"),
        ("<svg>\ud800</svg>", "not well-formed XML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, message):
    with pytest.raises(SVGError, match=message):
        read_xml(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("<svg>" + "<g/>" * 25_000_000 + "</svg>", "has 100 MB and 20 MB can be read"),
        ("<g>" * 1000 + "</g>" * 1000, "more than 100 elements inside each other"),
        ("<g>" * 5_000_000, "more than 100 elements inside each other"),
        ("<svg>" + "<g/>" * 4_000_000 + "</svg>", "more than 200000 elements"),
    ],
    ids=["long", "deep", "very deep", "many"],
)
def test_huge_documents_are_refused_quickly(text, message):
    start = time.perf_counter()
    with pytest.raises(SVGError, match=message):
        read_xml(text)
    assert time.perf_counter() - start < 2.0
