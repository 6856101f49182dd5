"""Untrusted XML as a small tree of elements: no entities, nothing fetched, bounded size and depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from xml.parsers import expat

LARGEST_DOCUMENT = 20_000_000
"""Bytes."""
MOST_ELEMENTS = 50_000
MOST_ATTRIBUTES = 200_000
DEEPEST = 100
"""Elements inside each other; readers may recurse this far."""

_Namespaces = dict[str, str | None]
"""Addresses by prefix, "" for none; None where nothing is declared."""

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"


class SVGError(ValueError):
    """The document cannot be read; the message is a sentence that says why and where."""


@dataclass(eq=False)
class Element:
    """A tag with its attributes, its text and what it holds.

    `tag` is a plain name for SVG and for elements without a namespace, "prefix:name" for those of other namespaces.
    Attributes without a prefix keep their name, those of XLink become "xlink:name", others are left out. `text` is all
    of the text directly inside; `line` counts from 1. `sheets` is how many style sheets elsewhere are named before it.
    """

    tag: str
    attributes: dict[str, str]
    line: int
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    text: str = ""
    sheets: int = 0

    @cached_property
    def size(self) -> int:
        """Characters in the attributes."""
        return sum(len(name) + len(value) for name, value in self.attributes.items())

    def walk(self) -> Iterator[Element]:
        """This element and all inside it, in the order of the document."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))

    def where(self) -> str:
        """For messages: which element this is."""
        name = self.attributes.get("id", "")[:60]
        return f"<{self.tag}{f' id={name!r}' if name else ''}> in line {self.line}"


def read_xml(source: str | bytes) -> Element:
    """The root element of a document.

    Raises SVGError for one that is malformed, too deep, has markup declarations of its own, or goes beyond the limits:
    20 MB, 50,000 elements, 200,000 attributes.
    """
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    if len(data) > LARGEST_DOCUMENT:
        raise SVGError(
            f"The document has {len(data) / 1e6:.0f} MB and {LARGEST_DOCUMENT / 1e6:.0f} MB can be read: simplify it, "
            "or remove pictures embedded in it."
        )
    if data[:2] == b"\x1f\x8b":
        raise SVGError("The document is compressed (.svgz): unpack it first.")
    # Counted ahead, as expat hands an element over only after it has read all of its attributes.
    if data.count(b"=") > MOST_ATTRIBUTES:
        raise SVGError(
            f"The document has {data.count(b'=')} equals signs, and {MOST_ATTRIBUTES} attributes can be read: simplify "
            "it, or remove scripts and data embedded in it."
        )
    return _Tree(None if isinstance(source, bytes) else "utf-8").read(data)


class _Tree:
    """What expat tells becomes elements."""

    def __init__(self, encoding: str | None):
        # Some encodings of the XML declaration are unknown to Python; text that is decoded already overrides them.
        self._parser = expat.ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction
        self._root: Element | None = None
        self._open: list[tuple[Element, _Namespaces, list[str]]] = []
        """Elements that have not ended, with what their namespaces replaced, and the text in them."""
        self._namespaces: _Namespaces = {}
        """Those in force; one for the whole document, as copies for each element would grow with their product."""
        self._count = self._sheets = 0

    def read(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise SVGError(
                f"The document is not well-formed XML: {expat.ErrorString(error.code)} in line {error.lineno}, column "
                f"{error.offset + 1}. Correct it there, or export the drawing again."
            ) from None
        except SVGError:
            raise
        except (LookupError, ValueError) as error:
            raise SVGError(f"The document's encoding cannot be read ({error}): save it in UTF-8.") from None
        if self._root is None:
            raise SVGError("The document holds no elements: it should begin with <svg>.")
        return self._root

    def _doctype(self, name: str, system: str | None, public: str | None, has_declarations: int) -> None:
        if has_declarations:
            raise SVGError(
                f"The DOCTYPE in line {self._parser.CurrentLineNumber} declares entities or other markup of its own, "
                "which is refused because it can make a small file expand without bounds. Save the drawing as plain "
                "SVG, in Illustrator without 'Preserve Illustrator Editing Capabilities'."
            )

    def _instruction(self, target: str, data: str) -> None:
        self._sheets += target == "xml-stylesheet" and self._root is None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise SVGError(
                f"The document has more than {MOST_ELEMENTS} elements, the most that can be read, up to line "
                f"{self._parser.CurrentLineNumber}: simplify it."
            )
        if len(self._open) >= DEEPEST:
            raise SVGError(
                f"In line {self._parser.CurrentLineNumber} there are more than {DEEPEST} elements inside each other: "
                "ungroup the drawing."
            )
        parent = self._open[-1][0] if self._open else None
        declared = _declared(attributes)
        replaced = {prefix: self._namespaces.get(prefix) for prefix in declared}
        self._namespaces.update(declared)
        element = Element(
            _qualified(name, self._namespaces),
            _plain(attributes, self._namespaces),
            self._parser.CurrentLineNumber,
            parent,
        )
        if parent is None:
            self._root = element
            element.sheets = self._sheets
        else:
            parent.children.append(element)
        self._open.append((element, replaced, []))

    def _end(self, name: str) -> None:
        element, replaced, text = self._open.pop()
        element.text = "".join(text)
        self._namespaces.update(replaced)

    def _characters(self, data: str) -> None:
        self._open[-1][2].append(data)


def _declared(attributes: dict[str, str]) -> _Namespaces:
    """The namespaces that an element declares."""
    declared: _Namespaces = {name[6:]: value for name, value in attributes.items() if name.startswith("xmlns:")}
    if "xmlns" in attributes:
        declared[""] = attributes["xmlns"]
    return declared


def _qualified(name: str, namespaces: _Namespaces) -> str:
    prefix, _, local = name.rpartition(":")
    address = namespaces.get(prefix)
    if address is None:
        address = SVG_NAMESPACE if prefix in ("", "svg") else prefix
    # Without a namespace it is SVG as web pages embed it.
    return local if address in (SVG_NAMESPACE, "") else f"{prefix or 'other'}:{local}"


def _plain(attributes: dict[str, str], namespaces: _Namespaces) -> dict[str, str]:
    plain = {}
    for name, value in attributes.items():
        prefix, _, local = name.rpartition(":")
        if not prefix:
            plain[name] = value
        elif namespaces.get(prefix) == XLINK_NAMESPACE or (prefix == "xlink" and namespaces.get(prefix) is None):
            plain[f"xlink:{local}"] = value
    return plain
