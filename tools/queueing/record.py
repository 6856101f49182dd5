"""The output folder and its manifest, which records finished jobs so that nothing is done twice.

Each line of the manifest is a JSON object about one job; later lines update earlier ones. Lines are only ever appended,
each in one write that is flushed to disk before work continues. A run that is killed at any moment therefore leaves at
most one unfinished line, which the next run removes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from comfy_client import printable
from filelock import FileLock, Timeout

from .errors import QueueingError
from .jobs import Job
from .work import Result

MANIFEST = "manifest.jsonl"
LOCK = ".manifest.lock"

_NAME_BYTES, _FILE_BYTES = 200, 240
"""Most file systems allow 255 bytes per file name. An unfinished file adds a prefix and a suffix to its name."""

_SUFFIX_BYTES = 32
_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)

QUEUED, DONE, FAILED, CANCELED = "queued", "done", "failed", "cancelled"  # as stored in manifests


class NotSaved(Exception):
    """Some results of a job could not be written. ``saved`` are the others."""

    def __init__(self, message: str, saved: list[Path]):
        super().__init__(message)
        self.saved = saved


class Record:
    """The state of every job of an output folder. Created by `open_record`, which locks the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._entries: dict[str, dict[str, Any]] = {}
        for entry in _read(folder / MANIFEST):
            self._entries.setdefault(entry["job"], {}).update(entry)

    def is_done(self, job: Job) -> bool:
        """Whether the job is done and its results still exist."""
        return self._state(job) == DONE and all(file.is_file() for file in self.files(job))

    def queued_at(self, job: Job) -> tuple[str, str] | None:
        """The server and prompt id of a job that an earlier run queued but did not see finish."""
        entry = self._entries.get(job.key, {})
        return (entry["server"], entry["prompt_id"]) if entry.get("state") == QUEUED else None

    def files(self, job: Job) -> list[Path]:
        """The result files of a job."""
        return [self.folder / name for name in self._entries.get(job.key, {}).get("files", [])]

    def claim(self, jobs: Sequence[Job], workflow: str) -> None:
        """Give each new job a name that no other job has ever used in this folder."""
        taken = {_folded(entry["name"]) for entry in self._entries.values() if "name" in entry}
        for path in self.folder.iterdir():  # also files from elsewhere: every prefix before a _ may be a job's name
            taken |= {_folded(path.name[: mark.start()]) for mark in re.finditer("_", path.name)}
        lines = []
        for job in jobs:
            if not (self.is_done(job) or self._has_name(job)):
                name = _free_name(job.label, taken)
                taken.add(_folded(name))
                images = [str(image.path) for image in job.images]
                lines.append({"job": job.key, "name": name, "workflow": workflow, "images": images})
        self._append(lines)

    def queued(self, job: Job, server: str, prompt_id: str) -> None:
        self._add(job, state=QUEUED, server=server, prompt_id=prompt_id)

    def failed(self, job: Job, message: str, results: Sequence[Result] = ()) -> list[Path]:
        """Record a failure and keep the files that the job made nevertheless. Returns them."""
        names, problems = self._write(job, results)
        self._add(job, state=FAILED, error=f"{message} {problems}".rstrip(), files=names)
        return self.files(job)

    def canceled(self, job: Job) -> None:
        self._add(job, state=CANCELED)

    def done(self, job: Job, results: Sequence[Result]) -> list[Path]:
        """Write the results, each one completely or not at all, then the line that records them.

        Raises NotSaved, and records the job as failed, if this file system does not take the name of one.
        """
        names, problems = self._write(job, results)
        if problems:
            self._add(job, state=FAILED, error=problems, files=names)
            raise NotSaved(problems, self.files(job))
        self._add(job, state=DONE, files=names)
        return self.files(job)

    def _write(self, job: Job, results: Sequence[Result]) -> tuple[list[str], str]:
        """Write files. Returns the names of those written and a message about the others, empty if there are none."""
        written, problems = [], []
        for name, result in _named(self._entries[job.key]["name"], results):
            try:
                _write_whole(self.folder / name, result.content)
                written.append(name)
            except (OSError, ValueError) as error:
                if not isinstance(error, ValueError) and error.errno not in _NAME_ERRORS:
                    raise
                problems.append(f"The file '{name}' cannot be saved under this name ({error}).")
        return written, " ".join(problems)

    def _has_name(self, job: Job) -> bool:
        """Whether the job has a name that is valid for files."""
        name = self._entries.get(job.key, {}).get("name")
        return name is not None and name == _cut(name, _NAME_BYTES)

    def _state(self, job: Job) -> str | None:
        return self._entries.get(job.key, {}).get("state")

    def _add(self, job: Job, **facts: Any) -> None:
        self._append([{"job": job.key, **facts}])

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        for line in lines:
            self._entries.setdefault(line["job"], {}).update(line)
        with (self.folder / MANIFEST).open("ab") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def open_record(folder: Path) -> Iterator[Record]:
    """The record of an output folder, created if needed. Raises QueueingError while another run uses the folder."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise QueueingError(
                f"Another run is writing to {folder}. Wait for it to finish, or choose another --output."
            ) from None
        except OSError as error:
            problem = f"Results cannot be written to {folder} ({error.strerror})."
            raise QueueingError(f"{problem} Choose another --output.") from error
        _remove_unfinished_line(folder / MANIFEST)
        yield Record(folder)


def _read(manifest: Path) -> list[dict[str, Any]]:
    if not manifest.exists():
        return []
    try:
        lines = [json.loads(line) for line in manifest.read_bytes().splitlines()]
        if not all(isinstance(line, dict) and "job" in line for line in lines):
            raise ValueError("a line names no job")
        return lines
    except ValueError as error:
        raise QueueingError(f"{manifest} is damaged ({error}). Choose another --output.") from error


def _remove_unfinished_line(manifest: Path) -> None:
    if manifest.exists():
        content = manifest.read_bytes()
        os.truncate(manifest, content.rfind(b"\n") + 1)


def _free_name(label: str, taken: Collection[str]) -> str:
    """The label, or the first free one of label_2, label_3 and so on, shortened to fit a file name."""
    return next(name for name in _numbered(label, "", _NAME_BYTES) if _folded(name) not in taken)


def _named(name: str, results: Sequence[Result]) -> Iterator[tuple[str, Result]]:
    """Each result with its file name: the job's name and the kind of result, such as cat_edited.png.

    Several of a kind are numbered.
    """
    taken: set[str] = set()
    for result in results:
        kind, suffix = _safe(result.kind), _cut(_safe(result.suffix), _SUFFIX_BYTES)
        file = next(each for each in _numbered(f"{name}_{kind}", suffix, _FILE_BYTES) if _folded(each) not in taken)
        taken.add(_folded(file))
        yield file, result


def _safe(text: str) -> str:
    """A part of a file name that every file system takes, from one that a server chose."""
    return _UNSAFE.sub("_", printable(text).replace("\ufffd", "_"))


def _numbered(stem: str, suffix: str, max_bytes: int) -> Iterator[str]:
    """File names of at most ``max_bytes`` bytes: stem.png, stem_2.png and so on."""
    for number in count(1):
        end = suffix if number == 1 else f"_{number}{suffix}"
        yield _cut(stem, max_bytes - _bytes(end)) + end


def _cut(text: str, max_bytes: int) -> str:
    """The longest prefix of the text that fits into ``max_bytes`` bytes."""
    while text and _bytes(text) > max_bytes:
        text = text[:-1]
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))  # a file name may hold bytes that are not valid characters


def _folded(name: str) -> str:
    """A form that is equal for names that some file systems treat as one: ignores case and Unicode normalization."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
