"""The graphs that edit an image: one for each method, made from the server's own definitions of its nodes.

Inputs that are not mentioned here keep the defaults of their nodes, which are mostly the values of the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy_client import Prompt
from queueing.definitions import ObjectInfo, inputs_of, is_link
from queueing.errors import QueueingError, nearest
from queueing.overrides import with_settings

LOW_QUALITY = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
"""The source prompt of nfsd, from its paper."""
EDITED = "edited"
"""The node whose image is the result."""
HOLE = "inpaint"
"""The method that fills the mask as a hole."""
DEFAULTS = ("proximal", "proximal+region", "pds", "dds", "flowedit", "flowalign", "dvrf", "chord", "img2img")


@dataclass(frozen=True)
class Case:
    """What a graph is made for."""

    checkpoint: str
    image: str
    source_prompt: str
    target_prompt: str
    seed: int


class Graph:
    """A prompt under construction. Every graph has a model, the image and its latent, and three prompts."""

    def __init__(
        self, info: ObjectInfo, case: Case, source_prompt: str = "", *, pixels: tuple[str, int] = ("image", 0)
    ):
        self.prompt: Prompt = {}
        self._info = info
        self.add("model", "CheckpointLoaderSimple", ckpt_name=case.checkpoint)
        self.add("image", "LoadImage", image=case.image)
        for name, text in (
            ("target", case.target_prompt),
            ("source", source_prompt or case.source_prompt),
            ("empty", ""),
        ):
            self.add(name, "CLIPTextEncode", text=text, clip=["model", 1])
        self.add("latent", "VAEEncode", pixels=list(pixels), vae=["model", 2])

    def add(self, name: str, class_type: str, **inputs: Any) -> Graph:
        """Add a node; required widgets without a value get the node's default."""
        widgets = {each.name: each.default for each in inputs_of(self._info, class_type).values() if _has_default(each)}
        self.prompt[name] = {"class_type": class_type, "inputs": {**widgets, **inputs}, "_meta": {"title": name}}
        return self

    def proximal(self, case: Case, **inputs: Any) -> Prompt:
        """Edit with Proximal DreamSampler."""
        links = {"model": ["model", 0], "positive": ["target", 0], "negative": ["empty", 0]}
        values = {**links, "latent_image": ["latent", 0], "vae": ["model", 2], "seed": case.seed, **inputs}
        return self.add("sampler", "DSProximalDreamSampler", **values).shown(["sampler", 2])

    def sampled(self, class_type: str, case: Case, **inputs: Any) -> Prompt:
        """Edit with a node that gives a latent, and decode it."""
        links = {"model": ["model", 0], "positive": ["target", 0], "negative": ["empty", 0]}
        self.add("sampler", class_type, **{**links, "latent_image": ["latent", 0], "seed": case.seed, **inputs})
        return self.add("decoded", "VAEDecode", samples=["sampler", 0], vae=["model", 2]).shown(["decoded", 0])

    def shown(self, image: list[Any]) -> Prompt:
        """The finished prompt, which leaves the image among the server's temporary files."""
        return self.add(EDITED, "PreviewImage", images=image).prompt


def _has_default(each: Any) -> bool:
    return each.required and each.is_widget and each.default is not None


def _proximal(info: ObjectInfo, case: Case) -> Prompt:
    return Graph(info, case).proximal(case)


def _proximal_in_region(info: ObjectInfo, case: Case) -> Prompt:
    graph = Graph(info, case)
    links = {"model": ["model", 0], "positive": ["target", 0], "source": ["source", 0], "latent_image": ["latent", 0]}
    graph.add("region", "DSFindEditRegion", **links, seed=case.seed)
    return graph.proximal(case, mask=["region", 0], source_image=["image", 0])


def _ddpm_inversion(info: ObjectInfo, case: Case) -> Prompt:
    settings = {"start_from": "stochastic inversion", "gamma_schedule": "constant", "gamma": 15.0, "skip": 0.36}
    return Graph(info, case).proximal(case, negative=["source", 0], **settings)


def _inpaint(info: ObjectInfo, case: Case) -> Prompt:
    graph = Graph(info, case, pixels=("measurement", 1))
    graph.add("measurement", "DSMeasurement", image=["image", 0], mask=["image", 1], operator="inpaint")
    return graph.proximal(case, measurement=["measurement", 0], steps=200, gamma=1.0, eta=1.0)


def _pds(info: ObjectInfo, case: Case) -> Prompt:
    graph = Graph(info, case)
    links = {"source": ["source", 0], "target": ["target", 0], "negative": ["empty", 0]}
    graph.add("objective", "DSPosteriorLatentMatch", source_latent=["latent", 0], **links)
    return graph.sampled("DSDistillationSampler", case, objective=["objective", 0])


def _img2img(info: ObjectInfo, case: Case) -> Prompt:
    settings = {"steps": 50, "cfg": 7.5, "sampler_name": "ddim", "scheduler": "normal", "denoise": 0.6}
    return Graph(info, case).sampled("KSampler", case, **settings)


def _distillation(method: str) -> Callable[[ObjectInfo, Case], Prompt]:
    def make(info: ObjectInfo, case: Case) -> Prompt:
        graph = Graph(info, case, LOW_QUALITY if method == "nfsd" else "")
        inputs: dict[str, Any] = {"method": method, "source": ["source", 0]}
        if method == "lmc":
            graph.add("corrective", "DSManifoldCorrectiveLoad")
            inputs = {"method": method, "corrective": ["corrective", 0], "source_weight": 0.02}
        return graph.sampled("DSDistillationSampler", case, **inputs)

    return make


OWN: dict[str, Callable[[ObjectInfo, Case], Prompt]] = {
    "proximal": _proximal,
    "proximal+region": _proximal_in_region,
    "ddpm-inversion": _ddpm_inversion,
    HOLE: _inpaint,
    "pds": _pds,
    "img2img": _img2img,
}
"""The methods beside those of Distillation Sampler."""


def names(info: ObjectInfo) -> list[str]:
    """Every method that the server offers."""
    return [*OWN, *map(str, inputs_of(info, "DSDistillationSampler")["method"].choices)]


@dataclass(frozen=True)
class Method:
    """A row of the table: a method with settings, each INPUT=VALUE or NODE.INPUT=VALUE."""

    name: str
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name of the row."""
        return ", ".join((self.name, *self.settings))

    def prompt(self, info: ObjectInfo, case: Case) -> Prompt:
        """The graph for a case. Raises QueueingError for a setting that the method does not have."""
        make = OWN.get(self.name) or _distillation(self.name)
        prompt = make(info, case)
        return with_settings(prompt, [_at_node(prompt, setting, info) for setting in self.settings], info)


def parsed(text: str, info: ObjectInfo) -> Method:
    """A method as the command line names it: "dds" or "proximal:gamma=0.5,steps=100"."""
    name, _, settings = text.partition(":")
    offered = names(info)
    if name not in offered:
        raise QueueingError(f"--methods: there is no method '{name}'.{nearest(name, offered)}")
    return Method(name, tuple(each.strip() for each in settings.split(",") if each.strip()))


def with_common(methods: Sequence[Method], settings: Sequence[str], info: ObjectInfo, case: Case) -> list[Method]:
    """The methods with the settings of --set, each where it applies. Raises QueueingError if one applies nowhere."""
    prompts = [OWN.get(each.name, _distillation(each.name))(info, case) for each in methods]
    changed = list(methods)
    for setting in settings:
        fits = [index for index, prompt in enumerate(prompts) if _applies(prompt, setting, info)]
        if not fits:
            raise QueueingError(f"--set {setting}: none of the methods has this input. Write it as INPUT=VALUE.")
        for index in fits:
            changed[index] = replace(changed[index], settings=(*changed[index].settings, setting))
    return changed


def _applies(prompt: Prompt, setting: str, info: ObjectInfo) -> bool:
    target = setting.partition("=")[0]
    node, point, name = target.rpartition(".")
    return node in prompt if point else bool(_nodes_with(prompt, name, info))


def _at_node(prompt: Prompt, setting: str, info: ObjectInfo) -> str:
    """The setting with its node: the sampler, or another node that has this input."""
    target, equals, value = setting.partition("=")
    if "." in target:
        return setting
    found = _nodes_with(prompt, target, info)
    node = found[0] if found else "sampler"
    return f"{node}.{target}{equals}{value}"


def _nodes_with(prompt: Prompt, name: str, info: ObjectInfo) -> list[str]:
    """The nodes with a widget of this name that is not connected, the sampler first."""
    order = sorted(prompt, key=lambda node: node != "sampler")
    widgets = {node: inputs_of(info, prompt[node]["class_type"]).get(name) for node in order}
    return [
        node
        for node, each in widgets.items()
        if each is not None and each.is_widget and not is_link(prompt[node]["inputs"].get(name))
    ]
