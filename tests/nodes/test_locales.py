"""English has every text of every node. Translations may lack some, but say the same numbers and choices.

`python -m tools.locales` writes English, and lists what a translation lacks.
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
"""Names that are written alike in all languages."""
SYNTAX = set("{}@|")
"""What the page's translations would read as more than a letter."""
VALUE = re.compile(r"{\w+}")
"""The place of a value in a text of the page."""
CHINESE, NUMBER, QUOTED = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"-?\d+(?:\.\d+)?"), re.compile("「(.+?)」")

Place = tuple[str, ...]
"""The keys that lead to a text."""


def schemas() -> list[io.Schema]:
    async def registered() -> list[type[io.ComfyNode]]:
        return await (await comfy_entrypoint()).get_node_list()

    return [node.define_schema() for node in asyncio.run(registered())]


def places() -> set[Place]:
    """Where a text is wanted: the names of all nodes, inputs and outputs, and what explains them."""
    wanted: set[Place] = set()
    for schema in schemas():
        parts = [("inputs", each.id) for each in schema.inputs]
        parts += [("outputs", str(place)) for place in range(len(schema.outputs))]
        wanted |= {(schema.node_id, key) for key in ("display_name", "description")}
        wanted |= {(schema.node_id, *part, key) for part in parts for key in ("name", "tooltip")}
    return wanted


def choices() -> dict[Place, list[str]]:
    """The words of each list, by the place of the tooltip that explains them."""
    return {
        (schema.node_id, "inputs", each.id, "tooltip"): [str(word) for word in each.options]
        for schema in schemas()
        for each in schema.inputs
        if isinstance(each, io.Combo.Input) and each.options
    }


def texts(language: str) -> dict[Place, Any]:
    """What is at every place of a language's file."""
    content = json.loads(locales.texts_of(language).read_text("utf-8"))
    return {tuple(key.split(".")): text for key, text in locales.flat(content)}


def has_word(word: str, text: str) -> bool:
    """Whether a text has a word, which Chinese does not set off by blanks."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.ASCII) is not None


def names_in(chinese: dict[Place, str]) -> set[str]:
    """What Chinese texts may quote: names of nodes, inputs and outputs."""
    return {text for place, text in chinese.items() if place[-1] in ("name", "display_name")}


def outdated(language: str) -> set[Place]:
    """The places of a language's texts that were translated from an earlier English text."""
    return {tuple(key.split(".")) for key, state in locales.missing_in(language).items() if state == "outdated"}


def differences(english: dict[Place, str], chinese: dict[Place, str]) -> list[str]:
    """What the Chinese texts do not say as the English ones do, a line each. Both have the texts to compare."""
    words, known = choices(), names_in(texts("zh"))
    nodes = {
        text: f"「{chinese[place]}」"
        for place, text in english.items()
        if place[-1] == "display_name" and place in chinese
    }
    found = []
    for place in sorted(english.keys() & chinese.keys()):
        text = chinese[place]
        wrong = [*_letters(place, text), *_facts(english[place], text, words.get(place, []))]
        if place[-1] in ("description", "tooltip"):
            wrong += _nodes_left_out(english[place], text, nodes)
        wrong += [f"quotes {name}, which there is not" for name in QUOTED.findall(text) if name not in known]
        found += [f"{'.'.join(place)} {each}: {text}" for each in wrong]
    return found


def _letters(place: Place, text: str) -> list[str]:
    bare = place[-1] == "name" and text in BARE
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
def test_there_are_texts_for_known_places_only(language: str):
    found = texts(language)
    assert set(found) - places() == set()
    assert [place for place, text in found.items() if not (isinstance(text, str) and text.strip())] == []


def test_english_has_a_text_for_every_place():
    assert set(texts("en")) == places()


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_reads_texts_as_they_are(language: str):
    assert [place for place, text in texts(language).items() if SYNTAX & set(text)] == []
    assert [place for place in places() if any("." in key for key in place)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_are_written_alike(language: str):
    content = locales.texts_of(language).read_text("utf-8")
    assert content == locales.written(json.loads(content))


def test_no_language_goes_untested():
    assert {path.parent.name for path in locales.LOCALES.glob("*/*")} == set(LANGUAGES)


def test_chinese_says_what_english_says():
    stale = outdated("zh")
    assert differences(texts("en"), {place: text for place, text in texts("zh").items() if place not in stale}) == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_the_page_speaks_every_language(language: str):
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


# What is not translated


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_sources_are_of_texts_that_there_are(language: str):
    content = locales.sources_of(language).read_text("utf-8")
    sources = json.loads(content)
    assert content == locales.written(sources)
    assert set(sources) - set(locales.translated_by_key(language)) == set()
    assert all(re.fullmatch("[0-9a-f]{8}", each) for each in sources.values())


def test_missing_and_outdated_texts_are_listed():
    english = {"same": "Width.", "changed": "Height in pixels.", "new": "Seed.", "never confirmed": "Mask."}
    chinese = {"same": "宽度。", "changed": "高度。", "never confirmed": "掩码。"}
    sources = {"same": locales.digest("Width."), "changed": locales.digest("Height.")}
    found = locales.missing(english, chinese, sources)
    assert found == {"changed": "outdated", "new": "missing", "never confirmed": "outdated"}


@pytest.fixture
def own_locales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of all locales."""
    shutil.copytree(locales.LOCALES, tmp_path / "locales")
    monkeypatch.setattr(locales, "LOCALES", tmp_path / "locales")
    return tmp_path / "locales"


def test_a_text_without_translation_and_one_of_other_english_are_listed(own_locales: Path):
    path, sources = own_locales / "zh" / "nodeDefs.json", own_locales / "zh" / "sources.json"
    before, chinese, digests = locales.missing_in("zh"), json.loads(path.read_text("utf-8")), sources.read_text("utf-8")
    key, other = "DSMeasurement.inputs.image.tooltip", "DSMeasurement.inputs.seed.name"
    del chinese["DSMeasurement"]["inputs"]["image"]["tooltip"]
    path.write_text(locales.written(chinese), "utf-8")
    sources.write_text(locales.written({**json.loads(digests), other: locales.digest("former name")}), "utf-8")
    assert locales.missing_in("zh") == {**before, key: "missing", other: "outdated"}


def test_confirming_a_translation_leaves_only_what_is_missing(own_locales: Path):
    path = own_locales / "zh" / "nodeDefs.json"
    chinese = json.loads(path.read_text("utf-8"))
    del chinese["DSMeasurement"]["inputs"]["image"]["tooltip"]
    path.write_text(locales.written(chinese), "utf-8")
    (own_locales / "zh" / "sources.json").write_text("{}", "utf-8")
    locales.confirm("zh")
    assert set(locales.missing_in("zh").values()) == {"missing"}
    assert locales.missing_in("zh")["DSMeasurement.inputs.image.tooltip"] == "missing"


def test_bare_names_are_used():
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
def test_differences_are_noticed(input_id: str, key: str, text: str):
    place = ("DSProximalDreamSampler", "inputs", input_id, key)
    assert any(".".join(place) in line for line in differences(texts("en"), {**texts("zh"), place: text}))


def test_server_has_all_languages(client: ComfyClient):
    async def served() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{client.url}/i18n") as reply:
            return await reply.json()

    nodes = {language: content["nodeDefs"] for language, content in asyncio.run(served()).items()}
    for language in LANGUAGES:
        own = json.loads(locales.texts_of(language).read_text("utf-8"))
        assert {node: nodes[language][node] for node in own} == own
