"""The shipped corrective belongs to the reference model and approximates its blur."""

from __future__ import annotations

from random import Random

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.networks.corrective.normalization import normalize
from dreamsampler.guidance.networks.corrective.training import denoise_at
from dreamsampler.nodes import host
from torch import Tensor

from tools.reference import corrective, in_process, world


def test_corrective_is_small_enough_for_the_repository():
    assert corrective.CORRECTIVE.stat().st_size < corrective.LARGEST


def test_corrective_matches_the_checkpoint_and_approximates_its_predictions(reference: in_process.Reference):
    shipped = host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    about = shipped.about
    assert (about.family, about.base) == (host.family(reference.model), host.weights_digest(reference.model))
    assert about.size == (world.SIZE // 8,) * 2
    rng, times = Random(99), torch.tensor([0.05, 0.5, 0.7, 0.9])
    ratios = {}

    def compare(run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, torch.no_grad():
            for t in times.tolist():
                time = torch.full((len(run.latent),), t)
                z0_hat = denoise_at(run.prior, run.latent, time, SeededNoise(range(len(run.latent))))
                blurred = normalize(shipped(run.latent, time), z0_hat, about.statistics)
                distance, image_distance = ((x - z0_hat).square().mean().item() for x in (blurred, run.latent))
                ratios[t] = distance / image_distance
        return (run.latent,)

    with torch.inference_mode():
        samples = reference.latent(in_process.render([world.sample_scene(rng, clean=True) for _ in range(8)]))
        host.run_in_sampler(
            compare,
            model=reference.model,
            conditionings={"negative": reference.conditioning([""])},
            samples=samples["samples"],
            sigmas=host.full_range(reference.model),
            evaluations=None,
            seed=0,
        )
    print("squared distance to the model's prediction, relative to that of the image:", ratios)
    assert ratios[times[0].item()] < 1.02 and max(ratios[t] for t in times[1:].tolist()) < 0.8
