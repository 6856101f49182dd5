"""What the command line changes in a prompt, and whether a server can run the result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from comfy_client import Prompt

from .definitions import Input, ObjectInfo, inputs_of, is_link
from .errors import FEW, QueueingError, like, nearest

_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
_MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "control_net_name": "controlnet",
}


_MADE_HERE = {
    "DSManifoldCorrectiveLoad": ("corrective", "Make one with the template train_corrective"),
    "DSTranslatorApply": ("translator", "Train one with tools/translator.py"),
}
"""What these nodes load, which nobody has for download, and how to get it."""


def title_of(prompt: Prompt, node_id: str) -> str:
    """What people call the node."""
    node = prompt[node_id]
    return node.get("_meta", {}).get("title") or node["class_type"]


def select(prompt: Prompt, name: str) -> str:
    """The id of the node that ``name`` means: an id, or a class or title that only one node has."""
    if name in prompt:
        return name
    found = [node_id for node_id in prompt if name in (prompt[node_id]["class_type"], title_of(prompt, node_id))]
    if len(found) > 1:
        raise QueueingError(
            f"'{name}' means {len(found)} nodes: {_listed(prompt, found)}. Take the id or title of one."
        )
    if not found:
        raise QueueingError(f"The workflow has no node '{name}'.{_offered(prompt, name)}")
    return found[0]


def _offered(prompt: Prompt, name: str) -> str:
    """A sentence, with a space before it, that offers the nodes most like ``name``, or the first if none is."""
    names = {node_id: (title_of(prompt, node_id), node["class_type"]) for node_id, node in prompt.items()}
    close = like(name, (each for pair in names.values() for each in pair))
    near = list(dict.fromkeys(node_id for each in close for node_id in prompt if each in names[node_id]))
    if near:
        return f" Nearest: {_listed(prompt, near)}."
    more = f" and {len(prompt) - FEW} more" if len(prompt) > FEW else ""
    return f" There are: {_listed(prompt, [*prompt][:FEW])}{more}."


def _listed(prompt: Prompt, node_ids: Sequence[str]) -> str:
    return ", ".join(f"{node_id} ({title_of(prompt, node_id)})" for node_id in node_ids)


# Settings


def with_settings(prompt: Prompt, settings: Sequence[str], info: ObjectInfo) -> Prompt:
    """The prompt with every NODE.INPUT=VALUE of ``settings`` in it. Raises QueueingError naming the wrong one."""
    for setting in settings:
        try:
            prompt = _with_setting(prompt, setting, info)
        except QueueingError as error:
            raise QueueingError(f"--set {setting}: {error}") from error
    return prompt


def _with_setting(prompt: Prompt, setting: str, info: ObjectInfo) -> Prompt:
    target, equals, text = setting.partition("=")
    node_name, point, name = target.rpartition(".")
    if not (equals and point):
        raise QueueingError("It must be NODE.INPUT=VALUE, such as DSProximalDreamSampler.gamma=0.3.")
    node_id = select(prompt, node_name)
    inputs = inputs_of(info, prompt[node_id]["class_type"])
    widgets = [each.name for each in inputs.values() if each.is_widget]
    if name not in inputs:
        raise QueueingError(f"{title_of(prompt, node_id)} has no input '{name}'.{nearest(name, widgets)}")
    if name not in widgets or is_link(prompt[node_id]["inputs"].get(name)):
        raise QueueingError(f"{name} comes from another node.{_source(prompt, node_id, name)}")
    return with_input(prompt, node_id, name, inputs[name].parse(text))


def _source(prompt: Prompt, node_id: str, name: str) -> str:
    """A sentence about the node that an input is connected to."""
    link = prompt[node_id]["inputs"].get(name)
    return f" Set an input of node {_listed(prompt, [link[0]])} instead." if is_link(link) else ""


def with_input(prompt: Prompt, node_id: str, name: str, value: object) -> Prompt:
    """The prompt with one value changed."""
    node = prompt[node_id]
    return {**prompt, node_id: {**node, "inputs": {**node["inputs"], name: value}}}


# Pictures


def picture_inputs(prompt: Prompt, info: ObjectInfo) -> dict[str, str]:
    """The inputs that take a picture: their names by node id."""
    return {
        node_id: each.name
        for node_id, node in prompt.items()
        for each in inputs_of(info, node["class_type"]).values()
        if each.takes_picture
    }


def split_image(prompt: Prompt, argument: str) -> tuple[str | None, Path]:
    """The node and path of ``--image NODE=PATH``; no node if ``argument`` is a path alone."""
    name, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    return select(prompt, name), Path(path)


def only_picture_input(prompt: Prompt, inputs: dict[str, str], taken: Sequence[str]) -> str:
    """The node that pictures without a node's name go to: the only one that is left."""
    if not inputs:
        raise QueueingError("--image: the workflow has no node that loads a picture.")
    left = [node_id for node_id in inputs if node_id not in taken]
    if len(left) != 1:
        raise QueueingError(
            f"--image: {len(left)} nodes wait for a picture: {_listed(prompt, left or [*inputs])}. "
            "Say which with --image NODE=PICTURE."
        )
    return left[0]


# What the server has


def check(prompt: Prompt, info: ObjectInfo, downloads: dict[str, str], uploads: Collection[str]) -> None:
    """Raise QueueingError if a server with these nodes and models cannot run the prompt.

    ``uploads`` are the pictures that will be brought, ``downloads`` are addresses of model files, by name.
    """
    for node_id, each, value in _values(prompt, info):
        if each.takes_picture and value in uploads:
            continue
        try:
            each.check(value)
        except QueueingError as error:
            problem = _missing(prompt[node_id]["class_type"], each, value, downloads) or str(error)
            raise QueueingError(f"Node {_listed(prompt, [node_id])}: {problem}") from error


def _values(prompt: Prompt, info: ObjectInfo) -> Iterator[tuple[str, Input, object]]:
    """Every value that was chosen, not connected, of every node."""
    for node_id, node in prompt.items():
        inputs = inputs_of(info, node["class_type"])
        for name, value in node["inputs"].items():
            if name in inputs and inputs[name].is_widget and not is_link(value):
                yield node_id, inputs[name], value


def _missing(node_type: str, taker: Input, value: object, downloads: dict[str, str]) -> str | None:
    """A sentence if the value is the name of a file that the server does not have."""
    if taker.takes_picture:
        return f"the server has no picture '{value}'. Give one with --image."
    if taker.kind != "COMBO" or not (node_type in _MADE_HERE or str(value).endswith(_MODEL_SUFFIXES)):
        return None
    what, how = _MADE_HERE.get(node_type) or ("model file", _download(taker, str(value), downloads))
    others = f", or set {taker.name} to {' or '.join(map(str, taker.choices[:5]))}" if taker.choices else ""
    return f"the server has no {what} '{value}'. {how}{others}."


def _download(taker: Input, name: str, downloads: dict[str, str]) -> str:
    """What to do about a model file that the server does not have."""
    source = f" from {downloads[name]}" if name in downloads else ""
    folder = _MODEL_FOLDERS.get(taker.name)
    return f"Download it{source} into {f'its models/{folder} folder' if folder else 'its models folder'}"
