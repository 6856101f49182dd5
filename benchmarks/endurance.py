"""Endurance of a server: random graphs of the pack's nodes, one after another, for hours.

    .host/venv/bin/python -m benchmarks.endurance              300 runs; writes benchmarks/results/endurance.json
    .host/venv/bin/python -m benchmarks.endurance --runs 30 --seed 7 --output FOLDER

Runs the templates with random settings on a real ComfyUI with the reference model. Some graphs are as their nodes
allow, some are broken on purpose, some are canceled, and sometimes the server is told to free its memory. Counts runs
that do not end, ends of the server, and what the pack says that is not a sentence: errors of its nodes, errors raised
by its code in nodes of ComfyUI, and refusals. The messages are kept. Every so often a fixed graph, the canary, runs:
its image must stay the same. A seed makes the same graphs again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .endurance_graphs import KINDS, SCENES, TEMPLATES, Graph, Maker
from .endurance_server import Server, running
from .provenance import CHECKOUT, RESULTS, Results, this_run

sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import (  # noqa: E402
    ComfyError,
    ExecutionFailed,
    Progress,
    Prompt,
    PromptInterrupted,
    PromptRefused,
    find_node,
)

log = logging.getLogger("dreamsampler.benchmarks")
CANARY, CANARY_STEPS, CANARY_EVERY = "edit", 12, 10
"""The template of the canary, its steps, and the number of runs between two of them."""
FREE_EVERY = 15
"""The number of runs after which the server is told to free its memory, on average."""
LONGEST = 600.0
"""Seconds after which a run counts as one that does not end."""


def is_sentence(message: str) -> bool:
    """Whether an error is written for users: several words that end with a period."""
    return len(message.split()) > 3 and message.rstrip().endswith((".", '."')) and "Traceback" not in message


@dataclass
class Soak:
    """The runs so far, by kind and end, and what went wrong."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    messages: dict[str, dict[str, set[str]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    nodes: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    def note(self, number: int, graph: Graph, end: str, message: str = "") -> None:
        """Count a run that ended in some way; a wrong end is kept with its graph.

        A run that ends before it is canceled is one of those allowed.
        """
        ended_first = graph.kind == "canceled" and end not in ("canceled", *WRONG)
        kind = "allowed" if ended_first else graph.kind
        self.counts[kind][end] += 1
        if message:
            self.messages[kind].setdefault(end, set()).add(message[:LONGEST_MESSAGE])
        self.nodes.update({node["class_type"] for node in graph.prompt.values() if node["class_type"][:2] == "DS"})
        if end in WRONG:
            found = {"run": number, "kind": kind, "template": graph.template, "end": end, "message": message}
            self.unexpected.append({**found, "prompt": graph.prompt})
        log.info("%3d %-9s %-20s %s %s", number, kind, graph.template, end, message[:100])


WRONG = ("not a sentence", "does not end", "server ended")
LONGEST_MESSAGE = 400
"""Characters of a message that are kept."""
ROOMS = [CHECKOUT / room for room in ("nodes", "guidance", "svg", "drawings", "scenes", "splats")]
"""The code of the pack."""
REFUSAL = re.compile(
    r"node (\w+) \([^:]*\): Custom validation failed for node \(\w+ - (.+?)\)(?=; node \w+ \(|$)", re.S
)
"""A node, and what it says against its inputs, in what the server says."""


def refusals_of_ours(message: str, prompt: Prompt) -> list[str]:
    """What nodes of the pack say against their inputs, without what ComfyUI checks itself."""
    return [said for node, said in REFUSAL.findall(message) if prompt[node]["class_type"].startswith("DS")]


def is_of_ours(error: ExecutionFailed) -> bool:
    """Whether an error is of a node of the pack, or raised by its code in another node."""
    raised_in = Path(error.file).resolve()
    return error.node_type.startswith("DS") or any(raised_in.is_relative_to(room) for room in ROOMS)


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
        told = all(map(is_sentence, refusals_of_ours(str(error), graph.prompt)))
        return ("refused" if told else "not a sentence"), str(error)
    except ExecutionFailed as error:
        message = f"{error.node_type}: {error.message}"
        if not is_of_ours(error):
            return "failed in a node of ComfyUI", message
        return ("told" if is_sentence(error.message) else "not a sentence"), message
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
            result.note(number, graph, end, message.replace(str(folder), "FOLDER"))
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
            said = {end: sorted(messages) for end, messages in sorted(result.messages[kind].items())}
            results.figures[kind] = {**dict(sorted(counts.items())), "messages": said, "wrong": wrong}
            results.measured("runs", kind, sum(counts.values()))
    results.figures["canary"] = {"runs": len(result.canaries), "different images": len(set(result.canaries))}
    results.measured("runs", "canary", len(result.canaries))
    results.figures["nodes"] = dict(sorted(result.nodes.items()))
    results.measured("runs", "nodes", sum(map(Counter.total, result.counts.values())))
    quarter = max(len(result.memory) // 4, 1)
    for name, part in (("first quarter", result.memory[:quarter]), ("last quarter", result.memory[-quarter:])):
        results.figures[f"largest memory after a run of the {name} (MiB)"] = round(max(part))
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
