"""PIE-Bench, or a folder of your own images, edited on a ComfyUI by any method of the pack, and measured.

    python -m benchmarks.pie --checkpoint sd15.safetensors --data PIE-Bench_v1 --methods proximal dds img2img
    python -m benchmarks.pie --checkpoint sd15.safetensors --data PIE-Bench_v1 --methods proximal --set gamma=0.5
    python -m benchmarks.pie --checkpoint sd15.safetensors --data faces --methods inpaint:gamma=2 --limit 100
    python -m benchmarks.pie --data PIE-Bench_v1 --no-edits           only measures and reports what is there

--data is a folder with mapping_file.json and its images, as benchmarks/pie_data.py describes. Every image goes through
a running ComfyUI that has the pack. A method can have settings of its own, "proximal:gamma=0.5,steps=100"; --set sets
an input of all methods that have it. Both take NODE.INPUT=VALUE, too, as in "region.steps=20". Every other input keeps
the default of its node.

Results go to --output: edited images, results.jsonl with lines for each method and image, pie.json and pie.md. The
same command again does what is missing, retries what failed, and measures what could not be measured before.

PSNR, MSE and SSIM are always measured. LPIPS needs the packages torchmetrics and torchvision, structure distance and
CLIP similarity transformers. Their weights are read from your caches; --download fetches what is missing. --stand-in
replaces all networks by functions without meaning, for tests.

Exit status: 0 everything edited, 1 some runs failed or no server is left, 2 nothing started, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .provenance import CHECKOUT, Run, this_run

sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import ComfyClient, printable  # noqa: E402
from queueing.definitions import ObjectInfo  # noqa: E402
from queueing.errors import QueueingError  # noqa: E402
from queueing.images import ImageFile
from queueing.images import read as read_image  # noqa: E402
from queueing.jobs import Job  # noqa: E402
from queueing.lanes import thread_lanes  # noqa: E402
from queueing.overrides import check  # noqa: E402
from queueing.record import Record, open_record  # noqa: E402
from queueing.servers import address, reachable  # noqa: E402
from queueing.show import Show  # noqa: E402
from queueing.spread import Spread  # noqa: E402

from . import pie_data, pie_methods, pie_metrics  # noqa: E402
from .pie_data import BrokenEntry, Entry  # noqa: E402
from .pie_methods import Case, Method  # noqa: E402
from .pie_metrics import Networks, Settings  # noqa: E402
from .pie_report import DONE, FAILED, LEDGER, Key, Ledger, write  # noqa: E402

OUTPUT = CHECKOUT / "benchmarks" / "work" / "pie"
STOPPED = 130
TELL_EVERY = 50
"""How many images are measured between two lines of progress."""


@dataclass
class Plan:
    """The jobs to run by their keys, the cases that each of them is for, and the cases that cannot run."""

    jobs: dict[str, Job] = field(default_factory=dict)
    cases: dict[str, list[tuple[Key, Entry]]] = field(default_factory=dict)
    broken: dict[Key, tuple[Entry, str]] = field(default_factory=dict)


def plan(entries: Iterable[Entry], methods: Sequence[Method], info: ObjectInfo, options: argparse.Namespace) -> Plan:
    """A job for each method and image. Equal ones are one job."""
    made, setup, folder = Plan(), setup_of(options), options.output / "sources"
    for entry in entries:
        uploads: dict[bool, ImageFile | BrokenEntry] = {}
        for method in methods:
            hole = method.name == pie_methods.HOLE
            if hole not in uploads:
                uploads[hole] = upload(entry, folder, options.size, hole=hole)
            key, image = (setup, method.label, entry.key), uploads[hole]
            if isinstance(image, BrokenEntry):
                made.broken[key] = entry, str(image)
                continue
            case = Case(options.checkpoint, image.upload_name, entry.source_prompt, entry.target_prompt, options.seed)
            label = re.sub(r"[^\w.+=-]+", "_", f"{entry.key}_{method.label}")
            job = Job(label, method.prompt(info, case), (image,))
            made.jobs.setdefault(job.key, job)
            made.cases.setdefault(job.key, []).append((key, entry))
    return made


def setup_of(options: argparse.Namespace) -> str:
    """What the rows of a table have in common."""
    size = f", {options.size} pixels" if options.size else ""
    seed = f", seed {options.seed}" if options.seed else ""
    return f"{data_name(options)}, {options.checkpoint}{size}{seed}"


def data_name(options: argparse.Namespace) -> str:
    return options.data.resolve().name


def upload(entry: Entry, folder: Path, size: int | None, *, hole: bool) -> ImageFile | BrokenEntry:
    """The image to upload, or why there is none."""
    try:
        entry.check()
        return read_image(pie_data.upload(entry, folder, size, hole=hole), drawing=False)
    except BrokenEntry as error:
        return error


class Watch(Show):
    """Shows jobs, and records their outcomes in the ledger."""

    def __init__(self, addresses: Sequence[str], ledger: Ledger, made: Plan, run: Run, *, done: int):
        super().__init__(addresses, done=done, total=len(made.jobs))
        self._ledger, self._made, self._run = ledger, made, run

    def finished(self, job: Job, files: Sequence[Path]) -> None:
        note_done(self._ledger, self._made, job.key, files, self._run)
        self._count(f"{printable(job.label)}: done")

    def failed(self, job: Job, message: str, files: Sequence[Path] = ()) -> None:
        for key, entry in self._made.cases[job.key]:
            note_failed(self._ledger, key, entry, job.key, message)
        super().failed(job, message, files)


def note_done(ledger: Ledger, made: Plan, job: str, files: Sequence[Path], run: Run) -> None:
    """Record the edited image of a job for each of its cases. Scores of an earlier image are dropped."""
    for key, entry in made.cases[job]:
        facts = {"type": entry.kind, "job": job, "state": DONE, "error": "", "file": files[0].name}
        ledger.add(key, **facts, run=run, scores={}, networks={})


def note_failed(ledger: Ledger, key: Key, entry: Entry, job: str, message: str) -> None:
    """Record why a case failed."""
    ledger.add(key, type=entry.kind, job=job, state=FAILED, error=message)


def edit(entries: Sequence[Entry], options: argparse.Namespace, ledger: Ledger, record: Record) -> int:
    """Run what is missing. Returns the number of runs that failed or are left."""
    servers = reachable([address(each) for each in options.server])
    methods = checked_methods(servers, options)
    made = plan(entries, methods, next(iter(servers.values())), options)
    for key, (entry, message) in made.broken.items():
        print(f"error: {printable(f'{key[2]}, {key[1]}: {message}')}", file=sys.stderr)
        if ledger.lines.get(key, {}).get("error") != message:
            note_failed(ledger, key, entry, "", message)
    record.claim([*made.jobs.values()], "pie")
    run = {**this_run(), "servers": versions([*servers])}
    done = [job for job in made.jobs.values() if record.is_done(job)]
    for job in done:
        noted = [ledger.lines.get(key, {}) for key, _ in made.cases[job.key]]
        if any((line.get("job"), line.get("state")) != (job.key, DONE) for line in noted):
            note_done(ledger, made, job.key, record.files(job), run)
    left = [job for job in made.jobs.values() if job not in done]
    if not left:
        return len(made.broken)
    with (
        Watch([*servers], ledger, made, run, done=len(done)) as watch,
        thread_lanes([*servers], watch.progress) as lanes,
    ):
        remaining = Spread(lanes, record, watch).run(left)
    if remaining:
        print(f"error: No server is left; {len(remaining)} runs are not done.", file=sys.stderr)
    return len(made.broken) + watch.failures + len(remaining)


def checked_methods(servers: dict[str, ObjectInfo], options: argparse.Namespace) -> list[Method]:
    """The methods with their settings. Raises QueueingError if a server cannot run one."""
    info = next(iter(servers.values()))
    sample = Case(options.checkpoint, "image.png", "", "", options.seed)
    methods = [pie_methods.parsed(text, info) for text in options.methods]
    methods = list(dict.fromkeys(pie_methods.with_common(methods, options.set, info, sample)))
    for server, known in servers.items():
        client = ComfyClient(server)
        for method in methods:
            try:
                check(method.prompt(known, sample), known, {}, [sample.image], client.has_file)
            except QueueingError as error:
                raise QueueingError(f"{method.label} on {client.url}: {error}") from error
    return methods


def versions(addresses: Sequence[str]) -> list[dict[str, Any]]:
    """The software and devices of the servers."""
    found = [ComfyClient(each)._json("/system_stats") for each in addresses]
    return [
        {
            "comfyui": each["system"].get("comfyui_version"),
            "torch": each["system"].get("pytorch_version"),
            "devices": [device["name"] for device in each["devices"]],
        }
        for each in found
    ]


# Measuring


def score(data: str, entries: Sequence[Entry], ledger: Ledger, networks: Networks, folder: Path) -> None:
    """Measure the edits of all entries that have not been measured with these networks."""
    known = {entry.key: entry for entry in entries}
    todo = [
        (key, known[key[2]])
        for key, line in ledger.lines.items()
        if line["state"] == DONE and key[0].startswith(f"{data}, ") and key[2] in known
    ]
    todo = [(key, entry) for key, entry in todo if not is_measured(ledger.lines[key], entry, networks)]
    for number, (key, entry) in enumerate(todo, start=1):
        try:
            with Image.open(folder / ledger.lines[key]["file"]) as edited:
                prompts = entry.source_prompt, entry.target_prompt
                scores = pie_metrics.measured(entry.image(), edited, entry.mask(), prompts, networks)
        except (BrokenEntry, OSError) as error:
            print(f"error: {printable(f'{key[2]}, {key[1]}: not measured: {error}')}", file=sys.stderr)
            continue
        used = {kind: name for kind, name in networks.names.items() if networks.get(kind)}
        ledger.add(key, scores=scores, networks=used, entry=entry.digest(), masked=entry.facts.get("mask") is not None)
        if number % TELL_EVERY == 0 or number == len(todo):
            print(f"{number}/{len(todo)} measured", file=sys.stderr)


def is_measured(line: dict[str, Any], entry: Entry, networks: Networks) -> bool:
    """Whether an edit has all scores that it can have now."""
    if not line["scores"] or line["entry"] != entry.digest():
        return False
    return not any(networks.get(kind) for kind, name in networks.names.items() if line["networks"].get(kind) != name)


# The command


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.pie", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with mapping_file.json")
    parser.add_argument("--checkpoint", help="checkpoint on the server: model, text encoder and VAE in one file")
    parser.add_argument(
        "--server", action="append", help="address of a ComfyUI, again for more (default: 127.0.0.1:8188)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(pie_methods.DEFAULTS),
        metavar="METHOD[:INPUT=VALUE,...]",
        help=f"{', '.join(pie_methods.OWN)}, or a method of Distillation Sampler "
        f"(default: {' '.join(pie_methods.DEFAULTS)})",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="INPUT=VALUE", help="change an input of all methods"
    )
    parser.add_argument("--limit", type=int, help="number of images")
    parser.add_argument("--types", nargs="+", help="types of edits, such as 1 8")
    parser.add_argument("--size", type=int, help="shorter side of the uploaded images (default: as they are)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every method (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results (default: %(default)s)")
    parser.add_argument("--no-edits", action="store_true", help="only measure and report what is there")
    parser.add_argument("--stand-in", action="store_true", help="measure without networks, for tests")
    parser.add_argument("--download", action="store_true", help="download weights of networks that are missing")
    parser.add_argument("--clip", default=pie_metrics.CLIP, help="CLIP model: name or folder (default: %(default)s)")
    parser.add_argument("--dino", default=pie_metrics.DINO, help="DINO model: name or folder (default: %(default)s)")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="device of the networks that measure (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    options.server = options.server or ["127.0.0.1:8188"]
    if not (options.checkpoint or options.no_edits):
        parser.error("--checkpoint is missing: name a checkpoint that the server has, or add --no-edits.")
    return options


def chosen(options: argparse.Namespace) -> list[Entry]:
    """The entries that the options select."""
    entries = pie_data.read(options.data)
    if options.types:
        entries = [entry for entry in entries if entry.kind in options.types]
    entries = entries[: options.limit]
    if not entries:
        raise QueueingError("--limit and --types leave no image. Choose others.")
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    """Edit, measure and report."""
    options = parsed(arguments)
    this_run()  # the commit is the one at the start
    networks = Networks(Settings(options.clip, options.dino, options.device, options.download, options.stand_in))
    try:
        with open_record(options.output) as record:
            return run(options, record, networks)
    except QueueingError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        problem = f"Results could not be saved: {error}. Fix this and run the command again."
        print(f"error: {printable(problem)}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace, record: Record, networks: Networks) -> int:
    """Edit and measure, and report even if Ctrl-C stops it. Returns the exit status."""
    entries, ledger, status = chosen(options), Ledger(options.output / LEDGER), 0
    try:
        if not options.no_edits:
            status = int(edit(entries, options, ledger, record) > 0)
        score(data_name(options), entries, ledger, networks, options.output)
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to continue.", file=sys.stderr)
        status = STOPPED
    print(write(ledger, networks, options.output))
    return status


if __name__ == "__main__":
    sys.exit(main())
