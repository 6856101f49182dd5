"""Lists that files add themselves to: methods, operators and styles."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, TypeVar


class Listed(Protocol):
    """An entry of a list that users choose from.

    `name` is the word in the list; saved workflows hold it. `order` is its place; None keeps it off the list.
    """

    @property
    def name(self) -> str: ...
    @property
    def order(self) -> int | None: ...


Entry = TypeVar("Entry", bound=Listed)


class Registry(dict[str, Entry]):
    """Entries by name, in the order of their list; those without a place come last, by name.

    Each entry is declared in a file of its own, which calls `register`; `discover` imports all files of a package.
    """

    def __init__(self, kind: str):
        """`kind` names an entry in messages, such as "style"."""
        super().__init__()
        self.kind = kind

    @property
    def listed(self) -> list[str]:
        """The names that users choose from."""
        return [name for name, entry in self.items() if entry.order is not None]

    def register(self, entry: Entry) -> Entry:
        """Add an entry at its place. Raises ValueError if its name or its order is taken."""
        for other in self.values():
            if other.name == entry.name or (entry.order is not None and other.order == entry.order):
                raise ValueError(
                    f"The {self.kind} '{entry.name}' of order {entry.order} clashes with '{other.name}' of order "
                    f"{other.order}: choose another name, and an order above "
                    f"{max((each.order for each in self.values() if each.order is not None), default=0)}."
                )
        entries = sorted([*self.values(), entry], key=lambda each: (each.order is None, each.order or 0, each.name))
        self.clear()
        self.update({each.name: each for each in entries})
        return entry

    def discover(self, package: str) -> None:
        """Import every module of a package, each of which registers its entries."""
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")
