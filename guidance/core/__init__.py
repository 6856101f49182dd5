"""What every method is built on: the noising path, the denoiser, the prior, seeded noise, DDIM and DDPM."""
