"""The end of an edit as plain sampling: the last `n_min` steps of FlowEdit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.denoiser import NULL, TARGET, guided_estimate
from ..core.noise import SeededNoise
from ..core.prior import Prior
from .generators import Generator
from .loop import NonFiniteGradientError, Plan, Step, descent_at_rates, optimize
from .objective import WEIGHTS, Direction, Sample
from .schedules import Descending, Given, flow_times


@dataclass(frozen=True)
class PlainSampling:
    """Sampling as an objective: `v_hat^s(z_t, y_tgt) - (eps - z)`, in flow units and with one noise for all steps.

    Steps at the rate `(tau - tau') / (1 - tau')` of flow times tau to tau' are the Euler steps of the sampler.
    `guidance_scale` is s; `null` names the prompt in the place of the unconditional one. One model call of 2, or of 1
    at scale 1.
    """

    # With the fixed noise eps, z stands for the sampler's state x = (1 - tau) z + tau eps. Its Euler step
    #     x' = x + (tau' - tau) v_hat    stands for    z' = (x' - tau' eps) / (1 - tau')
    #                                                     = z - (tau - tau') / (1 - tau') (v_hat - (eps - z)).
    # Where a mask holds z to the source, x is the noised source, as in masked sampling.

    guidance_scale: float
    null: str = NULL

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        x = sample.noised(prior.path)
        z0_hat = guided_estimate(prior.denoise, x, sample.sigma, self.guidance_scale, (self.null, TARGET))
        velocity = prior.path.velocity(x, z0_hat, sample.sigma)
        eps_hat = prior.path.eps_hat(x, z0_hat, sample.sigma)
        return Direction(velocity - (sample.eps - sample.z), eps_hat, sample.z - z0_hat)


def sample_to_the_end(
    prior: Prior,
    generator: Generator,
    sampling: PlainSampling,
    *,
    reference: Tensor,
    noise: SeededNoise,
    times: Descending,
    first: int,
    steps: int,
) -> Iterator[Step]:
    """Renoise an edit of `reference` (B or 1, ...) and sample it to the end in `steps` steps (FlowEdit, Algorithm 1).

    The noised edit is that of FlowEdit, `a reference + b eps + (a + b) (z - reference)` with new noise. Yields steps
    that count on from `first`. Raises NonFiniteGradientError as `optimize` does.
    """
    with torch.no_grad():
        z = generator().clone()
        eps = noise.like(z) + (z - reference)

    tau = flow_times(prior, times.t_min, times.t_max, steps, z)
    rates = [(high - low) / (1 - low) for high, low in zip(tau, tau[1:])]
    plan = Plan(steps, descent_at_rates("sgd", rates), times, Given(eps), WEIGHTS["uniform"])
    try:
        for step in optimize(prior, generator, sampling, plan=plan, noise=noise):
            yield replace(step, index=first + step.index)
    except NonFiniteGradientError as error:
        raise NonFiniteGradientError(first + error.index, error.t) from error
