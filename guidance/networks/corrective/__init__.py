"""The learned manifold corrective b_hat(z, t) of LMC-SDS: it imitates how a denoiser blurs (LMC-SDS, eq. 8 to 10).

The clean estimate `z0_hat` that a model returns at time t differs from a natural image z in two ways: in the change
that the model wants, and in a blur that depends on t alone. b_hat applies the same blur to z, so
`b_hat(z, t) - z0_hat` holds only the wanted change. `network` is the paper's U-Net, `spectral` a closed form without
training, `training` makes either, `normalization` is eq. 10, and `storage` converts a corrective to named tensors.

Where the paper gives no detail, or describes pixels:

- Channels: their number changes the first and last layer only. The head is linear for latents, which are unbounded, and
  tanh for pixels in [-1, 1]. The residual head is ours: it adds the network to a spectral corrective, which returns z
  almost unchanged where there is little noise. A plain network takes long to learn to repeat its input, and the
  gradient then treats its errors as flaws of the image. The shipped corrective has a residual head.
- Sizes: images are padded by repeating their border to a multiple of the pooling factor, and cropped afterwards. Small
  latents need fewer levels: the shipped corrective, trained on 12 x 12 cells, has 2.
- "Nine layers" are read as four levels down, one at the bottom and four up, each of two 3 x 3 convolutions with ReLU.
  Pooling takes the maximum; the way up repeats cells and concatenates the layer of the same size.
- Time is that of `Prior`, 0 clean and 1 noise, so model families do not differ. Its code of 10 numbers is the sine and
  cosine of pi t, 2 pi t, ... 16 pi t.
- Mean and standard deviation are over all channels and cells of an image ("global image statistics").
- Eq. 10 as printed removes the contrast of b_hat and keeps its mean. "full" removes both, as "agnostic to the global
  image statistics" suggests, and "none" is the paper's first form, without eq. 10. A corrective is used with the
  statistics it was trained with. Eq. 10 has a side effect that the paper does not mention: z0_hat also has the contrast
  of what the model invented, and b_hat is raised to it. So the mean gradient of a natural image, which is 0 without
  eq. 10, removes some contrast: `(E std(z0_hat) / std(b_hat) - 1) (b_hat - mean(b_hat))`. In Gaussian fields with a
  natural spectrum this is 1%, 14% and 35% of b_hat's contrast at t = 0.3, 0.5 and 0.7, and the gradient of a blurred
  image, which without eq. 10 sharpens every frequency band, weakens the coarse ones.
- The loss is the mean over cells, not their sum; Adam is invariant to that factor.
- An exponential moving average of the weights, not in the paper, makes up for runs far below 750,000 steps.
- Every step draws its random numbers from the seed and the step's number, so an interrupted run continues exactly.
- Each image gets its own time and noise, and one model call under the unconditional prompt, without guidance.
"""

from .network import Architecture, CorrectiveNetwork, Head
from .normalization import STATISTICS, Statistics, normalize
from .spectral import SpectralCorrective, SpectralForm
from .storage import ManifoldCorrective
from .training import Recipe, Training, fit_spectral

__all__ = [
    "STATISTICS",
    "Architecture",
    "CorrectiveNetwork",
    "Head",
    "ManifoldCorrective",
    "Recipe",
    "SpectralCorrective",
    "SpectralForm",
    "Statistics",
    "Training",
    "fit_spectral",
    "normalize",
]
