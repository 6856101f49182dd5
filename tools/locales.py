"""``.host/venv/bin/python -m tools.locales``: write the English texts of all nodes, which translations start from.

The page shows a node in the language of its user where `locales/<language>/nodeDefs.json` has texts for it, and with
the words of its schema otherwise. The words are written once, in the schemas; `locales/en` repeats them for those who
translate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .reference import host_access

LOCALES = Path(__file__).resolve().parents[1] / "locales"
Texts = dict[str, dict[str, Any]]
"""The texts of the nodes, by node id, as the page reads them."""


def texts_of(language: str) -> Path:
    """The file of one language."""
    return LOCALES / language / "nodeDefs.json"


def english() -> Texts:
    """The texts of all nodes, as their schemas have them."""
    return {schema.node_id: _node(schema) for schema in _schemas()}


def written(texts: Texts) -> str:
    """The content of a file."""
    return json.dumps(texts, indent=2, ensure_ascii=False) + "\n"


def _schemas() -> list[Any]:
    async def registered() -> list[Any]:
        from dreamsampler.nodes import DreamSamplerExtension  # needs the host

        return await DreamSamplerExtension().get_node_list()

    return [node.define_schema() for node in asyncio.run(registered())]


def _node(schema: Any) -> dict[str, Any]:
    inputs = _parts((each.id, each.display_name or each.id, each) for each in schema.inputs)
    outputs = _parts((str(place), each.display_name, each) for place, each in enumerate(schema.outputs))
    texts = {"display_name": schema.display_name, "description": schema.description, "inputs": inputs}
    return {**texts, **({"outputs": outputs} if outputs else {})}


def _parts(parts: Iterable[tuple[str, str, Any]]) -> Texts:
    """Inputs or outputs by their keys, in which the page writes an underscore for a dot."""
    return {key.replace(".", "_"): {"name": name, "tooltip": part.tooltip} for key, name, part in parts}


def main() -> None:
    host_access.import_comfy()
    path = texts_of("en")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(english()), "utf-8")


if __name__ == "__main__":
    main()
