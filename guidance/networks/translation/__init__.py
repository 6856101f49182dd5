"""A network that edits in one pass: it is trained once by a distillation objective, and then needs no model any more.

LMC-SDS (section 5.2) trains one that makes other animals of cats. `network` is the U-Net, `training` what the loop of
all distillation methods optimises when it optimises a network, `storage` turns one into named tensors.

Where this differs from the paper, or the paper is silent:

- It works on latents instead of pixels, so that training needs no VAE in the loop and one pass takes milliseconds.
- It says what is to be added to the latent, and at first nothing, so that it does not have to learn to copy first. The
  losses go as published all the same: the objective's weight from 0.1 to 1 and that of the squared distance to the
  source from 1 to 0.1 over the first tenth of the steps.
- Latents are brought to mean 0 and variance 1 per channel inside the network, by the numbers of the pictures it was
  trained on, so that it takes and returns latents in the host's scale and needs to know nothing of the model.
- The wanted target is a number in [0, 1), the target's place among all, said to each cell by 10 sines and cosines.
- Item i of a batch is always for target i mod K of K, which draws each target equally often.
- A moving average of the weights is what is kept.
"""
