"""Setup for all tests: makes ComfyUI importable and starts one server per session.

Tests import the pack as ``dreamsampler``, which the development host links to this checkout. The checkout itself comes
last on ``sys.path``, because ComfyUI has a ``nodes`` module too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[1]
# Threads slow down models this small, especially when tests run in parallel.
os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, here and by the servers
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # runs Triton kernels on the CPU; Triton reads it on import
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path += [str(CHECKOUT), str(CHECKOUT / "tools")]  # last: ComfyUI has a `nodes` of its own

from comfy_client import ComfyClient  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from devhost import Host, locate  # noqa: E402

from tools.reference.host_access import import_comfy  # noqa: E402

if locate().comfyui.is_dir():  # pure PyTorch tests also run without a host
    sys.path.insert(0, str(locate().comfyui))
    import_comfy()


settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

LONGEST_FILES = ["test_page.py", "test_workflows.py", "test_attached.py", "test_svg_optimizer.py", "test_queue.py"]
"""They run first, or one of them would keep a single process busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: first.get(item.path.name, len(first)))


@pytest.fixture(autouse=True, scope="session")
def folders_of_this_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give this process its own ComfyUI folders: tests run in parallel and check what they wrote there."""
    if not locate().comfyui.is_dir():
        return
    import folder_paths

    for name in ("input", "output", "temp", "user"):
        setattr(folder_paths, f"{name}_directory", str(tmp_path_factory.mktemp(name)))


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move ComfyUI's ``output``, ``user`` and ``models`` folders into this empty folder."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture(scope="session")
def host() -> Host:
    """The ComfyUI that the tests run on."""
    if not locate().comfyui.is_dir():
        pytest.fail("There is no development host. Run the tests with 'python tools/test.py', which sets it up.")
    return locate()


@pytest.fixture(scope="session")
def server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A real ComfyUI with the pack, the reference model's nodes and checkpoint, and samples of the kind it knows."""
    from sample_inputs import REFERENCE, write  # imports torch

    folder = tmp_path_factory.mktemp("server")
    write(folder / "input", REFERENCE)
    with ComfyServer(host, folder) as running:
        yield running


@pytest.fixture
def client(server: ComfyServer) -> ComfyClient:
    """Talks to the session's server."""
    return server.client
