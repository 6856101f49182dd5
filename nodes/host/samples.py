"""The sample inputs of the templates, in the host's input folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import folder_paths

from .files import UnwritableFileError, reason, write_missing_bytes

log = logging.getLogger("dreamsampler")

RECORD = Path("dreamsampler", "samples.json")
"""In the host's user folder: the names of all samples that were once copied, by input folder."""


def offer_samples(folder: Path) -> None:
    """Copy each file and folder of `folder` to the host's input folder, once.

    Nothing is overwritten, and what the user has deleted does not come back. Where the input folder cannot be written
    to, a line in the log says so: templates then report their missing file.

    This runs when the host starts: its page takes a file for missing that is not in the list of files it has loaded.
    """
    inputs = Path(folder_paths.get_input_directory())
    record = Path(folder_paths.get_user_directory(), RECORD)
    try:
        offered = _read(record)
        known = set(offered.get(str(inputs), []))
        samples = sorted(each for each in folder.iterdir() if each.name not in known)
        if not samples or not inputs.is_dir():
            return
        for sample in samples:
            _copy(sample, inputs / sample.name)
        offered[str(inputs)] = sorted(known | {each.name for each in samples})
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(offered, indent=1), "utf-8")
    except (OSError, UnwritableFileError) as error:
        log.info("The sample inputs of DreamSampler's templates could not be copied: %s.", reason(error))


def _read(record: Path) -> dict[str, list[str]]:
    """The record, which is empty if there is none or another program has damaged it."""
    try:
        found = json.loads(record.read_text("utf-8"))
        return {folder: [str(each) for each in names] for folder, names in found.items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or all files of a folder, that are not there yet."""
    if source.is_dir():
        for each in sorted(source.iterdir()):
            _copy(each, target / each.name)
    elif not target.exists():
        write_missing_bytes(target, source.read_bytes())
