"""Edit a sample image on a real ComfyUI, or open that ComfyUI in your browser.

    python tools/demo.py                       edit the sample and write the images to demo_output/
    python tools/demo.py --image mine.png --prompt "a yellow star"
    python tools/demo.py --serve               keep the server running and print its address
    python tools/demo.py --comfyui FOLDER      on your own ComfyUI, into which nothing is written

The first run sets up its own ComfyUI, which takes a few minutes. You do not need to install anything else.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from devhost import CHECKOUT, PACK, Host, HostError, add_options, ensure, enter, is_inside, locate, use

if TYPE_CHECKING:
    from comfy_client import ComfyClient, Progress, Prompt
    from PIL.Image import Image

SAMPLE = CHECKOUT / "tools" / "assets" / "sample.png"
WORKFLOW = CHECKOUT / "workflows" / "api" / "edit.json"
OUTPUT = CHECKOUT / "demo_output"

VIEW_WIDTH = 384
"""Width of each image in the side-by-side view: four times the 96 pixels of the reference model."""
GAP = 16
HINT = (
    f"Open a template of {PACK}, close the message that a model is missing, choose the checkpoint "
    "dreamsampler_reference, and press Run. The sample inputs are here of the one kind that it knows, 96x96 pixels."
)


def main() -> int:
    options = _parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server stops, too
    try:
        use(options)
        if not is_inside(locate()):
            enter(ensure(report=print))
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _run(locate(), options)


def _run(host: Host, options: argparse.Namespace) -> int:
    """The demo itself. Only the host's interpreter has aiohttp and Pillow, hence the late imports."""
    from comfy_client import ComfyError, printable
    from comfy_server import ComfyServer
    from sample_inputs import REFERENCE, write

    print("Starting ComfyUI ...", flush=True)
    write(options.output / "server" / "input", REFERENCE)
    try:
        with ComfyServer(host, options.output / "server") as server:
            _edit(server.client, options)
            if options.serve:
                print(f"Open {server.url} in your browser. {HINT} Press Ctrl-C to stop the server.", flush=True)
                server.wait()
    except ComfyError as error:
        print("error:", *map(printable, str(error).splitlines()), sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=SAMPLE, help="the image to edit (default: the sample)")
    parser.add_argument("--prompt", help="the target prompt: what the edited image should show")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the images (default: demo_output)")
    parser.add_argument("--serve", action="store_true", help="keep the server running for your browser")
    add_options(parser)
    options = parser.parse_args()
    options.output = options.output.resolve()
    if not options.image.is_file():
        parser.error(f"The image {options.image} does not exist. Check the path.")
    return options


def _edit(client: ComfyClient, options: argparse.Namespace) -> None:
    """Run the edit workflow on the image. Saves the input, the result and both side by side."""
    from PIL import Image

    prompt = _prepare(client, options)
    result = client.run(prompt, on_progress=_Bar(prompt))
    edited = Image.open(BytesIO(client.fetch(result.files()[0]))).convert("RGB")
    source = Image.open(options.image).convert("RGB")
    images = {"input": source, "edited": edited, "side_by_side": _side_by_side(source, edited)}
    for name, image in images.items():
        path = options.output / f"{name}.png"
        image.save(path)
        print(path)


def _prepare(client: ComfyClient, options: argparse.Namespace) -> Prompt:
    """The edit workflow with the user's image and prompt."""
    from comfy_client import find_node

    prompt = json.loads(WORKFLOW.read_text("utf-8"))
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = client.upload_image(options.image)
    if options.prompt:
        prompt[find_node(prompt, "Target prompt")]["inputs"]["text"] = options.prompt
    return prompt


def _side_by_side(left: Image, right: Image) -> Image:
    """Both images at the same size on white, with a gap between them."""
    from PIL import Image

    size = (VIEW_WIDTH, VIEW_WIDTH * left.height // left.width)
    canvas = Image.new("RGB", (2 * VIEW_WIDTH + GAP, size[1]), "white")
    canvas.paste(left.resize(size, Image.Resampling.LANCZOS), (0, 0))
    canvas.paste(right.resize(size, Image.Resampling.LANCZOS), (VIEW_WIDTH + GAP, 0))
    return canvas


class _Bar:
    """A text progress bar: redrawn in place on a terminal; elsewhere, one line per finished node."""

    WIDTH = 30

    def __init__(self, prompt: Prompt):
        self._prompt = prompt

    def __call__(self, progress: Progress) -> None:
        finished = progress.value >= progress.maximum
        if sys.stdout.isatty() or finished:
            start, end = ("\r", "\n" if finished else "") if sys.stdout.isatty() else ("", "\n")
            print(start + self._draw(progress), end=end, flush=True)

    def _draw(self, progress: Progress) -> str:
        filled = self.WIDTH * progress.value // max(1, progress.maximum)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        return f"[{bar}] {progress.value}/{progress.maximum} {self._title(progress.node_id)}"

    def _title(self, node_id: str) -> str:
        """The title of a running node. A node that another expanded into is not in the prompt."""
        from comfy_client import printable

        node = self._prompt.get(node_id, {})
        return node.get("_meta", {}).get("title") or node.get("class_type") or printable(str(node_id))


if __name__ == "__main__":
    sys.exit(main())
