"""Score distillation: one loop with five choices - objective, time schedule, noise policy, generator, regularizers.

Example: optimize a latent with a registered method and its paper's settings.

    method, noise = METHODS["dds"], SeededNoise([0])
    config = method.config(from_image=True)
    objective = method.build(config.own, Resources(noise, reference=z0))
    latent = Latent(z0)
    for step in optimize(prior, latent, objective, plan=config.loop.plan(prior, z0), noise=noise):
        print(step.index, step.gradient_norm)
    edited = latent().detach()

`objectives` has one file per objective, which registers its methods; `translator` trains a network with the same loop.
"""

from .compositions import ARRANGEMENTS, Arrangement, Composition, per_view
from .ending import PlainSampling, sample_to_the_end
from .generators import Generator, Latent, Pixels
from .loop import NonFiniteGradientError, Plan, Step, optimize
from .method import Config, LoopSettings, Method, Resources, register
from .objective import WEIGHTS, Direction, Objective, Sample
from .objectives import LISTED, METHODS
from .regularizers import L2ToSource, Loss, MeasurementTerm, PixelTerm, Regularizer
from .schedules import LEARNING_RATES, NOISE_POLICIES, TIME_SCHEDULES

__all__ = [
    "ARRANGEMENTS",
    "LEARNING_RATES",
    "LISTED",
    "METHODS",
    "NOISE_POLICIES",
    "TIME_SCHEDULES",
    "WEIGHTS",
    "Arrangement",
    "Composition",
    "Config",
    "Direction",
    "Generator",
    "L2ToSource",
    "Latent",
    "LoopSettings",
    "Loss",
    "MeasurementTerm",
    "Method",
    "NonFiniteGradientError",
    "Objective",
    "PixelTerm",
    "Pixels",
    "PlainSampling",
    "Plan",
    "Regularizer",
    "Resources",
    "Sample",
    "Step",
    "optimize",
    "per_view",
    "register",
    "sample_to_the_end",
]
