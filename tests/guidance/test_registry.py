"""A registry keeps its entries in the order of the list and refuses clashes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from dreamsampler.guidance.core.registry import Registry


@dataclass(frozen=True)
class Shape:
    name: str
    order: int | None = None


def shapes(*entries: Shape) -> Registry[Shape]:
    registry: Registry[Shape] = Registry("shape")
    for entry in entries:
        registry.register(entry)
    return registry


def test_entries_are_in_the_order_of_the_list_however_they_are_registered():
    registry = shapes(Shape("b"), Shape("square", 1), Shape("a"), Shape("circle", 0))
    assert list(registry) == ["circle", "square", "a", "b"]
    assert registry.listed == ["circle", "square"]
    assert registry["square"] == Shape("square", 1)


@pytest.mark.parametrize("taken", [Shape("circle", 5), Shape("disc", 0), Shape("circle")])
def test_a_taken_name_or_order_is_refused(taken: Shape):
    registry = shapes(Shape("circle", 0), Shape("square", 1), Shape("hidden"))
    before = dict(registry)
    with pytest.raises(ValueError, match=r"The shape '\w+' .* clashes with 'circle' of order 0: .* an order above 1\."):
        registry.register(taken)
    assert registry == before


def test_entries_off_the_list_do_not_clash():
    assert list(shapes(Shape("a"), Shape("b"))) == ["a", "b"]


def test_the_modules_of_a_package_register_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "registry_of_shapes"
    package.mkdir()
    (package / "__init__.py").write_text("found = []")
    for name in ("circle", "square"):
        (package / f"{name}.py").write_text(f"from . import found\nfound.append({name!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    shapes().discover("registry_of_shapes")
    assert sorted(sys.modules["registry_of_shapes"].found) == ["circle", "square"]
