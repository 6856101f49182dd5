"""The Comfy Registry package: metadata, icon, banner, and an archive that runs in a real ComfyUI."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest
from comfy_client import ComfyClient
from comfy_server import ComfyServer
from devhost import CHECKOUT, Host
from dreamsampler import comfy_entrypoint
from PIL import Image
from support.svg_oracle import SAME, render

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
PROJECT, COMFY = PYPROJECT["project"], PYPROJECT["tool"]["comfy"]
REPOSITORY: str = PROJECT["urls"]["Repository"]
NAME = "dreamsampler"
"""The folder into which registry clients unpack the archive."""
MAX_ARCHIVE_SIZE = 4_000_000
"""In bytes, uncompressed. The reference model alone is nine times larger, so it must be left out."""


def test_changelog_starts_with_this_version():
    newest = re.search(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest and newest[1] == PROJECT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])


def test_registry_metadata_is_complete():
    assert PROJECT["name"] == NAME and re.fullmatch(r"[a-z]([-_.]?[a-z0-9]){,98}", NAME)
    assert PROJECT["description"] and COMFY["PublisherId"] and COMFY["DisplayName"]
    assert (CHECKOUT / PROJECT["license"]["file"]).is_file()
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", REPOSITORY)
    lines = (CHECKOUT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["dependencies"]


def test_readme_states_the_required_comfyui_version():
    minimum = re.fullmatch(r">=(\d+\.\d+\.\d+)", COMFY["requires-comfyui"])
    assert minimum and f"ComfyUI {minimum[1]} or newer" in (CHECKOUT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("field", "aspect_ratio", "max_width"), [("Icon", 1, 400), ("Banner", 21 / 9, 1680)])
def test_icon_and_banner_are_rendered_from_their_svg(field: str, aspect_ratio: float, max_width: int):
    main = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/"
    assert COMFY[field].startswith(main)
    path = CHECKOUT / COMFY[field].removeprefix(main)
    with Image.open(path) as image:
        width, height = image.size
        pixels = np.asarray(image.convert("RGBA"), np.float64) / 255
    assert width / height == pytest.approx(aspect_ratio) and width <= max_width
    pixels[..., :3] *= pixels[..., 3:]
    drawing = path.with_suffix(".svg").read_text("utf-8")
    assert np.abs(render(drawing, width) - pixels).mean() < SAME, f"{path.name} is not rendered from its SVG"


def test_only_the_owners_repository_can_publish():
    owner = REPOSITORY.split("/")[-2]
    workflow = (CHECKOUT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    assert f"if: github.repository_owner == '{owner}'" in workflow


def test_files_linked_in_the_readme_exist():
    text = (CHECKOUT / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([^)#:]+)\)", text)) | set(re.findall(r'src="([^":]+)"', text))
    assert linked and not [name for name in linked if not (CHECKOUT / unquote(name)).is_file()]


# The Python package

PYTHON = """
import sys
import dreamsampler.guidance, dreamsampler.svg, dreamsampler.splats, dreamsampler.drawings, dreamsampler.scenes
assert dreamsampler.__file__.startswith(sys.argv[1]), dreamsampler.__file__
assert not {"comfy", "comfy_api", "nodes", "folder_paths"} & sys.modules.keys()
"""
"""Imports the libraries from the folder given as argument, without ComfyUI."""


def run_python(script: str, *arguments: object, packages: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with `packages` first on the import path."""
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=packages, env=environment, capture_output=True, text=True)


def test_every_package_is_listed_in_pyproject():
    tops = ("guidance", "svg", "splats", "drawings", "scenes", "nodes")
    folders = {path.parent.relative_to(CHECKOUT) for top in tops for path in (CHECKOUT / top).rglob("*.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == {
        "dreamsampler",
        *(".".join(["dreamsampler", *folder.parts]) for folder in folders),
    }


def test_pip_installs_the_package(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    for name in listed("--exclude-standard"):  # a copy, because building writes files beside the sources
        if name.endswith((".py", ".toml", ".typed", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (target / "dreamsampler" / "py.typed").is_file()
    done = run_python(PYTHON, target, packages=target)
    assert done.returncode == 0, done.stderr


def test_clone_named_dreamsampler_is_importable(tmp_path: Path):
    (tmp_path / "dreamsampler").symlink_to(CHECKOUT, target_is_directory=True)
    done = run_python(PYTHON, tmp_path, packages=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["comfyui-dreamsampler", "DreamSampler 0.1 (copy)", "nodes"])
def test_pack_loads_under_any_folder_name(name: str, tmp_path: Path):
    (tmp_path / name).symlink_to(CHECKOUT, target_is_directory=True)
    module_name = str(tmp_path / name).replace(".", "_x_")  # the module name that ComfyUI uses
    place = tmp_path / name / "__init__.py"
    spec = importlib.util.spec_from_file_location(module_name, place, submodule_search_locations=[str(place.parent)])
    assert spec and spec.loader
    sys.modules[module_name] = pack = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(pack)
        extension = asyncio.run(pack.comfy_entrypoint())
        nodes = asyncio.run(extension.get_node_list())
    finally:
        for each in [key for key in sys.modules if key == module_name or key.startswith(module_name + ".")]:
            del sys.modules[each]
    assert {node.define_schema().node_id for node in nodes} == node_ids()


# The archive


def listed(*options: str) -> set[str]:
    """Files that git tracks or would add. With --ignored, those that match exclude patterns."""
    command = ["git", "ls-files", "-z", "--cached", "--others", *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"git cannot list the files of the archive: {done.stderr}")
    return {name for name in done.stdout.split("\0") if name and (CHECKOUT / name).is_file()}


@pytest.fixture(scope="module")
def archive() -> set[str]:
    """The files that `comfy node publish` packs: all files in git except those in .comfyignore."""
    return listed("--exclude-standard") - listed("--ignored", "--exclude-from=.comfyignore")


@pytest.fixture(scope="module")
def unpacked(archive: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked into custom_nodes like registry clients do."""
    folder = tmp_path_factory.mktemp("archive") / "custom_nodes" / NAME
    for name in archive:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def archive_client(unpacked: Path, host: Host) -> Iterator[ComfyClient]:
    """A client of a ComfyUI whose only custom node pack is the archive."""
    base = unpacked.parents[1]
    with ComfyServer(
        host, base / "server", arguments=["--base-directory", str(base), "--whitelist-custom-nodes", NAME]
    ) as server:
        yield server.client


def get(client: ComfyClient, path: str) -> bytes:
    with urllib.request.urlopen(client.url + path) as response:
        return response.read()


def file_names(folder: str, pattern: str) -> set[str]:
    """Names of matching files in a folder of the checkout."""
    return {path.name for path in (CHECKOUT / folder).glob(pattern)}


def node_ids() -> set[str]:
    async def registered() -> set[str]:
        return {node.define_schema().node_id for node in await (await comfy_entrypoint()).get_node_list()}

    return asyncio.run(registered())


def test_archive_is_small(archive: set[str]):
    assert {"__init__.py", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"} <= archive
    assert sum((CHECKOUT / name).stat().st_size for name in archive) < MAX_ARCHIVE_SIZE


def test_archive_never_starts_processes(archive: set[str]):
    """The registry rejects packs that install packages. Only developer tools, which are left out, start processes."""
    for name in (each for each in archive if each.endswith(".py")):
        tree = ast.parse((CHECKOUT / name).read_text("utf-8"))
        imported = {alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names}
        imported |= {each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
        assert not imported & {"subprocess", "pip", "ensurepip", "pty"}, name


def test_archive_has_every_node(archive_client: ComfyClient):
    info = archive_client.object_info()
    assert {name for name in info if info[name]["python_module"] == f"custom_nodes.{NAME}"} == node_ids()


def test_archive_has_help_pages_templates_and_translations(archive_client: ComfyClient):
    for page in file_names("js/docs", "*.md"):
        assert get(archive_client, f"/extensions/{NAME}/docs/{page}") == (CHECKOUT / "js" / "docs" / page).read_bytes()
    extensions = set(json.loads(get(archive_client, "/extensions")))
    assert {f"/extensions/{NAME}/{script}" for script in file_names("js", "*.js")} <= extensions
    templates = json.loads(get(archive_client, "/workflow_templates"))[NAME]
    assert {f"{name}.json" for name in templates} == file_names("workflows", "*.json")
    for name in templates:
        get(archive_client, f"/api/workflow_templates/{NAME}/{quote(name)}.jpg")
    translations = json.loads(get(archive_client, "/i18n"))
    for language in file_names("locales", "*"):
        texts = json.loads((CHECKOUT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
        assert texts.items() <= translations[language]["nodeDefs"].items(), language
    assert "dreamsampler" in translations["zh"]  # strings of the page extension


def test_archive_brings_the_inputs_of_its_templates(archive_client: ComfyClient):
    names = {path.name for path in (CHECKOUT / "samples").iterdir()}
    info = archive_client.object_info()

    def listed(node: str, widget: str) -> set[str]:
        kind, *options = info[node]["input"]["required"][widget]
        return set(kind if isinstance(kind, list) else options[0]["options"])

    loaders = (("LoadImage", "image"), ("DSLoadSVG", "file"), ("DSLoadSplat", "file"), ("DSLoadPosedViews", "folder"))
    assert names <= {name for loader in loaders for name in listed(*loader)}
    for name in names & listed("LoadImage", "image"):
        assert get(archive_client, f"/view?type=input&filename={name}") == (CHECKOUT / "samples" / name).read_bytes()


def test_archive_renders_the_packs_icon(archive_client: ComfyClient):
    icon = CHECKOUT / "docs" / "icon.svg"
    prompt = {
        "load": {"class_type": "DSLoadSVG", "inputs": {"file": archive_client.upload_image(icon)}},
        "draw": {
            "class_type": "DSSVGToImage",
            "inputs": {"svg": ["load", 0], "width": 256, "height": 256, "background": "black"},
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["draw", 0], "filename_prefix": "icon"}},
    }
    (file,) = archive_client.run(prompt).files(node_id="save")
    drawn = np.asarray(Image.open(BytesIO(archive_client.fetch(file))).convert("RGB"), np.float64) / 255
    assert np.abs(drawn - render(icon.read_text("utf-8"))[..., :3]).mean() < SAME


def test_archive_includes_the_queue_tool(archive_client: ComfyClient, unpacked: Path, tmp_path: Path):
    command = [sys.executable, unpacked / "tools" / "queue.py", "vectorise", "--set", "DSSVGOptimizer.paths=4"]
    command += ["--image", CHECKOUT / "tools" / "assets" / "sample.png", "--server", archive_client.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = [tmp_path / line for line in done.stdout.splitlines()]
    assert ".svg" in {path.suffix for path in results} and all(path.stat().st_size for path in results)
