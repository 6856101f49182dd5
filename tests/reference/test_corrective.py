"""The shipped corrective of the reference model: it belongs to it, and imitates its blur."""

from __future__ import annotations

from random import Random

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.networks.corrective.normalisation import normalised
from dreamsampler.guidance.networks.corrective.training import denoised
from dreamsampler.nodes import host
from torch import Tensor

from tools.reference import corrective, in_process, world


def test_is_small_enough_for_the_repository():
    assert corrective.CORRECTIVE.stat().st_size < corrective.LARGEST


def test_is_of_the_shipped_checkpoint_and_closer_to_its_answers_than_the_picture():
    reference, learned = in_process.load(), host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    about = learned.about
    assert (about.family, about.base) == (host.family(reference.model), host.base_of(reference.model))
    assert about.size == (world.SIZE // 8,) * 2
    rng, times = Random(99), torch.tensor([0.05, 0.5, 0.7, 0.9])
    shares = {}

    def compare(run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, torch.no_grad():
            for t in times.tolist():
                time = torch.full((len(run.latent),), t)
                z0_hat = denoised(run.prior, run.latent, time, SeededNoise(range(len(run.latent))))
                blurred = normalised(learned(run.latent, time), z0_hat, about.statistics)
                left, all_of_it = ((x - z0_hat).square().mean().item() for x in (blurred, run.latent))
                shares[t] = left / all_of_it
        return (run.latent,)

    with torch.inference_mode():
        samples = reference.latent(in_process.pictures([world.sample_scene(rng, clean=True) for _ in range(8)]))
        host.run_in_sampler(
            compare,
            model=reference.model,
            conditionings={"negative": reference.conditioning([""])},
            samples=samples["samples"],
            sigmas=host.whole_range(reference.model),
            evaluations=None,
            seed=0,
        )
    print("squared distance from the model's answer, relative to the picture's:", shares)
    assert shares[times[0].item()] < 1.02 and max(shares[t] for t in times[1:].tolist()) < 0.8
