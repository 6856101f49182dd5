"""Endurance of a server: random graphs of the pack's nodes, one after another, for hours.

    .host/venv/bin/python -m benchmarks.endurance              300 runs; writes benchmarks/results/endurance.json
    .host/venv/bin/python -m benchmarks.endurance --runs 30 --seed 7 --output FOLDER

Runs the templates with random settings on a real ComfyUI with the reference model. Some graphs are as their nodes
allow, some are broken on purpose, some are canceled, and sometimes the server is told to free its memory. Counts runs
that do not end, ends of the server, and errors that are not a sentence of the pack. Every so often a fixed graph, the
canary, runs: its image must stay the same. A seed makes the same graphs again.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import logging
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
from dreamsampler.splats import write_ply
from PIL import Image

from tools.reference import solids, world

from .provenance import CHECKOUT, RESULTS, Results, this_run

sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import (  # noqa: E402
    ComfyClient,
    ComfyError,
    ExecutionFailed,
    Progress,
    Prompt,
    PromptInterrupted,
    PromptRefused,
    find_node,
)
from comfy_server import ComfyServer  # noqa: E402
from devhost import Host, locate  # noqa: E402
from devhost.links import connect  # noqa: E402

log = logging.getLogger("dreamsampler.benchmarks")

TEMPLATES = CHECKOUT / "workflows" / "api"
KINDS = {"allowed": 5, "broken": 3, "canceled": 2}
"""Kinds of runs, and how often each comes."""
CANARY, CANARY_STEPS, CANARY_EVERY = "edit", 12, 10
"""The template of the canary, its steps, and the number of runs between two of them."""
FREE_EVERY = 15
"""The number of runs after which the server is told to free its memory, on average."""
LONGEST = 600.0
"""Seconds after which a run counts as one that does not end."""
LARGEST: Mapping[str, int] = {
    "steps": 6, "fit_steps": 6, "ode_steps": 3, "paths": 8, "canvas_size": 96, "width": 8, "levels": 3, "batch_size": 2,
    "patch_size": 96, "kernel_size": 31, "lora_rank": 4, "inversion_steps": 4, "splats": 100, "render_size": 96,
    "views": 2, "frames": 3,
}  # fmt: skip
"""The largest values of settings that decide how long a run takes; other whole numbers are at most 64."""
TEXTS = (
    "a blue heart", "", " ", "\n", "a (red:1.3) star", "very detailed " * 400, "(" * 3000, "(" * 300 + "a" + ")" * 300,
    "a, " * 9000, "\0", "\ud83d\ude00 \u732b", "embedding:nothing", "a cat\\", ":::", "BREAK AND OR {a|b}",
)  # fmt: skip
DRAWINGS = {
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><rect width="96" height="96" '
    'fill="#f4f4f4"/><circle cx="48" cy="48" r="28" fill="#d22" stroke="#22d" stroke-width="4"/></svg>',
    "empty.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "broken.svg": "<svg",
}


def images() -> dict[str, Image.Image]:
    """Images to load: scenes that the model knows, one with a hole, and some of odd sizes."""
    rng = Random(0)
    scenes = [(world.render(world.sample_scene(rng, clean=True)) * 255).astype(np.uint8) for _ in range(4)]
    made = {f"scene_{n}.png": Image.fromarray(scene) for n, scene in enumerate(scenes)}
    hole = made["scene_0.png"].convert("RGBA")
    hole.paste((0, 0, 0, 0), (24, 24, 72, 72))
    odd = {f"odd_{w}x{h}.png": made["scene_1.png"].resize((w, h)) for w, h in ((97, 61), (8, 8), (1, 1), (200, 40))}
    return {**made, "hole.png": hole, **odd}


# Graphs


@dataclass(frozen=True)
class Graph:
    """A graph to run. `cancel_after` is the number of progress events before it is canceled, None to let it end."""

    kind: str
    template: str
    prompt: Prompt
    cancel_after: int | None = None


@dataclass(frozen=True)
class Setting:
    """An input of a node in a graph that is not connected, and its definition by the server."""

    node_id: str
    name: str
    kind: str
    limits: Mapping[str, Any]


class Maker:
    """Makes random graphs from templates and the server's definitions of nodes."""

    def __init__(self, definitions: Mapping[str, Any], seed: int):
        self.definitions, self.rng = definitions, Random(seed)
        self.templates = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(TEMPLATES.glob("*.json"))}

    def graph(self) -> Graph:
        """The next graph."""
        rng = self.rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        template = rng.choice(list(self.templates))
        prompt = self.filled(template)
        settings = self.settings(prompt)
        for setting in rng.sample(settings, min(len(settings), rng.randrange(5))):
            prompt[setting.node_id]["inputs"][setting.name] = self.value(setting)
        if kind == "broken":
            rng.choice(BREAKS)(self, prompt)
        return Graph(kind, template, prompt, rng.randrange(1, 5) if kind == "canceled" else None)

    def filled(self, template: str) -> Prompt:
        """A template with images to load, and with small numbers of steps."""
        prompt = copy.deepcopy(self.templates[template])
        for node in prompt.values():
            inputs = node["inputs"]
            if node["class_type"] == "LoadImage":
                inputs["image"] = "hole.png" if "hole" in str(node.get("_meta")).lower() else self.rng.choice(SCENES)
            elif node["class_type"] == "DSLoadSVG":
                inputs["file"] = "drawing.svg"
            elif node["class_type"] == "LoadImageDataSetFromFolder":
                inputs["folder"] = "folder"
            elif node["class_type"] == "DSLoadPosedViews":
                inputs["folder"] = "views"
            elif node["class_type"] == "DSLoadSplat":
                inputs["file"] = "ball.ply"
        for setting in self.settings(prompt):
            if setting.name in LARGEST and setting.kind == "INT":
                inputs = prompt[setting.node_id]["inputs"]
                inputs[setting.name] = _affordable(setting.name, inputs[setting.name])
        return prompt

    def settings(self, prompt: Prompt) -> list[Setting]:
        """The settings of the pack's nodes, and the texts of all prompts."""
        found = []
        for node_id, node in prompt.items():
            for name, (kind, *limits) in self.inputs(node["class_type"]).items():
                ours = node["class_type"].startswith(("DS", "CLIPTextEncode"))
                if ours and name in node["inputs"] and not isinstance(node["inputs"][name], list):
                    options = {"options": kind} if isinstance(kind, list) else {}
                    word = "COMBO" if isinstance(kind, list) else kind
                    found.append(Setting(node_id, name, word, {**(limits[0] if limits else {}), **options}))
        return found

    def inputs(self, class_type: str) -> dict[str, Any]:
        """The definitions of a node's inputs by name."""
        groups = self.definitions.get(class_type, {}).get("input", {})
        return {**groups.get("required", {}), **groups.get("optional", {})}

    def value(self, setting: Setting) -> Any:
        """A random value that the node allows."""
        rng, limits = self.rng, setting.limits
        if setting.kind == "COMBO":
            return rng.choice(limits.get("options") or [""])
        if setting.kind == "BOOLEAN":
            return rng.random() < 0.5
        if setting.kind == "STRING":
            return rng.choice(TEXTS)
        low, high = limits.get("min", 0), limits.get("max", 64)
        if setting.kind == "INT":
            if setting.name == "seed":
                return rng.randrange(2**63)
            high = max(low, min(high, LARGEST.get(setting.name, 64)))
            step = limits.get("step", 1)
            return _affordable(setting.name, low + step * rng.randrange((high - low) // step + 1))
        default = limits.get("default", low)
        return rng.choice([low, high, default, rng.uniform(low, min(high, 4 * abs(default) + 1))])


def _affordable(name: str, value: int) -> int:
    """A setting that takes little time. A negative one is the method's own, which can be a thousand steps."""
    if name not in LARGEST:
        return value
    return min(value, LARGEST[name]) if value >= 0 else LARGEST[name]


def _out_of_range(maker: Maker, prompt: Prompt) -> None:
    numbers = [each for each in maker.settings(prompt) if each.kind in ("INT", "FLOAT") and "max" in each.limits]
    for each in maker.rng.sample(numbers, min(1, len(numbers))):
        wrong = [each.limits["max"] + 1, each.limits.get("min", 0) - 1, float("nan"), float("inf"), "many", None]
        prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(wrong)


def _unknown_choice(maker: Maker, prompt: Prompt) -> None:
    choices = [each for each in maker.settings(prompt) if each.kind == "COMBO"]
    for each in maker.rng.sample(choices, min(1, len(choices))):
        prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(["nothing", "", "../x", "x" * 300, 7])


def _missing_input(maker: Maker, prompt: Prompt) -> None:
    node = prompt[maker.rng.choice([key for key, node in prompt.items() if node["inputs"]])]
    del node["inputs"][maker.rng.choice(list(node["inputs"]))]


def _wrong_link(maker: Maker, prompt: Prompt) -> None:
    links = [(key, name) for key, node in prompt.items() for name, value in node["inputs"].items()
             if isinstance(value, list) and node["class_type"].startswith("DS")]  # fmt: skip
    for key, name in maker.rng.sample(links, min(1, len(links))):
        prompt[key]["inputs"][name] = [maker.rng.choice(list(prompt)), maker.rng.randrange(3)]


def _odd_image(maker: Maker, prompt: Prompt) -> None:
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = maker.rng.choice(ODD)
        elif node["class_type"] == "DSLoadSVG":
            node["inputs"]["file"] = maker.rng.choice(["empty.svg", "broken.svg", "missing.svg"])
        elif node["class_type"] == "DSLoadSplat":
            node["inputs"]["file"] = maker.rng.choice(["empty.svg", "missing.ply"])
        elif node["class_type"] == "DSLoadPosedViews":
            node["inputs"]["folder"] = maker.rng.choice(["folder", "missing", "../views"])


def _odd_texts(maker: Maker, prompt: Prompt) -> None:
    for each in maker.settings(prompt):
        if each.kind == "STRING":
            prompt[each.node_id]["inputs"][each.name] = maker.rng.choice(TEXTS)


BREAKS: Sequence[Callable[[Maker, Prompt], None]] = (
    _out_of_range, _unknown_choice, _missing_input, _wrong_link, _odd_image, _odd_texts,
)  # fmt: skip
SCENES = [f"scene_{n}.png" for n in range(4)]
ODD = ["odd_97x61.png", "odd_8x8.png", "odd_1x1.png", "odd_200x40.png"]


# Runs


def is_sentence(message: str) -> bool:
    """Whether an error is written for users: several words that end with a period."""
    return len(message.split()) > 3 and message.rstrip().endswith((".", '."')) and "Traceback" not in message


@dataclass
class Soak:
    """The runs so far, by kind and end, and what went wrong."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    nodes: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    def note(self, number: int, graph: Graph, end: str, message: str = "") -> None:
        """Count a run that ended in some way; a wrong end is kept with its graph."""
        self.counts[graph.kind][end] += 1
        self.nodes.update({node["class_type"] for node in graph.prompt.values() if node["class_type"][:2] == "DS"})
        if end in WRONG:
            found = {"run": number, "kind": graph.kind, "template": graph.template, "end": end, "message": message}
            self.unexpected.append({**found, "prompt": graph.prompt})
        log.info("%3d %-9s %-20s %s %s", number, graph.kind, graph.template, end, message[:100])


WRONG = ("not a sentence", "does not end", "server ended")


class Server:
    """A ComfyUI that is started again if it ends or does not answer."""

    def __init__(self, folder: Path):
        self.folder, self.starts, self._running = folder, 0, None
        base = Host(folder / "base")  # only for its layout: links to the pack, the companion and the models
        connect(base, report=log.warning, checkout=CHECKOUT)
        self._arguments = ["--base-directory", str(base.comfyui)]
        self.start()

    def start(self) -> None:
        """Start the server, and upload what the graphs load."""
        self.stop()
        self.starts += 1
        workdir = self.folder / f"server_{self.starts}"
        self._running = ComfyServer(locate(), workdir, arguments=self._arguments).__enter__()
        inputs = workdir / "input"
        for name, image in images().items():
            image.save(inputs / name)
        for name, text in DRAWINGS.items():
            (inputs / name).write_text(text, "utf-8")
        (inputs / "folder").mkdir()
        for name in SCENES:
            (inputs / "folder" / name).write_bytes((inputs / name).read_bytes())
        ball, cameras = solids.ball("red", 100), solids.cameras_around(9, 24)
        (inputs / "ball.ply").write_bytes(write_ply(ball))
        solids.write_posed_views(inputs / "views", solids.views_of(ball, cameras), cameras)

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    @property
    def client(self) -> ComfyClient:
        """Talks to the server that runs now."""
        assert self._running is not None
        return self._running.client

    @property
    def inputs(self) -> Path:
        """The folder of the files to load."""
        assert self._running is not None
        return self._running.workdir / "input"

    def memory(self) -> float:
        """The memory of the server in MiB."""
        children = psutil.Process().children(recursive=True)
        return sum(child.memory_info().rss for child in children) / 2**20

    def is_idle(self, seconds: float) -> bool:
        """Whether nothing is running or waiting, at the latest after some seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            queue = self.client._json("/queue")
            if not (queue["queue_running"] or queue["queue_pending"]):
                return True
            time.sleep(0.2)
        return False

    def free(self) -> None:
        """Tell the server to unload models and drop its cache."""
        self.client._request("/free", json.dumps({"unload_models": True, "free_memory": True}).encode(), "text/json")


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server in a folder, which is stopped at the end."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


def end_of(server: Server, graph: Graph, longest: float) -> tuple[str, str]:
    """Run a graph. Returns how it ended, and the message."""
    events = 0

    def cancel(_: Progress) -> None:
        nonlocal events
        events += 1
        if events == graph.cancel_after:
            server.client.interrupt()

    started = time.monotonic()
    try:
        server.client.run(graph.prompt, on_progress=cancel, timeout=longest)
    except PromptRefused as error:
        return "refused", str(error)
    except ExecutionFailed as error:
        if not error.node_type.startswith("DS"):
            return "failed in a node of ComfyUI", error.message
        return ("told" if is_sentence(error.message) else "not a sentence"), f"{error.node_type}: {error.message}"
    except PromptInterrupted as error:
        if time.monotonic() - started < longest:
            return "canceled", ""
        return "does not end", str(error)
    except (ComfyError, OSError) as error:
        return ("not a sentence" if server.client.is_up() else "server ended"), repr(error)
    return "done", ""


def canary(server: Server, number: int) -> str:
    """Run the canary. Returns the digest of its image."""
    prompt: Prompt = json.loads((TEMPLATES / f"{CANARY}.json").read_text("utf-8"))
    name = f"canary_{number}.png"  # another name each time, or the server would answer from its cache
    (server.inputs / name).write_bytes((server.inputs / SCENES[0]).read_bytes())
    prompt[find_node(prompt, "Source image")]["inputs"]["image"] = name
    prompt[find_node(prompt, "Proximal DreamSampler")]["inputs"]["steps"] = CANARY_STEPS
    (file,) = server.client.run(prompt, timeout=LONGEST).files()
    pixels = np.asarray(Image.open(BytesIO(server.client.fetch(file))))
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def soak(folder: Path, runs: int, seed: int, longest: float = LONGEST) -> Soak:
    """Run random graphs and canaries."""
    result = Soak()
    with running(folder) as server:
        maker = Maker(server.client.object_info(), seed)
        result.canaries.append(canary(server, 0))
        for number in range(1, runs + 1):
            graph = maker.graph()
            end, message = end_of(server, graph, longest)
            if end == "does not end" or (end != "server ended" and not server.is_idle(longest)):
                end, message = "does not end", message or "The server is still busy."
            result.note(number, graph, end, message)
            if end in ("does not end", "server ended"):
                server.start()
            if maker.rng.randrange(FREE_EVERY) == 0:
                server.free()
            if number % CANARY_EVERY == 0 or number == runs:
                result.canaries.append(canary(server, number))
            result.memory.append(server.memory())
    return result


def write(path: Path, result: Soak, seed: int) -> Results:
    """Write the figures of a soak."""
    results = Results(path)
    results.table("runs", "runs", "The kind of each run is random.")
    for kind, counts in result.counts.items():
        if counts:
            wrong = [each for each in result.unexpected if each["kind"] == kind]
            results.figures[kind] = {**dict(sorted(counts.items())), "wrong": wrong}
            results.measured("runs", kind, sum(counts.values()))
    results.figures["canary"] = {"runs": len(result.canaries), "different images": len(set(result.canaries))}
    results.measured("runs", "canary", len(result.canaries))
    results.figures["nodes"] = dict(sorted(result.nodes.items()))
    results.measured("runs", "nodes", sum(map(Counter.total, result.counts.values())))
    quarter = max(len(result.memory) // 4, 1)
    for name, part in (("first quarter", result.memory[:quarter]), ("last quarter", result.memory[-quarter:])):
        results.figures[f"largest memory of the {name} of runs (MiB)"] = round(max(part))
    results.figures["seed"] = seed
    results.write()
    return results


def main() -> int:
    """Run and write. Returns 1 if something went wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="number of random graphs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the graphs (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server as well
    this_run()  # the commit is the one that the server loads
    with tempfile.TemporaryDirectory(prefix="endurance_") as folder:
        result = soak(Path(folder), arguments.runs, arguments.seed)
    results = write(arguments.output / "endurance.json", result, arguments.seed)
    print(json.dumps({name: value for name, value in results.figures.items()}, indent=1))
    return int(bool(result.unexpected) or len(set(result.canaries)) > 1)


if __name__ == "__main__":
    sys.exit(main())
