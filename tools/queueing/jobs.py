"""Jobs: a prompt with its pictures, planned before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from comfy_client import Prompt

from .definitions import ObjectInfo
from .errors import QueueingError
from .overrides import only_picture_input, picture_inputs, split_image, title_of, with_input
from .pictures import Picture, gather, read

_LOADS_DRAWINGS = "DSLoadSVG"


@dataclass(frozen=True)
class Job:
    """One prompt to run. ``label`` is what its results are named after."""

    label: str
    prompt: Prompt
    pictures: tuple[Picture, ...]

    @cached_property
    def key(self) -> str:
        """The same for the same work: of the prompt, which names pictures by their content."""
        work = {node_id: [node["class_type"], node["inputs"]] for node_id, node in self.prompt.items()}
        return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]


def plan(prompt: Prompt, images: Sequence[str], info: ObjectInfo, name: str) -> list[Job]:
    """One job for each picture of ``images``, which are paths, or NODE=PATH for a picture that all jobs share.

    ``name`` is the label of a job without pictures. Raises QueueingError for a picture that cannot be used.
    """
    inputs = picture_inputs(prompt, info)
    arguments = [split_image(prompt, argument) for argument in images]
    shared = {node_id: _shared(prompt, node_id, path, inputs) for node_id, path in arguments if node_id is not None}
    for node_id, picture in shared.items():
        prompt = with_input(prompt, node_id, inputs[node_id], picture.upload_name)
    paths = [path for node_id, path in arguments if node_id is None]
    if not paths:
        label = next((picture.path.stem for picture in shared.values()), name)
        return [Job(label, prompt, tuple(shared.values()))]
    node_id = only_picture_input(prompt, inputs, [*shared])
    return [
        Job(each.path.stem, with_input(prompt, node_id, inputs[node_id], each.upload_name), (*shared.values(), each))
        for each in gather(paths, drawings=_loads_drawings(prompt, node_id))
    ]


def _shared(prompt: Prompt, node_id: str, path: Path, inputs: dict[str, str]) -> Picture:
    if node_id not in inputs:
        raise QueueingError(f"--image: node {node_id} ({title_of(prompt, node_id)}) loads no picture.")
    return read(path, drawing=_loads_drawings(prompt, node_id))


def _loads_drawings(prompt: Prompt, node_id: str) -> bool:
    return prompt[node_id]["class_type"] == _LOADS_DRAWINGS
