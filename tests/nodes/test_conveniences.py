"""What newer hosts offer beyond the oldest: words to search for, advanced widgets, results that stay."""

from __future__ import annotations

import dataclasses

import pytest
from comfy_api.latest import io
from dreamsampler.nodes import NODES, widgets

NODE = {node.define_schema().node_id: node for node in NODES}
FIELDS = {each.name for each in dataclasses.fields(io.Schema)}
NUMBER = io.Float.Input("a")

WORDS = {
    "img2img edit": "DSProximalDreamSampler",
    "inpaint": "DSProximalDreamSampler",
    "super resolution": "DSMeasurement",
    "DPS": "DSMeasurement",
    "text to svg": "DSSVGOptimizer",
    "vectorize": "DSImageToSVG",
    "SDS": "DSDistillationSampler",
    "score distillation": "DSDistillationSampler",
    "PDS": "DSPosteriorLatentMatch",
    "LMC": "DSManifoldCorrectiveTrain",
    "regional prompt": "DSMaskLocalizedGuidance",
    "text to 3D": "DSSplatOptimizer",
    "gaussian splatting": "DSSplatOptimizer",
}
"""What users search for, and a node that they have to find."""
SHOWN = {
    "DSDistillationSampler": [
        "method",
        "steps",
        "learning_rate",
        "guidance_scale",
        "seed",
        "start_from",
        "source_weight",
    ],
    "DSSVGOptimizer": ["style", "paths", "steps", "guidance_scale", "canvas_size", "seed", "fit_steps"],
    "DSSplatOptimizer": [
        "splats",
        "steps",
        "guidance_scale",
        "render_size",
        "views",
        "seed",
        "method",
        "fit_steps",
        "background",
        "frames",
    ],
    "DSProximalDreamSampler": ["steps", "gamma", "gamma_schedule", "eta", "start_from", "scheduler", "seed", "skip"],
}
"""The widgets that are not advanced."""


@pytest.mark.skipif("search_aliases" not in FIELDS, reason="This host knows no search aliases.")
def test_users_find_nodes_by_their_own_words():
    aliases = {name: node.GET_NODE_INFO_V1()["search_aliases"] for name, node in NODE.items()}
    assert all(aliases.values())
    assert {word for word, node in WORDS.items() if word not in aliases[node]} == set()
    assert all(alias == alias.strip() and alias for found in aliases.values() for alias in found)


@pytest.mark.skipif(not hasattr(NUMBER, "advanced"), reason="This host knows no advanced inputs.")
@pytest.mark.parametrize("name", SHOWN)
def test_few_widgets_are_shown_at_first(name: str):
    inputs = [each for each in NODE[name].define_schema().inputs if isinstance(each, io.WidgetInput)]
    assert [each.id for each in inputs if not getattr(each, "advanced", None)] == SHOWN[name]


@pytest.mark.skipif(not hasattr(NUMBER, "advanced"), reason="This host knows no advanced inputs.")
@pytest.mark.parametrize("node", NODES, ids=lambda node: node.define_schema().node_id)
def test_what_is_advanced_can_be_left_alone(node: type[io.ComfyNode]):
    for each in node.define_schema().inputs:
        if getattr(each, "advanced", None):
            assert isinstance(each, io.WidgetInput) and each.default is not None


def test_a_schema_is_the_hosts_own_but_for_what_it_does_not_know():
    made = widgets.schema(
        node_id="DSA", inputs=[NUMBER, io.Int.Input("b")], search_aliases="one, two words", advanced="b"
    )
    expected = io.Schema(node_id="DSA", inputs=made.inputs)
    if "search_aliases" in FIELDS:
        expected = dataclasses.replace(expected, search_aliases=["one", "two words"])
    assert made == expected
    assert [getattr(each, "advanced", True) for each in made.inputs[1:]] == [True]
    with pytest.raises(KeyError):
        widgets.schema(node_id="DSA", inputs=[NUMBER], search_aliases="one", advanced="c")
    with pytest.raises(TypeError):
        widgets.schema(node_id="DSA", search_aliases="one", colour="red")
