"""Applies --set and --image to a prompt, and checks that a server can run the result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from comfy_client import Prompt

from .definitions import Input, ObjectInfo, inputs_of, is_link, is_wrapped, needed
from .errors import FEW, QueueingError, closest, did_you_mean, nearest

_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
_MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "control_net_name": "controlnet",
}
_PAINTED = "clipspace/"
"""The folder of the images that the page's mask editor saves."""
_MADE_HERE = {
    "DSManifoldCorrectiveLoad": ("corrective", "Make one with the template train_corrective"),
    "DSTranslatorApply": ("translator", "Train one with tools/translator.py"),
}
"""What these nodes load and how to make it, as it cannot be downloaded."""


def title_of(prompt: Prompt, node_id: str) -> str:
    """The title of a node, or its class."""
    node = prompt[node_id]
    return node.get("_meta", {}).get("title") or node["class_type"]


def select(prompt: Prompt, name: str) -> str:
    """The id of the node called ``name``, which is an id, or the class or title of exactly one node."""
    if name in prompt:
        return name
    found = [node_id for node_id in prompt if name in (prompt[node_id]["class_type"], title_of(prompt, node_id))]
    if len(found) > 1:
        raise QueueingError(
            f"'{name}' matches {len(found)} nodes: {listed(prompt, found)}. Use the id or title of one."
        )
    if not found:
        raise QueueingError(f"The workflow has no node '{name}'.{_offered(prompt, name)}")
    return found[0]


def _offered(prompt: Prompt, name: str) -> str:
    """A sentence, after a space, that suggests the nodes closest to ``name``, or lists the first if none is close."""
    names = {node_id: (title_of(prompt, node_id), node["class_type"]) for node_id, node in prompt.items()}
    close = closest(name, (each for pair in names.values() for each in pair))
    near = list(dict.fromkeys(node_id for each in close for node_id in prompt if each in names[node_id]))
    if near:
        return did_you_mean(_named(prompt, near))
    more = f" and {len(prompt) - FEW} more" if len(prompt) > FEW else ""
    return f" Its nodes are {listed(prompt, [*prompt][:FEW])}{more}."


def listed(prompt: Prompt, node_ids: Sequence[str]) -> str:
    """The nodes with their titles."""
    return ", ".join(_named(prompt, node_ids))


def _named(prompt: Prompt, node_ids: Sequence[str]) -> list[str]:
    return [f"{node_id} ({title_of(prompt, node_id)})" for node_id in node_ids]


# Settings


def with_settings(prompt: Prompt, settings: Sequence[str], info: ObjectInfo) -> Prompt:
    """The prompt with every NODE.INPUT=VALUE of ``settings`` applied. Raises QueueingError naming the wrong one."""
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
        raise QueueingError("Write it as NODE.INPUT=VALUE, for example DSProximalDreamSampler.gamma=0.3.")
    node_id = select(prompt, node_name)
    inputs = inputs_of(info, prompt[node_id]["class_type"])
    widgets = [each.name for each in inputs.values() if each.is_widget]
    if name not in inputs:
        raise QueueingError(f"{title_of(prompt, node_id)} has no input '{name}'.{nearest(name, widgets)}")
    if name not in widgets or is_link(prompt[node_id]["inputs"].get(name)):
        raise QueueingError(_not_a_widget(prompt, node_id, name))
    return with_input(prompt, node_id, name, inputs[name].parse(text))


def _not_a_widget(prompt: Prompt, node_id: str, name: str) -> str:
    """Why an input cannot be set, and what to do instead."""
    link = prompt[node_id]["inputs"].get(name)
    if is_link(link):
        return f"'{name}' is connected to node {listed(prompt, [link[0]])}. Set an input of that node instead."
    return f"'{name}' takes a connection, not a value. Connect it in the workflow."


def with_input(prompt: Prompt, node_id: str, name: str, value: object) -> Prompt:
    """The prompt with one value changed."""
    node = prompt[node_id]
    return {**prompt, node_id: {**node, "inputs": {**node["inputs"], name: value}}}


# Images


def image_inputs(prompt: Prompt, info: ObjectInfo) -> dict[str, str]:
    """The inputs that take an image: their names by node id."""
    return {
        node_id: each.name
        for node_id, node in prompt.items()
        for each in inputs_of(info, node["class_type"]).values()
        if each.takes_image
    }


def split_image(prompt: Prompt, argument: str) -> tuple[str | None, Path]:
    """The node and path of ``--image NODE=PATH``. The node is None if ``argument`` is only a path."""
    name, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    return select(prompt, name), Path(path)


def only_image_input(prompt: Prompt, inputs: dict[str, str], taken: Sequence[str]) -> str:
    """The node that takes the images given without a node: the only one left."""
    if not inputs:
        raise QueueingError(
            "--image: the workflow has no node that loads an image. Remove --image, or add a Load Image node."
        )
    left = [node_id for node_id in inputs if node_id not in taken]
    if not left:
        raise QueueingError(
            f"--image: every node that loads an image has one: {listed(prompt, [*inputs])}. "
            "Remove the image that is given without a node."
        )
    if len(left) > 1:
        raise QueueingError(
            f"--image: {len(left)} nodes load an image: {listed(prompt, left)}. Choose one with --image NODE=IMAGE."
        )
    return left[0]


# Checks against a server


def check(
    prompt: Prompt,
    info: ObjectInfo,
    downloads: dict[str, str],
    uploads: Collection[str],
    has_file: Callable[[str], bool],
) -> None:
    """Raise QueueingError if a server with these nodes and models cannot run the prompt.

    ``uploads`` are the image files that will be uploaded; ``downloads`` maps model file names to their URLs;
    ``has_file`` asks the server for a file that its choices do not list, such as one in a subfolder. Nodes that no
    result needs may be wrong, as the server ignores them.
    """
    in_use = needed(prompt, info)
    for node_id, each, value in _values(prompt, info):
        if node_id not in in_use or (each.takes_image and value in uploads):
            continue
        if each.takes_upload and isinstance(value, str) and value not in each.choices and has_file(value):
            continue
        try:
            each.check(value)
        except QueueingError as error:
            problem = _missing(prompt[node_id]["class_type"], each, value, downloads) or str(error)
            raise QueueingError(f"Node {listed(prompt, [node_id])}: {problem}") from error


def _values(prompt: Prompt, info: ObjectInfo) -> Iterator[tuple[str, Input, object]]:
    """Every value of every node that is set rather than connected."""
    for node_id, node in prompt.items():
        inputs = inputs_of(info, node["class_type"])
        for name, value in node["inputs"].items():
            if name in inputs and inputs[name].is_widget and not is_link(value):
                yield node_id, inputs[name], value["__value__"] if is_wrapped(value) else value


def _missing(node_type: str, target: Input, value: object, downloads: dict[str, str]) -> str | None:
    """A sentence if the value names a file that the server does not have."""
    if target.takes_image and str(value).startswith(_PAINTED):
        return (
            f"the server has no image '{value}'. ComfyUI's mask editor stored it on another server. Pass the image "
            "with --image; if it has transparent pixels, they are the mask."
        )
    if target.takes_image:
        return f"the server has no image '{value}'. Pass one with --image."
    if target.takes_upload:
        return f"the server has no file '{value}'. Put it in the server's input folder."
    if target.kind != "COMBO" or not (node_type in _MADE_HERE or str(value).endswith(_MODEL_SUFFIXES)):
        return None
    what, how = _MADE_HERE.get(node_type) or ("model file", _download(target, str(value), downloads))
    others = f", or set '{target.name}' to {' or '.join(map(str, target.choices[:5]))}" if target.choices else ""
    return f"the server has no {what} '{value}'. {how}{others}."


def _download(target: Input, name: str, downloads: dict[str, str]) -> str:
    """How to get a model file that the server does not have."""
    source = f" from {downloads[name]}" if name in downloads else ""
    folder = _MODEL_FOLDERS.get(target.name)
    return f"Download it{source} to the server's {f'models/{folder}' if folder else 'models'} folder"
