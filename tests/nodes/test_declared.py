"""What every node refuses for what its schema declares, before it does any work: choices, numbers, tensors."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import comfy.samplers
import dreamsampler
import execution
import pytest
import torch
from comfy_api.latest import io
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.svg_optimizer import SVGOptimizer
from support.host_oracle import HOST_NODES
from support.tiny_models import EPS, cond, distill, edit, encoded, tiny


async def _nodes() -> list[type[io.ComfyNode]]:
    return await (await dreamsampler.comfy_entrypoint()).get_node_list()


NODES = asyncio.run(_nodes())
OF_FILES = {"file", "folder", "name", "translation"}
"""Combos whose node looks for the file itself: it may have been added after the page loaded."""


def inputs(*kinds: type) -> list[Any]:
    """Every input of one of these kinds, with its node."""
    return [
        pytest.param(node, each, id=f"{node.define_schema().node_id}.{each.id}")
        for node in NODES
        for each in node.define_schema().inputs
        if isinstance(each, kinds) and each.id not in OF_FILES
    ]


def refusal(node: type[io.ComfyNode], name: str, value: Any) -> str:
    """What the node says of one input, with no other connected: it looks at nothing else before that."""
    given = [value] if node.define_schema().is_input_list else value
    with pytest.raises(ValueError) as error:
        node.execute(**{name: given})
    return str(error.value)


# Choices


@pytest.mark.parametrize(("node", "declared"), inputs(io.Combo.Input))
@pytest.mark.parametrize("change", [str.upper, lambda choice: choice[:-1] + "x", lambda choice: f"{choice}s"])
def test_a_choice_that_is_none_gets_the_nearest(node: type[io.ComfyNode], declared: io.Combo.Input, change: Any):
    for option in declared.options:
        wrong = change(option)
        if wrong in declared.options:
            continue
        message = refusal(node, declared.id, wrong)
        assert message.startswith(f"'{wrong}' is not an option of '{declared.id}'. ")
        for each in declared.options:
            assert f"'{each}'" in message
        if change is str.upper:
            assert f"Did you mean '{option}'?" in message


@pytest.mark.parametrize(("node", "declared"), inputs(io.Combo.Input))
@pytest.mark.parametrize("value", ["", "\u4e00", None, 5])
def test_a_choice_like_none_of_them_gets_the_list(node: type[io.ComfyNode], declared: io.Combo.Input, value: Any):
    message = refusal(node, declared.id, value)
    assert message.startswith(f"'{value}' is not an option of '{declared.id}'. The ")
    assert message.endswith(f"'{declared.options[-1]}'.")


def test_the_nearest_is_what_was_meant():
    options = ["both", "consistency only", "dps only", "inpaint"]
    meant = {"dps": "dps only", "Consistency": "consistency only", "inpainting": "inpaint", "BOTH": "both"}
    assert {wrong: host.nearest(wrong, options) for wrong in meant} == meant
    assert [host.nearest(wrong, options) for wrong in ("zzz", "", "o", "ly")] == [None] * 4


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.define_schema().node_id)
def test_right_choices_and_numbers_pass_to_the_work(node: type[io.ComfyNode]):
    """Whatever is declared as the default passes, and then the node misses what is not connected."""
    schema = node.define_schema()
    defaults = {each.id: getattr(each, "default", None) for each in schema.inputs}
    given = {name: value for name, value in defaults.items() if value is not None}
    needs = [each for each in schema.inputs if not each.optional and each.id not in given]
    wrapped = {name: [value] for name, value in given.items()} if schema.is_input_list else given
    if needs:
        with pytest.raises(TypeError, match="missing"):
            node.execute(**wrapped)


def named(noise: Any, steps: int) -> torch.Tensor:
    return torch.linspace(float(noise.sigma_max), 0, steps + 1)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_scheduler_that_another_pack_adds_later_is_offered_and_used(in_place: bool):
    sampler = comfy.samplers.KSampler
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "later", comfy.samplers.SchedulerHandler(named))
        if in_place:
            sampler.SCHEDULERS.append("later")
        else:
            patch.setattr(sampler, "SCHEDULERS", [*sampler.SCHEDULERS, "later"])
        try:
            (declared,) = (each for each in ProximalDreamSampler.define_schema().inputs if each.id == "scheduler")
            assert isinstance(declared, io.Combo.Input) and "later" in declared.options
            edited, _ = edit(tiny(EPS), encoded(EPS), scheduler="later")
            assert edited["samples"].isfinite().all()
        finally:
            sampler.SCHEDULERS.remove("later")
    assert "'later' is not an option of 'scheduler'" in refusal(ProximalDreamSampler, "scheduler", "later")


class V1Names:
    """A node of another pack that gives names: as text, as a scheduler, and an image that is no name."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING", comfy.samplers.KSampler.SCHEDULERS, "IMAGE"), "names", "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {}}


def complaints(monkeypatch: pytest.MonkeyPatch, **inputs: Any) -> str:
    """What the host says of a Measurement with these inputs before it runs anything."""
    monkeypatch.setitem(HOST_NODES, "V1Names", V1Names)
    monkeypatch.setitem(HOST_NODES, "DSMeasurement", MeasurementNode)
    inputs_of: Any = MeasurementNode.define_schema().inputs
    given = {each.id: each.default for each in inputs_of if hasattr(each, "default")}
    prompt = {
        "names": {"class_type": "V1Names", "inputs": {}},
        "measure": {"class_type": "DSMeasurement", "inputs": {**given, "image": ["names", 2], **inputs}},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["measure", 1]}},
    }
    return str(asyncio.run(execution.validate_prompt("a prompt", prompt, None))[3])


def test_choices_may_be_linked_and_everything_else_fits_its_link(monkeypatch: pytest.MonkeyPatch):
    assert complaints(monkeypatch) == "{}"
    assert complaints(monkeypatch, operator=["names", 0]) == "{}"
    assert complaints(monkeypatch, operator=["names", 1]) == "{}"
    said = "Input 'operator' is a list, but an IMAGE is connected: disconnect it and choose an option."
    assert said in complaints(monkeypatch, operator=["names", 2])
    said = "Input 'mask' needs a MASK, but a STRING is connected: connect an output of type MASK."
    assert said in complaints(monkeypatch, mask=["names", 0])
    said = "Input 'mask' needs a MASK, but an IMAGE is connected: put the node Convert Image to Mask between them."
    assert said in complaints(monkeypatch, mask=["names", 2])
    said = "Input 'mask' needs a MASK, but a COMBO is connected: connect an output of type MASK."
    assert said in complaints(monkeypatch, mask=["names", 1])
    assert "Value 1 smaller than min of 2" in complaints(monkeypatch, scale=1)


@pytest.mark.parametrize(
    ("node", "name", "received", "words"),
    [
        (MeasurementNode, "image", "SVG", "an IMAGE, but an SVG is connected: put the node SVG to Image between them."),
        (SVGOptimizer, "svg", "IMAGE", "an SVG, but an IMAGE is connected: put the node Image to SVG between them."),
        (
            SVGOptimizer,
            "measurement",
            "IMAGE",
            "a DS_MEASUREMENT, but an IMAGE is connected: connect an output of type DS_MEASUREMENT, for example that "
            "of Measurement.",
        ),
    ],
)
def test_wrong_links_name_the_node_to_use(node: Any, name: str, received: str, words: str):
    assert node.validate_inputs(input_types={name: received}) == f"Input '{name}' needs {words}"


# Numbers


numbers = pytest.mark.parametrize(("node", "declared"), inputs(io.Float.Input, io.Int.Input))


def may_be_unset(declared: io.Float.Input | io.Int.Input) -> bool:
    """Whether -1 stands for a default, and numbers start at 0."""
    return declared.min == declared.default == -1


def limits(declared: io.Float.Input | io.Int.Input) -> str:
    low = f"from {0 if may_be_unset(declared) else declared.min:g} to {declared.max:g}"
    return f"{low} (or to -1 for the default)" if may_be_unset(declared) else low


@numbers
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(node: type[io.ComfyNode], declared: io.Float.Input, value: float):
    kind = "NaN, which is not a number" if math.isnan(value) else "infinite"
    assert refusal(node, declared.id, value) == (
        f"Input '{declared.id}' is {kind}: set it to a number {limits(declared)}, or check the node connected to it."
    )


@numbers
def test_linked_numbers_outside_of_their_limits(node: type[io.ComfyNode], declared: io.Float.Input):
    """The host checks numbers that are typed in, but not those that other nodes give."""
    outside = [declared.min - 1, declared.max + max(1, declared.max / 2)]
    for value in [*outside, -0.5] if may_be_unset(declared) else outside:
        assert refusal(node, declared.id, value).startswith(f"Input '{declared.id}' is {value:g}: set it to a number")


# Tensors


@pytest.mark.parametrize(("node", "declared"), inputs(io.Image.Input))
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(0, 8, 6, 3), "is empty (0 images of 6x8 pixels): connect an image"),
        (torch.zeros(1, 0, 6, 3), "is empty (1 images of 6x0 pixels): connect an image"),
        (torch.full((1, 8, 6, 3), math.nan), "contains NaN or infinite values: check the node"),
        (torch.full((1, 8, 6, 3), math.inf), "contains NaN or infinite values: check the node"),
        (torch.zeros(8, 6, 3), "has 3 dimensions; images have 4"),
    ],
)
def test_images(node: type[io.ComfyNode], declared: io.Input, value: torch.Tensor, words: str):
    assert refusal(node, declared.id, value).startswith(f"Input '{declared.id}' {words}")


MASKS = [
    (torch.zeros(0, 8, 6), "is empty (0 masks of 6x8 pixels): connect a mask"),
    (torch.zeros(2, 8, 0), "is empty (2 masks of 0x8 pixels): connect a mask"),
    (torch.full((1, 8, 6), math.nan), "contains NaN or infinite values: check the node"),
    (torch.ones(1, 8, 6, 1), "has the shape 1x8x6x1, which is that of an image, not of masks"),
    (torch.ones(1, 8, 6, 3), "has the shape 1x8x6x3, which is that of an image, not of masks"),
]


@pytest.mark.parametrize(("node", "declared"), inputs(io.Mask.Input))
@pytest.mark.parametrize(("value", "words"), MASKS)
def test_masks(node: type[io.ComfyNode], declared: io.Input, value: torch.Tensor, words: str):
    assert refusal(node, declared.id, value).startswith(f"Input '{declared.id}' {words}")


@pytest.mark.parametrize(("node", "declared"), inputs(io.Latent.Input))
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(0, 4, 8, 8), "is an empty batch (0 latents): connect the latent of at least one image"),
        (None, "is an empty batch (0 latents): connect the latent of at least one image"),
        (torch.full((1, 4, 8, 8), math.nan), "contains NaN or infinite values, often from a VAE in fp16"),
        (torch.full((1, 4, 8, 8), math.inf), "contains NaN or infinite values, often from a VAE in fp16"),
    ],
)
def test_latents(node: type[io.ComfyNode], declared: io.Input, value: torch.Tensor, words: str):
    assert refusal(node, declared.id, {"samples": value}).startswith(f"Input '{declared.id}' {words}")


@pytest.mark.parametrize(("node", "declared"), inputs(io.Conditioning.Input))
def test_prompts(node: type[io.ComfyNode], declared: io.Input):
    broken = cond(1)
    broken[0][0] = broken[0][0] * math.nan
    assert refusal(node, declared.id, broken).startswith(f"Input '{declared.id}' contains NaN or infinite values")


@pytest.mark.parametrize("run", [edit, distill], ids=["edit", "distill"])
@pytest.mark.parametrize(
    ("mask", "words"), [*MASKS, (torch.zeros(1, 8, 8), "is empty, so nothing may change: paint what to change")]
)
def test_noise_masks(run: Any, mask: torch.Tensor, words: str):
    with pytest.raises(ValueError) as error:
        run(tiny(EPS), encoded(EPS, noise_mask=mask))
    assert str(error.value).startswith(f"The noise mask of 'latent_image' {words}")


def test_the_input_of_a_noise_mask_is_not_to_be_disconnected():
    with pytest.raises(ValueError, match="connect a mask, or remove the node that sets it"):
        edit(tiny(EPS), encoded(EPS, noise_mask=torch.zeros(0, 8, 8)))


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 1, 8, 8)])
def test_masks_of_all_common_shapes_work(shape: tuple[int, ...]):
    edited, _ = edit(tiny(EPS), encoded(EPS, noise_mask=torch.ones(shape)), mask=torch.ones(shape))
    assert edited["samples"].isfinite().all()
