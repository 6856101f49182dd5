"""A ComfyUI that exists already: chosen by option, checked before use, and left as it is."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from comfy_server import ComfyServer
from devhost import CHECKOUT, Host, HostError, add_options, ensure, locate, use
from devhost.layout import COMFYUI_VARIABLE, PYTHON_VARIABLE
from devhost.recipe import EXTRAS, name_of, packages

COMMAND = f"""
import argparse, json, os, sys
sys.path.append({str(CHECKOUT / "tools")!r})
from devhost import add_options, enter, is_inside, locate, use
add_options(parser := argparse.ArgumentParser())
use(parser.parse_args())
if not is_inside(locate()):
    enter(locate())
print(json.dumps([sys.executable, os.environ["{COMFYUI_VARIABLE}"], *sys.path]))
"""
"""Prints its interpreter, the folder of ComfyUI and its import path."""


def _silent(_line: str) -> None: ...


@pytest.fixture(autouse=True)
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host is chosen by the environment, which is restored after the test."""
    for name in (COMFYUI_VARIABLE, PYTHON_VARIABLE, "PYTHONPATH"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a ComfyUI; what is written for it goes into this test's folder."""
    monkeypatch.setattr("devhost.layout.CHECKOUT", tmp_path / "checkout")
    folder = tmp_path / "theirs"
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def _interpreter(folder: Path, name: str = ".venv") -> Path:
    """A file where a virtual environment of ComfyUI has its interpreter."""
    python = folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()
    return python


def _choose(*arguments: object) -> Host:
    parser = argparse.ArgumentParser()
    add_options(parser)
    use(parser.parse_args([str(each) for each in arguments]))
    return locate()


def test_without_options_it_is_the_development_host():
    assert not _choose().is_borrowed


def test_interpreter_is_the_one_named_else_the_folders_own_else_this_one(theirs: Path, tmp_path: Path):
    assert _choose("--comfyui", theirs).python == Path(sys.executable)
    own = _interpreter(theirs)
    assert _choose("--comfyui", theirs).python == own
    assert _choose("--comfyui", theirs, "--python", tmp_path / "python").python == tmp_path / "python"
    assert _choose("--comfyui", theirs).python == own, "the last choice was not forgotten"


def test_folder_may_be_given_relative_to_the_current_one(theirs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(theirs.parent)
    assert _choose("--comfyui", theirs.name).comfyui == theirs


def test_interpreter_without_a_folder_is_refused():
    with pytest.raises(HostError, match="Name its folder with --comfyui"):
        _choose("--python", sys.executable)


def test_folder_without_comfyui_is_refused(tmp_path: Path):
    _choose("--comfyui", tmp_path)
    with pytest.raises(HostError, match="Name the folder that contains ComfyUI's main.py"):
        ensure(report=_silent)


def test_missing_interpreter_is_refused(theirs: Path, tmp_path: Path):
    _choose("--comfyui", theirs, "--python", tmp_path / "python")
    with pytest.raises(HostError, match="There is no Python .*python. Name the one that runs this ComfyUI"):
        ensure(report=_silent)


def test_file_that_is_no_interpreter_is_refused(theirs: Path):
    _interpreter(theirs)
    _choose("--comfyui", theirs)
    with pytest.raises(HostError, match="could not be started as a Python.*Check --python"):
        ensure(report=_silent)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without any package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_interpreter_that_cannot_run_comfyui_is_refused(theirs: Path, bare_python: Path):
    _choose("--comfyui", theirs, "--python", bare_python)
    with pytest.raises(HostError, match="lacks torch, .*which ComfyUI needs.*pip install -r .*requirements.txt"):
        ensure(report=_silent)


def test_packages_that_the_tests_lack_are_named(theirs: Path, bare_python: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("devhost.borrowed.COMFYUI_NEEDS", ())
    _choose("--comfyui", theirs, "--python", bare_python)
    with pytest.raises(HostError, match="lacks: pytest, .*pip install pytest==[0-9.]+ ") as refusal:
        ensure(["tests"], report=_silent)
    assert "ruff" not in str(refusal.value), "only the development host checks the code"


def test_named_packages_are_those_that_this_host_has(host: Host):
    """The names in the recipe are names of distributions, with nothing left over from versions and markers."""
    del host
    names = {name_of(requirement) for requirement in packages("tests")}
    assert names <= {name_of(requirement) for requirement in EXTRAS["tests"]}
    for name in names:
        importlib.metadata.version(name)


def test_command_runs_on_the_interpreter_with_the_pack_importable(theirs: Path, bare_python: Path):
    """`enter` restarts a command that takes the options once, and then it is inside."""
    script = theirs.parent / "script.py"
    script.write_text(COMMAND, "utf-8")

    def run(*options: object) -> list[str]:
        command = [sys.executable, str(script), "--comfyui", str(theirs), *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    executable, comfyui, *path = run()
    assert (executable, comfyui) == (sys.executable, str(theirs))
    assert str(theirs) in path and any(each.endswith("packages") for each in path)
    executable, comfyui, *path = run("--python", bare_python)
    assert (executable, comfyui) == (str(bare_python), str(theirs)) and str(theirs) in path


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*")}


def test_server_has_the_pack_and_writes_nothing_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a copy of the tests' ComfyUI with a pack of the user's."""
    monkeypatch.undo()
    unwanted = shutil.ignore_patterns("models", "custom_nodes", "input", "__pycache__", ".git")
    folder = Path(shutil.copytree(locate().comfyui, tmp_path / "theirs", ignore=unwanted))
    (folder / "custom_nodes").mkdir()
    (folder / "custom_nodes" / "theirs.py").write_text("raise SystemExit('another pack was loaded')")
    (folder / "extra_model_paths.yaml").write_text("theirs:\n  custom_nodes: custom_nodes\n")
    before = _files(folder)

    monkeypatch.setattr("devhost.layout.CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv(COMFYUI_VARIABLE, str(folder))
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    host = ensure(report=_silent)
    assert host.base.is_relative_to(tmp_path / "checkout")
    with ComfyServer(host, tmp_path / "server") as server:
        info = server.client.object_info()
    assert info["DSProximalDreamSampler"]["python_module"] == "custom_nodes.comfyui-dreamsampler"
    checkpoints = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
    assert "dreamsampler_reference.safetensors" in json.dumps(checkpoints)
    assert _files(folder) == before
