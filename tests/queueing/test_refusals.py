"""What cannot be queued is refused with one sentence before anything is started."""

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
from support.gateway import gateway

SAMPLE = str(CHECKOUT / "tools" / "assets" / "sample.png")
CHECKPOINT = ["--set", "1.ckpt_name=dreamsampler_reference.safetensors"]
REFERENCE = ["edit", "--image", SAMPLE, *CHECKPOINT]
NODES = (
    "There are: 1 (Any image model), 2 (Source image), 3 (VAE Encode), 4 (Target prompt), 5 (Empty prompt), "
    "6 (Proximal DreamSampler), 7 (VAE Decode), 8 (Edited image)."
)
Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs the command, which must be refused with one line and leave no output folder, and returns that line."""
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["queue.py", *arguments])
        assert main() == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
        assert not (tmp_path / "queue_output").exists()
        return printed.err.removeprefix("error: ").rstrip("\n")

    return said


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("99.gamma=1", f"The workflow has no node '99'. {NODES}"),
        ("Foo.x=1", f"The workflow has no node 'Foo'. {NODES}"),
        ("ProximalDreamSampler.gamma=1", "no node 'ProximalDreamSampler'. Nearest: 6 (Proximal DreamSampler)."),
        ("CLIPTextEncod.text=1", "no node 'CLIPTextEncod'. Nearest: 4 (Target prompt), 5 (Empty prompt), "),
        ("DSProximalDreamSampler.gama=1", "Proximal DreamSampler has no input 'gama'. Nearest: gamma."),
        ("6.gamma=-1", "gamma goes from 0.0 to 100.0, and -1.0 is outside."),
        ("6.gamma=nan", "gamma takes a number, and 'nan' is none."),
        ("6.steps=1.5", "steps takes a whole number, and '1.5' is none."),
        ("6.projection=perhaps", "projection takes true or false, and 'perhaps' is neither."),
        ("6.scheduler=kara", "scheduler cannot be 'kara'. It takes: simple, sgm_uniform, karras,"),
        ("6.positive=x", "positive comes from another node. Set an input of node 4 (Target prompt) instead."),
        ("CLIPTextEncode.text=x", "means 2 nodes: 4 (Target prompt), 5 (Empty prompt). Take the id or title of one."),
        ("gamma=1", "It must be NODE.INPUT=VALUE"),
    ],
)
def test_wrong_setting(setting: str, sentence: str, server: ComfyServer, said: Said):
    told = said(*REFERENCE, "--set", setting, "--server", server.url)
    assert told.startswith(f"--set {setting}: ")
    assert sentence in told


def test_server_that_is_away(said: Said):
    assert said(*REFERENCE, "--server", "127.0.0.1:9") == (
        "http://127.0.0.1:9 does not answer ([Errno 111] Connection refused). "
        "Start ComfyUI, or name its address with --server."
    )


@pytest.mark.parametrize("address", ["gpu..1", "gpu:one", "gpu:99999", "http://[::1", "ftp://gpu", "http://", ""])
def test_address_that_is_none(address: str, said: Said):
    assert said(*REFERENCE, "--server", address) == (
        f"'{address}' is no address of a server. --server takes HOST:PORT, such as 127.0.0.1:8188."
    )


def test_server_behind_a_gateway_is_away(said: Said):
    with gateway(status=502) as port:
        told = said(*REFERENCE, "--server", f"127.0.0.1:{port}")
    assert told.startswith(f"http://127.0.0.1:{port} answers '502 Bad Gateway'. Start ComfyUI, ")


def test_node_that_is_not_among_many(server: ComfyServer, said: Said, tmp_path: Path):
    node = {"class_type": "LoadImage", "inputs": {"image": "any.png"}}
    (tmp_path / "mine.json").write_text(json.dumps({str(number): node for number in range(1, 31)}))
    told = said("mine.json", "--set", "99.image=a.png", "--server", server.url)
    assert "There are: 1 (LoadImage), 2 (LoadImage), " in told
    assert told.endswith(", 20 (LoadImage) and 10 more.")


def test_unknown_template(server: ComfyServer, said: Said):
    told = said("edits", "--server", server.url)
    assert told.startswith("There is no template or workflow file 'edits'. Nearest: edit, ")


@pytest.mark.parametrize(("text", "sentence"), [("{", "cannot be read as JSON"), ("[1]", "is not a workflow")])
def test_file_that_is_no_workflow(text: str, sentence: str, server: ComfyServer, said: Said, tmp_path: Path):
    (tmp_path / "mine.json").write_text(text)
    assert sentence in said("mine.json", "--server", server.url)


def test_missing_checkpoint_is_named_with_its_folder(server: ComfyServer, said: Said, tmp_path: Path):
    saved = json.loads((CHECKOUT / "workflows" / "edit.json").read_text("utf-8"))
    del next(node for node in saved["nodes"] if node["id"] == 1)["properties"]["models"]
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    assert said("mine.json", "--image", SAMPLE, "--server", server.url) == (
        f"{server.url}: Node 1 (Any image model): the server has no model file 'v1-5-pruned-emaonly-fp16.safetensors'. "
        "Download it into its models/checkpoints folder, or set ckpt_name to dreamsampler_reference.safetensors."
    )


def test_missing_checkpoint_is_named_with_its_address_where_the_workflow_has_it(
    server: ComfyServer, said: Said, tmp_path: Path
):
    saved = json.loads((CHECKOUT / "workflows" / "edit.json").read_text("utf-8"))
    model = {"name": "v1-5-pruned-emaonly-fp16.safetensors", "url": "https://models.test/v1-5", "directory": "any"}
    next(node for node in saved["nodes"] if node["id"] == 1)["properties"]["models"] = [model]
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    told = said("mine.json", "--image", SAMPLE, "--server", server.url)
    assert "Download it from https://models.test/v1-5 into" in told


@pytest.mark.parametrize(
    ("template", "node_type", "value", "sentence"),
    [
        (
            *("lmc_edit", "DSManifoldCorrectiveLoad", "mine.safetensors"),
            "Node 3 (The model's corrective): the server has no corrective 'mine.safetensors'. Make one with the "
            "template train_corrective, or set name to ",
        ),
        (
            *("translate", "DSTranslatorApply", "mine.safetensors: star"),
            "Node 4 (Translator and target): the server has no translator 'mine.safetensors: star'. Train one with "
            "tools/translator.py, or set translation to dreamsampler_reference_translator.safetensors: ",
        ),
    ],
)
def test_missing_file_that_nobody_has_for_download(
    template: str, node_type: str, value: str, sentence: str, server: ComfyServer, said: Said, tmp_path: Path
):
    saved = json.loads((CHECKOUT / "workflows" / f"{template}.json").read_text("utf-8"))
    next(node for node in saved["nodes"] if node["type"] == node_type)["widgets_values"][0] = value
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    assert sentence in said("mine.json", "--image", SAMPLE, *CHECKPOINT, "--server", server.url)


def test_unknown_node(server: ComfyServer, said: Said, tmp_path: Path):
    prompt = {"1": {"class_type": "DSProximalSampler", "inputs": {}}}
    (tmp_path / "mine.json").write_text(json.dumps(prompt))
    told = said("mine.json", "--server", server.url)
    assert told.startswith("The server has no node 'DSProximalSampler'. Nearest: DSProximalDreamSampler")
    assert told.endswith("Install the pack it comes from.")


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("nowhere.png", "There is no picture nowhere.png."),
        ("text.png", "text.png is not a picture that can be read"),
        ("cut.png", "cut.png is not a picture that can be read"),
        (".", "cut.png is not a picture that can be read"),
        ("empty", "The folder empty has no picture in it."),
        ("nowhere=cut.png", "The workflow has no node 'nowhere'."),
        (f"{'x' * 300}.png", "File name too long"),
        (f"6={SAMPLE}", "--image: node 6 (Proximal DreamSampler) loads no picture."),
    ],
)
def test_wrong_picture(image: str, sentence: str, server: ComfyServer, said: Said, tmp_path: Path):
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "cut.png").write_bytes(Path(SAMPLE).read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    assert sentence in said("edit", *CHECKPOINT, "--image", image, "--server", server.url)


def test_picture_where_none_is_loaded_or_two_are(server: ComfyServer, said: Said):
    told = said("distil_text_to_image", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert told == "--image: the workflow has no node that loads a picture."
    told = said("inpaint_two_texts", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert told.startswith("--image: 2 nodes wait for a picture: 2 (Image with the first hole), 3 (")


def test_picture_that_was_not_given(server: ComfyServer, said: Said):
    told = said("edit", *CHECKPOINT, "--server", server.url)
    assert told.endswith("Node 2 (Source image): the server has no picture 'example.png'. Give one with --image.")


def test_picture_for_a_drawing(server: ComfyServer, said: Said):
    told = said("svg_edit", *CHECKPOINT, "--image", SAMPLE, "--server", server.url)
    assert told == f"{SAMPLE} is not a drawing: an SVG file is wanted here."


def test_output_that_is_a_file(server: ComfyServer, said: Said, tmp_path: Path):
    (tmp_path / "taken").touch()
    told = said(*REFERENCE, "--server", server.url, "--output", "taken")
    assert told.startswith("Results cannot be written to taken (")


def test_results_among_the_pictures(said: Said, tmp_path: Path):
    assert said("edit", "--image", ".", "--output", str(tmp_path)) == (
        f"--output {tmp_path} is the folder of pictures itself. Choose another."
    )


def test_ray_that_is_not_installed(server: ComfyServer, tmp_path: Path):
    (tmp_path / "ray.py").write_text("raise ImportError('no module')")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(CHECKOUT / 'tools')!r}]\n"
        "from queueing.command_line import main; sys.exit(main())"
    )
    arguments = [*REFERENCE, "--ray", "--server", server.url]
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == "error: --ray needs Ray, which cannot be imported (no module). Run: pip install ray\n"
