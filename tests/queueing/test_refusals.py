"""Invalid arguments: one-line errors before any work starts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_server import ComfyServer
from devhost import CHECKOUT
from queueing.command_line import main
from queueing.workflow import templates
from support.gateway import gateway

SAMPLE = str(CHECKOUT / "tools" / "assets" / "sample.png")
CHECKPOINT = ["--set", "1.ckpt_name=dreamsampler_reference.safetensors"]
EDIT = ["edit", "--image", SAMPLE, *CHECKPOINT]
NODES = (
    "Its nodes are 1 (Any image model), 2 (Source image), 3 (VAE Encode), 4 (Target prompt), 5 (Empty prompt), "
    "6 (Proximal DreamSampler), 7 (VAE Decode), 8 (Edited image)."
)
RunAndFail = Callable[..., str]


@pytest.fixture
def error_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunAndFail:
    """Runs the command, asserts that it fails without creating an output folder, and returns the one-line error."""
    monkeypatch.chdir(tmp_path)

    def error_of(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["queue.py", *arguments])
        assert main() == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
        assert not (tmp_path / "queue_output").exists()
        return printed.err.removeprefix("error: ").rstrip("\n")

    return error_of


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("99.gamma=1", f"The workflow has no node '99'. {NODES}"),
        ("Foo.x=1", f"The workflow has no node 'Foo'. {NODES}"),
        ("ProximalDreamSampler.gamma=1", "no node 'ProximalDreamSampler'. Did you mean 6 (Proximal DreamSampler)?"),
        ("CLIPTextEncod.text=1", "no node 'CLIPTextEncod'. Did you mean 4 (Target prompt), 5 (Empty prompt)"),
        ("DSProximalDreamSampler.gama=1", "Proximal DreamSampler has no input 'gama'. Did you mean gamma?"),
        ("6.gamma=-1", "'gamma' must be between 0.0 and 100.0, not -1.0."),
        ("6.gamma=nan", "'gamma' must be a number, not 'nan'."),
        ("6.steps=1.5", "'steps' must be a whole number, not '1.5'."),
        ("6.projection=perhaps", "'projection' must be true or false, not 'perhaps'."),
        ("6.scheduler=kara", "'scheduler' cannot be 'kara'. Choose one of: simple, sgm_uniform, karras,"),
        ("6.positive=x", "'positive' is connected to node 4 (Target prompt). Set an input of that node instead."),
        ("CLIPTextEncode.text=x", "matches 2 nodes: 4 (Target prompt), 5 (Empty prompt). Use the id or title of one."),
        ("gamma=1", "Write it as NODE.INPUT=VALUE, for example"),
    ],
)
def test_invalid_setting(setting: str, message: str, server: ComfyServer, error_of: RunAndFail):
    said = error_of(*EDIT, "--set", setting, "--server", server.url)
    assert said.startswith(f"--set {setting}: ")
    assert message in said


def test_unreachable_server(error_of: RunAndFail):
    said = error_of(*EDIT, "--server", "127.0.0.1:9")
    assert said.startswith("http://127.0.0.1:9 does not answer ([")  # the system's words follow
    assert said.endswith("). Start ComfyUI, or pass its address with --server.")


@pytest.mark.parametrize("address", ["gpu..1", "gpu:one", "gpu:99999", "http://[::1", "ftp://gpu", "http://", ""])
def test_invalid_address(address: str, error_of: RunAndFail):
    assert error_of(*EDIT, "--server", address) == (
        f"'{address}' is not a server address. Write --server as HOST:PORT, for example 127.0.0.1:8188."
    )


def test_gateway_without_a_server(error_of: RunAndFail):
    with gateway(status=502) as port:
        message = error_of(*EDIT, "--server", f"127.0.0.1:{port}")
    assert message.startswith(f"http://127.0.0.1:{port} answered '502 Bad Gateway'. Start ComfyUI, ")


def test_long_list_of_nodes_is_shortened(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    node = {"class_type": "LoadImage", "inputs": {"image": "any.png"}}
    (tmp_path / "mine.json").write_text(json.dumps({str(number): node for number in range(1, 31)}))
    message = error_of("mine.json", "--set", "99.image=a.png", "--server", server.url)
    assert "Its nodes are 1 (LoadImage), 2 (LoadImage), " in message
    assert message.endswith(", 20 (LoadImage) and 10 more.")


def test_unknown_template(server: ComfyServer, error_of: RunAndFail):
    message = error_of("edits", "--server", server.url)
    assert message.startswith("There is no template or workflow file 'edits'. Did you mean edit")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not valid JSON"), ("[1]", "is not a ComfyUI workflow in UI or API format")]
)
def test_invalid_workflow_file(text: str, message: str, server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    (tmp_path / "mine.json").write_text(text)
    assert message in error_of("mine.json", "--server", server.url)


def test_missing_checkpoint_error_names_its_folder(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    saved = json.loads(templates()["edit"].read_text("utf-8"))
    del next(node for node in saved["nodes"] if node["id"] == 1)["properties"]["models"]
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    assert error_of("mine.json", "--image", SAMPLE, "--server", server.url) == (
        f"{server.url}: Node 1 (Any image model): the server has no model file 'v1-5-pruned-emaonly-fp16.safetensors'. "
        "Download it to the server's models/checkpoints folder, or set 'ckpt_name' to "
        "dreamsampler_reference.safetensors."
    )


def test_missing_checkpoint_error_names_its_url(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    saved = json.loads(templates()["edit"].read_text("utf-8"))
    model = {"name": "v1-5-pruned-emaonly-fp16.safetensors", "url": "https://models.test/v1-5", "directory": "any"}
    next(node for node in saved["nodes"] if node["id"] == 1)["properties"]["models"] = [model]
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    message = error_of("mine.json", "--image", SAMPLE, "--server", server.url)
    assert "Download it from https://models.test/v1-5 to the server's" in message


@pytest.mark.parametrize(
    ("template", "node_type", "value", "message"),
    [
        (
            *("lmc_edit", "DSManifoldCorrectiveLoad", "mine.safetensors"),
            "Node 3 (The model's corrective): the server has no corrective 'mine.safetensors'. Make one with the "
            "template train_corrective, or set 'name' to ",
        ),
        (
            *("translate", "DSTranslatorApply", "mine.safetensors: star"),
            "Node 4 (Translator and target): the server has no translator 'mine.safetensors: star'. Train one with "
            "tools/translator.py, or set 'translation' to dreamsampler_reference_translator.safetensors: ",
        ),
    ],
)
def test_missing_file_without_a_download(
    template: str, node_type: str, value: str, message: str, server: ComfyServer, error_of: RunAndFail, tmp_path: Path
):
    saved = json.loads(templates()[template].read_text("utf-8"))
    next(node for node in saved["nodes"] if node["type"] == node_type)["widgets_values"][0] = value
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    assert message in error_of("mine.json", "--image", SAMPLE, *CHECKPOINT, "--server", server.url)


def test_unknown_node(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    prompt = {"1": {"class_type": "DSProximalSampler", "inputs": {}}}
    (tmp_path / "mine.json").write_text(json.dumps(prompt))
    message = error_of("mine.json", "--server", server.url)
    assert message.startswith("The server has no node 'DSProximalSampler'. Did you mean DSProximalDreamSampler")
    assert message.endswith("Install the node pack that provides it.")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "The file nowhere.png does not exist. Check the path."),
        ("text.png", "text.png cannot be read as an image"),
        ("cut.png", "cut.png cannot be read as an image"),
        (".", "cut.png cannot be read as an image"),
        ("empty", "The folder empty contains no images. Choose another folder."),
        ("nowhere=cut.png", "The workflow has no node 'nowhere'."),
        (f"{'x' * 300}.png", "File name too long"),
        (f"6={SAMPLE}", "--image: node 6 (Proximal DreamSampler) does not load an image."),
    ],
)
def test_invalid_image(image: str, message: str, server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "cut.png").write_bytes(Path(SAMPLE).read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    assert message in error_of("edit", *CHECKPOINT, "--image", image, "--server", server.url)


def test_image_for_a_workflow_with_no_or_two_image_loaders(server: ComfyServer, error_of: RunAndFail):
    message = error_of("distil_text_to_image", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert message.startswith("--image: the workflow has no node that loads an image. Remove --image, or add")
    message = error_of("inpaint_two_texts", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert message.startswith("--image: 2 nodes load an image: 2 (Image with the first hole), 3 (")


def test_image_for_a_node_that_nothing_needs(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "any.png"}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "made"}},
    }
    (tmp_path / "mine.json").write_text(json.dumps(prompt))
    message = error_of("mine.json", "--image", SAMPLE, "--server", server.url)
    assert message == "--image: no result needs node 1 (LoadImage). Connect it in the workflow."


def test_missing_image_argument(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    edit = templates()["edit"].read_text("utf-8")
    (tmp_path / "mine.json").write_text(edit.replace("dreamsampler_photo.jpg", "gone.png"), "utf-8")
    message = error_of("mine.json", *CHECKPOINT, "--server", server.url)
    assert message.endswith("Node 2 (Source image): the server has no image 'gone.png'. Pass one with --image.")


def test_image_instead_of_an_svg_file(server: ComfyServer, error_of: RunAndFail):
    message = error_of("svg_edit", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert message == f"{SAMPLE} is not an SVG file. The workflow loads it with Load SVG: choose an SVG file."


def test_output_is_a_file(server: ComfyServer, error_of: RunAndFail, tmp_path: Path):
    (tmp_path / "taken").touch()
    message = error_of(*EDIT, "--server", server.url, "--output", "taken")
    assert message.startswith("Results cannot be written to taken (")
    assert message.endswith("Choose another --output.")


def test_output_is_the_image_folder(error_of: RunAndFail, tmp_path: Path):
    assert error_of("edit", "--image", ".", "--output", str(tmp_path)) == (
        f"--output {tmp_path} is the image folder itself. Choose another folder."
    )


def test_ray_is_not_installed(server: ComfyServer, tmp_path: Path):
    (tmp_path / "ray.py").write_text("raise ImportError('no module')")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(CHECKOUT / 'tools')!r}]\n"
        "from queueing.command_line import main; sys.exit(main())"
    )
    arguments = [*EDIT, "--ray", "--server", server.url]
    command = [sys.executable, "-c", code, *arguments]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert completed.returncode == 2
    assert completed.stderr == "error: --ray needs Ray, which cannot be imported (no module). Run: pip install ray\n"
