"""A blur of unknown sigma is found by Proximal DreamSampler while it restores images of the reference model's world."""

import re
from random import Random

import pytest
import torch
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, UnknownGaussianBlur
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.restoration import Consistency

from tools.reference import in_process, world

SIGMA, NOISE_STD, STEPS = 3.0, 0.01, 25


@torch.inference_mode()
@pytest.mark.parametrize("consistency", ["consistency only", "both"])
def test_sigma_is_found_from_half_and_from_twice_as_much(reference: in_process.Reference, consistency: Consistency):
    rng = Random(7)
    scenes = [world.sample_scene(rng, clean=True, objects=1) for _ in range(2)]
    images = in_process.render(scenes)
    y = GaussianBlur(world.SIZE, world.SIZE, 25, SIGMA).forward(2 * images - 1)
    y = y + NOISE_STD * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    guessed = UnknownGaussianBlur(world.SIZE, world.SIZE, torch.tensor([1.5, 6.0]))

    output = ProximalDreamSampler.execute(
        reference.model, reference.conditioning([world.describe(scene) for scene in scenes]),
        reference.conditioning([""] * 2), reference.latent((y + 1) / 2), steps=STEPS, gamma=1.0,
        gamma_schedule="alpha_bar", eta=1.0, renoise="unconditional", start_from="inversion", scheduler="normal",
        seed=0, vae=reference.vae, measurement=Measurement(guessed, y, NOISE_STD), consistency=consistency,
    )  # fmt: skip
    assert isinstance(output.ui, dict)
    (note,) = output.ui["text"]
    found = [float(number) for number in re.findall(r"\d\.\d", note)]
    assert found == pytest.approx([SIGMA] * 2, rel=0.1)
    sharp = in_process.psnr(output.args[2].movedim(-1, 1), images)
    assert (sharp > in_process.psnr((y + 1) / 2, images) + 4).all()
