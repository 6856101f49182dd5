"""The shipped reference checkpoint loads in ComfyUI and reaches its recorded quality."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from tools.reference import in_process, measure, world
from tools.reference.autoencoder import to_tensor
from tools.reference.export import CHECKPOINT, checkpoint
from tools.reference.scorer import Agreement, attributes
from tools.reference.shipped import write_checkpoints


def test_checkpoint_is_small_enough_for_the_repository():
    assert CHECKPOINT.stat().st_size < 40e6


def test_checkpoints_of_the_shipped_weights_make_the_shipped_file(tmp_path: Path):
    write_checkpoints(tmp_path)
    made, found = checkpoint(tmp_path), load_file(CHECKPOINT)
    assert made.keys() == found.keys()
    assert all(torch.equal(made[name], found[name]) for name in found)
    with pytest.raises(FileExistsError, match="train in another folder"):
        write_checkpoints(tmp_path)


def test_recorded_quality_meets_the_requirements():
    figures = json.loads(measure.FIGURES.read_text("utf-8"))
    assert figures["checkpoint_bytes"] == CHECKPOINT.stat().st_size
    assert figures["autoencoder"]["psnr"] >= 28
    for scenes in ("one_object", "one_or_two_objects"):
        relative = figures[scenes]["relative"]
        assert min(relative[name] for name in ("colour", "background", "pattern")) >= 0.95
        assert relative["shape"] >= 0.70


@torch.inference_mode()
def test_autoencoder_preserves_images(reference: in_process.Reference):
    rng = Random(11)
    x = in_process.render([world.sample_scene(rng, clean=True) for _ in range(16)])
    assert in_process.psnr(x, reference.decoded(reference.latent(x))).mean() >= 28


@pytest.mark.parametrize("shift", [0, 16])
def test_scorer_recognizes_rendered_scenes_at_any_pattern_offset(shift: int):
    rng = Random(12)
    scenes = [world.sample_scene(rng, clean=True) for _ in range(128)]
    images = torch.stack([to_tensor(world.render(s, shift)) for s in scenes])
    rates = Agreement.of(in_process.load_scorer(), images, [attributes(s) for s in scenes]).rates
    assert min(rates.values()) >= 0.97


@torch.inference_mode()
def test_samples_follow_the_prompt(reference: in_process.Reference):
    prompts = ["a red circle on a plain blue background", "a green star on a striped white background"]
    empty = {"samples": torch.zeros(8, 4, 12, 12)}
    positive = reference.conditioning(prompts * 4)
    latent = reference.ksampled(positive, reference.conditioning([""]), empty, steps=12, cfg=4.0, seed=3)
    expected = [
        {"colour": "red", "background": "blue", "pattern": "plain"},
        {"colour": "green", "background": "white", "pattern": "striped"},
    ]
    rates = Agreement.of(in_process.load_scorer(), reference.decoded(latent), expected * 4).rates
    assert min(rates.values()) >= 0.8


@torch.inference_mode()
def test_unknown_words_have_little_effect(reference: in_process.Reference):
    known_words, with_unknown_words = (
        reference.conditioning([t])[0][0][0, 12:].mean(0)
        for t in ("a red circle on a blue background", "a lovely red circle on a cosy blue background")
    )
    other = reference.conditioning(["a green star on a blue background"])[0][0][0, 12:].mean(0)
    assert (known_words - with_unknown_words).norm() < 0.25 * (known_words - other).norm()
