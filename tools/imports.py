"""Check who imports whom: `python tools/imports.py` names every import that runs up, or wrongly of ComfyUI.

The layers, lowest first. A package may import those in lower layers, never one in its own layer or above:

    svg, splats, guidance.core        vector graphics; Gaussian splats; noising path, denoiser, prior, DDIM
    guidance.prompts, guidance.networks, guidance.editing
    guidance.restoration
    guidance.distillation
    guidance                          what its packages export
    drawings, scenes                  optimizing SVGs and splats: on guidance, and on svg or splats
    nodes.host                        the only package that knows ComfyUI's internals
    nodes.sockets, nodes.widgets      socket types, widget helpers
    nodes.checks                      checks of what users connect
    nodes.runs                        what runs inside the host's sampler
    nodes                             one file per node
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LAYERS: tuple[tuple[str, ...], ...] = (
    ("svg", "splats", "guidance.core"),
    ("guidance.prompts", "guidance.networks", "guidance.editing"),
    ("guidance.restoration",),
    ("guidance.distillation",),
    ("guidance",),
    ("drawings", "scenes"),
    ("nodes.host",),
    ("nodes.sockets", "nodes.widgets"),
    ("nodes.checks",),
    ("nodes.runs",),
    ("nodes",),
)
"""Packages by layer, the lowest first."""
LIBRARIES = ("svg", "splats", "guidance", "drawings", "scenes")
"""Packages that work without ComfyUI."""
ADAPTER = "nodes.host"
"""The package that may import anything of ComfyUI's; the other nodes have its public `comfy_api` alone."""
COMFYUI = {
    "app", "comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "latent_preview",
    "node_helpers", "nodes", "server", "utils",
}  # fmt: skip
"""ComfyUI's own top-level modules."""


@dataclass(frozen=True)
class Import:
    """One import: the module it stands in, its line, the module it names, and whether that is one of the pack's own."""

    module: str
    line: int
    target: str
    own: bool

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}, imports {self.target}"


def imports(checkout: Path) -> Iterator[Import]:
    """All imports in the pack's packages, those inside functions too."""
    for top in sorted({package.split(".")[0] for layer in LAYERS for package in layer}):
        for path in sorted((checkout / top).rglob("*.py")):
            yield from _imports_of(path, path.relative_to(checkout).with_suffix("").parts)


def _imports_of(path: Path, parts: tuple[str, ...]) -> Iterator[Import]:
    package = parts[:-1]
    module = ".".join(package if parts[-1] == "__init__" else parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name, own=False)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import(module, node.lineno, node.module or "", own=False)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(module, node.lineno, f"{base}.{alias.name}", own=True)


def package_of(module: str) -> tuple[int, str]:
    """The layer and the name of the innermost package that a module of the pack is in."""
    packages = [
        (len(package), layer, package)
        for layer, names in enumerate(LAYERS)
        for package in names
        if module == package or module.startswith(package + ".")
    ]
    _, layer, package = max(packages)
    return layer, package


def faults(checkout: Path = CHECKOUT) -> list[str]:
    """What breaks the order, a line each."""
    return [fault for each in imports(checkout) if (fault := _fault(each))]


def _fault(each: Import) -> str | None:
    if not each.own:
        return _foreign_fault(each)
    (here, package), (there, other) = package_of(each.module), package_of(each.target)
    if package == other or there < here:
        return None
    return f"{each}: {package} must not import {other}, which is {'above' if there > here else 'beside'} it."


def _foreign_fault(each: Import) -> str | None:
    top = each.target.split(".")[0]
    if top not in COMFYUI:
        return None
    if each.module.split(".")[0] in LIBRARIES:
        return f"{each}: it must work without ComfyUI."
    if top != "comfy_api" and package_of(each.module)[1] != ADAPTER:
        return f"{each}: only {ADAPTER} may know ComfyUI's internals."
    return None


def main() -> int:
    found = faults()
    print("\n".join(found) or "Every import runs down.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
