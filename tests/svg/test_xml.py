"""Untrusted XML: errors, time limits and namespaces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dreamsampler.svg.markup.xml import SVGError, read_xml
from support.clock import refused_within

SVG = 'xmlns="http://www.w3.org/2000/svg"'


def test_elements_have_order_attributes_text_and_lines():
    root = read_xml(f'<svg {SVG}>\n<g id="a"><title>one &amp; <b/>two</title></g>\n<g id="b"/></svg>')
    assert [e.tag for e in root.walk()] == ["svg", "g", "title", "b", "g"]
    assert [child.attributes["id"] for child in root.children] == ["a", "b"]
    title = root.children[0].children[0]
    assert title.text == "one & two"
    assert title.parent is root.children[0]
    assert root.children[1].where() == "<g id='b'> on line 3"


def test_svg_elements_are_recognized_by_namespace():
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


def test_plain_doctype_is_accepted_and_loads_nothing():
    doctype = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "file:///etc/passwd">'
    assert read_xml(f"{doctype}<svg/>").tag == "svg"


ILLUSTRATOR = (
    '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [\n'
    '<!ENTITY ns_svg "http://www.w3.org/2000/svg">\n<!ENTITY ns_xlink "http://www.w3.org/1999/xlink">\n'
    '<!ENTITY st0 "fill:#f00;">]>\n'
    '<svg xmlns="&ns_svg;" xmlns:x="&ns_xlink;"><use x:href="#a" style="&st0;stroke:none"/>a &st0; b</svg>'
)


def test_entities_of_plain_text_are_read():
    root = read_xml(ILLUSTRATOR)
    assert (root.tag, root.text) == ("svg", "a fill:#f00; b")
    assert root.children[0].attributes == {"xlink:href": "#a", "style": "fill:#f00;stroke:none"}


@pytest.mark.parametrize("subset", ["[ ]", "[<!-- nothing -->]", "[\n<!ELEMENT svg ANY>\n]"])
def test_subsets_without_entities_are_read(subset):
    assert read_xml(f"<!DOCTYPE svg {subset}><svg/>").tag == "svg"


LAUGHS = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><svg>&b;</svg>'
ENCODED_LAUGHS = LAUGHS.replace("&a;", "&#38;a;")
ELEMENTS = '<!DOCTYPE svg [<!ENTITY a "&#60;g/>">]><svg>&a;</svg>'
PARAMETER = "<!DOCTYPE svg [<!ENTITY % a '<!ENTITY b \"c\">'> %a;]><svg>&b;</svg>"
DEFAULTS = f'<!DOCTYPE svg [<!ATTLIST g a CDATA "{"a" * 10000}">]><svg>{"<g/>" * 1000}</svg>'
EXTERNAL = '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'
NOTATION = '<!DOCTYPE svg [<!NOTATION n SYSTEM "file:///etc/passwd">]><svg/>'


@pytest.mark.parametrize("text", [LAUGHS, ENCODED_LAUGHS, ELEMENTS, PARAMETER, DEFAULTS, EXTERNAL, NOTATION])
def test_markup_declarations_raise_an_error(text):
    with pytest.raises(SVGError, match="DOCTYPE on line 1 declares entities .* Save the drawing as plain SVG"):
        read_xml(text)


def test_entities_that_expand_beyond_the_limit_raise_an_error():
    entity = f'<!DOCTYPE svg [<!ENTITY a "{"ü" * 10_000}">]>'
    assert len(read_xml(f"{entity}<svg>{'&a;' * 190}</svg>").text) == 1_900_000
    with pytest.raises(SVGError, match="entities of the DOCTYPE on line 1 may expand beyond the limit of 4 MB"):
        read_xml(f"{entity}<svg>{'&a;' * 210}</svg>")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not well-formed XML: no element found on line 1, column 1"),
        ("hello", "not well-formed XML: syntax error on line 1"),
        ("<svg>\n  <g></svg>", "not well-formed XML: mismatched tag on line 2, column 8"),
        ("<svg>&nbsp;</svg>", "not well-formed XML: undefined entity on line 1"),
        (b"\x1f\x8b\x08", r"compressed \(.svgz\)\. Decompress it first"),
        (b'<?xml version="1.0" encoding="klingon"?><svg/>', "unknown encoding|encoding is not supported"),
        (b'<?xml version="1.0" encoding="utf-7"?><svg/>', "encoding is not supported .* Save it as UTF-8"),
        ("<svg>\ud800</svg>", "not well-formed XML"),
    ],
)
def test_errors_of_invalid_documents_name_the_location(text, message):
    with pytest.raises(SVGError, match=message):
        read_xml(text)


BILLION = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))


def namespaces() -> str:
    prefixes = " ".join(f'xmlns:a{i}=""' for i in range(40_000))
    return f"<svg {prefixes}>" + '<g xmlns:b=""/>' * 40_000 + "<"


def attributes() -> str:
    names = " ".join(f'a{i}=""' for i in range(1_500_000))
    return f"<svg {names}/>"


HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "long": (lambda: "<svg>" + "<g/>" * 25_000_000 + "</svg>", "has 100 MB; the limit is 20 MB"),
    "deep": (
        lambda: "<g>" * 1000 + "</g>" * 1000,
        "nested more than 100 levels deep on line 1. Ungroup the drawing",
    ),
    "very deep": (lambda: "<g>" * 5_000_000, "nested more than 100 levels deep"),
    "many": (
        lambda: "<svg>" + "<g/>" * 4_000_000 + "</svg>",
        "limit of 50000 elements on line 1. Simplify it",
    ),
    "attributes": (
        attributes,
        "has 1500000 equals signs; the limit is 200000 attributes. Simplify it or remove",
    ),
    "more attributes": (
        lambda: "<svg>" + '<g a="" b="" c="" d=""/>' * 500_000,
        "has 2000000 equals signs",
    ),
    "namespaces": (namespaces, "unclosed token on line 1"),
    "comments": (lambda: "<svg>" + "<!---->" * 2_800_000 + "<", "unclosed token on line 1, column 19600006"),
    "a comment": (lambda: "<svg><!--" + "-a" * 9_900_000, "unclosed token on line 1, column 6"),
    "references": (lambda: "<svg>" + "&lt;" * 4_900_000 + "<", "unclosed token on line 1"),
    "lines": (lambda: "<svg>" + "a\n" * 9_900_000 + "<", "unclosed token on line 9900001"),
    "references in an attribute": (
        lambda: "<svg a='" + "&#10;" * 3_900_000 + "'/><",
        "unclosed token on line 1",
    ),
    "a name": (lambda: "<svg><" + "a" * 11_900_000, "unclosed token on line 1"),
    "entities": (
        lambda: f"<!DOCTYPE svg [{BILLION}]><svg>&a9;</svg>",
        "DOCTYPE on line 1 declares entities",
    ),
}
"""Documents of many megabytes, made when they are needed, and what is said of them."""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_raise_errors_quickly(name: str):
    make, message = HOSTILE[name]
    document = make()
    refused_within(2.0, lambda: read_xml(document), SVGError, message)


def test_namespaces_end_with_their_element():
    root = read_xml('<svg><g xmlns:svg="http://o" xmlns="http://o"><svg:a/><b/></g><svg:c/><d/><e:f/></svg>')
    assert [e.tag for e in root.walk()] == ["svg", "other:g", "svg:a", "other:b", "c", "d", "e:f"]
