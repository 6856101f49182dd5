"""Diffusion models as priors to optimise against: pure torch, without the host."""
