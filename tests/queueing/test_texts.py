"""Texts that the page fills in: wildcards and comments of prompts, dates and values in file names.

The browser tests compare the shared graphs with the page itself; here are choices, dates and whole runs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from random import Random

import pytest
from comfy_server import ComfyServer
from devhost import CHECKOUT
from PIL import Image
from queueing.jobs import Job
from queueing.texts import PageTexts, chosen, replaced
from queueing.workflow import templates
from support.queue_runs import Start, finish

SAMPLE = CHECKOUT / "tools" / "assets" / "sample.png"
NOON = datetime(2031, 4, 5, 16, 7, 8)


def first(options: Sequence[str]) -> str:
    return options[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {red|green} heart // colour is open", "a red heart "),
        ("one // two\nthree /* four\nfive */six", "one \nthree six"),
        ("{a {b|c}|d} }|", "a b }|"),
        ("{|a}{", ""),
        (r"\{a|b\} {c\|d|e} \(f:1.2\)", r"{a|b} c|d \(f:1.2\)"),
    ],
)
def test_prompts(text: str, expected: str):
    assert chosen(text, first) == expected


def test_all_options_are_chosen_alike():
    choose = Random(1).choice
    counts = Counter(chosen("{a|b|{c|d}}", choose) for _ in range(3000))
    assert counts.keys() == {"a", "b", "c", "d"}
    assert abs(counts["a"] - 1000) < 100 and abs(counts["c"] - 500) < 80


def job(number: int) -> Job:
    prompt = {
        each: {"class_type": "CLIPTextEncode", "inputs": {"text": "{a|b|c|d}", "seed": number, "clip": ["9", 0]}}
        for each in ("1", "2")
    }
    return Job("any", prompt, (), PageTexts(wildcards=frozenset({("1", "text"), ("2", "text")})))


def test_job_makes_its_choice_again_and_another_seed_another():
    made = [[node["inputs"]["text"] for node in job(number).filled_in(NOON).values()] for number in range(200)]
    assert made == [[node["inputs"]["text"] for node in job(number).filled_in(NOON).values()] for number in range(200)]
    assert len({tuple(each) for each in made}) == 16  # the two prompts choose independently
    assert job(1).prompt["1"]["inputs"]["text"] == "{a|b|c|d}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%date:yyyy-MM-dd%/%date:hh_mm_ss%", "2031-04-05/16_07_08"),
        ("%date:yy M d h m s%", "31 4 5 16 7 8"),
        ("%date:yyy%|%date:dMyy%|%date:%", "yyy|5431|"),
        ("%date:dd.MM.yyyy%", "05"),  # the page takes dots for the end
        ("%a.b% %width% 100% %year%", "%a.b% %width% 100% %year%"),
    ],
)
def test_file_names(text: str, expected: str):
    assert replaced(text, NOON, lambda _node, _widget: None) == expected


def metadata(path: Path) -> dict[str, dict]:
    return json.loads(Image.open(path).info["prompt"])


def test_template_is_filled_in_as_on_the_page(server: ComfyServer, start: Start, tmp_path: Path):
    saved = json.loads(templates()["edit"].read_text("utf-8"))
    [save] = [node for node in saved["nodes"] if node["type"] == "SaveImage"]
    save["widgets_values"] = ["%date:yyyy-MM-dd%/edited_%Proximal DreamSampler.seed%_%DSProximalDreamSampler.gamma%"]
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    settings = ["6.steps=2", "6.seed=7", "6.gamma=0.25", "1.ckpt_name=dreamsampler_reference.safetensors"]
    arguments = [part for each in (*settings, "4.text=a {red|green} heart // open") for part in ("--set", each)]
    before = date.today()
    code, paths, stderr = finish(start("mine.json", "--image", SAMPLE, *arguments, "--server", server.url))
    assert code == 0, stderr
    days = {before.isoformat(), date.today().isoformat()}
    assert [Path(path).name for path in paths] == ["sample_edited_7_0.25.png"]
    [file] = [file for day in days for file in (server.workdir / "output" / day).glob("edited_7_0.25_*.png")]
    assert metadata(file)["4"]["inputs"]["text"] in ("a red heart ", "a green heart ")
    assert metadata(file) == metadata(Path(paths[0]))


def test_api_format_is_sent_as_it_is(server: ComfyServer, start: Start, tmp_path: Path):
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "{a|b} %date;yyyy%"}},
    }
    (tmp_path / "mine.json").write_text(json.dumps(prompt))
    code, paths, stderr = finish(start("mine.json", "--server", server.url))
    assert code == 0, stderr
    assert metadata(Path(paths[0]))["2"]["inputs"]["filename_prefix"] == "{a|b} %date;yyyy%"
