"""The learned manifold corrective b_hat(z, t) of LMC-SDS: an imitation of how a denoiser blurs (LMC-SDS, eq. 8 to 10).

A denoiser asked at time t returns `z0_hat`, which differs from a natural picture z in what the picture should become,
which is wanted, and in a blur that depends on t alone, which is not. b_hat makes the same blur of z, so that
`b_hat(z, t) - z0_hat` is free of it. `network` has the paper's U-Net, `spectral` a closed form without training,
`training` makes either from pictures and a model, `normalisation` is eq. 10, `storage` turns one into named tensors.

Where the paper is silent, or speaks of pixels:

- Channels: one more or fewer changes the first and last layer only. The head is linear for latents, whose values have
  no bounds, and tanh for pixels in [-1, 1]. A residual head, ours, adds what the network says to what a
  spectral corrective does, which is hardly anything where there is little noise: a network takes long to learn to
  repeat a picture exactly, and where it does not, the gradient takes it for a fault of the picture. It is what is
  shipped.
- Sizes: pictures are padded with their border to a multiple of what the pooling needs, and cropped afterwards. Small
  latents need fewer levels: the shipped one, for 12x12 cells, has 2.
- "Nine layers" are read as four that go down, one at the bottom and four that go up, each of two 3x3 convolutions with
  ReLU. Pooling is by maximum, the way up repeats cells and concatenates the layer of the same size.
- Time is the clock of `Prior`, 0 clean and 1 noise, so that families differ in nothing here. Its code of 10 numbers is
  sine and cosine of pi t, 2 pi t, ... 16 pi t.
- Mean and standard deviation are over all channels and cells of a picture: "global image statistics".
- Eq. 10 as printed takes the contrast out of b_hat and leaves its mean in. "full" takes out both, which is what
  "agnostic to the global image statistics" says, and "none" is the paper's first form, without eq. 10. What a
  corrective was trained with, it is used with. A price of eq. 10 that the paper does not name: z0_hat also has the
  contrast of what the model made up, b_hat's is raised to it, and so the gradient of a natural picture is on average
  not 0, as it is without, but some contrast less: `(E std(z0_hat) / std(b_hat) - 1) (b_hat - mean(b_hat))`. In Gaussian
  fields with a natural spectrum that is 1%, 14% and 35% of b_hat's contrast at t = 0.3, 0.5 and 0.7, and the gradient
  of a blurred picture, which without eq. 10 sharpens it in every band, takes from the coarse ones.
- The loss is the mean over cells instead of their sum, which Adam does not notice.
- An exponential moving average of the weights, not in the paper, makes up for runs far below 750,000 steps.
- Every step draws its random numbers from the seed and its own number, so that a run goes on exactly where it stopped.
- The model sees each picture once a step, at a time and with noise of its own, under the empty text, without guidance.
"""
