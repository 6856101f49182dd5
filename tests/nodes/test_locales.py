"""English has all texts of all nodes. Translations may lack some, but must keep numbers, choices and node names.

`python -m tools.locales` writes the English file and lists missing translations.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfy_api.latest import io
from comfy_client import ComfyClient
from dreamsampler import comfy_entrypoint

from tools import locales

TRANSLATIONS = ["zh"]
LANGUAGES = ["en", *TRANSLATIONS]
BARE = {"CLIP", "SVG", "VAE", "eta", "gamma", "sigma"}
"""Names that are the same in all languages."""
SYNTAX = set("{}@|")
"""Characters with a special meaning in the page's translation strings."""
VALUE = re.compile(r"{\w+}")
"""A placeholder in a string of the page."""
CHINESE, NUMBER, QUOTED = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"-?\d+(?:\.\d+)?"), re.compile("「(.+?)」")

Key = tuple[str, ...]
"""The path of a text in a locale file."""


def schemas() -> list[io.Schema]:
    async def registered() -> list[type[io.ComfyNode]]:
        return await (await comfy_entrypoint()).get_node_list()

    return [node.define_schema() for node in asyncio.run(registered())]


def expected_keys() -> set[Key]:
    """The keys of all names, descriptions and tooltips."""
    expected: set[Key] = set()
    for schema in schemas():
        parts = [("inputs", each.id) for each in schema.inputs]
        parts += [("outputs", str(index)) for index in range(len(schema.outputs))]
        expected |= {(schema.node_id, key) for key in ("display_name", "description")}
        expected |= {(schema.node_id, *part, key) for part in parts for key in ("name", "tooltip")}
    return expected


def choices() -> dict[Key, list[str]]:
    """The options of each combo input, by the key of its tooltip."""
    return {
        (schema.node_id, "inputs", each.id, "tooltip"): [str(word) for word in each.options]
        for schema in schemas()
        for each in schema.inputs
        if isinstance(each, io.Combo.Input) and each.options
    }


def texts(language: str) -> dict[Key, Any]:
    """A language's texts by key."""
    content = json.loads(locales.texts_of(language).read_text("utf-8"))
    return {tuple(key.split(".")): text for key, text in locales.flat(content)}


def has_word(word: str, text: str) -> bool:
    """Whether a text contains a word. Chinese has no spaces around it."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.ASCII) is not None


def names_in(chinese: dict[Key, str]) -> set[str]:
    """The names of nodes, inputs and outputs, which other texts may quote."""
    return {text for key, text in chinese.items() if key[-1] in ("name", "display_name")}


def outdated(language: str) -> set[Key]:
    """The keys of texts that were translated from an earlier English text."""
    return {tuple(key.split(".")) for key, state in locales.missing_in(language).items() if state == "outdated"}


def differences(english: dict[Key, str], chinese: dict[Key, str]) -> list[str]:
    """Facts in which Chinese texts differ from the English ones, one line each."""
    words, known = choices(), names_in(texts("zh"))
    nodes = {
        text: f"「{chinese[key]}」" for key, text in english.items() if key[-1] == "display_name" and key in chinese
    }
    found = []
    for key in sorted(english.keys() & chinese.keys()):
        text = chinese[key]
        wrong = [*_letters(key, text), *_facts(english[key], text, words.get(key, []))]
        if key[-1] in ("description", "tooltip"):
            wrong += _nodes_left_out(english[key], text, nodes)
        wrong += [f"quotes {name}, which does not exist" for name in QUOTED.findall(text) if name not in known]
        found += [f"{'.'.join(key)} {each}: {text}" for each in wrong]
    return found


def _letters(key: Key, text: str) -> list[str]:
    bare = key[-1] == "name" and text in BARE
    return [] if bare or CHINESE.search(text) else ["is not Chinese"]


def _facts(original: str, text: str, words: list[str]) -> list[str]:
    same_numbers = Counter(NUMBER.findall(original)) == Counter(NUMBER.findall(text))
    lost = [word for word in words if has_word(word, original) and not has_word(word, text)]
    return [*([] if same_numbers else ["has other numbers"]), *(f"leaves out the choice {word}" for word in lost)]


def _nodes_left_out(original: str, text: str, nodes: dict[str, str]) -> list[str]:
    return [f"does not name {there}" for name, there in nodes.items() if name in original and there not in text]


def test_english_is_up_to_date():
    assert locales.texts_of("en").read_text("utf-8") == locales.written(locales.english())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_has_a_known_key(language: str):
    found = texts(language)
    assert set(found) - expected_keys() == set()
    assert [key for key, text in found.items() if not (isinstance(text, str) and text.strip())] == []


def test_english_is_complete():
    assert set(texts("en")) == expected_keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_have_no_special_characters(language: str):
    assert [key for key, text in texts(language).items() if SYNTAX & set(text)] == []
    assert [key for key in expected_keys() if any("." in part for part in key)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_are_formatted_by_the_tool(language: str):
    content = locales.texts_of(language).read_text("utf-8")
    assert content == locales.written(json.loads(content))


def test_every_language_is_tested():
    assert {path.parent.name for path in locales.LOCALES.glob("*/*")} == set(LANGUAGES)


def test_chinese_matches_english():
    stale = outdated("zh")
    assert differences(texts("en"), {key: text for key, text in texts("zh").items() if key not in stale}) == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_page_strings_are_translated(language: str):
    english = locales.english_page_words()
    assert len(english) > 20
    content = locales.page_words_of(language).read_text("utf-8")
    assert content == locales.written(json.loads(content))
    words = json.loads(content)["dreamsampler"]
    assert words.keys() <= english.keys()
    for key, text in words.items():
        assert Counter(VALUE.findall(text)) == Counter(VALUE.findall(english[key])), key
        assert not set("@|") & set(text), key
        assert CHINESE.search(text) or english[key] == "{size} kB", key


# Missing and outdated translations


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_source_digests_belong_to_translated_texts(language: str):
    content = locales.sources_of(language).read_text("utf-8")
    sources = json.loads(content)
    assert content == locales.written(sources)
    assert set(sources) - set(locales.translated_by_key(language)) == set()
    assert all(re.fullmatch("[0-9a-f]{8}", each) for each in sources.values())


def test_missing_lists_missing_and_outdated_texts():
    english = {"same": "Width.", "changed": "Height in pixels.", "new": "Seed.", "never confirmed": "Mask."}
    chinese = {"same": "宽度。", "changed": "高度。", "never confirmed": "掩码。"}
    sources = {"same": locales.digest("Width."), "changed": locales.digest("Height.")}
    found = locales.missing(english, chinese, sources)
    assert found == {"changed": "outdated", "new": "missing", "never confirmed": "outdated"}


@pytest.fixture
def own_locales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the locales folder, used instead of the real one."""
    shutil.copytree(locales.LOCALES, tmp_path / "locales")
    monkeypatch.setattr(locales, "LOCALES", tmp_path / "locales")
    return tmp_path / "locales"


def test_removed_and_outdated_translations_are_listed(own_locales: Path):
    path, sources = own_locales / "zh" / "nodeDefs.json", own_locales / "zh" / "sources.json"
    before, chinese, digests = locales.missing_in("zh"), json.loads(path.read_text("utf-8")), sources.read_text("utf-8")
    key, other = "DSMeasurement.inputs.image.tooltip", "DSMeasurement.inputs.seed.name"
    del chinese["DSMeasurement"]["inputs"]["image"]["tooltip"]
    path.write_text(locales.written(chinese), "utf-8")
    sources.write_text(locales.written({**json.loads(digests), other: locales.digest("former name")}), "utf-8")
    assert locales.missing_in("zh") == {**before, key: "missing", other: "outdated"}


def test_confirm_leaves_only_missing_texts(own_locales: Path):
    path = own_locales / "zh" / "nodeDefs.json"
    chinese = json.loads(path.read_text("utf-8"))
    del chinese["DSMeasurement"]["inputs"]["image"]["tooltip"]
    path.write_text(locales.written(chinese), "utf-8")
    (own_locales / "zh" / "sources.json").write_text("{}", "utf-8")
    locales.confirm("zh")
    assert set(locales.missing_in("zh").values()) == {"missing"}
    assert locales.missing_in("zh")["DSMeasurement.inputs.image.tooltip"] == "missing"


def test_untranslated_names_are_used():
    assert BARE <= names_in(texts("zh"))


@pytest.mark.parametrize(
    "input_id, key, text",
    [
        ("gamma", "tooltip", "Strength of the edit. 0 returns the source, 0.1 to 0.5 edits. 0.1 to 0.3."),
        ("seed", "name", "seed"),
        ("steps", "tooltip", "步数，论文用 20。"),
        ("gamma_schedule", "tooltip", "constant 从一开始就起作用。"),
        ("vae", "tooltip", "参见「没有的节点」。"),
        ("measurement", "tooltip", "已知信息：200 步，gamma 为 1，eta 为 1。"),
    ],
    ids=["English", "English name", "number", "choice", "unknown name", "node left out"],
)
def test_differences_are_found(input_id: str, key: str, text: str):
    path = ("DSProximalDreamSampler", "inputs", input_id, key)
    assert any(".".join(path) in line for line in differences(texts("en"), {**texts("zh"), path: text}))


def test_server_serves_all_languages(client: ComfyClient):
    async def served() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{client.url}/i18n") as reply:
            return await reply.json()

    nodes = {language: content["nodeDefs"] for language, content in asyncio.run(served()).items()}
    for language in LANGUAGES:
        own = json.loads(locales.texts_of(language).read_text("utf-8"))
        assert {node: nodes[language][node] for node in own} == own
