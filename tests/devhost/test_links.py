"""Links from the development host to the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from devhost import CHECKOUT, Host
from devhost.links import CHECKPOINT, COMPANION, CORRECTIVE, PACK, TRANSLATOR, connect


@pytest.fixture
def empty_host(tmp_path: Path) -> Host:
    """A host with empty ComfyUI folders."""
    host = Host(tmp_path / "host")
    (host.comfyui / "custom_nodes").mkdir(parents=True)
    (host.comfyui / "models" / "checkpoints").mkdir(parents=True)
    return host


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with all linked files."""
    reference = tmp_path / "checkout" / "tools" / "reference"
    (reference / "host_node").mkdir(parents=True)
    (reference / CHECKPOINT).write_bytes(b"first")
    (reference / CORRECTIVE).write_bytes(b"first")
    (reference / TRANSLATOR).write_bytes(b"first")
    return tmp_path / "checkout"


def test_current_host_is_linked_to_this_checkout(host: Host):
    custom_nodes, models = host.base_directory / "custom_nodes", host.base_directory / "models"
    assert (custom_nodes / PACK).samefile(CHECKOUT)
    assert (custom_nodes / COMPANION / "__init__.py").is_file()
    assert (models / "checkpoints" / CHECKPOINT).is_file()
    assert (models / "dreamsampler_correctives" / CORRECTIVE).is_file()
    assert (models / "dreamsampler_translators" / TRANSLATOR).is_file()


def test_links_follow_the_checkout(empty_host: Host, checkout: Path):
    """Connecting again switches to another checkout or a retrained checkpoint."""
    reports: list[str] = []
    connect(empty_host, report=reports.append)
    reports.clear()
    connect(empty_host, report=reports.append, checkout=checkout)
    connect(empty_host, report=reports.append, checkout=checkout)
    assert reports == []
    assert (empty_host.comfyui / "custom_nodes" / PACK).samefile(checkout)

    (checkout / "tools" / "reference" / CHECKPOINT).write_bytes(b"second and longer")
    connect(empty_host, report=reports.append, checkout=checkout)
    linked = empty_host.comfyui / "models" / "checkpoints" / CHECKPOINT
    assert linked.read_bytes() == b"second and longer"


def test_missing_files_are_reported_and_their_links_removed(empty_host: Host, checkout: Path):
    connect(empty_host, report=lambda _line: None, checkout=checkout)
    (checkout / "tools" / "reference" / CHECKPOINT).unlink()
    (checkout / "tools" / "reference" / "host_node").rmdir()
    reports: list[str] = []
    connect(empty_host, report=reports.append, checkout=checkout)
    assert [line.split(":")[0] for line in reports] == [f"Skipped {COMPANION}", f"Skipped {CHECKPOINT}"]
    assert not (empty_host.comfyui / "models" / "checkpoints" / CHECKPOINT).is_symlink()
    assert not (empty_host.comfyui / "custom_nodes" / COMPANION).is_symlink()
