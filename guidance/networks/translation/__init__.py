"""Translators: networks that edit a latent in one forward pass, trained with a distillation objective.

LMC-SDS (section 5.2) trains one that turns cats into other animals. `network` is the U-Net, and `storage` converts a
translator to named tensors; `distillation.translator` trains one with the loop of all distillation methods.

Where this differs from the paper, or the paper gives no detail:

- It works on latents, not pixels: training needs no VAE in the loop, and one pass takes milliseconds.
- It predicts the change of the latent, initially 0, so it need not learn to copy first. The weights of the losses are
  still the paper's: over the first tenth of the steps that of the objective rises from 0.1 to 1, and that of the
  squared distance to the source falls from 1 to 0.1.
- The network normalizes latents to mean 0 and variance 1 per channel, with the statistics of its training images. So it
  takes and returns latents in the host's scale, whatever the model.
- The target is passed as a number in [0, 1), its index over the number of targets, which each cell gets as 10 sines and
  cosines.
- Item i of a batch always has target i mod K of K targets, so all are trained equally often.
- The result is a moving average of the weights.
"""

from .network import Architecture, TranslatorNetwork, initial_network, target_code, target_codes
from .storage import Translator

__all__ = ["Architecture", "Translator", "TranslatorNetwork", "initial_network", "target_code", "target_codes"]
