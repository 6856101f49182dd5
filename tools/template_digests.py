"""Record a digest of every template's results, to show that a refactoring changes none of them.

    python tools/template_digests.py --output before.json
    python tools/template_digests.py --output after.json --compare before.json
    python tools/template_digests.py --output after.json --compare before.json --only edit,inpaint --checkout ../other

Runs a checkout's templates, in API form, on a real ComfyUI whose only packs are that checkout and the reference model.
For every saved file it writes the shape and a SHA-256: of the decoded pixels (PNG), of the SVG without its embedded
workflow, or of the tensors (safetensors). With --compare it names each difference and exits with status 1 if there is
one.

The server runs on one CPU thread so that results repeat bit for bit. Compare files written on the same machine. All
templates together take about 6 minutes of CPU time.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from devhost import CHECKOUT, Host, HostError, add_options, ensure, enter, is_inside, locate, use

ONE_CPU_THREAD = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--compare", type=Path, help="an earlier file to compare with")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="the checkout to run (default: this one)")
    parser.add_argument("--only", help="template names, separated by commas (default: all)")
    add_options(parser)
    options = parser.parse_args()
    options.checkout = options.checkout.resolve()
    if options.compare and not options.compare.is_file():
        parser.error(f"there is no file {options.compare}")
    if not options.output.absolute().parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    try:
        options.templates = _templates(options.checkout, options.only)
    except LookupError as error:
        parser.error(error.args[0])
    return options


def _templates(checkout: Path, only: str | None) -> list[Path]:
    """The templates in API form: all, or those named."""
    folder = checkout / "tests" / "workflows"
    if not folder.is_dir():
        folder = checkout / "workflows" / "api"
    found = {path.stem: path for path in sorted(folder.glob("*.json"))}
    names = [name.strip() for name in only.split(",")] if only else list(found)
    unknown = [name for name in names if name not in found]
    if unknown or not found:
        raise LookupError(f"{folder} has no template {', '.join(unknown)}; it has: {', '.join(found) or 'none'}")
    return [found[name] for name in names]


def _enter_host(options: argparse.Namespace) -> None:
    """Run the same command on the development host's Python, which has the packages imported below.

    An existing development host is used as it is, because `ensure` would change which checkout it is linked to.
    """
    try:
        use(options)
        host = locate()
        if not is_inside(host):
            enter(ensure(report=print) if host.is_borrowed or not host.python.exists() else host)
    except HostError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _given = _options()  # --help and wrong arguments need no host
    os.environ.update(ONE_CPU_THREAD)
    _enter_host(_given)

import hashlib  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from io import BytesIO  # noqa: E402
from random import Random  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402
from comfy_client import ComfyError, Prompt, ServerFailed  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from devhost.links import connect  # noqa: E402
from PIL import Image, ImageFilter  # noqa: E402
from reference import world  # noqa: E402
from safetensors import deserialize  # noqa: E402

Record = dict[str, Any]

AFFORDABLE: Mapping[str, Mapping[str, Any]] = {"DSManifoldCorrectiveTrain": {"steps": 150}}
"""Settings that replace a template's own, by node type. The 5,000 training steps of the template take half an hour."""


# The inputs of the templates


def _scene(shape: str, color: str, pattern: str, style: str = "picture") -> world.Scene:
    """One object in the middle of a white background."""
    return world.Scene((world.Thing(shape, color, 48, 48, 30, 0.1),), "white", pattern, None, style, 7)


HEART = _scene("heart", "red", "dotted")
CIRCLE = _scene("circle", "red", "plain")
PAIR = world.Scene(
    (world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)),
    "purple", "plain", None, "picture", 7,
)  # fmt: skip
HOLE, LEFT_HOLE, RIGHT_HOLE = (14, 14, 82, 82), (4, 24, 47, 72), (49, 24, 92, 72)
"""Left, top, right and bottom, in pixels."""
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect width="96" height="96" fill="#f4f4f4"/><circle cx="48" cy="48" r="28" fill="#d22"/>
</svg>"""


def _image(scene: world.Scene) -> Image.Image:
    return Image.fromarray((world.render(scene) * 255).astype(np.uint8))


def _with_hole(scene: world.Scene, hole: tuple[int, int, int, int]) -> Image.Image:
    """An image as the mask editor saves it: transparent in the hole."""
    image, alpha = _image(scene), Image.new("L", (world.SIZE, world.SIZE), 255)
    alpha.paste(0, hole)
    image.putalpha(alpha)
    return image


def _noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float64)
    values = values + np.random.default_rng(0).normal(0, 1.3, values.shape)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def _blurred(scene: world.Scene, sigma: float) -> Image.Image:
    return _image(scene).filter(ImageFilter.GaussianBlur(sigma))


def _sheet() -> Image.Image:
    """16 scenes in one training image, because ComfyUI reads a folder in the file system's order, which varies."""
    rng, sheet = Random(3), Image.new("RGB", (4 * world.SIZE, 4 * world.SIZE))
    for n in range(16):
        sheet.paste(_image(world.sample_scene(rng, clean=True)), (n % 4 * world.SIZE, n // 4 * world.SIZE))
    return sheet


IMAGES: Mapping[str, Callable[[], list[Image.Image]]] = {
    "deblur": lambda: [_noisy(_blurred(HEART, 2.0))],
    "inpaint": lambda: [_with_hole(HEART, HOLE)],
    "inpaint_two_texts": lambda: [_with_hole(PAIR, LEFT_HOLE), _with_hole(PAIR, RIGHT_HOLE)],
    "painting_to_real": lambda: [_image(_scene("heart", "red", "dotted", "painting"))],
    "restore_svg": lambda: [_blurred(CIRCLE, 5.0)],
    "super_resolve": lambda: [_noisy(_image(HEART).resize((24, 24), Image.Resampling.BOX))],
    "translate": lambda: [_image(CIRCLE)],
}
"""Images for a template's Load Image nodes, in order. All other nodes load HEART, which the prompts describe."""


def _fill_in(prompt: Prompt, template: str, folder: Path) -> None:
    """Write the template's input files to the input folder and select them in its loading nodes."""
    images = iter(IMAGES[template]() if template in IMAGES else [])
    for node_id, node in prompt.items():
        kind, inputs = node["class_type"], node["inputs"]
        if kind == "LoadImage":
            inputs["image"] = f"{template}_{node_id}.png"
            next(images, _image(HEART)).save(folder / inputs["image"])
        elif kind == "DSLoadSVG":
            inputs["file"] = f"{template}_{node_id}.svg"
            (folder / inputs["file"]).write_text(DRAWING, "utf-8")
        elif kind == "LoadImageDataSetFromFolder":
            (folder / inputs["folder"]).mkdir()
            _sheet().save(folder / inputs["folder"] / "sheet.png")
        inputs |= AFFORDABLE.get(kind, {})


# Digests


def _digest(path: Path) -> Record:
    """The SHA-256 and the shape of a saved file."""
    by_suffix = {".png": _digest_image, ".svg": _digest_drawing, ".safetensors": _digest_tensors}
    return by_suffix.get(path.suffix, _digest_bytes)(path.read_bytes())


def _digest_image(content: bytes) -> Record:
    pixels = np.asarray(Image.open(BytesIO(content)))
    return {"sha256": hashlib.sha256(pixels.tobytes()).hexdigest(), "shape": list(pixels.shape)}


def _digest_drawing(content: bytes) -> Record:
    """Ignores the workflow that ComfyUI embeds: node titles and input file names are not a result."""
    drawing = re.sub(rb"\s*<metadata>.*?</metadata>\s*", b"\n", content, flags=re.DOTALL)
    shape = {"paths": drawing.count(b"<path"), "bytes": len(drawing)}
    return {"sha256": hashlib.sha256(drawing).hexdigest(), "shape": shape}


def _digest_tensors(content: bytes) -> Record:
    digest, shapes = hashlib.sha256(), {}
    for name, tensor in sorted(deserialize(content)):
        shapes[name] = tensor["shape"]
        digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode() + bytes(tensor["data"]))
    return {"sha256": digest.hexdigest(), "shape": shapes}


def _digest_bytes(content: bytes) -> Record:
    return {"sha256": hashlib.sha256(content).hexdigest(), "shape": [len(content)]}


def _digest_folder(folder: Path) -> Record:
    """The digests of all files in a folder and its subfolders, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


# Running the templates


def _run(templates: Sequence[Path], checkout: Path) -> Record:
    """Run the templates on a server of their own, by name. Raises HostError or ServerFailed."""
    with tempfile.TemporaryDirectory(prefix="template_digests_") as temporary:
        base = Host(Path(temporary))  # only for its layout: links to the pack, the companion and the models
        connect(base, report=_refuse, checkout=checkout)
        arguments = ["--base-directory", str(base.comfyui)]
        with ComfyServer(locate(), base.base / "server", arguments=arguments) as server:
            return {template.stem: _run_one(server, template) for template in templates}


def _refuse(message: str) -> None:
    """A checkout without one of the models cannot run every template."""
    raise HostError(message)


def _run_one(server: ComfyServer, template: Path) -> Record:
    """Run a template and digest the files it saves. A failure is recorded and does not stop the others."""
    inputs, outputs = (server.workdir / name for name in ("input", "output"))
    for folder in (inputs, outputs):
        shutil.rmtree(folder)
        folder.mkdir()
    prompt: Prompt = json.loads(template.read_text("utf-8"))
    _fill_in(prompt, template.stem, inputs)
    record: Record = {}
    started, cpu_started = time.monotonic(), _cpu_seconds()
    try:
        server.client.run(prompt, timeout=None)
        record |= {"inputs": _digest_folder(inputs), "files": _digest_folder(outputs)}
        if not record["files"]:
            record["error"] = "It saved no file."
    except ServerFailed:
        raise
    except ComfyError as error:
        record["error"] = str(error)
    record["seconds"] = round(time.monotonic() - started, 1)
    record["cpu_seconds"] = round(_cpu_seconds() - cpu_started, 1)
    _print(template.stem, record)
    return record


def _cpu_seconds() -> float:
    """Processor time of the running server, which a busy machine does not lengthen as it does the wall time."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(each.user + each.system for each in times)


def _print(template: str, record: Record) -> None:
    files = record.get("files", {}).items()
    made = ", ".join(f"{name} {each['sha256'][:12]}" for name, each in files) or record["error"]
    print(f"{template:<22}{record['seconds']:>7.1f} s{record['cpu_seconds']:>7.1f} s CPU  {made}", flush=True)


def _machine() -> Record:
    """Rounding differs between versions of PyTorch and between instruction sets."""
    return {"torch": torch.__version__, "kernels": torch.backends.cpu.get_cpu_capability()}


# Comparing


def differences(before: Record, after: Record, names: Sequence[str]) -> list[str]:
    """One sentence for each difference between two results, in the named templates."""
    found = []
    if before["machine"] != after["machine"]:
        found.append(f"The machines differ: {before['machine']} and {after['machine']}. Run both on the same one.")
    for name in names:
        one, other = (each["templates"].get(name) for each in (before, after))
        found += [f"{name}: {difference}" for difference in _template_differences(one, other)]
    return found


def _template_differences(before: Record | None, after: Record | None) -> list[str]:
    if before is None or after is None:
        return [f"was only run {'after' if before is None else 'before'}."]
    failed = {when: each["error"] for when, each in (("before", before), ("after", after)) if "error" in each}
    if failed:
        return [f"failed {when}: {error}" for when, error in failed.items()]
    if before["inputs"] != after["inputs"]:
        return ["its inputs differ, so its results cannot be compared."]
    one, other = before["files"], after["files"]
    return [f"{name} {_how(one.get(name), other.get(name))}" for name in sorted({*one, *other})
            if one.get(name) != other.get(name)]  # fmt: skip


def _how(before: Record | None, after: Record | None) -> str:
    if before is None or after is None:
        return "was only saved " + ("after." if before is None else "before.")
    if before["shape"] != after["shape"]:
        return f"changed its shape from {before['shape']} to {after['shape']}."
    return "has the same shape but different content."


def main() -> int:
    """Write the digests and compare them. Returns 1 if a template failed or differs."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server as well
    try:
        result = {"machine": _machine(), "templates": _run(options.templates, options.checkout)}
    except (HostError, ServerFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    records = result["templates"]
    seconds, cpu_seconds = (sum(each[key] for each in records.values()) for key in ("seconds", "cpu_seconds"))
    print(f"{len(records)} templates took {seconds:.0f} s, {cpu_seconds:.0f} s of CPU time.")
    if not options.compare:
        return int(any("error" in each for each in records.values()))
    before = json.loads(options.compare.read_text("utf-8"))
    names = list(records) if options.only else sorted({*before["templates"], *records})
    found = differences(before, result, names)
    print("\n".join(found) or "No template differs.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
