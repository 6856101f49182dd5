"""Jobs: one prompt with its images each, planned before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from comfy_client import Prompt

from .definitions import ObjectInfo, needed
from .errors import QueueingError
from .images import ImageFile, gather, read
from .overrides import image_inputs, listed, only_image_input, split_image, title_of, with_input
from .texts import PageTexts

_LOADS_DRAWINGS = "DSLoadSVG"


@dataclass(frozen=True)
class Job:
    """One prompt to run, with texts that are still to be filled in. Its results are named after ``label``."""

    label: str
    prompt: Prompt
    images: tuple[ImageFile, ...]
    texts: PageTexts = PageTexts()

    @cached_property
    def key(self) -> str:
        """Equal for equal work: a digest of the prompt, which names images by their content."""
        work = {node_id: [node["class_type"], node["inputs"]] for node_id, node in self.prompt.items()}
        return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]

    def filled_in(self, now: datetime) -> Prompt:
        """The prompt to send. A job makes the same choices whenever it runs, as its key decides."""
        return self.texts.filled_in(self.prompt, self.key, now)


def plan(prompt: Prompt, images: Sequence[str], info: ObjectInfo, name: str, texts: PageTexts) -> list[Job]:
    """One job per image of ``images``, which are paths, or NODE=PATH for an image that all jobs share.

    ``name`` is the label of a job without images. Raises QueueingError for an image that cannot be used.
    """
    inputs = image_inputs(prompt, info)
    arguments = [split_image(prompt, argument) for argument in images]
    shared = {node_id: _shared(prompt, node_id, path, inputs) for node_id, path in arguments if node_id is not None}
    for node_id, image in shared.items():
        prompt = with_input(prompt, node_id, inputs[node_id], image.upload_name)
    paths = [path for node_id, path in arguments if node_id is None]
    if not paths:
        label = next((image.path.stem for image in shared.values()), name)
        return [Job(label, prompt, tuple(shared.values()), texts)]
    in_use = {each: name for each, name in inputs.items() if each in needed(prompt, info)}
    if inputs and not in_use:
        raise QueueingError(f"--image: no result needs node {listed(prompt, [*inputs])}. Connect it in the workflow.")
    node_id = only_image_input(prompt, in_use, [*shared])
    return [
        Job(
            each.path.stem,
            with_input(prompt, node_id, inputs[node_id], each.upload_name),
            (*shared.values(), each),
            texts,
        )
        for each in gather(paths, drawings=_loads_drawings(prompt, node_id))
    ]


def _shared(prompt: Prompt, node_id: str, path: Path, inputs: dict[str, str]) -> ImageFile:
    if node_id not in inputs:
        title = title_of(prompt, node_id)
        raise QueueingError(f"--image: node {node_id} ({title}) does not load an image. Name a node that does.")
    return read(path, drawing=_loads_drawings(prompt, node_id))


def _loads_drawings(prompt: Prompt, node_id: str) -> bool:
    return prompt[node_id]["class_type"] == _LOADS_DRAWINGS
