"""What goes to the Comfy Registry: facts it asks for, an icon, a banner, and an archive that runs in a real ComfyUI."""

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
NAME = "comfyui-dreamsampler"
"""The folder that the registry's clients unpack the archive into."""
LARGEST_ARCHIVE = 4_000_000
"""Bytes before compression; the reference model alone is nine times that."""


def test_the_changelog_begins_with_this_version():
    newest = re.search(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest and newest[1] == PROJECT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])


def test_the_registry_is_told_what_it_asks_for():
    assert PROJECT["name"] == NAME and re.fullmatch(r"[a-z]([-_.]?[a-z0-9]){,98}", NAME)
    assert PROJECT["description"] and COMFY["PublisherId"] and COMFY["DisplayName"]
    assert (CHECKOUT / PROJECT["license"]["file"]).is_file()
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", REPOSITORY)
    lines = (CHECKOUT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["dependencies"]


def test_the_readme_says_which_comfyui_is_needed():
    at_least = re.fullmatch(r">=(\d+\.\d+\.\d+)", COMFY["requires-comfyui"])
    assert at_least and f"ComfyUI {at_least[1]} or newer" in (CHECKOUT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("field", "proportions", "widest"), [("Icon", 1, 400), ("Banner", 21 / 9, 1680)])
def test_a_picture_of_the_pack_is_where_its_address_points(field: str, proportions: float, widest: int):
    main = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/"
    assert COMFY[field].startswith(main)
    path = CHECKOUT / COMFY[field].removeprefix(main)
    with Image.open(path) as picture:
        width, height = picture.size
        pixels = np.asarray(picture.convert("RGBA"), np.float64) / 255
    assert width / height == pytest.approx(proportions) and width <= widest
    pixels[..., :3] *= pixels[..., 3:]
    drawing = path.with_suffix(".svg").read_text("utf-8")
    assert np.abs(render(drawing, width) - pixels).mean() < SAME, f"{path.name} is not a picture of its drawing"


def test_only_the_owners_repository_publishes():
    owner = REPOSITORY.split("/")[-2]
    workflow = (CHECKOUT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    assert f"if: github.repository_owner == '{owner}'" in workflow


def test_what_the_readme_shows_and_links_is_there():
    text = (CHECKOUT / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([^)#:]+)\)", text)) | set(re.findall(r'src="([^":]+)"', text))
    assert linked and not [name for name in linked if not (CHECKOUT / name).is_file()]


# The Python package

PYTHON = """
import sys
import dreamsampler.guidance, dreamsampler.svg, dreamsampler.drawings
assert dreamsampler.__file__.startswith(sys.argv[1]), dreamsampler.__file__
assert not {"comfy", "comfy_api", "nodes", "folder_paths"} & sys.modules.keys()
"""
"""Imports the libraries from the folder named, without ComfyUI."""


def run_python(script: str, *arguments: object, packages: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with a folder first on the import path."""
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=packages, env=environment, capture_output=True, text=True)


def test_every_folder_of_modules_is_a_package_that_is_installed():
    tops = ("guidance", "svg", "drawings", "nodes")
    folders = {path.parent.relative_to(CHECKOUT) for top in tops for path in (CHECKOUT / top).rglob("*.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == {
        "dreamsampler",
        *(".".join(["dreamsampler", *folder.parts]) for folder in folders),
    }


def test_pip_installs_the_package(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    for name in listed("--exclude-standard"):  # a copy, as building leaves files beside the sources
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


def test_a_clone_of_that_name_is_the_package(tmp_path: Path):
    (tmp_path / "dreamsampler").symlink_to(CHECKOUT, target_is_directory=True)
    done = run_python(PYTHON, tmp_path, packages=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["comfyui-dreamsampler", "DreamSampler 0.1 (copy)", "nodes"])
def test_the_pack_loads_under_any_folder_name(name: str, tmp_path: Path):
    (tmp_path / name).symlink_to(CHECKOUT, target_is_directory=True)
    module_name = str(tmp_path / name).replace(".", "_x_")  # as ComfyUI names it
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
    """Files that git tracks, or would after `git add`; with --ignored those that a list of patterns names."""
    command = ["git", "ls-files", "-z", "--cached", "--others", *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"What goes into the archive is for git to say: {done.stderr}")
    return {name for name in done.stdout.split("\0") if name and (CHECKOUT / name).is_file()}


@pytest.fixture(scope="module")
def archive() -> set[str]:
    """What `comfy node publish` packs: all of git's files that .comfyignore does not name."""
    return listed("--exclude-standard") - listed("--ignored", "--exclude-from=.comfyignore")


@pytest.fixture(scope="module")
def unpacked(archive: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive in the folder where the registry's clients unpack it."""
    folder = tmp_path_factory.mktemp("published") / "custom_nodes" / NAME
    for name in archive:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def published(unpacked: Path, host: Host) -> Iterator[ComfyClient]:
    """A ComfyUI whose only pack is the archive."""
    base = unpacked.parents[1]
    with ComfyServer(host.comfyui, base / "server", arguments=["--base-directory", str(base)]) as server:
        yield server.client


def fetched(client: ComfyClient, path: str) -> bytes:
    with urllib.request.urlopen(client.url + path) as response:
        return response.read()


def names(folder: str, pattern: str) -> set[str]:
    """What the checkout has of a kind."""
    return {path.name for path in (CHECKOUT / folder).glob(pattern)}


def node_ids() -> set[str]:
    async def registered() -> set[str]:
        return {node.define_schema().node_id for node in await (await comfy_entrypoint()).get_node_list()}

    return asyncio.run(registered())


def test_the_archive_is_small(archive: set[str]):
    assert {"__init__.py", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"} <= archive
    assert sum((CHECKOUT / name).stat().st_size for name in archive) < LARGEST_ARCHIVE


def test_the_archive_starts_no_other_programs(archive: set[str]):
    """The registry refuses packs that install packages; what could is only in the tools of developers."""
    for name in (each for each in archive if each.endswith(".py")):
        tree = ast.parse((CHECKOUT / name).read_text("utf-8"))
        imported = {alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names}
        imported |= {each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
        assert not imported & {"subprocess", "pip", "ensurepip", "pty"}, name


def test_the_archive_has_every_node(published: ComfyClient):
    info = published.object_info()
    assert {name for name in info if info[name]["python_module"] == f"custom_nodes.{NAME}"} == node_ids()


def test_the_archive_has_what_the_page_shows(published: ComfyClient):
    for page in names("js/docs", "*.md"):
        assert fetched(published, f"/extensions/{NAME}/docs/{page}") == (CHECKOUT / "js" / "docs" / page).read_bytes()
    extensions = set(json.loads(fetched(published, "/extensions")))
    assert {f"/extensions/{NAME}/{script}" for script in names("js", "*.js")} <= extensions
    templates = json.loads(fetched(published, "/workflow_templates"))[NAME]
    assert {f"{name}.json" for name in templates} == names("workflows", "*.json")
    for name in templates:
        fetched(published, f"/api/workflow_templates/{NAME}/{name}.jpg")
    translations = json.loads(fetched(published, "/i18n"))
    for language in names("locales", "*"):
        texts = json.loads((CHECKOUT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
        assert texts.items() <= translations[language]["nodeDefs"].items(), language
    assert "dreamsampler" in translations["zh"]  # what the page's script says


def test_the_archive_draws_the_packs_own_icon(published: ComfyClient):
    icon = CHECKOUT / "docs" / "icon.svg"
    prompt = {
        "load": {"class_type": "DSLoadSVG", "inputs": {"file": published.upload_image(icon)}},
        "draw": {
            "class_type": "DSSVGToImage",
            "inputs": {"svg": ["load", 0], "width": 256, "height": 256, "background": "black"},
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["draw", 0], "filename_prefix": "icon"}},
    }
    (file,) = published.run(prompt).files(node_id="save")
    drawn = np.asarray(Image.open(BytesIO(published.fetch(file))).convert("RGB"), np.float64) / 255
    assert np.abs(drawn - render(icon.read_text("utf-8"))[..., :3]).mean() < SAME


def test_the_archive_has_the_queue(published: ComfyClient, unpacked: Path, tmp_path: Path):
    command = [sys.executable, unpacked / "tools" / "queue.py", "vectorise", "--set", "DSSVGOptimizer.paths=4"]
    command += ["--image", CHECKOUT / "tools" / "assets" / "sample.png", "--server", published.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = [tmp_path / line for line in done.stdout.splitlines()]
    assert ".svg" in {path.suffix for path in results} and all(path.stat().st_size for path in results)
