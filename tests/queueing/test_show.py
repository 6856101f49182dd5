"""What the terminal shows during a run."""

from __future__ import annotations

from io import StringIO

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
def test_running_node_is_named_even_if_another_expanded_into_it(
    node_id: str, title: str, monkeypatch: pytest.MonkeyPatch
):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Show([URL], done=0, total=1) as show:
        show.progress(URL, Job("cat", PROMPT, ()), Progress(node_id, 1, 2))
    assert f"cat: {title}" in terminal.getvalue()


def test_password_of_a_server_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Show(["http://me:secret@127.0.0.1:8188"], done=0, total=1) as show:
        show.progress(URL, Job("cat", PROMPT, ()), Progress("1", 1, 2))
    assert "127.0.0.1:8188" in terminal.getvalue() and "secret" not in terminal.getvalue()
