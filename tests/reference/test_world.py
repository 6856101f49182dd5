"""The scenes of the reference model: images match their captions."""

from random import Random

import numpy as np
import pytest

from tools.reference import world
from tools.reference.text_encoder import LABELS, named_attributes


def scene(**changes) -> world.Scene:
    heart = world.Thing("heart", "red", 48, 48, 30, 0.1)
    return world.Scene(**{
        "things": (heart,), "background": "blue", "pattern": "plain", "corruption": None, "style": "picture", "seed": 3,
        **changes,
    })  # fmt: skip


@pytest.mark.parametrize("color", world.COLORS)
def test_objects_and_backgrounds_have_their_color(color: str):
    thing = world.Thing("circle", color, 48, 48, 30, 0.0)
    other = "white" if color != "white" else "black"
    as_object, as_background = (
        world.render(scene(things=(thing,), background=other)),
        world.render(scene(background=color)),
    )
    np.testing.assert_allclose(as_object[48, 48], world.PALETTE[color], atol=0.12)
    np.testing.assert_allclose(as_background[2, 2], world.PALETTE[color], atol=0.12)


@pytest.mark.parametrize("shape", world.SHAPES)
def test_object_mask_covers_exactly_the_object(shape: str):
    sampled = scene(things=(world.Thing(shape, "yellow", 50, 46, 28, 0.1),))
    mask, image = world.object_mask(sampled), world.render(sampled)
    yellow = np.abs(image - world.PALETTE["yellow"]).max(-1) < 0.2
    assert yellow[mask > 0.99].all() and not yellow[mask < 0.01].any()
    assert 0.15 * np.pi * 28**2 < mask.sum() < np.pi * 28**2


def test_shapes_differ_clearly():
    masks = [world.object_mask(scene(things=(world.Thing(s, "red", 48, 48, 30, 0.0),))) for s in world.SHAPES]
    for i, a in enumerate(masks):
        for b in masks[i + 1 :]:
            assert np.abs(a - b).sum() > 0.15 * max(a.sum(), b.sum())


def test_equal_scenes_give_equal_images():
    sampled = world.sample_scene(Random(4))
    np.testing.assert_array_equal(world.render(sampled), world.render(sampled))


@pytest.mark.parametrize(
    "attribute, value", [("colour", "green"), ("shape", "star"), ("background", "black"), ("pattern", "dotted")]
)
def test_with_attribute_changes_only_that_attribute(attribute: str, value: str):
    before = scene()
    after = world.with_attribute(before, attribute, value)
    labels = [
        list(LABELS)[i]
        for i, (a, b) in enumerate(zip(*(named_attributes(world.describe(s)) for s in (before, after)), strict=True))
        if a != b
    ]
    assert labels == [attribute]
    assert world.attribute_of(after, attribute) == value != world.attribute_of(before, attribute)


def test_captions_name_only_attributes_of_the_image():
    rng = Random(5)
    for _ in range(300):
        sampled = world.sample_scene(rng)
        shown = named_attributes(world.describe(sampled))
        named = named_attributes(world.sample_caption(rng, sampled))
        extra = [label for label, a, b in zip(LABELS, named, shown, strict=True) if a and a != b and label != "quality"]
        assert not extra, (sampled, extra)


def test_full_caption_names_every_attribute():
    full_scene = scene(pattern="striped", corruption="blurry")
    assert world.describe(full_scene) == "a red heart on a striped blue background, blurry"
    assert world.describe_object(full_scene) == "a red heart, blurry"
