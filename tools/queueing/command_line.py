"""Queue a template or workflow file on one or more ComfyUI servers and fetch the results.

    python tools/queue.py edit --image cat.png --set "Target prompt.text=a fox"
    python tools/queue.py edit --image images/ --output foxes --server gpu1:8188 --server gpu2:8188
    python tools/queue.py my_workflow.json --set 12.gamma=0.3 --set DSProximalDreamSampler.steps=100
    python tools/queue.py inpaint_two_texts --image 2=left.png --image 3=right.png
    python tools/queue.py edit --image images/ --ray --server gpu1:8188 --server gpu2:8188

--set changes a node input. Name the node by its id, class or title. Inside a subgraph, the id joins the ids of the
subgraph node and the node itself: 12:3. --image sets the image that the workflow loads (or the SVG file, for Load SVG).
Each image is one job, including each image of a folder; identical files are processed once. Servers share the jobs; if
one stops answering, or refuses a job that another one does, the others take over. For a server with a password, write
USER:PASSWORD@HOST:PORT, with %40 for an @ in the user or password.

A workflow in UI format is queued as the page would queue it: {red|green} in a prompt becomes one of both, // comments
are removed, and %date:yyyy-MM-dd% and %Sampler.seed% are filled in where files are named. A job always makes the same
choice; to get another, change its seed. Files in API format are sent as they are.

Results are written to --output, named after their image, together with manifest.jsonl. Run the same command again to
continue after Ctrl-C or a crash: it does what is missing, retries what failed and remakes deleted results. The paths of
new results go to stdout, progress and errors to stderr. With --json, stdout has one object per line and job instead:

    {"job": "cat", "state": "done", "files": ["queue_output/cat_edited.png"], "error": null}

The state is done, failed, canceled, or left if no server remains. For an error that concerns no single job, "job" is
null and the state is refused (nothing started) or stopped.

Exit status: 0 all jobs done, 1 some jobs not done, 2 nothing started, 130 stopped with Ctrl-C.
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
    from comfy_client import Prompt

    from .definitions import ObjectInfo
    from .jobs import Job
    from .record import Record
    from .workflow import Workflow

SERVER = "http://127.0.0.1:8188"
OUTPUT = Path("queue_output")
NEEDED = {"aiohttp": "aiohttp", "filelock": "filelock", "PIL": "Pillow", "tqdm": "tqdm"}
"""Package by module name. ComfyUI has them all."""

_DONE, _INCOMPLETE, _REFUSED, _STOPPED = 0, 1, 2, 130


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name it cannot show must not stop the run
    options = _parse_options()
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        _enter_development_host()
        print(f"error: This Python lacks {', '.join(missing)}. Run the command with ComfyUI's Python.", file=sys.stderr)
        return _REFUSED
    try:
        return _queue(options)
    except QueueingError as error:
        _report(options, "refused", str(error))
        return _REFUSED
    except OSError as error:
        _report(options, "stopped", f"Results could not be saved: {error}. Fix this and run the command again.")
        return _INCOMPLETE
    except KeyboardInterrupt:
        print(f"\nStopped. Results so far are in {options.output}. Run the command again to continue.", file=sys.stderr)
        return _STOPPED


def _report(options: argparse.Namespace, state: str, error: str) -> None:
    """Print an error that concerns the whole run."""
    from .show import print_json

    if options.json:
        print_json(None, state, error=error)
    print(f"error: {_line(error)}", file=sys.stderr)


def _line(text: str) -> str:
    from comfy_client import printable

    return printable(text)


def _enter_development_host() -> None:
    """Restart with the Python of the checkout's own ComfyUI, if there is one. The registry's archive has none."""
    if find_spec("devhost") is None:
        return
    from devhost import enter, is_inside, locate

    if locate().python.exists() and not is_inside(locate()):
        enter(locate())


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="queue.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workflow", help="a template name, or a workflow file in UI or API format")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="change a node input")
    parser.add_argument(
        "--image", action="extend", nargs="+", default=[], metavar="PATH", help="an image, a folder, or NODE=IMAGE"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results (default: %(default)s)")
    parser.add_argument("--server", action="append", metavar="ADDRESS", help=f"a ComfyUI server (default: {SERVER})")
    parser.add_argument("--ray", action="store_true", help="run on the Ray cluster at RAY_ADDRESS, or on a local one")
    parser.add_argument("--json", action="store_true", help="print one JSON object per job instead of paths")
    return parser.parse_args()


def _queue(options: argparse.Namespace) -> int:
    """Plan all jobs, then run those that are not done."""
    from .record import open_record
    from .servers import address, reachable
    from .show import print_json

    _check_output(options)
    servers = reachable([address(text) for text in options.server or [SERVER]])
    try:
        jobs = _plan(options, servers)
    except OSError as error:
        problem = f"{error.filename} cannot be read ({error.strerror})."
        raise QueueingError(f"{problem} Fix this, or name another file.") from error
    with open_record(options.output) as record:
        record.claim(jobs, options.workflow)
        left = [job for job in jobs if not record.is_done(job)]
        if len(left) < len(jobs):
            print(f"{len(jobs) - len(left)} of {len(jobs)} jobs are already done.", file=sys.stderr)
        if options.json:
            for job in jobs:
                if job not in left:
                    print_json(job, "done", record.files(job))
        return _run(left, len(jobs), record, [*servers], options) if left else _DONE


def _check_output(options: argparse.Namespace) -> None:
    """Refuse to write results into the image folder, where the next run would take them as input."""
    if any(Path(image).resolve() == options.output.resolve() for image in options.image):
        raise QueueingError(f"--output {options.output} is the image folder itself. Choose another folder.")


def _plan(options: argparse.Namespace, servers: dict[str, ObjectInfo]) -> list[Job]:
    """All jobs. Removes servers that cannot run them from ``servers``, and raises QueueingError if that leaves none."""
    from .jobs import plan
    from .workflow import find

    workflow = find(options.workflow)
    jobs: list[Job] = []
    problems: dict[str, QueueingError] = {}
    for address, info in servers.items():
        try:
            prompt = None if jobs else _prompt(options, workflow, info)
        except QueueingError as error:
            problems[address] = error
            continue
        if prompt:
            jobs = plan(prompt, options.image, info, workflow.name, workflow.texts(info))
        try:
            _check_server(jobs[0], workflow, address, info)
        except QueueingError as error:
            problems[address] = error
    if len(problems) == len(servers):
        raise next(iter(problems.values()))
    for address, error in problems.items():
        del servers[address]
        sentence = str(error) if str(error).startswith(_url(address)) else f"{_url(address)}: {error}"
        print(f"warning: {_line(sentence)} It gets no jobs.", file=sys.stderr)
    return jobs


def _prompt(options: argparse.Namespace, workflow: Workflow, info: ObjectInfo) -> Prompt:
    from .overrides import with_settings

    return with_settings(workflow.prompt(info), options.set, info)


def _check_server(job: Job, workflow: Workflow, address: str, info: ObjectInfo) -> None:
    """Raise QueueingError, with the server's URL, if the server cannot run the job."""
    from comfy_client import ComfyClient

    from .overrides import check

    try:
        check(
            job.prompt,
            info,
            workflow.downloads,
            [image.upload_name for image in job.images],
            ComfyClient(address).has_file,
        )
    except QueueingError as error:
        raise QueueingError(f"{_url(address)}: {error}") from error


def _url(address: str) -> str:
    from comfy_client import ComfyClient

    return ComfyClient(address).url


def _run(jobs: Sequence[Job], total: int, record: Record, addresses: Sequence[str], options: argparse.Namespace) -> int:
    """Run the jobs, here or on Ray, and report what is not done."""
    from .lanes import ray_lanes, thread_lanes
    from .show import Show, print_json
    from .spread import Spread

    with ExitStack() as stack:
        places = [] if options.ray else addresses
        show = stack.enter_context(Show(places, done=total - len(jobs), total=total, as_json=options.json))
        lanes = stack.enter_context(ray_lanes(addresses) if options.ray else thread_lanes(addresses, show.progress))
        left_over = Spread(lanes, record, show).run(jobs)
    if left_over:
        error = f"No server is left; {len(left_over)} of {total} jobs are not done."
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            for job in left_over:
                print_json(job, "left", error=error)
    if left_over or show.failures:
        print(f"Results so far are in {options.output}. Run the command again to do the rest.", file=sys.stderr)
        return _INCOMPLETE
    return _DONE
