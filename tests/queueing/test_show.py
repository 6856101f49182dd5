"""Terminal output during a run."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from comfy_client import Progress
from queueing.jobs import Job
from queueing.show import Show

URL = "http://127.0.0.1:8188"
PROMPT = {
    "1": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sampler"}},
    "2:3.5": {"class_type": "VAEDecode", "inputs": {}},
}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("node_id", "title"),
    [
        ("1", "Sampler"),
        ("2:3.5", "VAEDecode"),
        ("1.0.0.2", "Sampler"),
        ("1.0.0.1.0.0.4", "Sampler"),
        ("9.0.0.2", "9.0.0.2"),
    ],
)
def test_running_node_is_named_even_after_node_expansion(node_id: str, title: str, monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Show([URL], done=0, total=1) as show:
        show.progress(URL, Job("cat", PROMPT, ()), Progress(node_id, 1, 2))
    assert f"cat: {title}" in terminal.getvalue()


def test_lines_take_the_place_of_bars_in_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    clock = iter([100.0, 100.0, 105.0, 110.0, 111.0, 125.0])
    monkeypatch.setattr("queueing.show.time.monotonic", lambda: next(clock))
    cat = Job("cat", PROMPT, ())
    with Show([URL], done=1, total=3) as show:
        for step in range(1, 7):
            show.progress(URL, cat, Progress("1", step, 9))
        show.finished(cat, [Path("cat_made.png")])
        show.failed(Job("dog", PROMPT, ()), "Nothing came.")
    printed = capsys.readouterr()
    assert printed.out == "cat_made.png\n"
    assert printed.err.splitlines() == [
        *("127.0.0.1:8188: cat: Sampler 4/9", "127.0.0.1:8188: cat: Sampler 6/9"),
        *("2/3 cat: done", "error: dog: Nothing came.", "3/3 dog: failed"),
    ]


def test_text_of_a_server_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]):
    with Show([URL], done=0, total=1) as show:
        show.failed(Job("cat", PROMPT, ()), "\x1b[2Jgone\n\n1/1 cat: done\u202e\x9b\0")
        show.lost("bye\r\x07")
    error = "error: cat: \ufffd[2Jgone 1/1 cat: done\ufffd\ufffd\ufffd"
    assert capsys.readouterr().err.splitlines() == [error, "1/1 cat: failed", "warning: bye \ufffd"]


def test_json_lines(capsys: pytest.CaptureFixture[str]):
    cat = Job("cat", PROMPT, ())
    with Show([URL], done=0, total=3, as_json=True) as show:
        show.finished(cat, [Path("cat_made.png")])
        show.failed(cat, "Nothing\ncame.", [Path("cat_half.png")])
        show.canceled(cat)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"job": "cat", "state": "done", "files": ["cat_made.png"], "error": None},
        {"job": "cat", "state": "failed", "files": ["cat_half.png"], "error": "Nothing came."},
        {"job": "cat", "state": "canceled", "files": [], "error": None},
    ]


def test_password_of_a_server_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Show(["http://me:secret@127.0.0.1:8188"], done=0, total=1) as show:
        show.progress(URL, Job("cat", PROMPT, ()), Progress("1", 1, 2))
    assert "127.0.0.1:8188" in terminal.getvalue() and "secret" not in terminal.getvalue()
