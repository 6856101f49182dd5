"""Small faults in Python code: one operator, number, branch or statement of a file changed."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

OPERATORS: dict[type, tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"), ast.And: ("and", "or"),
    ast.Or: ("or", "and"), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
"""Each operator, and what stands in its place."""
FUNCTIONS = {
    "min": "max", "amin": "amax", "minimum": "maximum", "clamp_min": "clamp_max", "argmin": "argmax", "floor": "ceil",
    "sin": "cos", "sum": "mean", "any": "all", "cumsum": "cumprod", "zeros": "ones", "zeros_like": "ones_like",
}  # fmt: skip
SWAPPED = {**FUNCTIONS, **{b: a for a, b in FUNCTIONS.items()}}
"""Functions and methods whose names are exchanged."""
CACHES = re.compile(r"(lru_)?cache\b")
"""Decorators of functions that run once for all tests."""
SKIPPED = (ast.JoinedStr, ast.Raise, ast.Assert, ast.ImportFrom, ast.Import)
"""Texts and errors: a wrong word of a message is no fault of the code."""


@dataclass(frozen=True)
class Mutation:
    """The characters `start` to `end` of a file (path from the checkout) become `replacement`.

    `lines` are those of the statement, `runs_once` says that it runs when the module is imported, or in a function
    whose results are cached.
    """

    checkout: Path
    file: str
    line: int
    lines: range
    runs_once: bool
    start: int
    end: int
    replacement: str

    def source(self) -> str:
        """The text of the file with the fault."""
        text = self._text()
        return text[: self.start] + self.replacement + text[self.end :]

    def shown(self) -> tuple[str, str]:
        """The line or lines it lies in, as they are and with the fault."""
        text = self._text()
        first = text.rfind("\n", 0, self.start) + 1
        last = text.find("\n", self.end)
        head, tail = text[first : self.start], text[self.end : last if last >= 0 else len(text)]
        code, mutant = (f"{head}{part}{tail}" for part in (text[self.start : self.end], self.replacement))
        return " ".join(code.split()), " ".join(mutant.split())

    def _text(self) -> str:
        return (self.checkout / self.file).read_text("utf-8")


def mutations(path: Path, checkout: Path) -> list[Mutation]:
    """All faults that this module knows to make in a file."""
    text = path.read_text("utf-8")
    found = _Finder(text, path.relative_to(checkout).as_posix(), checkout)
    found.visit(ast.parse(text))
    return found.mutations


class _Finder(ast.NodeVisitor):
    def __init__(self, text: str, file: str, checkout: Path):
        self.text, self.file, self.checkout = text, file, checkout
        self.source_lines = text.split("\n")
        self.line_starts = [0, *accumulate(len(line) + 1 for line in self.source_lines)]
        self.mutations: list[Mutation] = []
        self.statement: ast.stmt | None = None
        self.depth = 0
        self.cached = False

    # Where

    def _at(self, line: int, column: int) -> int:
        prefix = self.source_lines[line - 1].encode()[:column].decode()  # ast counts bytes of UTF-8
        return self.line_starts[line - 1] + len(prefix)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _add(self, start: int, end: int, replacement: str, node: ast.expr | ast.stmt) -> None:
        statement = self.statement or node
        last = statement.end_lineno or node.lineno
        if isinstance(statement, (ast.If, ast.While, ast.For, ast.With, ast.FunctionDef)):  # its head alone
            last = node.end_lineno or node.lineno
        lines = range(min(statement.lineno, node.lineno), last + 1)
        runs_once = self.depth == 0 or self.cached
        self.mutations.append(
            Mutation(self.checkout, self.file, node.lineno, lines, runs_once, start, end, replacement)
        )

    # What is left out

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, SKIPPED):
            return
        before = self.statement
        if isinstance(node, ast.stmt):
            self.statement = node
            self._delete(node)
        super().visit(node)
        self.statement = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        decorators = [ast.unparse(each) for each in node.decorator_list]
        if any(each.startswith("triton.") for each in decorators):  # Triton reads the code from its file, without fault
            return
        for default in [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]:
            self.visit(default)
        before = self.cached
        self.cached |= any(map(CACHES.match, decorators))
        self.depth += 1
        for statement in node.body:
            self.visit(statement)
        self.depth -= 1
        self.cached = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    # Faults

    def _delete(self, node: ast.stmt) -> None:
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if called and not ast.unparse(node).startswith(("log.", "warnings.")) or isinstance(node, ast.AugAssign):
            self._add(*self._span(node), "pass", node)

    def _operator(self, left: ast.expr, operator: ast.AST, right: ast.expr, whole: ast.expr) -> None:
        words = OPERATORS.get(type(operator))
        if words is None:
            return
        start, end = self._span(left)[1], self._span(right)[0]
        name = r"\s+".join(map(re.escape, words[0].split()))
        found = re.search(rf"(?<!\w){name}(?!\w)" if words[0][0].isalpha() else name, self.text[start:end])
        if found:
            self._add(start + found.start(), start + found.end(), words[1], whole)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._operator(node.left, node.op, node.right, node)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in pairwise(node.values):
            self._operator(left, node.op, right, node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            self._operator(left, operator, right, node)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        number = isinstance(node.operand, ast.Constant)
        if isinstance(node.op, (ast.Not, ast.USub)) and not number:
            start, end = self._span(node)
            self._add(start, end, self.text[slice(*self._span(node.operand))], node)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            after = str(not value)
        elif isinstance(value, int):
            after = str(value + 1)
        elif isinstance(value, float):
            after = repr(1.5 * value if value else 0.5)
        else:
            return
        self._add(*self._span(node), after, node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SWAPPED:
            end = self._span(node.func)[1]
            self._add(end - len(name), end, SWAPPED[name], node)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        start, end = self._span(node.test)
        self._add(start, end, f"not ({self.text[start:end]})", node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        start, end = self._span(node.test)
        self._add(start, end, f"not ({self.text[start:end]})", node.test)
        self.generic_visit(node)
