"""The texts of all nodes for ComfyUI's page, in English and in translations.

    .host/venv/bin/python -m tools.locales                write locales/en from the schemas of the nodes
    .host/venv/bin/python -m tools.locales --missing zh   list texts that are missing or outdated in locales/zh
    .host/venv/bin/python -m tools.locales --confirm zh   mark all texts in locales/zh as up to date

The page shows texts from `locales/<language>/nodeDefs.json` in the user's language, and English for texts that are not
there, so a translation may be incomplete. Write English texts in the schemas; `locales/en` is a copy to translate from.

`locales/<language>/sources.json` holds a digest of the English text behind each translation. The page does not read it.
Run ``--confirm`` after translating.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .reference import host_access

CHECKOUT = Path(__file__).resolve().parents[1]
LOCALES = CHECKOUT / "locales"
Texts = dict[str, dict[str, Any]]
"""The texts of the nodes, by node id, in the page's format."""


def texts_of(language: str) -> Path:
    """The file with the node texts of a language."""
    return LOCALES / language / "nodeDefs.json"


def page_words_of(language: str) -> Path:
    """The file with the page script texts of a language."""
    return LOCALES / language / "main.json"


def sources_of(language: str) -> Path:
    """The file with the digests of the English texts that a language is translated from."""
    return LOCALES / language / "sources.json"


def english() -> Texts:
    """The texts of all nodes, from their schemas."""
    return {schema.node_id: _node(schema) for schema in _schemas()}


def english_page_words() -> dict[str, str]:
    """The texts of the page script by key, from `js/words.js`."""
    script = (CHECKOUT / "js" / "words.js").read_text("utf-8")
    table = script.partition("const ENGLISH = {")[2].partition("};")[0]
    return dict(re.findall(r'^  (\w+): "(.*)",$', table, re.MULTILINE))


def written(texts: Any) -> str:
    """The content of a file with these texts."""
    return json.dumps(texts, indent=2, ensure_ascii=False) + "\n"


def flat(texts: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Nested texts as single ones, with keys such as "DSMeasurement.inputs.image.tooltip"."""
    if not isinstance(texts, dict) or not texts:
        yield key, texts
        return
    for name, part in texts.items():
        yield from flat(part, f"{key}.{name}" if key else name)


def english_by_key() -> dict[str, str]:
    """All English texts, of nodes and page script, by key."""
    return {**dict(flat(english())), **dict(flat(english_page_words(), "main"))}


def translated_by_key(language: str) -> dict[str, str]:
    """All texts of a language, by the same keys."""
    words = json.loads(page_words_of(language).read_text("utf-8"))["dreamsampler"]
    return {**dict(flat(json.loads(texts_of(language).read_text("utf-8")))), **dict(flat(words, "main"))}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def missing(original: dict[str, str], translated: dict[str, str], sources: dict[str, str]) -> dict[str, str]:
    """Keys whose translation is "missing", or "outdated" because the English text has changed."""
    states = {}
    for key, text in original.items():
        if key not in translated:
            states[key] = "missing"
        elif sources.get(key) != digest(text):
            states[key] = "outdated"
    return states


def missing_in(language: str) -> dict[str, str]:
    """`missing` for the files of a language."""
    sources = json.loads(sources_of(language).read_text("utf-8"))
    return missing(english_by_key(), translated_by_key(language), sources)


def _schemas() -> list[Any]:
    async def registered() -> list[Any]:
        from dreamsampler.nodes import DreamSamplerExtension  # needs the host

        return await DreamSamplerExtension().get_node_list()

    return [node.define_schema() for node in asyncio.run(registered())]


def _node(schema: Any) -> dict[str, Any]:
    inputs = _parts((each.id, each.display_name or each.id, each) for each in schema.inputs)
    outputs = _parts((str(index), each.display_name, each) for index, each in enumerate(schema.outputs))
    texts = {"display_name": schema.display_name, "description": schema.description, "inputs": inputs}
    return {**texts, **({"outputs": outputs} if outputs else {})}


def _parts(parts: Iterable[tuple[str, str, Any]]) -> Texts:
    """Inputs or outputs by key. The page replaces dots in keys with underscores."""
    return {key.replace(".", "_"): {"name": name, "tooltip": part.tooltip} for key, name, part in parts}


def _write_english() -> None:
    path = texts_of("en")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(english()), "utf-8")


def _print_missing(language: str) -> None:
    original, states = english_by_key(), missing_in(language)
    for key, state in states.items():
        print(f"{state}: {key}\n    {original[key]}")
    print(f"{len(states)} of {len(original)} texts are missing or outdated in {language}.")


def confirm(language: str) -> None:
    """Record that all texts of a language are translations of the present English ones."""
    translated = translated_by_key(language)
    digests = {key: digest(text) for key, text in english_by_key().items() if key in translated}
    sources_of(language).write_text(written(digests), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write locales/en, or check a translation.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--missing", metavar="LANGUAGE", help="list its missing or outdated texts")
    action.add_argument("--confirm", metavar="LANGUAGE", help="mark all its texts as up to date")
    arguments = parser.parse_args()
    host_access.import_comfy()
    if arguments.missing:
        _print_missing(arguments.missing)
    elif arguments.confirm:
        confirm(arguments.confirm)
    else:
        _write_english()


if __name__ == "__main__":
    main()
