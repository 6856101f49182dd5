"""Setup of the development host: skipped if complete, safe to interrupt, clear errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from devhost import Host, HostError, build, ensure, locate
from devhost.layout import COMFYUI_VARIABLE

SHIM_CHECK = """
import sys
assert "torch" not in sys.modules, "starting Python imported torch"
import torch, torchvision
assert torchvision.transforms.functional.hflip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
"""


def _silent(_line: str) -> None: ...


on_development_host = pytest.mark.skipif(locate().is_borrowed, reason="the tests run on a borrowed ComfyUI")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host folder that does not exist yet."""
    monkeypatch.delenv(COMFYUI_VARIABLE, raising=False)
    monkeypatch.setenv("DREAMSAMPLER_HOST", str(tmp_path / "host"))
    return locate()


class Installer:
    """Replaces the downloads: creates the files that identify a host, or fails halfway."""

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.interrupt_at: str | None = None

    def host(self, host: Host, report: build.Report) -> None:
        del report
        host.python.parent.mkdir(parents=True)
        host.python.touch()
        self._reach("host")
        (host.comfyui / "custom_nodes").mkdir(parents=True)
        (host.comfyui / "models" / "checkpoints").mkdir(parents=True)

    def pip(self, host: Host, arguments: list[str], doing: str, report: build.Report) -> None:
        del host, arguments, report
        self._reach(doing)

    def _reach(self, step: str) -> None:
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        self.installed.append(step)


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    installer = Installer()
    monkeypatch.setattr(build, "_run_recipe", installer.host)
    monkeypatch.setattr(build, "_pip", installer.pip)
    return installer


@on_development_host
def test_complete_host_starts_no_process(host: Host, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a complete host started a process")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert ensure(["tests"], report=_silent) == host


@pytest.mark.parametrize("step", ["host", "Installing the tools for tests"])
def test_interrupted_setup_starts_over(empty: Host, installer: Installer, step: str):
    installer.interrupt_at = step
    with pytest.raises(KeyboardInterrupt):
        ensure(["tests"], report=_silent)
    leftover = empty.venv / "half-written"
    leftover.touch()

    installer.interrupt_at = None
    installer.installed.clear()
    ensure(["tests"], report=_silent)
    assert not leftover.exists()
    assert installer.installed == ["host", "Installing the tools for tests"]

    ensure(["tests"], report=_silent)
    assert len(installer.installed) == 2, "a complete host was built again"


def test_extra_is_added_to_a_complete_host(empty: Host, installer: Installer):
    ensure(report=_silent)
    ensure(["tests"], report=_silent)
    assert installer.installed == ["host", "Installing the tools for tests"]
    assert empty.python.exists()


def test_host_keeps_its_torch_until_another_is_chosen(
    empty: Host, installer: Installer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DREAMSAMPLER_TORCH", "torch==2.12.0")
    ensure(report=_silent)
    monkeypatch.delenv("DREAMSAMPLER_TORCH")
    ensure(report=_silent)
    assert installer.installed == ["host"]
    monkeypatch.setenv("DREAMSAMPLER_TORCH", "torch==2.11.0")
    ensure(report=_silent)
    assert installer.installed == ["host", "host"]


def test_folder_with_other_files_is_an_error_and_unchanged(empty: Host, installer: Installer):
    other_file = empty.comfyui / "models" / "theirs.safetensors"
    other_file.parent.mkdir(parents=True)
    other_file.touch()
    with pytest.raises(HostError, match="not a development host. Set DREAMSAMPLER_HOST to an empty folder"):
        ensure(report=_silent)
    assert other_file.exists()
    assert installer.installed == []


def test_old_python_is_an_error():
    with pytest.raises(HostError, match=r"needs Python 3\.10 or newer; this is 3\.9\."):
        build.check_python((3, 9))


def test_full_disk_is_an_error_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "MINIMUM_FREE_GIB", 2**40)
    with pytest.raises(HostError, match="Free some space"):
        build.check_disk(tmp_path / "not" / "there" / "yet")


def test_unreachable_registry_is_reported(tmp_path: Path):
    """Uses the output of a real pip whose only index is a closed port."""
    closed_index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    command = [sys.executable, "-m", "pip", "download", "--retries", "0", "--dest", str(tmp_path), "six"]
    log = tmp_path / "setup.log"
    with log.open("wb") as output:
        pip = subprocess.run(command, check=False, stdout=output, stderr=output, env={**os.environ, **closed_index})
    assert pip.returncode != 0
    assert build.explain_failure("Fetching six", log).endswith("Check the network and run the command again.")


@on_development_host
def test_torchvision_imports_with_any_torch(host: Host):
    check = subprocess.run([str(host.python), "-c", SHIM_CHECK], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr
