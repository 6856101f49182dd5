"""FlowAlign: flow editing with guidance from the source prompt and a pull to the source."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ...core.denoiser import SOURCE, TARGET, guide
from ...core.path import per_item
from ...core.prior import Prior
from ..ending import PlainSampling
from ..method import Method, Resources, register
from ..objective import Direction, Sample
from .delta import NEEDS
from .flow import FLOWEDIT_LOOP

PAPER_STEPS = 33


@dataclass(frozen=True)
class FlowAlign:
    """FlowAlign (Kim et al., 2025), on any model family.

        v_hat^s(p, y_src, y_tgt) - v_hat(q, y_src) + 33 zeta (z0_hat^s(p, y_src, y_tgt) - z0_hat(q, y_src))

    q is the noised `reference`, p = q + (a + b) (z - reference) the state of the image beside it, as in FlowEdit.
    `guidance_scale` is s; the source prompt takes the place of the unconditional one. Velocities v_hat = eps_hat -
    z0_hat are per unit of flow time. `source_consistency_weight` is zeta, the weight of the pull to the source.

    The paper adds zeta per step, whatever the size of the step, and takes 33. Here it is per 1/33 of flow time, which
    is the same for 33 equal steps, and the strength of the pull does not depend on the number of steps. One model call
    of 3.
    """

    # With d = z0_hat^s(p) - z0_hat(q), a velocity difference is (a + b) / b (z - reference - d), as p - q = (a + b)
    # (z - reference). So the gradient is 0 at the clean estimate reference + (1 - 33 zeta tau) d, tau = b / (a + b).

    reference: Tensor
    guidance_scale: float
    source_consistency_weight: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        path, sigma = prior.path, sample.sigma
        reference = self.reference.expand_as(sample.z)
        q = path.noised(reference, sample.eps, sigma)
        p = path.noised(sample.z, sample.eps + (sample.z - reference), sigma)  # q + (a + b) (z - reference)
        names = [(SOURCE,), (TARGET,), (SOURCE,)]
        (null,), (target,), (source,) = prior.denoise.paired([p, p, q], sigma, names)
        guided = guide(null, target, self.guidance_scale)
        velocity = path.velocity(p, guided, sigma) - path.velocity(q, source, sigma)
        change = guided - source
        kept = PAPER_STEPS * self.source_consistency_weight
        pull = sample.z - reference - (1 - kept * per_item(path.flow_time(sigma), change)) * change
        return Direction(velocity + kept * change, path.eps_hat(p, guided, sigma), pull)


@dataclass(frozen=True)
class FlowAlignSettings:
    """FlowAlign's settings for SD3. `n_min` is that of FlowEdit; the paper has none."""

    guidance_scale: float = 7.5
    source_consistency_weight: float = 0.01
    n_min: int = 0


LOOP = replace(FLOWEDIT_LOOP, steps=PAPER_STEPS, t_max=1.0, noise_policy="fixed")
"""FlowAlign on SD3: all of the 33 steps. One noise for the whole run makes it an ODE; the authors' code adds
fresh noise."""


def build(s: FlowAlignSettings, resources: Resources) -> FlowAlign:
    return FlowAlign(resources.need("reference"), s.guidance_scale, s.source_consistency_weight)


def ending(s: FlowAlignSettings) -> PlainSampling:
    return PlainSampling(s.guidance_scale, null=SOURCE)


register(
    Method(
        "flowalign",
        build,
        FlowAlignSettings(),
        LOOP,
        needs=NEEDS,
        edits=True,
        ending=ending,
        without_null={},
        order=11,
    )
)
