"""Words that the pack does not use, and the prose in which to look for them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator

_ROOTS = (
    "categor|character|color|colour|custom|discret|emphas|final|general|initial|linear|local|maxim|minim|normal|optim|"
    "organ|parametr|penal|quant|random|raster|real|recogn|regular|serial|special|stabil|summar|synchron|token|util|"
    "vector|visual"
)
_BRITISH = (
    rf"\w*(?:{_ROOTS})is(?:e[ds]?|ers?|ing|ations?)\w*",
    r"\w*colour\w*",
    r"\w*(?:behaviour|favour|neighbour)\w*",
    r"(?:artefact|analyse|catalogue|centre|fibre|grey|judgement|licence)\w*",
    r"\w*(?:cancell|labell|modell|travell)(?:ed|er|ing)",
)
"""British spellings: color, optimize, neighbor, center, gray, canceled."""
_OTHERS = (
    r"pictures?",  # image
    r"published",  # the paper's
    r"damaged (?:image|icon|photo|drawing)s?",  # degraded
    r"shaken",  # motion-blurred
    r"anew",  # again, new
)
UNWANTED = re.compile(rf"\b(?:{'|'.join((*_BRITISH, *_OTHERS))})\b", re.IGNORECASE)
"""British spellings, and words that have another in their place."""

CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE, _QUOTED = re.compile(r"`[^`\n]+`"), re.compile(r"\"[^\"\n]*\"|'\w+'")
_END = re.compile(r"\w[.?](?:\s|$)")
_IMAGE, LINK = re.compile(r"!\[([^\]]*)\]\([^)]*\)"), re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def without_code(markdown: str) -> str:
    return _CODE.sub("", CODE_BLOCK.sub("", markdown))


def prose(markdown: str) -> str:
    """What a reader of a page reads: images by their alt text, without links, which may be names of files."""
    return LINK.sub("", _IMAGE.sub(r"\1", without_code(markdown)))


def python_prose(source: str) -> str:
    """Docstrings and comments of a module, without code and quotations in them."""
    return _QUOTED.sub("", without_code("\n".join((*_docstrings(source), *_comments(source)))))


def sentences(source: str) -> str:
    """The strings of a module in which a sentence ends, without code and quotations in them."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    said = (text for text in constants if isinstance(text, str) and _END.search(text))
    return _QUOTED.sub("", without_code("\n".join(said)))


def _docstrings(source: str) -> Iterator[str]:
    """All strings that are statements: docstrings, also those below a constant."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def _comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def unwanted(text: str, names: Iterable[str] = ()) -> list[str]:
    """The unwanted words of a text. `names` are words that saved workflows hold, which may not change."""
    return [word for word in UNWANTED.findall(text) if word not in set(names)]
