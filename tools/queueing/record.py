"""The folder of results, and its manifest: what has been done, so that nothing is done twice.

The manifest has a JSON object a line, each about one job, and later lines add to earlier ones. Lines are only ever
appended, each in one write that reaches the disk before the work goes on, so that a run that was killed at any moment
leaves at most one unfinished line, which the next run removes.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import QueueingError
from .jobs import Job
from .work import Result

MANIFEST = "manifest.jsonl"
LOCK = ".manifest.lock"

_NAME_BYTES, _FILE_BYTES = 200, 240
"""Most file systems take 255 bytes for a file's name, and an unfinished file has some around it."""

QUEUED, DONE, FAILED, CANCELLED = "queued", "done", "failed", "cancelled"


class Record:
    """What is known of every job of an output folder. Made by `open_record`, which keeps other runs out."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._entries: dict[str, dict[str, Any]] = {}
        for entry in _read(folder / MANIFEST):
            self._entries.setdefault(entry["job"], {}).update(entry)

    def is_done(self, job: Job) -> bool:
        """Whether the job was done and its results are still there."""
        return self._state(job) == DONE and all(file.is_file() for file in self.files(job))

    def queued_at(self, job: Job) -> tuple[str, str] | None:
        """The server and prompt id of a job that an earlier run queued and did not see the end of."""
        entry = self._entries.get(job.key, {})
        return (entry["server"], entry["prompt_id"]) if entry.get("state") == QUEUED else None

    def files(self, job: Job) -> list[Path]:
        """The results of a job."""
        return [self.folder / name for name in self._entries.get(job.key, {}).get("files", [])]

    def claim(self, jobs: Sequence[Job], workflow: str) -> None:
        """Give each new job a name that no other job's results have or had in this folder."""
        taken = {_folded(entry["name"]) for entry in self._entries.values() if "name" in entry}
        for path in self.folder.iterdir():  # also files of other origin, with all that may be the name in theirs
            taken |= {_folded(path.name[: mark.start()]) for mark in re.finditer("_", path.name)}
        lines = []
        for job in jobs:
            if not (self.is_done(job) or self._has_name(job)):
                name = _free_name(job.label, taken)
                taken.add(_folded(name))
                pictures = [str(picture.path) for picture in job.pictures]
                lines.append({"job": job.key, "name": name, "workflow": workflow, "pictures": pictures})
        self._append(lines)

    def queued(self, job: Job, server: str, prompt_id: str) -> None:
        self._add(job, state=QUEUED, server=server, prompt_id=prompt_id)

    def failed(self, job: Job, message: str) -> None:
        self._add(job, state=FAILED, error=message)

    def cancelled(self, job: Job) -> None:
        self._add(job, state=CANCELLED)

    def done(self, job: Job, results: Sequence[Result]) -> list[Path]:
        """Write the results, each wholly or not at all, and then the line that says so."""
        names = _file_names(self._entries[job.key]["name"], results)
        for name, result in zip(names, results):
            _write(self.folder / name, result.content)
        self._add(job, state=DONE, files=names)
        return self.files(job)

    def _has_name(self, job: Job) -> bool:
        """Whether the job has a name that files can have."""
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
    """The record of an output folder, which is made if need be. One run at a time: QueueingError for a second."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise QueueingError(f"Another run writes to {folder}. Wait for it, or choose another --output.") from None
        except OSError as error:
            raise QueueingError(f"Results cannot be written to {folder} ({error.strerror}).") from error
        _remove_unfinished_line(folder / MANIFEST)
        yield Record(folder)


def _read(manifest: Path) -> list[dict[str, Any]]:
    if not manifest.exists():
        return []
    try:
        lines = [json.loads(line) for line in manifest.read_bytes().splitlines()]
        if not all(isinstance(line, dict) and "job" in line for line in lines):
            raise ValueError("a line is about no job")
        return lines
    except ValueError as error:
        raise QueueingError(f"{manifest} was changed and cannot be read ({error}). Choose another --output.") from error


def _remove_unfinished_line(manifest: Path) -> None:
    if manifest.exists():
        content = manifest.read_bytes()
        os.truncate(manifest, content.rfind(b"\n") + 1)


def _free_name(label: str, taken: Collection[str]) -> str:
    """The label, or the first that is free of label_2, label_3 and so on, cut where it would be too long for a file."""
    return next(name for name in _numbered(label, "", _NAME_BYTES) if _folded(name) not in taken)


def _file_names(name: str, results: Sequence[Result]) -> list[str]:
    """The job's name and the kind of result, numbered if there are several of a kind: cat_edited.png."""
    names: dict[str, str] = {}
    for result in results:
        candidates = _numbered(f"{name}_{result.kind}", result.suffix, _FILE_BYTES)
        file = next(each for each in candidates if _folded(each) not in names)
        names[_folded(file)] = file
    return [*names.values()]


def _numbered(stem: str, suffix: str, most: int) -> Iterator[str]:
    """Names for a file, of so many bytes at most: stem.png, stem_2.png and so on."""
    for number in count(1):
        end = suffix if number == 1 else f"_{number}{suffix}"
        yield _cut(stem, most - _bytes(end)) + end


def _cut(text: str, most: int) -> str:
    """The text, or the longest beginning of it that so many bytes hold."""
    while text and _bytes(text) > most:
        text = text[:-1]
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))  # a name may have bytes in it that are no characters


def _folded(name: str) -> str:
    """What names have in common that are one on some disks, which tell neither case nor ways to write an accent."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
