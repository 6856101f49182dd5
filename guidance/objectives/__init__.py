"""Gradient fields on clean latents, one small file for each kin; `base` says what they have in common."""
