"""Queue a template or workflow file on one ComfyUI or several, and fetch what it makes.

    python tools/queue.py edit --image cat.png --set "Target prompt.text=a fox"
    python tools/queue.py edit --image pictures/ --output foxes --server gpu1:8188 --server gpu2:8188
    python tools/queue.py my_workflow.json --set 12.gamma=0.3 --set DSProximalDreamSampler.steps=100
    python tools/queue.py inpaint_two_texts --image 2=left.png --image 3=right.png
    python tools/queue.py edit --image pictures/ --ray --server gpu1:8188 --server gpu2:8188

--set changes an input of a node, which is named by its id, its class or its title; the id of a node in a subgraph is
that of the subgraph's node and its own, 12:3. --image puts a picture into the node that loads one (or a drawing into
Load SVG); each of several pictures, or of those in a folder, is a job of its own. A picture that is there twice, under
whatever name, is done once. Servers share the jobs; if one goes away, the others take over. One that wants a password
is named as USER:PASSWORD@HOST:PORT, with %40 for an @ in either.

Results, named after their picture, and manifest.jsonl go to --output. The same command again does only what is not yet
done, also after Ctrl-C or a crash, and tries again what failed. A result that was deleted is made again.

Exit status: 0 all is done, 1 some is not, 2 nothing could be started, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import QueueingError

if TYPE_CHECKING:
    from .jobs import Job
    from .record import Record

SERVER = "http://127.0.0.1:8188"
OUTPUT = Path("queue_output")
NEEDED = {"aiohttp": "aiohttp", "filelock": "filelock", "PIL": "Pillow", "tqdm": "tqdm"}
"""Packages by the module they bring. ComfyUI has them all."""

_DONE, _INCOMPLETE, _REFUSED, _STOPPED = 0, 1, 2, 130


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that it cannot show must not end the run
    options = _parse_options()
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        _enter_development_host()
        print(f"error: This Python has no {', '.join(missing)}. Run the command with ComfyUI's.", file=sys.stderr)
        return _REFUSED
    try:
        return _queue(options)
    except QueueingError as error:
        print(f"error: {error}", file=sys.stderr)
        return _REFUSED
    except OSError as error:
        print(f"error: Results cannot be kept: {error}. The same command goes on from there.", file=sys.stderr)
        return _INCOMPLETE
    except KeyboardInterrupt:
        print(f"\nStopped. What is done is in {options.output}; the same command goes on from there.", file=sys.stderr)
        return _STOPPED


def _enter_development_host() -> None:
    """Go on in the checkout's own ComfyUI, if there is one. The registry's archive of the pack has none."""
    if find_spec("devhost") is None:
        return
    from devhost import enter, is_inside, locate

    if locate().python.exists() and not is_inside(locate()):
        enter(locate())


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="queue.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workflow", help="a template's name, or a workflow file in UI or API format")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="change an input")
    parser.add_argument(
        "--image", action="extend", nargs="+", default=[], metavar="PATH", help="a picture, a folder, or NODE=PICTURE"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder for results (default: %(default)s)")
    parser.add_argument("--server", action="append", metavar="ADDRESS", help=f"a ComfyUI (default: {SERVER})")
    parser.add_argument("--ray", action="store_true", help="work on a Ray cluster, or on a local one if there is none")
    return parser.parse_args()


def _queue(options: argparse.Namespace) -> int:
    """Plan all jobs, then run those that are not done yet."""
    from .record import open_record
    from .servers import address, reachable

    _check_output(options)
    servers = reachable([address(text) for text in options.server or [SERVER]])
    try:
        jobs = _plan(options, servers)
    except OSError as error:
        what = f"{error.filename} cannot be read ({error.strerror})"
        raise QueueingError(f"{what}. Change that, or name another.") from error
    with open_record(options.output) as record:
        record.claim(jobs, options.workflow)
        left = [job for job in jobs if not record.is_done(job)]
        if len(left) < len(jobs):
            print(f"{len(jobs) - len(left)} of {len(jobs)} jobs were done before.", file=sys.stderr)
        return _run(left, len(jobs), record, [*servers], options) if left else _DONE


def _check_output(options: argparse.Namespace) -> None:
    """Refuse to put results among the pictures, of which they would be some the next time."""
    if any(Path(image).resolve() == options.output.resolve() for image in options.image):
        raise QueueingError(f"--output {options.output} is the folder of pictures itself. Choose another.")


def _plan(options: argparse.Namespace, servers: dict[str, dict]) -> list[Job]:
    """Every job, refused if any server could not run it."""
    from comfy_client import ComfyClient

    from .jobs import plan
    from .overrides import check, with_settings
    from .workflow import find

    workflow = find(options.workflow)
    info = next(iter(servers.values()))
    prompt = with_settings(workflow.prompt(info), options.set, info)
    jobs = plan(prompt, options.image, info, workflow.name)
    for each, its_info in servers.items():
        uploads = [picture.upload_name for picture in jobs[0].pictures]
        try:
            check(jobs[0].prompt, its_info, workflow.downloads, uploads)
        except QueueingError as error:
            raise QueueingError(f"{ComfyClient(each).url}: {error}") from error
    return jobs


def _run(jobs: Sequence[Job], total: int, record: Record, addresses: Sequence[str], options: argparse.Namespace) -> int:
    """Run the jobs, here or on Ray, and say what is missing in the end."""
    from .lanes import ray_lanes, thread_lanes
    from .show import Show
    from .spread import Spread

    with ExitStack() as stack:
        show = stack.enter_context(Show([] if options.ray else addresses, done=total - len(jobs), total=total))
        lanes = stack.enter_context(ray_lanes(addresses) if options.ray else thread_lanes(addresses, show.progress))
        left_over = Spread(lanes, record, show).run(jobs)
    if left_over:
        print(f"error: No server is left, and {left_over} of {total} jobs are not done.", file=sys.stderr)
    if left_over or show.failures:
        print(f"What is done is in {options.output}; the same command again does the rest.", file=sys.stderr)
        return _INCOMPLETE
    return _DONE
