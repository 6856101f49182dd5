"""Parses untrusted XML into a small element tree: only plain entities, no external access, bounded size and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from xml.parsers import expat

MAX_BYTES = 20_000_000
MAX_ENTITY_BYTES = 4_000_000
"""All entities expanded; above 8 MB, expat refuses a document that is mostly entities on its own."""
MAX_ELEMENTS = 50_000
MAX_ATTRIBUTES = 200_000
MAX_DEPTH = 100
"""Nesting depth of elements; code that walks the tree may recurse this far."""

_Namespaces = dict[str, str | None]
"""Namespace URIs by prefix, "" for the default namespace; None marks an undeclared prefix."""

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SVGError(ValueError):
    """The document cannot be used. The message is a sentence that says why, where and what to change."""


@dataclass(eq=False)
class Element:
    """An XML element.

    `tag` is the local name for SVG elements and for elements without a namespace, "prefix:name" for other namespaces.
    Attributes without a prefix keep their name, XLink attributes become "xlink:name", and all others are dropped.
    `text` is the text directly inside the element, without that of its children. `line` counts from 1. `sheets` is the
    number of xml-stylesheet instructions before the root element; it is set on the root only.
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
        """Total characters of attribute names and values."""
        return sum(len(name) + len(value) for name, value in self.attributes.items())

    def walk(self) -> Iterator[Element]:
        """This element and its descendants in document order."""
        stack: list[Element] = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(reversed(element.children))

    def where(self) -> str:
        """The element as named in messages: "<rect id='a'> on line 3"."""
        name = self.attributes.get("id", "")[:60]
        return f"<{self.tag}{f' id={name!r}' if name else ''}> on line {self.line}"


def read_xml(source: str | bytes) -> Element:
    """Parse a document and return its root element. Bytes are decoded as their XML declaration says.

    Raises:
        SVGError: The document is malformed, is compressed, declares anything but entities of plain text, or exceeds a
            limit: 20 MB, 4 MB of expanded entities, 50,000 elements, 200,000 attributes, 100 levels of nesting.
    """
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise SVGError(
            f"The document has {len(data) / 1e6:.0f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB. Simplify it or remove "
            "embedded images."
        )
    if data[:2] == b"\x1f\x8b":
        raise SVGError("The document is compressed (.svgz). Decompress it first.")
    # Counted up front: expat reports an element only after parsing all of its attributes.
    if data.count(b"=") > MAX_ATTRIBUTES:
        raise SVGError(
            f"The document has {data.count(b'=')} equals signs; the limit is {MAX_ATTRIBUTES} attributes. Simplify it "
            "or remove embedded scripts and data."
        )
    return _TreeBuilder(None if isinstance(source, bytes) else "utf-8").read(data)


class _TreeBuilder:
    """Builds elements from expat's callbacks."""

    def __init__(self, encoding: str | None):
        # For text that is already decoded, the given encoding overrides the one in the XML declaration.
        self._parser = expat.ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._parser.AttlistDeclHandler = self._declaration
        self._parser.NotationDeclHandler = self._declaration
        self._parser.EndDoctypeDeclHandler = self._end_of_doctype
        self._parser.ProcessingInstructionHandler = self._instruction
        self._root: Element | None = None
        self._open: list[tuple[Element, _Namespaces, list[str]]] = []
        """Open elements, each with the namespace bindings it replaced and the text collected so far."""
        self._namespaces: _Namespaces = {}
        """Bindings in scope. One mutable dict: a copy per element would cost elements x prefixes."""
        self._count = self._sheets = 0
        self._references = self._longest_entity = 0
        """Ampersands in the document, and bytes of the longest entity: their product bounds what entities expand to."""

    def read(self, data: bytes) -> Element:
        self._references = data.count(b"&")
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise SVGError(
                f"The document is not well-formed XML: {expat.ErrorString(error.code)} on line {error.lineno}, column "
                f"{error.offset + 1}. Fix it there or export the drawing again."
            ) from None
        except SVGError:
            raise
        except (LookupError, ValueError) as error:
            raise SVGError(f"The document's encoding is not supported ({error}). Save it as UTF-8.") from None
        if self._root is None:
            raise SVGError("The document has no elements. It must contain an <svg> element.")
        return self._root

    def _entity(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        """Accept an entity that is plain text, such as the namespaces that Illustrator declares.

        Without references of its own it cannot grow, and without tags it adds no elements.
        """
        if is_parameter or value is None or "&" in value or "<" in value:
            self._declaration()
        self._longest_entity = max(self._longest_entity, len((value or "").encode()))

    def _declaration(self, *_: object) -> None:
        raise SVGError(
            f"The DOCTYPE on line {self._parser.CurrentLineNumber} declares entities that are more than plain text, or "
            "other markup, which is not allowed because it can make a small file expand without bound. Save the "
            "drawing as plain SVG; in Illustrator, turn off 'Preserve Illustrator Editing Capabilities'."
        )

    def _end_of_doctype(self) -> None:
        if self._references * self._longest_entity > MAX_ENTITY_BYTES:
            raise SVGError(
                f"The entities of the DOCTYPE on line {self._parser.CurrentLineNumber} may expand beyond the limit of "
                f"{MAX_ENTITY_BYTES / 1e6:.0f} MB. Replace them by their text, or save the drawing as plain SVG."
            )

    def _instruction(self, target: str, data: str) -> None:
        self._sheets += target == "xml-stylesheet" and self._root is None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise SVGError(
                f"The document exceeds the limit of {MAX_ELEMENTS} elements on line "
                f"{self._parser.CurrentLineNumber}. Simplify it."
            )
        if len(self._open) >= MAX_DEPTH:
            raise SVGError(
                f"Elements are nested more than {MAX_DEPTH} levels deep on line {self._parser.CurrentLineNumber}. "
                "Ungroup the drawing."
            )
        parent = self._open[-1][0] if self._open else None
        declared = _declared(attributes)
        replaced = {prefix: self._namespaces.get(prefix) for prefix in declared}
        self._namespaces.update(declared)
        element = Element(
            _qualified(name, self._namespaces),
            _supported_attributes(attributes, self._namespaces),
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
    """The namespace bindings declared on an element."""
    declared: _Namespaces = {name[6:]: value for name, value in attributes.items() if name.startswith("xmlns:")}
    if "xmlns" in attributes:
        declared[""] = attributes["xmlns"]
    return declared


def _qualified(name: str, namespaces: _Namespaces) -> str:
    prefix, _, local = name.rpartition(":")
    uri = namespaces.get(prefix)
    if uri is None:
        uri = SVG_NAMESPACE if prefix in ("", "svg") else prefix
    # Elements without a namespace are taken as SVG, as in inline SVG of web pages.
    return local if uri in (SVG_NAMESPACE, "") else f"{prefix or 'other'}:{local}"


def _supported_attributes(attributes: dict[str, str], namespaces: _Namespaces) -> dict[str, str]:
    kept = {}
    for name, value in attributes.items():
        prefix, _, local = name.rpartition(":")
        if not prefix:
            kept[name] = value
        elif namespaces.get(prefix) == XLINK_NAMESPACE or (prefix == "xlink" and namespaces.get(prefix) is None):
            kept[f"xlink:{local}"] = value
    return kept


def readable(text: str) -> str:
    """Text without the characters that XML does not allow."""
    return _NOT_ALLOWED.sub("", text)


def as_id(name: str) -> str:
    """A name as an id: without spaces, which ids do not have. May be empty."""
    return "_".join(readable(name).split())
